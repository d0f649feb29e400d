"""The disk fails: clients are served all the same, and Sluice recovers by itself."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import threading

import pytest

from rig import httpd, images
from rig.images import blob_path
from rig.mirror import ini, sluice
from rig.proc import wait_for
from rig.wire import ACCEPT

MB = 1 << 20


class Disk:
    """A file system of its own under the cache of one Sluice."""
    def __init__(self, folder, size):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "sluice-test",
                               self.dir], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")

    def remount(self, how):
        subprocess.run(["mount", "-o", f"remount,{how}", self.dir], check=True)

    def free(self):
        v = os.statvfs(self.dir)
        return v.f_bavail * v.f_frsize

    def fill(self, leave=0):
        """Somebody else writes until so many bytes are left."""
        with open(self.dir / "ballast", "ab", buffering=0) as f, contextlib.suppress(OSError):
            while self.free() > leave:
                f.write(b"x" * min(MB, self.free() - leave))

    def clear(self):
        (self.dir / "ballast").unlink()

    def close(self):
        subprocess.run(["umount", "-l", self.dir], check=False)


@pytest.fixture
def disk(tmp_path_factory):
    """disk(size): a small file system; its folder "cache" is for [cache] path."""
    made = []

    def make(size):
        made.append(Disk(tmp_path_factory.mktemp("disk"), size))
        return made[-1]
    yield make
    for d in made:
        d.close()


def get(w, image, digest, *headers):
    a = w.ask("GET", blob_path(image, digest), *headers)
    return a.status, images.digest_of(a.body), a.cut


def usable(s):
    return s.metrics()["cache_usable"] == 1


def lines(s, text):
    return [x for x in (s.dir / "log").read_text().splitlines() if text in x]


def break_full(s, d):
    d.fill()
    return d.clear


def break_read_only(s, d):
    d.remount("ro")
    return lambda: d.remount("rw")


def break_unlinked(s, d):
    shutil.rmtree(s.config["cache"]["path"])
    return lambda: None                 # made again by Sluice itself


def break_moved(s, d):
    path = pathlib.Path(s.config["cache"]["path"])
    path.rename(path.with_name("elsewhere"))
    path.write_text("in the way")
    wait_for(lambda: not usable(s), 30, "a look at the folder")
    return path.unlink


@pytest.mark.parametrize("how", [break_full, break_read_only, break_unlinked, break_moved])
def test_disk_that_fails(start, rig, wire, disk, blob, fresh, how):
    """While the disk fails every request is answered, right and whole, from upstream: blobs, ranges,
    HEAD, manifests; said once; when the disk is back blobs are cached again."""
    image, digest = blob
    whole = rig.registry.blob_path(digest).read_bytes()
    d = disk("64M")
    s = start({"cache": {"path": d.dir / "cache", "free": "0"}})
    mend = how(s, d)
    delta = s.delta()
    for _ in range(3):
        assert get(wire(s), image, digest) == (200, digest, False)
    a = wire(s).ask("GET", blob_path(image, digest), f"Range: bytes=100-{3 * MB}")
    assert (a.status, a.body) == (206, whole[100:3 * MB + 1])
    a = wire(s).ask("GET", blob_path(image, digest), f"Range: bytes=5-9,{6 * MB}-{6 * MB + 4}")
    assert a.status == 206 and whole[5:10] in a.body and whole[6 * MB:6 * MB + 5] in a.body
    a = wire(s).ask("HEAD", blob_path(image, digest))
    assert (a.status, int(a.get("Content-Length"))) == (200, len(whole))
    for ref in (fresh.tag, fresh.digest):
        for method in ("GET", "HEAD"):
            a = wire(s).ask(method, f"/v2/docker.io/{fresh.repo}/manifests/{ref}", *ACCEPT)
            assert (a.status, a.get("Docker-Content-Digest")) == (200, fresh.digest)
            assert method == "HEAD" or a.body == fresh.raw
    if how is not break_unlinked:       # which may be mended already
        assert not usable(s)
        assert delta()["cache_bypass_total"] >= 5
        assert len(lines(s, " unusable error=")) == 1
    mend()
    wait_for(lambda: usable(s), 60, "a usable cache", 0.2)
    assert lines(s, "usable again")
    assert get(wire(s), image, digest)[:2] == (200, digest)
    wait_for(lambda: (d.dir / "cache/blobs/sha256" / digest[7:9] / digest[7:]).exists(), 20, "a file")
    rig.cdn.log.clear()
    assert get(wire(s), image, digest)[:2] == (200, digest)
    assert not rig.cdn.log


def test_upstream_errors_pass_by(start, rig, wire, disk, blob):
    """In bypass, too, a 404 is a 404, a wrong body is cut before its end, a broken one gone on with."""
    image, digest = blob
    d = disk("32M")
    s = start({"cache": {"path": d.dir / "cache", "free": "0"}})
    d.remount("ro")
    assert get(wire(s), image, digest) == (200, digest, False)
    absent = "sha256:" + "ab" * 32
    assert wire(s).ask("GET", blob_path(image, absent)).status == 404
    with rig.cdn.fault(httpd.corrupt(100), digest[7:]):
        status, got, cut = get(wire(s), image, digest)
        assert got != digest and cut
    with rig.cdn.fault(httpd.cut(3 * MB), digest[7:], times=1):
        assert get(wire(s), image, digest) == (200, digest, False)
    with rig.cdn.fault(httpd.chunked(), digest[7:]):
        assert get(wire(s), image, digest) == (200, digest, False)
    with rig.cdn.fault(httpd.chunked(), digest[7:]), rig.cdn.fault(httpd.corrupt(100), digest[7:]):
        status, got, cut = get(wire(s), image, digest)
        assert cut


class Reader(threading.Thread):
    def __init__(self, w, image, digest, *headers):
        super().__init__(daemon=True)
        self.args, self.result = (w, image, digest, *headers), None
        self.start()

    def run(self):
        self.result = get(*self.args)

    def done(self):
        self.join(60)
        return self.result


@pytest.mark.parametrize("ranges", [True, False])
def test_full_in_the_middle(start, rig, wire, disk, blob, ranges):
    """The disk is full when half of a blob is there: clients in the middle get the rest of it, whole
    and verified, by Range or, if upstream knows none, by passing by what they have."""
    image, digest = blob
    d = disk("64M")
    s = start({"cache": {"path": d.dir / "cache", "free": "0"}})
    d.fill(leave=5 * MB)
    with contextlib.ExitStack() as faults:
        if not ranges:
            faults.enter_context(rig.cdn.fault(httpd.ignore_range(), digest[7:]))
        readers = [Reader(wire(s), image, digest) for _ in range(5)]
        for r in readers:
            assert r.done() == (200, digest, False)
    assert s.metrics()["cache_bypass_total"] >= 1
    assert not list((d.dir / "cache/tmp").iterdir())


def test_wrong_rest(start, rig, wire, disk, blob):
    """Full in the middle, and what upstream then gives is wrong: nobody gets the whole of it."""
    image, digest = blob
    d = disk("64M")
    s = start({"cache": {"path": d.dir / "cache", "free": "0"}})
    d.fill(leave=5 * MB)
    with rig.cdn.fault(httpd.corrupt(1000), digest[7:]):
        status, got, cut = get(wire(s), image, digest)
    assert got != digest and cut


def test_truncated_under_a_reader(start, rig, wire, blob):
    """A cached file loses its end while it is read: the reader gets the rest from upstream, the file
    goes to quarantine, the next request fetches it anew."""
    image, digest = blob
    s = start()
    assert get(wire(s), image, digest)[:2] == (200, digest)
    wait_for(s.blob_file(digest).exists, 10, "the blob's file")
    w = wire(s)
    w.request("GET", blob_path(image, digest))
    a = w.head()
    os.truncate(s.blob_file(digest), 5 * MB + 123)
    assert images.digest_of(w.take(int(a.get("Content-Length")))) == digest
    wait_for(lambda: not s.blob_file(digest).exists(), 10, "quarantine")
    assert len(list((s.cache / "quarantine").iterdir())) == 1
    assert s.metrics()["cache_damaged_total"] == 1
    rig.cdn.log.clear()
    assert get(wire(s), image, digest)[:2] == (200, digest)
    assert len(rig.cdn.log) == 1
    wait_for(s.blob_file(digest).exists, 10, "the blob's file")


def test_truncated_before_a_reader(start, rig, wire, blob):
    """The same before the request: never a short answer."""
    image, digest = blob
    s = start()
    assert get(wire(s), image, digest)[:2] == (200, digest)
    wait_for(s.blob_file(digest).exists, 10, "the blob's file")
    os.truncate(s.blob_file(digest), MB)
    for _ in range(3):
        assert get(wire(s), image, digest) == (200, digest, False)


def test_free_floor_with_other_writers(start, rig, wire, disk):
    """Somebody else fills the disk: the cache gives way until the floor is free again, without a
    request coming."""
    d = disk("96M")
    s = start({"cache": {"path": d.dir / "cache", "free": "40M", "size": "64M"}})
    image = images.plain(rig.push, "library/floor", "latest",
                         [{"data": images.noise(f"f{i}", 8 * MB)} for i in range(4)])
    for n, digest in enumerate(image.layers):
        assert get(wire(s), image, digest)[:2] == (200, digest)
        s.wait_metric("fills_ok_total", n + 1)
    assert d.free() >= 40 * MB and s.metrics()["evictions_total"] == 0
    d.fill(leave=30 * MB)
    wait_for(lambda: d.free() >= 40 * MB, 30, lambda: f"free space: {d.free()}")
    assert s.metrics()["evictions_total"] >= 1
    assert usable(s)


def test_never_above_its_size(start, rig, wire, disk):
    """What is published never sums up to more than `size`, at no moment."""
    s = start({"cache": {"size": "64M", "free": "0"}})
    image = images.plain(rig.push, "library/bound", "latest",
                         [{"data": images.noise(f"b{i}", 12 * MB)} for i in range(12)])
    most, stop = [0], threading.Event()

    def watch():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                most[0] = max(most[0], sum(f.stat().st_size
                                           for f in (s.cache / "blobs").rglob("*") if f.is_file()))
    t = threading.Thread(target=watch, daemon=True)
    t.start()
    for a, b in zip(image.layers[::2], image.layers[1::2]):
        two = [Reader(wire(s), image, x) for x in (a, b)]
        for r in two:
            assert r.done()[0] == 200
    s.wait_metric("fills_ok_total", 12)
    stop.set()
    t.join(10)
    assert most[0] <= 64 * MB + 12 * MB         # one fill more, in progress with another


def flip(path, at):
    """Change one byte, as a disk does: no time of the file tells it."""
    st = os.stat(path)
    with open(path, "r+b") as f:
        f.seek(at)
        c = f.read(1)
        f.seek(at)
        f.write(bytes([c[0] ^ 1]))
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def published(s, wire, image, digests):
    for digest in digests:
        assert get(wire(s), image, digest)[:2] == (200, digest)
        wait_for(s.blob_file(digest).exists, 10, "the blob's file")


def fetched_anew(s, rig, wire, image, digest):
    rig.cdn.log.clear()
    assert get(wire(s), image, digest) == (200, digest, False)
    assert len(rig.cdn.seen(digest[7:])) == 1
    wait_for(s.blob_file(digest).exists, 10, "the blob's file")
    assert images.digest_of(s.blob_file(digest).read_bytes()) == digest
    rig.cdn.log.clear()
    assert get(wire(s), image, digest) == (200, digest, False)
    assert not rig.cdn.log


@pytest.mark.parametrize("beside", [True, False])
def test_verify(start, rig, wire, blob, beside):
    """`sluice verify` finds a changed byte, beside a server that has the file open or without one;
    the next pull is right and fetched anew; verified again, all is good."""
    image, digest = blob
    s = start({"cache": {"scrub": "0s"}})
    others = [d for d in image.blobs if d != digest]
    published(s, wire, image, [digest, *others])
    assert sluice("verify", "-c", s.file).returncode == 0
    used = os.stat(s.blob_file(digest)).st_atime_ns
    flip(s.blob_file(digest), 3 * MB)
    if not beside:
        s.stop()
    done = sluice("verify", "-c", s.file)
    assert (done.returncode, done.stderr) == (1, "")
    first, last = done.stdout.splitlines()
    assert first == f"damaged blobs/sha256/{digest[7:9]}/{digest[7:]}" and " 1 damaged, 0 " in last
    assert not s.blob_file(digest).exists()
    kept = list((s.cache / "quarantine").iterdir())
    assert [k.name for k in kept] == [f"blobs-sha256-{digest[7:9]}-{digest[7:]}"]
    assert kept[0].stat().st_atime_ns == used
    if not beside:
        s.start()
    fetched_anew(s, rig, wire, image, digest)
    done = sluice("verify", "-c", s.file, "--json")
    assert done.returncode == 0
    seen = json.loads(done.stdout)
    assert seen["damaged"] == 0 and seen["files"] == len(image.blobs)


def test_verify_cannot(start, rig):
    """No folder, or no configuration: 2, and why."""
    s = start({"cache": {"path": "/nonexistent/cache"}}, start=False)
    s.file.write_text(ini(s.config))
    done = sluice("verify", "-c", s.file)
    assert done.returncode == 2 and "/nonexistent/cache" in done.stderr
    assert sluice("verify", "-c", "/nonexistent.ini").returncode == 2
    assert sluice("check", "--json", "-c", s.file).returncode == 100


def test_scrub(start, rig, wire, blob):
    """The scrub finds the same by itself; what was verified is not read again before its time, over
    a restart, too."""
    image, digest = blob
    s = start({"cache": {"scrub": "2s"}})
    published(s, wire, image, image.blobs)
    s.wait_metric("scrub_blobs_total", 2 * len(image.blobs), 40)
    assert s.metrics()["cache_damaged_total"] == 0
    flip(s.blob_file(digest), 5 * MB)
    s.wait_metric("cache_damaged_total", 1, 40)
    wait_for(lambda: list((s.cache / "quarantine").iterdir()), 10, "quarantine")
    fetched_anew(s, rig, wire, image, digest)
    s.restart({"cache": {"scrub": "1h"}})
    wait_for(lambda: s.metrics()["cache_scanning"] == 0, 20, "the scan")
    assert s.metrics()["scrub_blobs_total"] == 0


def test_damaged_under_a_reader(start, rig, wire, blob):
    """A changed byte is found while a slow client reads: it never gets a whole body that is wrong."""
    image, digest = blob
    s = start({"cache": {"scrub": "0s"}})
    published(s, wire, image, [digest])
    w = wire(s)
    w.request("GET", blob_path(image, digest))
    size = int(w.head().get("Content-Length"))
    flip(s.blob_file(digest), size - 10)
    assert sluice("verify", "-c", s.file).returncode == 1
    assert get(wire(s), image, digest) == (200, digest, False)     # and the server knows
    assert images.digest_of(w.take(size)) == digest


def test_hundred_thousand_files(start, rig, wire, fresh):
    """A cache with 100,000 files answers its first request before they are all read."""
    s = start({"cache": {"scrub": "0s"}}, start=False)
    for i in range(256):
        folder = s.cache / "blobs/sha256" / f"{i:02x}"
        folder.mkdir(parents=True)
        for n in range(391):
            os.mknod(folder / f"{i:02x}{n:062x}")
    s.start()
    path = f"/v2/docker.io/{fresh.repo}/manifests/{fresh.digest}"
    assert wire(s, port="plain").ask("GET", path, *ACCEPT).body == fresh.raw
    if "cache scan" in (s.dir / "log").read_text():
        pytest.skip("this machine reads 100,000 names before one request")
    wait_for(lambda: s.metrics()["cache_scanning"] == 0, 60, "the scan")
    assert s.metrics()["cache_blobs"] >= 256 * 391


def test_small_body_in_memory(start, rig, wire, blob):
    """What is asked for again comes from memory, whatever becomes of its file; after a restart the
    damaged file is found out before it gets to memory."""
    image = blob[0]
    digest = min(image.blobs, key=image.blobs.get)
    s = start({"server": {"workers": 1}, "cache": {"scrub": "0s"}})
    published(s, wire, image, [digest])
    assert get(wire(s), image, digest) == (200, digest, False)
    flip(s.blob_file(digest), 1)
    before = s.metrics()["cache_memory_hits_total"]
    w = wire(s)
    assert get(w, image, digest) == (200, digest, False)
    a = w.ask("GET", blob_path(image, digest), "Range: bytes=1-1")
    assert a.status == 206 and len(a.body) == 1
    assert s.metrics()["cache_memory_hits_total"] == before + 1
    s.stop()
    s.start()
    assert get(wire(s), image, digest) == (200, digest, False)
    m = s.metrics()
    assert m["cache_damaged_total"] == 1 and m["cache_memory_hits_total"] == 0
