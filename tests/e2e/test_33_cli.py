"""The commands that ask a running server: what is cached, what stays, what goes, what is to come."""
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import threading
import time

import pytest

from rig import httpd, images
from rig.mirror import BINARY
from rig.mirror import sluice as run_sluice
from rig.proc import wait_for
from rig.wire import ACCEPT

HOST = "docker.mirror.test"


def run(s, command, *words, good=True, seconds=60):
    done = run_sluice(command, "-c", s.file, *words, seconds=seconds)
    assert (done.returncode == 0) == good, done
    return done


def lines(s, command, *words, **kw):
    return [json.loads(x) for x in run(s, command, "--json", *words, **kw).stdout.splitlines()]


def pull(w, image):
    a = w.ask("GET", f"/v2/{image.repo}/manifests/{image.tag}", *ACCEPT, host=HOST)
    for digest in image.blobs:
        w.ask("GET", f"/v2/{image.repo}/blobs/{digest}", host=HOST)
    return a


def size_of(image):
    return len(image.raw) + sum(image.blobs.values())


def name_of(image):
    return f"docker.io/{image.repo}:{image.tag}"


def cached(s):
    return {x["digest"]: x for x in lines(s, "ls", "blobs")}


def test_ls(start, rig, wire, alone):
    """Images with size and last use, the parts of one, all files; an image that is not there."""
    s = start()
    assert "empty" in run(s, "ls").stdout
    pull(wire(to=s, name=HOST), alone)
    s.wait_metric("fills_ok_total", 1 + len(alone.blobs))
    (row,) = lines(s, "ls")
    assert row["image"] == name_of(alone) and row["digest"] == alone.digest
    assert row["bytes"] == size_of(alone) and row["blobs"] == len(alone.blobs)
    assert row["cached"] and row["missing"] == 0 and not row["pinned"]
    assert abs(row["used"] - time.time()) < 600
    assert name_of(alone) in run(s, "ls", "images").stdout
    want = {alone.digest, *alone.blobs}
    assert set(cached(s)) == want
    short = alone.repo.removeprefix("library/")
    for text in (name_of(alone), f"{short}:{alone.tag}", f"{short}@{alone.digest}"):
        assert {x["digest"] for x in lines(s, "ls", text)} == want
    assert "not in the cache" in run(s, "ls", "docker.io/library/none", good=False).stderr
    assert "not mirrored" in run(s, "ls", "nowhere.test/none", good=False).stderr
    assert "digest" in run(s, "ls", "nginx@sha256:1", good=False).stderr


def test_du(start, rig, wire):
    """What two repositories share counts for both, and for neither alone."""
    s = start()
    base = {"base": images.noise("base", 500000)}
    one = images.plain(rig.push, "library/du-one", "v1", [base, {"one": images.noise("1", 90000)}])
    two = images.plain(rig.push, "library/du-two", "v1", [base, {"two": images.noise("2", 70000)}])
    w = wire(to=s, name=HOST)
    for image in (one, two):
        pull(w, image)
    (shared,) = set(one.blobs) & set(two.blobs)
    wait_for(lambda: len(lines(s, "ls")) == 2, 10, "two images")
    rows = {x.get("repository", x.get("mirror", "all")): x for x in lines(s, "du")}
    for image in (one, two):
        row = rows[image.repo]
        assert row["bytes"] == size_of(image)
        assert row["own_bytes"] == size_of(image) - one.blobs[shared]
    whole = size_of(one) + size_of(two) - one.blobs[shared]
    assert rows["docker.io"]["bytes"] == rows["docker.io"]["own_bytes"] == whole
    assert rows["all"]["bytes"] == whole and rows["all"]["untagged_bytes"] == 0
    assert "docker.io/library/du-one" in run(s, "du").stdout


