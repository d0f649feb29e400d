"""The cache: one transfer for all, only verified bytes, restart, bounds, tags."""
import contextlib
import fcntl
import os
import threading
import time

import pytest

from rig import httpd, images
from rig.images import blob_path
from rig.proc import wait_for
from rig.wire import ACCEPT, Ended

MB = 1 << 20


class Reader(threading.Thread):
    """One client in a thread of its own; result: (status, digest of the body, cut, end)."""
    def __init__(self, wire, path, *headers):
        super().__init__(daemon=True)
        self.wire, self.request, self.result, self.error = wire, (path, *headers), None, None
        self.start()

    def run(self):
        try:
            w = self.wire()
            a = w.ask("GET", *self.request)
            self.result = a.status, images.digest_of(a.body), a.cut, w.end
        except (OSError, Ended) as e:
            self.error = e

    def done(self):
        self.join(60)
        assert self.result, f"no answer: {self.error}"
        return self.result


@pytest.mark.versions
def test_fifty_clients_one_transfer(rig, sluice, wire, blob):
    """50 clients cold on one blob, on all workers, while it comes: one upstream transfer, and all
    get the whole."""
    image, digest = blob
    delta = sluice.delta()
    with rig.cdn.fault(httpd.stall(MB), digest[7:]) as f:
        readers = [Reader(wire, blob_path(image, digest)) for _ in range(50)]
        wait_for(lambda: delta()["cache_joins_total"] >= 49, 30, lambda: str(delta()))
        f.release()
        for r in readers:
            assert r.done() == (200, digest, False, "")
    assert len(rig.cdn.seen(digest[7:])) == 1
    d = delta()
    assert (d["cache_misses_total"], d["cache_joins_total"], d["fills_total"]) == (1, 49, 1)
    assert d["bytes_up_total"] == image.blobs[digest]


def test_reads_from_a_growing_file(rig, wire, blob):
    """While a fill stands at 1 MB: ranges below it are served at once, one beyond waits for it."""
    image, digest = blob
    whole = rig.registry.blob_path(digest).read_bytes()
    path = blob_path(image, digest)
    with rig.cdn.fault(httpd.stall(MB), digest[7:]) as f:
        first = Reader(wire, path)
        assert f.held.wait(15)
        a = wire().ask("GET", path, "Range: bytes=1000-200999")
        assert (a.status, a.body) == (206, whole[1000:201000])
        beyond = wire()
        beyond.request("GET", path, f"Range: bytes={5 * MB}-{5 * MB + 9}")
        f.release()
        assert beyond.answer().body == whole[5 * MB:5 * MB + 10]
        assert first.done()[1] == digest
    assert len(rig.cdn.seen(digest[7:])) == 1


@pytest.mark.versions
@pytest.mark.parametrize("name", ["corrupt first byte", "corrupt last byte", "truncated but clean",
                                  "too long", "empty"])
def test_wrong_bodies_are_never_published(rig, sluice, wire, blob, name):
    """A body that is not the digest's: every client is cut off and notices, by FIN and not by a
    reset; nothing is published or left in tmp/, it is counted, and the next pull is right."""
    image, digest = blob
    size = image.blobs[digest]
    fault = {"corrupt first byte": lambda: httpd.corrupt(0),
             "corrupt last byte": lambda: httpd.corrupt(size - 1),
             "truncated but clean": lambda: httpd.truncate(size - 1000),
             "too long": lambda: httpd.Fault(change=longer),
             "empty": lambda: httpd.truncate(0)}[name]()
    failed = sluice.metrics()["fills_failed_total"]
    gate = httpd.slow_first_byte()
    with rig.cdn.fault(fault, digest[7:]), rig.cdn.fault(gate, digest[7:]):
        joins = sluice.metrics()["cache_joins_total"]
        readers = [Reader(wire, blob_path(image, digest)) for _ in range(4)]
        wait_for(lambda: sluice.metrics()["cache_joins_total"] >= joins + 3, 20, "joins")
        gate.release()
        for r in readers:
            status, got, cut, end = r.done()
            # ("too long": the right bytes, but fewer than announced.)
            assert got != digest or cut
            assert status >= 500 or cut
            assert end in ("", "fin", "close_notify")
    sluice.wait_metric("fills_failed_total", failed + 1)
    assert not sluice.blob_file(digest).exists()
    wait_for(lambda: not os.listdir(sluice.cache / "tmp"), 10, "an empty tmp/")
    a = wire().ask("GET", blob_path(image, digest))
    assert images.digest_of(a.body) == digest


