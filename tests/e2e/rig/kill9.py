"""SIGKILL at random moments under load, on one cache: nothing wrong is ever served or kept.

From tests/e2e:  python3 -m rig.kill9 [--rounds 200] [--seed N]

A round: clients load a Sluice whose cache is too small for all they want (so there are fills, hits
and evictions at any time), it is killed, what is on the disk is looked at, it is started again on
the same folder, and some of everything is asked for.  The seed decides what is asked and when the
kill comes; the rest is up to the scheduler, so a seed repeats a failure only likely.
"""
import argparse
import collections
import hashlib
import pathlib
import random
import re
import shutil
import tempfile
import threading
import time

from . import Rig, httpd, images
from .mirror import Sluice
from .proc import wait_for
from .wire import ACCEPT, Ended, Wire, tls_context

KB, MB = 1 << 10, 1 << 20
CLIENTS = 8
SIZES = [KB, 5 * KB, 60 * KB, 300 * KB, MB, 3 * MB, 8 * MB, 32 * MB]
CONFIG = {"cache": {"size": "64M", "free": "0"}, "server": {"workers": 2, "drain_timeout": "5s"},
          "mirror docker.io": {"tag_fresh": "1s"}}
# Unfinished files: of a kill there may be one for each client, and those of which a kernel that is
# not done with the dead process still holds the lock are removed a minute later.
LEFT_MAX = 40 * CLIENTS
LEFT_MAX_S = 90


class Stock:
    """What there is to ask for: about 130 MB in images of one layer, and their manifests."""
    def __init__(self, rig, repos=24):
        self.blobs, self.tags = [], []      # (path, bytes), (path, bytes)
        for i in range(repos):
            image = images.one_blob(rig.push, f"library/kill{i}", SIZES[i % len(SIZES)])
            for d in image.blobs:
                self.blobs.append((f"/v2/docker.io/{image.repo}/blobs/{d}",
                                   rig.registry.blob_path(d).read_bytes()))
            for ref in (image.tag, image.digest):
                self.tags.append((f"/v2/docker.io/{image.repo}/manifests/{ref}", image.raw))


def slow_some(r):
    """Half of the bodies come slowly, so that a kill finds them unfinished."""
    def body(chunks):
        pause = r.choice([0, 0, 0.001, 0.005])
        for c in chunks:
            for at in range(0, len(c), 64 * KB):
                time.sleep(pause)
                yield c[at:at + 64 * KB]
    return httpd.Fault(body=body)


class Loader(threading.Thread):
    """One client that asks until its server is gone."""
    def __init__(self, seed, sluice, stock, context, stop):
        super().__init__(daemon=True)
        self.random, self.sluice, self.stock = random.Random(seed), sluice, stock
        self.context, self.halt = context, stop
        self.wrong, self.count = [], collections.Counter()
        self.start()

    def run(self):
        while not self.halt.is_set():
            try:
                with connect(self.sluice, self.random, self.context) as w:
                    while not self.halt.is_set():
                        self.count += collections.Counter([ask(w, self.random, self.stock)])
            except (OSError, Ended):
                self.count["cut"] += 1
                time.sleep(0.01)
            except Exception as e:      # noqa: BLE001 - whatever it is, the round must see it
                self.wrong.append(repr(e))
                return


def connect(sluice, r, context):
    if r.random() < 0.5:
        return Wire(("127.0.0.1", sluice.ports["plain"]))
    return Wire(("127.0.0.1", sluice.ports["https"]), ca=True, context=context)


def ask(w, r, stock):
    """One request, whose answer must be right as far as it goes; what it was."""
    headers = []
    if r.random() < 0.25:
        path, want = r.choice(stock.tags)
        kind, headers = "manifest", ACCEPT
    else:
        path, want = r.choice(stock.blobs)
        kind = "blob"
        if r.random() < 0.4:
            first = r.randrange(len(want))
            last = min(len(want) - 1, first + r.choice([0, 1000, MB]))
            kind, headers, want = "range", [f"Range: bytes={first}-{last}"], want[first:last + 1]
    return judge(w.ask("GET", path, *headers), path, want, kind)