def test_pin(start, rig, wire):
    """A pinned image stays while others are evicted, after a restart, too, until it is unpinned."""
    s = start({"cache": {"size": "64M"}})
    w = wire(to=s, name=HOST)
    def large(n):
        return images.plain(rig.push, f"library/pin-{n}", "v1", [{"data": bytes([n]) * (20 << 20)}])
    keep = large(9)
    pull(w, keep)
    assert "is pinned" in run(s, "pin", name_of(keep)).stdout
    assert "already" in run(s, "pin", name_of(keep)).stdout
    assert run(s, "pin").stdout.split() == [name_of(keep)]
    wait_for(lambda: all(cached(s).get(d, {}).get("pinned") for d in [keep.digest, *keep.blobs]),
             20, "the cache knows")
    others = [large(i) for i in range(3)]

    def flood():
        w = wire(to=s, name=HOST)
        for image in others:
            pull(w, image)
    flood()
    assert others[0].largest not in cached(s) and keep.largest in cached(s)
    s.restart()
    wait_for(lambda: cached(s).get(keep.largest, {}).get("pinned"), 20, "pinned again")
    flood()
    assert keep.largest in cached(s)
    assert lines(s, "ls", name_of(keep))[0]["pinned"]
    assert "is pinned" in run(s, "purge", name_of(keep), good=False).stderr
    run(s, "unpin", name_of(keep))
    assert "is not pinned" in run(s, "unpin", name_of(keep), good=False).stderr
    wait_for(lambda: not cached(s)[keep.largest]["pinned"], 20, "the cache knows")