def longer(req, reply):
    reply.body = [*reply.chunks(), b"more"]
    reply.length += 4


@pytest.mark.versions
@pytest.mark.parametrize("how, ranges", [("fin", True), ("reset", True), ("fin", False)])
def test_cut_fill_is_resumed(rig, sluice, wire, blob, how, ranges):
    """An upstream that cuts the body at 3 MB, and the rest at its 3 MB: the rest is asked for by
    Range, through a new redirect; clients see one whole body.  Where Range gets a 200, what is there
    already is passed by."""
    image, digest = blob
    times = 2 if ranges else 1
    with contextlib.ExitStack() as faults:
        faults.enter_context(rig.cdn.fault(httpd.cut(3 * MB, how), digest[7:], times=times))
        if not ranges:
            faults.enter_context(rig.cdn.fault(httpd.ignore_range(), digest[7:]))
        a = wire().ask("GET", blob_path(image, digest))
    assert (a.status, images.digest_of(a.body)) == (200, digest)
    seen = rig.cdn.seen(digest[7:])
    assert len(seen) == times + 1
    assert len(rig.front.seen(digest[7:])) >= times + 1  # a redirect for each
    if ranges and how == "fin":
        assert [r.get("Range") for r in seen] == [None, f"bytes={3 * MB}-", f"bytes={6 * MB}-"]
    elif ranges:  # a reset takes bytes with it that were on their way
        assert seen[0].get("Range") is None and all(r.get("Range") for r in seen[1:])
    wait_for(sluice.blob_file(digest).exists, 10, "the blob's file")


def test_upstream_that_cuts_for_ever(rig, sluice, wire, blob):
    """No byte of the body comes, however often it is asked for: clients are cut by FIN, in
    bounded time, and nothing is published."""
    image, digest = blob
    failed = sluice.metrics()["fills_failed_total"]
    with rig.cdn.fault(httpd.cut(0), digest[7:]):
        r = Reader(wire, blob_path(image, digest))
        status, got, cut, end = r.done()
    assert got != digest and (status >= 500 or cut) and end in ("", "fin")
    sluice.wait_metric("fills_failed_total", failed + 1)
    assert not sluice.blob_file(digest).exists()


@pytest.mark.parametrize("retries", [0, 2])
def test_retries(start, rig, wire, blob, retries):
    """So often, and not more, a body that breaks off is asked for again."""
    image, digest = blob
    s = start({"mirror docker.io": {"retries": retries}})
    rig.cdn.log.clear()
    with rig.cdn.fault(httpd.cut(0), digest[7:]):
        Reader(lambda: wire(s), blob_path(image, digest)).done()
        s.wait_metric("fills_failed_total", 1)
    assert len(rig.cdn.seen(digest[7:])) == 1 + retries


def test_wrong_manifest(rig, wire, fresh):
    """A manifest by digest whose bytes are another's, cold: an error, not those bytes."""
    with rig.front.fault(httpd.corrupt(20), "/manifests/sha256"):
        a = wire().ask("GET", f"/v2/docker.io/{fresh.repo}/manifests/{fresh.digest}", *ACCEPT)
        assert a.status == 502 and a.code
    a = wire().ask("GET", f"/v2/docker.io/{fresh.repo}/manifests/{fresh.digest}", *ACCEPT)
    assert a.body == fresh.raw