def judge(a, path, want, kind):
    if a.status not in (200, 206):
        if a.status in (500, 502, 503, 504):
            return f"status {a.status}"
        raise AssertionError(f"{path}: {a.status} {a.body[:200]}")
    if a.cut:
        if a.body != want[:len(a.body)]:
            raise AssertionError(f"{path}: the first {len(a.body)} bytes are not its")
        raise Ended("cut")
    if a.body != want:
        raise AssertionError(f"{path}: {len(a.body)} bytes that are not it")
    return kind


def check_disk(cache):
    """Every file that has a digest's name has that digest; the number of unfinished files."""
    for kind in ("blobs", "private", "manifests"):
        for f in (cache / kind).rglob("*"):
            if f.is_file() and (m := re.match("[0-9a-f]{64}", f.name)):
                got = hashlib.sha256(f.read_bytes()).hexdigest()
                assert got == m[0], f"{f}: its digest is {got}"
    known = {"blobs", "private", "manifests", "tags", "tmp", "partial", "quarantine", "lock"}
    return unfinished(cache), {p.name for p in cache.iterdir()} - known


def unfinished(cache):
    return sum(1 for d in ("tmp", "partial") for f in (cache / d).glob("**/*") if f.is_file())


def load(sluice, stock, r, context, seconds):
    """Load it, and kill it after so long."""
    stop = threading.Event()
    loaders = [Loader(r.random(), sluice, stock, context, stop) for _ in range(CLIENTS)]
    time.sleep(seconds)
    alive = sluice.process.child.poll() is None
    sluice.kill()
    stop.set()
    for one in loaders:
        one.join(60)
        assert not one.is_alive(), "a client waits though its server is dead"
    assert alive, f"it ended by itself:\n{sluice.tail()}"
    wrong = [x for one in loaders for x in one.wrong]
    assert not wrong, wrong
    return sum((one.count for one in loaders), collections.Counter())


def sample(sluice, stock, r, context):
    """Some of everything, each of which must come whole: the upstream is well."""
    for path, want in [*r.sample(stock.blobs, 5), *r.sample(stock.tags, 3)]:
        with connect(sluice, r, context) as w:
            w.sock.settimeout(60)
            a = w.ask("GET", path, *ACCEPT)
            assert a.status == 200, f"{path}: {a.status} {a.body[:200]}"
            judge(a, path, want, "sample")


def rounds(rig, folder, count, seed, say=lambda text: None):
    """All of it; AssertionError names the round and the seed.  Gives what was answered."""
    total, left_most, strange = collections.Counter(), 0, set()
    stock, context = Stock(rig), tls_context(rig.ca.pem)
    sluice = Sluice(rig, folder, CONFIG)
    with rig.cdn.fault(slow_some(random.Random(seed))), sluice:
        for n in range(count):
            r = random.Random(f"{seed}/{n}")
            try:
                total += load(sluice, stock, r, context, r.uniform(0.05, 1.2))
                left, more = check_disk(sluice.cache)
                left_most, strange = max(left_most, left), strange | more
                assert left <= LEFT_MAX, f"{left} unfinished files"
                sluice.start()
                sample(sluice, stock, r, context)
                total["resumed"] += int(sluice.metrics()["fills_resumed_total"])
                total["round"] += 1
            except Exception as e:
                raise AssertionError(f"round {n} of seed {seed}: {e!r}") from e
            if n % 20 == 19:
                say(f"{n + 1} rounds: {dict(total)}, unfinished files at most {left_most}")
        wait_for(lambda: unfinished(sluice.cache) <= CLIENTS, LEFT_MAX_S,
                 lambda: f"{unfinished(sluice.cache)} unfinished files stay, seed {seed}")
        sluice.stop()
        check_disk(sluice.cache)
    log = sluice.process.log.read_text(errors="replace")
    assert "bug at" not in log, f"seed {seed}: {re.search('.*bug at.*', log)[0]}"
    assert not strange, f"unknown in the cache's folder: {strange}"
    total["unfinished, most"] = left_most
    return total


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=200)
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    args = p.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-e2e."))
    begun = time.monotonic()
    try:
        rig = Rig(folder)
        try:
            print(f"seed {args.seed}", flush=True)
            got = rounds(rig, folder / "kill9", args.rounds, args.seed,
                         lambda text: print(text, flush=True))
            print(f"{args.rounds} rounds, {time.monotonic() - begun:.0f} s: {dict(got)}")
        finally:
            rig.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