def test_purge(start, rig, wire):
    """An image goes with what it has alone; who reads it has it to the end; then it is fetched
    again.  A digest, and all of a mirror."""
    s = start()
    base = {"base": images.noise("purge", 3 << 20)}
    one = images.plain(rig.push, "library/purge-one", "v1", [base, {"x": images.noise("p", 90000)}])
    two = images.plain(rig.push, "library/purge-two", "v1", [base])
    w = wire(to=s, name=HOST)
    for image in (one, two):
        pull(w, image)
    (shared,) = set(one.blobs) & set(two.blobs)
    wait_for(lambda: len(lines(s, "ls")) == 2, 10, "two images")
    (row,) = lines(s, "purge", name_of(one))
    assert row["tags"] == 1 and row["kept"] == 1
    left = cached(s)
    assert set(left) == {two.digest, *two.blobs}
    assert not s.blob_file(one.layers[1]).exists() and s.blob_file(shared).exists()
    assert [x["image"] for x in lines(s, "ls")] == [name_of(two)]

    reader = wire(to=s, name=HOST)
    reader.send(f"GET /v2/{two.repo}/blobs/{shared} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
    time.sleep(.3)                      # it has begun, and waits for us to take more
    (row,) = lines(s, "purge", shared)
    assert row["files"] == 1 and not s.blob_file(shared).exists()
    assert reader.answer("GET").body == images.pack(images.tar(base), "gzip")
    misses = s.metrics()["cache_misses_total"]
    a = w.ask("GET", f"/v2/{two.repo}/blobs/{shared}", host=HOST)
    assert images.digest_of(a.body) == shared
    assert s.metrics()["cache_misses_total"] == misses + 1
    wait_for(lambda: shared in cached(s), 10, "it is back")
    run(s, "purge", "docker.io")
    assert cached(s) == {} and lines(s, "ls") == []
    assert "not in the cache" in run(s, "purge", name_of(two), good=False).stderr


def test_refresh(start, rig, wire):
    """A tag that is fresh for an hour is asked for at once; without an answer that is said."""
    s = start({"mirror docker.io": {"tag_fresh": "1h"}})
    w = wire(to=s, name=HOST)
    old = images.small(rig.push, "library/refresh", "v", "1")
    assert pull(w, old).body == old.raw
    new = images.small(rig.push, "library/refresh", "v", "2")
    assert pull(w, old).body == old.raw
    assert new.digest in run(s, "refresh", "refresh:v").stdout
    assert w.ask("GET", f"/v2/{new.repo}/manifests/v", *ACCEPT, host=HOST).body == new.raw
    with rig.front.fault(httpd.status(503)):
        done = run(s, "refresh", "refresh:v", good=False)
        assert "does not answer" in done.stderr and new.digest in done.stderr
    assert "404" in run(s, "refresh", "library/none:v", good=False).stderr


def test_warm(start, rig, tmp_path):
    """Images of a list come into the cache, only the platforms wanted; a second run fetches
    nothing; failures that pass are tried again, those that do not are told."""
    s = start()
    many = images.multi(rig.push, "library/warm-many", archs=("amd64", "arm64", "s390x"))
    one = images.one_blob(rig.push, "library/warm-one", 3 << 20)
    file = tmp_path / "list"
    file.write_text(f"# what the cluster needs\n\n{name_of(many)} linux/arm64,linux/s390x\n"
                    f"warm-one   all # an image without an index\n")
    with rig.cdn.fault(httpd.status(503), match=one.largest.partition(":")[2], times=2):
        rows = {x["image"]: x for x in lines(s, "warm", file)}
    assert all(x["ok"] for x in rows.values()) and len(rows) == 2
    wait_for(lambda: one.largest in cached(s), 10, "published")
    have = cached(s)
    assert many.manifests[0] not in have and {*many.manifests[1:], many.digest} <= set(have)
    assert set(one.blobs) <= set(have)
    images_ = {x["image"]: x for x in lines(s, "ls")}
    assert images_[name_of(many)]["absent"] == 1 and images_[name_of(many)]["missing"] == 0
    assert rows["warm-one"]["fetched_bytes"] == sum(one.blobs.values())
    rig.reset()
    again = lines(s, "warm", file)
    assert all(x["ok"] and x["fetched_bytes"] == 0 for x in again)
    assert not rig.cdn.log
    file.write_text("library/none:v1\n" + name_of(one) + "\n" + name_of(many) + " plan9/mips\n")
    done = run(s, "warm", file, good=False)
    assert done.returncode == 1 and "404" in done.stderr and "none of the platforms" in done.stderr
    assert "warm-one" in done.stdout
    file.write_text("nowhere.test/x\n\n" + "y" * 3000 + "\nUPPER:-tag\n")
    done = run(s, "warm", file, good=False)
    assert done.returncode == 2 and "line 1:" in done.stderr and "line 3:" in done.stderr
    assert run(s, "warm", tmp_path / "missing", good=False).returncode == 2


def test_warm_resumes(start, rig, tmp_path):
    """A run that was broken off goes on: what was fetched is not fetched again."""
    s = start()
    some = [images.one_blob(rig.push, f"library/resume-{i}", 1 << 20) for i in range(5)]
    file = tmp_path / "list"
    file.write_text("\n".join(map(name_of, some)))
    with rig.cdn.fault(httpd.trickle(64 << 10, .02)):
        child = subprocess.Popen([BINARY, "warm", "-c", s.file, file], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        s.wait_metric("fills_ok_total", 6)
        child.kill()
        child.wait(10)
    done = set(cached(s)) & {i.largest for i in some}
    rig.reset()
    assert all(x["ok"] for x in lines(s, "warm", file))
    asked = " ".join(r.path for r in rig.cdn.log)
    assert all(d.partition(":")[2] not in asked for d in done)


def test_warm_shows_bars(start, rig, tmp_path):
    """On a terminal: bars on stderr, wiped in the end."""
    s = start()
    image = images.one_blob(rig.push, "library/bars", 4 << 20)
    file = tmp_path / "list"
    file.write_text(name_of(image))
    with rig.cdn.fault(httpd.trickle(64 << 10, .02)):
        text, code = on_terminal([BINARY, "warm", "-c", s.file, file])
    assert code == 0 and "[####" in text and "1 of 1 images" in text
    assert "docker.io/library/bars" in text


def on_terminal(argv, wide=80, high=24, keys=(), seconds=30):
    """(what it wrote, exit code) of a command on a terminal of its own; keys: (text that must have
    been seen, key) in order."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", high, wide, 0, 0))
    p = subprocess.Popen(list(map(str, argv)), stdin=child, stdout=child, stderr=child,
                         start_new_session=True)
    os.close(child)
    seen, keys, end = b"", list(keys), time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if select.select([parent], [], [], .1)[0]:
                try:
                    seen += os.read(parent, 65536)
                except OSError:             # it has closed its side
                    break
            while keys and keys[0][0] in seen.decode(errors="replace"):
                os.write(parent, keys.pop(0)[1])
        return seen.decode(errors="replace"), p.wait(10)
    finally:
        if p.poll() is None:
            p.kill()
            p.wait(10)
        os.close(parent)


def test_top(start, rig, wire, alone):
    """80x24 is enough; it changes with time, q quits and leaves the terminal as it was; without a
    terminal it is one picture; --json is the state."""
    s = start()
    pull(wire(to=s, name=HOST), alone)
    time.sleep(.6)
    text, code = on_terminal([BINARY, "top", "-c", s.file], keys=[("IMAGE", b"q")])
    assert code == 0 and f"docker.io/{alone.repo[:40]}" in text
    assert text.startswith("\033[?1049h") and text.rstrip().endswith("\033[?1049l")
    frame = text.split("\033[H")[1].split("\033[J")[0]
    plain = frame
    for code_ in ("\033[K", "\033[1m", "\033[0m"):
        plain = plain.replace(code_, "")
    rows = plain.split("\r\n")
    assert len(rows) <= 24 and all(len(r) <= 80 for r in rows)
    for word in ("to clients", "from upstreams", "hits", "cache [", "FILLS 0", "UPSTREAM"):
        assert word in plain, word
    once = run(s, "top").stdout
    assert "to clients" in once and "\033" not in once
    assert lines(s, "top")[0]["workers"] == 2


@pytest.mark.parametrize("command, words", [("ls", []), ("du", []), ("pin", ["x"]), ("top", []),
                                            ("refresh", ["x"]), ("purge", ["x"])])
def test_no_server(start, command, words):
    """Without a server each says so, and what to do."""
    s = start(start=False)
    s.file.write_text("")
    s.start()
    s.stop()
    done = run(s, command, *words, good=False)
    assert done.returncode == 1 and "cannot reach the server" in done.stderr


def test_usage(start):
    """What needs a name says so: exit 100."""
    s = start(start=False)
    for command in ("unpin", "purge", "refresh", "warm"):
        assert run(s, command, good=False).returncode == 100, command


def test_private_is_not_warmed(start, rig, tmp_path):
    """Images of a mirror whose clients bring their own credentials cannot be pulled by nobody."""
    s = start({"mirror second.test": {"auth": "client"}})
    file = tmp_path / "list"
    file.write_text("second.test/library/x\n")
    assert "auth = client" in run(s, "warm", file, good=False).stderr


def test_tenants_do_not_concern_it(start, rig, tmp_path):
    """Whoever may use the control socket is nobody's tenant, and needs no login."""
    s = start({"tenant alice": {"secret": "alice-0123456789abcdef"}})
    image = images.small(rig.push, "library/warm-tenant")
    file = tmp_path / "list"
    file.write_text(name_of(image))
    assert lines(s, "warm", file)[0]["ok"]
    assert image.digest in run(s, "refresh", name_of(image)).stdout
    assert "alice-0123456789abcdef" not in run(s, "top", "--json").stdout


def test_manage_while_serving(start, rig, wire):
    """Looking, pinning and purging beside pulls: no pull is wrong, nothing hangs."""
    s = start()
    some = [images.small(rig.push, f"library/busy-{i}") for i in range(4)]
    bad, stop = [], threading.Event()

    def client():
        w = wire(to=s, name=HOST)
        while not stop.is_set():
            for image in some:
                if pull(w, image).body != image.raw:
                    bad.append(image)
    threads = [threading.Thread(target=client) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for i in range(4):
            run_sluice("purge", "-c", s.file, name_of(some[i]))
            run(s, "ls")
            run(s, "du")
            run(s, "pin", name_of(some[i]))
            run(s, "unpin", name_of(some[i]))
    finally:
        stop.set()
        for t in threads:
            t.join(30)
    assert not bad and s.metrics().get("fills_corrupt_total") == 0