def test_wrong_manifest_by_tag(rig, wire, fresh):
    """A manifest by tag that contradicts the upstream's own Docker-Content-Digest."""
    with rig.front.fault(httpd.corrupt(20), "/manifests/", method="GET"):
        a = wire().ask("GET", f"/v2/docker.io/{fresh.repo}/manifests/{fresh.tag}", *ACCEPT)
        assert a.status == 502 and a.code
    a = wire().ask("GET", f"/v2/docker.io/{fresh.repo}/manifests/{fresh.tag}", *ACCEPT)
    assert a.body == fresh.raw


def test_restart_keeps_the_cache(start, rig, wire, blob):
    """After SIGTERM and a new start: blob and manifest come from the cache, right from the first
    request, which may come before the scan has ended."""
    image, digest = blob
    s = start()
    manifest = f"/v2/docker.io/{image.repo}/manifests/{image.digest}"
    assert wire(s).ask("GET", blob_path(image, digest)).status == 200
    assert wire(s).ask("GET", manifest, *ACCEPT).body == image.raw
    s.restart()
    rig.reset()
    assert images.digest_of(wire(s).ask("GET", blob_path(image, digest)).body) == digest
    assert wire(s).ask("GET", manifest, *ACCEPT).body == image.raw
    assert not rig.cdn.log and not rig.front.log
    wait_for(lambda: s.metrics()["cache_bytes"] >= image.blobs[digest], 10, "the scan")


def is_orphan(path):
    with open(path, "rb") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            return False


def test_killed_in_a_fill(start, rig, wire, blob):
    """kill -9 in the middle of a fill: no file under the blob's name, tmp/ is cleared at the next
    start, and the pull after it is right."""
    image, digest = blob
    s = start()
    with rig.cdn.fault(httpd.stall(3 * MB), digest[7:]) as f:
        w = wire(s)
        w.request("GET", blob_path(image, digest))
        assert f.held.wait(15)
        s.kill()
    assert not s.blob_file(digest).exists()
    # io_uring may hold the killed process's files, and their locks, for a moment longer.
    wait_for(lambda: all(map(is_orphan, (s.cache / "tmp").iterdir())), 10, "free locks")
    s.start()
    wait_for(lambda: not os.listdir(s.cache / "tmp"), 10, "an empty tmp/")
    assert images.digest_of(wire(s).ask("GET", blob_path(image, digest)).body) == digest
    # The client has it when it is verified; the file has its name when it was synced.
    wait_for(s.blob_file(digest).exists, 10, "the blob's file")


def test_foreign_files(start, rig, wire, blob):
    """Strange files in the cache's folders, and one of the right name with a wrong length, do not
    stop the start; only whole files are ever served."""
    image, digest = blob
    s = start(start=False)
    file = s.blob_file(digest)
    file.parent.mkdir(parents=True)
    (file.parent / "README").write_text("hello")
    (s.cache / "blobs" / "x").mkdir()
    (s.cache / "tmp").mkdir()
    (s.cache / "tmp" / "17").write_bytes(b"x" * 1000)
    s.start()
    assert images.digest_of(wire(s).ask("GET", blob_path(image, digest)).body) == digest
    wait_for(lambda: not os.listdir(s.cache / "tmp"), 10, "an empty tmp/")


def test_eviction(start, rig, wire):
    """A cache of 64 MB under 6 blobs of 16 MB: it stays within its size, what was used last stays,
    and what was evicted is fetched again when asked for."""
    s = start({"cache": {"size": "64M"}})
    image = images.plain(rig.push, "library/evict", "latest",
                         [{"data": images.noise(f"e{i}", 16 * MB)} for i in range(6)])
    blobs = image.layers

    def get(digest):
        return images.digest_of(wire(s).ask("GET", blob_path(image, digest)).body) == digest
    for d in blobs[:3]:
        assert get(d)
    assert get(blobs[0])                # used again: it may stay
    for d in blobs[3:]:
        assert get(d)
        s.wait_metric("fills_ok_total", blobs.index(d) + 1)
    wait_for(lambda: s.metrics()["cache_bytes"] <= 64 * MB, 15, "the bound")
    assert s.metrics()["evictions_total"] >= 3
    held = [d for d in blobs if s.blob_file(d).exists()]
    assert blobs[5] in held and blobs[1] not in held
    on_disk = sum(f.stat().st_size for f in (s.cache / "blobs").rglob("*") if f.is_file())
    assert on_disk <= 64 * MB
    rig.cdn.log.clear()
    assert get(blobs[1]) and len(rig.cdn.log) == 1


