"""Large blobs by several ranges at once, when one stream is slow: what comes is right, whatever one
of them does."""
import contextlib
import threading

import pytest

from rig import httpd, images
from rig.images import blob_path
from rig.proc import wait_for

MB = 1 << 20
SIZE = 24 * MB
CONFIG = {"mirror docker.io": {"parallel_from": "4M", "stall": "2s"}}


@pytest.fixture(scope="module")
def large(shared_rig):
    image = images.one_blob(shared_rig.push, "library/large", SIZE)
    return image, image.largest


def slow(rig, digest, times=1, total=None):
    """5 MB/s, for the first so many streams: after a second, the rest would take four."""
    return rig.cdn.fault(httpd.trickle(100_000, 0.02, total), digest[7:], times=times)


def right(s, wire, large):
    got = wire(s).ask("GET", blob_path(*large))
    assert got.status == 200 and not got.cut
    assert images.digest_of(got.body) == large[1]
    s.wait_metric("fills_ok_total", 1)
    wait_for(lambda: s.blob_file(large[1]).exists(), 10, "published")


def ranges(rig, digest):
    return [r for r in rig.cdn.seen(digest[7:]) if r.get("Range")]


def test_four_connections(start, rig, wire, large):
    """Equal bytes, by four connections, each with ranges that have an end; nothing comes twice but
    what the first stream had on its way."""
    s = start(CONFIG)
    with slow(rig, large[1], times=None):
        right(s, wire, large)
    got = ranges(rig, large[1])
    assert len({r.peer for r in got}) >= 4
    assert all(r.status == 206 and not r.get("Range").endswith("-") for r in got)
    assert sum(r.sent for r in got) < SIZE
    assert s.metrics()["fills_parallel_total"] == 1
    assert wire(s).ask("GET", blob_path(*large)).status == 200
    assert s.metrics()["cache_hits_total"] == 1


def test_a_fast_stream_stays_alone(start, rig, wire, large):
    s = start(CONFIG)
    right(s, wire, large)
    assert len(rig.cdn.seen(large[1][7:])) == 1
    assert s.metrics()["fills_parallel_total"] == 0


@pytest.mark.parametrize("keys", [{"parallel": 1}, {"parallel_from": "25M"}])
def test_not_wanted(start, rig, wire, large, keys):
    s = start({"mirror docker.io": {**CONFIG["mirror docker.io"], **keys}})
    with slow(rig, large[1], total=10 * MB):
        right(s, wire, large)
    assert len(rig.cdn.seen(large[1][7:])) == 1


def test_upstream_without_ranges(start, rig, wire, large):
    """It is asked once in vain, and the first stream goes on as if nothing had been."""
    s = start(CONFIG)
    with slow(rig, large[1], total=12 * MB), \
            rig.cdn.fault(httpd.ignore_range(), large[1][7:]):
        right(s, wire, large)
    first, *more = rig.cdn.seen(large[1][7:])
    assert first.sent == large[0].blobs[large[1]]
    assert len(more) == 1 and more[0].status == 200


def test_upstream_that_does_not_say_ranges(start, rig, wire, large):
    s = start(CONFIG)
    with slow(rig, large[1], total=12 * MB), \
            rig.cdn.fault(httpd.header("Accept-Ranges"), large[1][7:]):
        right(s, wire, large)
    assert len(rig.cdn.seen(large[1][7:])) == 1


ONE_LANE = {
    "cut": lambda: httpd.cut(100_000),
    "reset": lambda: httpd.cut(100_000, "reset"),
    "stalled": lambda: httpd.stall(100_000),
    "truncated": lambda: httpd.truncate(100_000),
    "wrong range": lambda: httpd.header("Content-Range", f"bytes 0-9/{4 * MB}"),
    "other size": lambda: httpd.header("Content-Range", "bytes 1000000-1100000/7000000"),
    "no range": httpd.ignore_range,
    "link expired": lambda: httpd.status(403),
    "too many": lambda: httpd.status(429, [("Retry-After", "1")]),
    "busy": lambda: httpd.status(503),
}


