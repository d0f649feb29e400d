"""Sixty clients at once that ask, read and leave as they like, before an upstream that fails: all
that they got is true, and nothing of theirs stays behind."""
import os
import pathlib
import random
import threading
import time

import pytest

from rig import httpd, images
from rig.proc import wait_for
from rig.wire import ACCEPT, Ended, Wire, tls_context

MB = 1 << 20
CLIENTS = 60
ASK_S = 12              # how long they begin new requests
END_MAX_S = 45          # by then the last one has its end


def held(sluice):
    """How many descriptors it has, but for those of files that are in the cache."""
    kept = f"{sluice.cache}/blobs/sha256/", f"{sluice.cache}/manifests/sha256/"
    count = 0
    for f in pathlib.Path(f"/proc/{sluice.process.pid}/fd").iterdir():
        try:
            at = os.readlink(f)
        except FileNotFoundError:
            continue
        count += not at.startswith(kept) or at.endswith("(deleted)")
    return count


class Client(threading.Thread):
    """Asks until the time is over, on connections that it sometimes drops.  wrong: what it got
    that was not so."""
    def __init__(self, number, until, sluice, context, blobs, tags):
        super().__init__(daemon=True)
        self.random, self.until, self.sluice = random.Random(number), until, sluice
        self.context, self.blobs, self.tags = context, blobs, tags
        self.wrong, self.whole, self.cut, self.refused = [], 0, 0, 0
        self.start()

    def run(self):
        while time.monotonic() < self.until:
            try:
                with self.connect() as w:
                    while time.monotonic() < self.until and self.ask(w):
                        pass
            except (OSError, Ended):
                self.cut += 1
            except Exception as e:      # noqa: BLE001 - whatever it is, the test must see it
                self.wrong.append(repr(e))
                return

    def connect(self):
        if self.random.random() < 0.3:
            return Wire(("127.0.0.1", self.sluice.ports["plain"]))
        return Wire(("127.0.0.1", self.sluice.ports["https"]), ca=True, context=self.context)

    def ask(self, w):
        """One request; whether the connection goes on."""
        r = self.random
        if r.random() < 0.2:
            path, whole = r.choice(self.tags)
            a = w.ask("GET", path, *ACCEPT)
            return self.judge(w, a, path, whole)
        path, whole = r.choice(self.blobs[:self.shown()])
        headers, want = [], whole
        if r.random() < 0.6:
            first = r.randrange(1, len(whole))
            last = min(len(whole) - 1, first + r.choice([0, 100, 70000, len(whole)]))
            headers, want = [f"Range: bytes={first}-{last}"], whole[first:last + 1]
        w.request("GET", path, *headers)
        leave = r.random()
        if leave < 0.1:                 # without a word
            return False
        if leave < 0.25:                # in the middle of the body
            w.take(r.randint(0, int(w.head().get("Content-Length")) // 2))
            return False
        return self.judge(w, w.answer(), path, want)

    def shown(self):
        """How many of the blobs are known by now: some are cold at any time."""
        left = max(0, self.until - time.monotonic()) / ASK_S
        return max(1, int(len(self.blobs) * (1 - left)))

    def judge(self, w, a, path, want):
        if a.status in (200, 206) and not a.cut:
            self.whole += 1
            if a.body != want:
                self.wrong.append(f"{path}: {len(a.body)} bytes that are not it")
        elif a.status in (200, 206):
            self.cut += 1
            if w.end == "close_notify":
                self.wrong.append(f"{path}: cut, but ended as if it were whole")
        elif a.status in (502, 503, 504):
            self.refused += 1
        else:
            self.wrong.append(f"{path}: {a.status} {a.body[:200]}")
        return not a.cut and self.random.random() < 0.8


@pytest.fixture(scope="module")
def stock(shared_rig):
    """([(path, bytes) of blobs], [(path, bytes) of manifests]), none of them in a cache yet."""
    blobs, tags = [], []
    for i in range(40):
        image = images.one_blob(shared_rig.push, f"library/stress{i}", [20000, MB, 3 * MB][i % 3])
        for digest in image.blobs:
            blobs.append((f"/v2/docker.io/{image.repo}/blobs/{digest}",
                          shared_rig.registry.blob_path(digest).read_bytes()))
        for ref in (image.tag, image.digest):
            tags.append((f"/v2/docker.io/{image.repo}/manifests/{ref}", image.raw))
    return blobs, tags


def spoil(rig, until):
    """One fault after the other for blobs, and now and then one for manifests.

    What is corrupt is the first byte: no range here has it, since the bytes of a range go out
    before the whole blob is known to be good.  It is so often, since one wrong body is fetched once
    more and nobody is cut."""
    r = random.Random(11)
    while time.monotonic() < until:
        fault, times = r.choice([
            (httpd.cut(r.randrange(20000), r.choice(["fin", "reset", "close_notify"])), 2),
            (httpd.stall(r.randrange(20000)), 2), (httpd.stall(r.randrange(20000), "reset"), 2),
            (httpd.corrupt(0), 20), (httpd.slow_first_byte(), 2), (httpd.status(503), 2)])
        with rig.cdn.fault(fault, times=times), \
                rig.front.fault(httpd.status(503), "/manifests/", times=1):
            time.sleep(r.uniform(0.1, 0.4))


def wear_out(sluice, stock, seconds=ASK_S):
    """What the clients of that time have to say, once the last has gone."""
    until = time.monotonic() + seconds
    context = tls_context(sluice.rig.ca.pem)
    clients = [Client(i, until, sluice, context, *stock) for i in range(CLIENTS)]
    spoil(sluice.rig, until)
    for c in clients:
        c.join(max(0.1, until + END_MAX_S - time.monotonic()))
    assert not [c for c in clients if c.is_alive()], "a client has waited in vain"
    assert [x for c in clients for x in c.wrong] == []
    return clients


def test_stress(start, rig, stock):
    """Both workers, cold blobs, ranges, cuts, stalls and corruption; then no connection, no fill
    and no descriptor is left, every blob can be had, and it ends in order."""
    sluice = start({"mirror docker.io": {"retries": 0}})   # else nearly all of it heals
    wait_for(lambda: not sluice.metrics()["cache_scanning"], 10)
    time.sleep(0.5)                 # the connection that asked for that goes
    before = held(sluice)
    clients = wear_out(sluice, stock)
    assert sum(c.whole for c in clients) > 100 and sum(c.cut for c in clients) > 10

    wait_for(lambda: sluice.metrics()["connections"] == 0, 15, lambda: str(sluice.metrics()))
    for path, whole in stock[0]:
        with Wire(("127.0.0.1", sluice.ports["plain"])) as w:
            assert w.ask("GET", path).body == whole, path
    for server in rig.servers:
        server.drop_all()               # upstream connections that are kept
    wait_for(lambda: held(sluice) == before, 15, lambda: f"{before} before, {held(sluice)} now")
    m = sluice.metrics()
    assert m["fills_failed_total"] > 5 and m["fills_ok_total"] > 50
    assert m["connections"] == 0
    assert m["fills_total"] == m["fills_ok_total"] + m["fills_failed_total"], m
    assert m["cache_blobs"] <= len(stock[0]) + len(stock[1])
    assert not list((sluice.cache / "tmp").iterdir())
    sluice.stop()
    assert "bug at" not in sluice.process.log.read_text(errors="replace")


def test_sigterm_under_stress(start, rig, stock):
    """SIGTERM in the middle of it: it ends in order, and nobody gets what is not so."""
    sluice = start()
    threading.Timer(2, sluice.term).start()
    wear_out(sluice, stock, 3)
    assert sluice.process.wait(35) == 0
    assert "bug at" not in sluice.process.log.read_text(errors="replace")