def test_eviction_spares_what_is_read(start, rig, wire):
    """A blob that somebody is reading is not evicted under him."""
    s = start({"cache": {"size": "64M"}})
    image = images.plain(rig.push, "library/evict-read", "latest",
                         [{"data": images.noise(f"r{i}", 24 * MB)} for i in range(4)])
    w = wire(s)
    w.request("GET", blob_path(image, image.layers[0]))
    a = w.head()
    for d in image.layers[1:]:
        assert wire(s).ask("GET", blob_path(image, d)).status == 200
    assert images.digest_of(w.take(int(a.get("Content-Length")))) == image.layers[0]


def test_file_that_vanished(start, rig, wire, blob):
    """An operator removes a file by hand: the next request fetches it again or serves what is
    open; it never fails."""
    image, digest = blob
    s = start()
    assert wire(s).ask("GET", blob_path(image, digest)).status == 200
    wait_for(s.blob_file(digest).exists, 10, "the blob's file")
    s.blob_file(digest).unlink()
    assert images.digest_of(wire(s).ask("GET", blob_path(image, digest)).body) == digest
    s.restart()
    assert images.digest_of(wire(s).ask("GET", blob_path(image, digest)).body) == digest


# Tags.

def tag_path(image):
    return f"/v2/docker.io/{image.repo}/manifests/{image.tag}"


def test_tag_within_its_window(rig, sluice, wire, fresh):
    """Within tag_fresh GET and HEAD of a tag ask nobody."""
    assert wire().ask("GET", tag_path(fresh), *ACCEPT).status == 200
    rig.reset()
    for method in ("GET", "HEAD", "GET"):
        a = wire().ask(method, tag_path(fresh), *ACCEPT)
        assert (a.status, a.get("Docker-Content-Digest")) == (200, fresh.digest)
    assert not rig.front.log


def test_tag_is_revalidated_by_head(start, rig, wire, fresh):
    """After the window: one HEAD, no GET while the tag has not moved; the new image once it has."""
    s = start({"mirror docker.io": {"tag_fresh": "0s"}})
    assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).body == fresh.raw
    rig.reset()
    delta = s.delta()
    for _ in range(3):
        assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).body == fresh.raw
    # (A worker that was not asked before learns the challenge first.)
    assert [r.method for r in rig.front.seen("/manifests/") if r.status != 401] == ["HEAD"] * 3
    assert delta()["tag_checks_total"] == 3
    assert s.wait_access(lambda x: x["cache"] == "revalidated", 3)
    moved = images.small(rig.push, fresh.repo, fresh.tag, salt="moved")
    a = wire(s).ask("GET", tag_path(fresh), *ACCEPT)
    assert (a.body, a.get("Docker-Content-Digest")) == (moved.raw, moved.digest)


def test_tag_moves_after_its_window(start, rig, wire, fresh):
    """A short window: the old image until it ends, then the new one."""
    s = start({"mirror docker.io": {"tag_fresh": "1s"}})
    assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).body == fresh.raw
    moved = images.small(rig.push, fresh.repo, fresh.tag, salt="moved")
    wait_for(lambda: wire(s).ask("HEAD", tag_path(fresh), *ACCEPT).get("Docker-Content-Digest")
             == moved.digest, 15, "the new image", 0.2)
    assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).body == moved.raw