def test_one_lane_fails(start, rig, wire):
    """The one that is tried first, or the next, or the first stream: what it does not bring, others
    do.  All of these pulls run at once."""
    s, results = start({"mirror docker.io": {"parallel_from": "1M", "stall": "2s"}}), {}

    def pull(what, which, image, fault):
        digest = image.largest
        got = wire(s).ask("GET", blob_path(image, digest))
        results[what, which] = (got.status, got.cut, images.digest_of(got.body) == digest,
                                fault.hits)
    with contextlib.ExitStack() as stack:
        threads = []
        for what, which in [(x, i) for x in ONE_LANE for i in (0, 1, 2)]:
            if which == 0 and what not in ("cut", "stalled"):
                continue
            image = images.one_blob(rig.push, "library/lanes", 4 * MB,
                                    f"{what}-{which}".replace(" ", "-"))
            match = image.largest[7:]
            stack.enter_context(rig.cdn.fault(httpd.trickle(40_000, 0.05), match, times=1))
            fault = httpd.stall(MB) if which == 0 and what == "stalled" else \
                httpd.cut(MB) if which == 0 else ONE_LANE[what]()
            stack.enter_context(rig.cdn.fault(fault, match, times=1, spare=which))
            threads.append(threading.Thread(target=pull, args=(what, which, image, fault)))
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
    assert len(results) == len(threads)
    assert {k: v for k, v in results.items() if v != (200, False, True, 1)} == {}
    assert s.metrics()["fills_parallel_total"] == len(threads)
    assert s.metrics()["fills_failed_total"] == 0


def test_one_wrong_byte(start, rig, wire, large):
    """Nobody gets the whole of it; it is fetched once more, by one stream, and that is kept."""
    s = start(CONFIG)
    with slow(rig, large[1]), \
            rig.cdn.fault(httpd.corrupt(70_000), large[1][7:], times=1, spare=2):
        got = wire(s).ask("GET", blob_path(*large))
    assert s.metrics()["fills_parallel_total"] == 1
    assert got.cut or images.digest_of(got.body) == large[1]
    s.wait_metric("fills_corrupt_total", 1)
    right(s, wire, large)
    assert s.metrics()["fills_parallel_total"] == 1


def test_many_readers(start, rig, wire, large):
    """From the beginning and from the middle, before and while lanes fill it."""
    s, results = start(CONFIG), []

    def read(offset):
        got = wire(s).ask("GET", blob_path(*large), *([f"Range: bytes={offset}-"] if offset else []))
        results.append((offset, got.status, got.cut, got.body))
    with slow(rig, large[1]):
        threads = [threading.Thread(target=read, args=(i * 3 * MB,)) for i in range(8)]
        for t in threads[:4]:
            t.start()
        s.wait_metric("fills_parallel_total", 1)
        for t in threads[4:]:
            t.start()
        for t in threads:
            t.join(40)
    whole = next(body for offset, *_, body in results if not offset)
    assert images.digest_of(whole) == large[1]
    assert len(results) == 8
    for offset, status, cut, body in results:
        assert status == (206 if offset else 200) and not cut
        assert body == whole[offset:]


def test_nobody_wants_it(start, rig, wire, large):
    """All lanes end, what is there without a gap is kept, and the next pull goes on from there."""
    s = start({**CONFIG, "cache": {"finish_after": "100%"}})
    with slow(rig, large[1], times=None):
        w = wire(s)
        w.request("GET", blob_path(*large))
        s.wait_metric("fills_parallel_total", 1)
        w.close()
        rig.cdn.faults[-1].body = httpd.trickle(1000, 0.05).body
        s.wait_metric("fills_dropped_total", 1, 30)
    wait_for(lambda: not rig.cdn.open, 20, "every connection to upstream is closed")
    goes_on(s, rig, wire, large)


def test_killed(start, rig, wire, large):
    """The journal names nothing behind a gap: what is gone on with is right."""
    s = start(CONFIG)
    with slow(rig, large[1], times=None):
        w = wire(s)
        w.request("GET", blob_path(*large))
        s.wait_metric("fills_parallel_total", 1)
        wait_for(lambda: list(s.cache.glob("partial/*.journal")), 20, "a journal")
        s.kill()
        w.close()
    s.start()
    goes_on(s, rig, wire, large)


def goes_on(s, rig, wire, large):
    rig.cdn.log.clear()
    right(s, wire, large)
    assert s.metrics()["fills_resumed_total"] == 1
    assert all(r.status == 206 for r in rig.cdn.seen(large[1][7:]))


def test_max_conns(start, rig, wire, large):
    """No lane takes a connection that others may need."""
    s = start({"server": {"workers": 1}, "pool few": {"max_conns": 2, "queue_timeout": "1s"},
               "mirror docker.io": {**CONFIG["mirror docker.io"], "pool": "few"}})
    with slow(rig, large[1], total=12 * MB):
        right(s, wire, large)
    assert s.metrics()["fills_parallel_total"] == 1
    assert len(rig.cdn.seen(large[1][7:])) == 1
    assert "no connection to spare" in s.tail(1000)


def test_reload(start, rig, wire, large):
    """A reload in the middle: the fill goes on under the old configuration to its end."""
    s = start(CONFIG)
    with slow(rig, large[1]):
        w = wire(s)
        w.request("GET", blob_path(*large))
        s.wait_metric("fills_parallel_total", 1)
        s.reload({"mirror docker.io": {"parallel_from": None, "parallel": 1}})
        assert images.digest_of(w.answer().body) == large[1]
    s.wait_metric("fills_ok_total", 1)