@pytest.mark.parametrize("status", [401, 403, 404])
def test_tag_that_is_gone(start, rig, wire, fresh, status):
    """After the window a 401, 403 or 404 of the upstream ends a tag: never the stale image."""
    s = start({"mirror docker.io": {"tag_fresh": "0s"}})
    assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).status == 200
    with rig.front.fault(httpd.status(status), "/manifests/"):
        a = wire(s).ask("GET", tag_path(fresh), *ACCEPT)
    assert a.status == status and a.code


def test_digest_needs_no_upstream(start, rig, wire, fresh):
    """What is addressed by digest is served from the cache without asking, whatever tag_fresh."""
    s = start({"mirror docker.io": {"tag_fresh": "0s"}})
    path = f"/v2/docker.io/{fresh.repo}/manifests/{fresh.digest}"
    assert wire(s).ask("GET", path, *ACCEPT).body == fresh.raw
    assert wire(s).ask("GET", blob_path(fresh, fresh.layers[0])).status == 200
    rig.reset()
    with rig.front.fault(httpd.status(500)):
        assert wire(s).ask("GET", path, *ACCEPT).body == fresh.raw
        assert wire(s).ask("GET", blob_path(fresh, fresh.layers[0])).status == 200
    assert not rig.front.log


def test_tags_of_two_registries(rig, start, wire, fresh):
    """The same repository and tag at two registries are two things."""
    other = rig.another_front().start()
    s = start({"mirror second.test": {"upstream": other.url}})
    other.extra[f"/v2/{fresh.repo}/manifests/{fresh.tag}"] = httpd.Reply(
        200, [("Content-Type", images.MANIFEST)], fresh.raw + b" ")
    a = wire(s).ask("GET", tag_path(fresh), *ACCEPT)
    b = wire(s).ask("GET", tag_path(fresh).replace("docker.io", "second.test"), *ACCEPT)
    assert (a.body, b.body) == (fresh.raw, fresh.raw + b" ")
    other.stop()


@pytest.mark.parametrize("code", [429, 500, 503, None])
def test_stale_tag(start, rig, wire, fresh, code):
    """Upstream answers 429 or 5xx, or not at all: the tag's last answer, with Warning and Age."""
    s = start({"mirror docker.io": {"tag_fresh": "0s", "first_byte_timeout": "500ms"}})
    assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).body == fresh.raw
    s.wait_metric("fills_ok_total", 1)
    fault = httpd.status(code) if code else httpd.slow_first_byte()
    with rig.front.fault(fault, "/manifests/"):
        for method in ("GET", "HEAD"):
            a = wire(s).ask(method, tag_path(fresh), *ACCEPT)
            assert (a.status, a.get("Docker-Content-Digest")) == (200, fresh.digest)
            assert a.get("Warning").startswith("299 ") and int(a.get("Age")) >= 0
    a = wire(s).ask("GET", tag_path(fresh), *ACCEPT)
    assert a.status == 200 and a.get("Warning") is None


@pytest.mark.parametrize("code", [401, 403, 404])
def test_tag_that_ended(start, rig, wire, fresh, code):
    """Upstream says that the tag is gone, or not for us: so it is, also when it then fails."""
    s = start({"mirror docker.io": {"tag_fresh": "0s", "negative": "0s"}})
    assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).body == fresh.raw
    with rig.front.fault(httpd.status(code), "/manifests/"):
        assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).status == code
    with rig.front.fault(httpd.status(503), "/manifests/"):
        assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).status == 503


def test_too_old_to_serve(start, rig, wire, fresh):
    """stale_for = 0s: never an old answer."""
    s = start({"mirror docker.io": {"tag_fresh": "0s", "stale_for": "0s"}})
    assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).status == 200
    time.sleep(1.1)  # ages are whole seconds
    with rig.front.fault(httpd.status(503), "/manifests/"):
        assert wire(s).ask("GET", tag_path(fresh), *ACCEPT).status == 503
