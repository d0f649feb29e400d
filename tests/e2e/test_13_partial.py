"""Fills that are given up or die, and what the next one makes of the beginning that is there."""
import contextlib
import os
import re

import pytest

from rig import httpd, images
from rig.images import blob_path
from rig.proc import wait_for

MB = 1 << 20
LAYER, AT = 40 * MB, 20 * MB        # of the blob, about; where upstream holds it
STEP = 8 * MB                       # the journal lags behind by less than this, and a write


@pytest.fixture(scope="module")
def half(shared_rig):
    image = images.one_blob(shared_rig.push, "library/half", LAYER)
    return image, image.largest


def size_of(half):
    return half[0].blobs[half[1]]


def part(s, digest, suffix=""):
    return s.cache / "partial" / (digest.replace(":", "-") + suffix)


def leave_half(s, rig, wire, half, end, at=AT):
    """A pull that upstream holds in the middle when `end` ends the process."""
    image, digest = half
    with rig.cdn.fault(httpd.stall(at), digest[7:], times=1) as f:
        w = wire(s)
        w.request("GET", blob_path(image, digest))
        assert f.held.wait(20)
        wait_for(lambda: part(s, digest, ".journal").exists()
                 and saved(s, digest) > at - STEP, 20, "a journal")
        end()
        w.close()
        f.release()


def looks_in(w, half, *headers):
    """A client that leaves when the body begins."""
    w.request("GET", blob_path(*half), *headers)
    w.head()
    w.close()


def saved(s, digest):
    return int(part(s, digest, ".journal").read_text().split()[-1])


def from_log(s):
    return int(re.findall(r"goes on from=(\d+)", s.tail(1000))[-1])


def whole(s, rig, wire, half):
    """The blob, right; and the bytes that upstream gave for it."""
    image, digest = half
    rig.cdn.log.clear()
    got = wire(s).ask("GET", blob_path(image, digest))
    assert got.status == 200 and images.digest_of(got.body) == digest
    wait_for(lambda: s.blob_file(digest).exists(), 20, "published")
    wait_for(lambda: not part(s, digest).exists() and not part(s, digest, ".journal").exists(),
             10, "nothing left in partial/")
    return sum(r.sent for r in rig.cdn.seen(digest[7:]))


@pytest.mark.parametrize("how", ["kill", "term"])
def test_goes_on_after_a_restart(start, rig, wire, half, how):
    """SIGKILL or SIGTERM in the middle: the next request gets the whole, and only the rest comes
    from upstream."""
    s = start({"server": {"drain_timeout": "1s"}})
    leave_half(s, rig, wire, half, s.kill if how == "kill" else s.stop)
    assert not s.blob_file(half[1]).exists()
    s.start()
    assert whole(s, rig, wire, half) == size_of(half) - from_log(s)
    assert from_log(s) > AT - STEP
    assert s.metrics()["fills_resumed_total"] == 1


def spoil_byte(s, digest):
    with open(part(s, digest), "r+b") as f:
        f.seek(MB)
        byte = f.read(1)
        f.seek(MB)
        f.write(bytes([byte[0] ^ 1]))


def test_a_damaged_beginning_is_never_served_as_whole(start, rig, wire, half):
    """One bit of it flipped on the disk: who has it already is cut, the blob is fetched anew by
    itself, and the next pull is right."""
    image, digest = half
    s = start()
    leave_half(s, rig, wire, half, s.kill)
    spoil_byte(s, digest)
    s.start()
    got = wire(s).ask("GET", blob_path(image, digest))
    assert got.cut or got.status != 200
    assert s.metrics()["fills_corrupt_total"] == 1
    wait_for(lambda: s.blob_file(digest).exists(), 10, "the second try")
    assert not part(s, digest).exists()
    assert whole(s, rig, wire, half) == 0       # bytes of upstream


@pytest.mark.parametrize("what", ["journal", "no journal", "longer journal", "short file", "range"])
def test_what_cannot_be_gone_on_with_begins_anew(start, rig, wire, half, what):
    image, digest = half
    s = start()
    leave_half(s, rig, wire, half, s.kill)
    journal = part(s, digest, ".journal")
    if what == "journal":
        journal.write_text("sluice partial 1\nsize x\nbytes 5\n")
    elif what == "no journal":
        journal.unlink()
    elif what == "longer journal":
        journal.write_text(f"sluice partial 1\nsize {size_of(half)}\nbytes {size_of(half) - 1}\n")
    elif what == "short file":
        os.truncate(part(s, digest), 1000)
    s.start()
    if what == "range":         # upstream knows no ranges: all of it comes again
        with rig.cdn.fault(httpd.ignore_range(), digest[7:]):
            assert whole(s, rig, wire, half) == size_of(half)
    else:
        assert whole(s, rig, wire, half) == size_of(half)


def test_orphans_are_removed(start, rig, wire, half):
    """At the start: a file without a journal, a journal without a file, one that is a day old."""
    s = start(start=False)
    folder = s.cache / "partial"
    folder.mkdir(parents=True)
    name = "sha256-" + "ab" * 32
    (folder / name).write_bytes(b"x" * 5000)
    (folder / ("sha256-" + "cd" * 32 + ".journal")).write_text("sluice partial 1\nsize 9\nbytes 5\n")
    old = folder / ("sha256-" + "ef" * 32)
    old.write_bytes(b"x" * 5000)
    (folder / (old.name + ".journal")).write_text("sluice partial 1\nsize 9000\nbytes 5000\n")
    os.utime(old, (1, 1))
    kept = folder / ("sha256-" + "01" * 32)
    kept.write_bytes(b"x" * 5000)
    (folder / (kept.name + ".journal")).write_text("sluice partial 1\nsize 9000\nbytes 5000\n")
    s.start()
    wait_for(lambda: {p.name for p in folder.iterdir()} == {kept.name, kept.name + ".journal"},
             20, lambda: f"{list(folder.iterdir())}")


def test_nobody_wants_it(start, rig, wire, half):
    """The only client leaves early: dropped after a while, and what came is kept for the next."""
    image, digest = half
    s = start()
    with rig.cdn.fault(httpd.trickle(100_000, 0.05), digest[7:], times=1):
        looks_in(wire(s), half)
        s.wait_metric("fills_dropped_total", 1, 30)
    assert not s.blob_file(digest).exists()
    wait_for(lambda: part(s, digest, ".journal").exists(), 10, "what came is kept")
    assert whole(s, rig, wire, half) == size_of(half) - from_log(s)


@pytest.mark.parametrize("fault", [httpd.stall(3 * MB), httpd.trickle(100_000, 0.05)])
def test_nobody_wants_what_does_not_come(start, rig, wire, half, fault):
    """The same of an upstream that stalls, and of a body whose size nobody knows."""
    image, digest = half
    s = start({"mirror docker.io": {"stall": "5m"}})
    with contextlib.ExitStack() as faults:
        if fault.body.__qualname__.startswith("trickle"):
            faults.enter_context(rig.cdn.fault(httpd.chunked(), digest[7:]))
        faults.enter_context(rig.cdn.fault(fault, digest[7:], times=1))
        looks_in(wire(s), half)
        s.wait_metric("fills_dropped_total", 1, 30)
    assert not s.blob_file(digest).exists()
    assert whole(s, rig, wire, half) > 0


@pytest.mark.parametrize("change", [{"finish_after": "0%"}, {"finish_after": "1%"}])
def test_finished_though_nobody_wants_it(start, rig, wire, half, change):
    """Past finish_after it goes on to its end."""
    image, digest = half
    s = start({"cache": change})
    with rig.cdn.fault(httpd.trickle(200_000, 0.05, 24 * MB), digest[7:], times=1):
        looks_in(wire(s), half)
        wait_for(lambda: s.blob_file(digest).exists(), 40, "published")
    assert s.metrics()["fills_dropped_total"] == 0


def test_a_range_closed_early_drops_nothing_that_others_read(start, rig, wire, half):
    """containerd closes open-ended ranges early; one that reads to the end gets it all."""
    image, digest = half
    s = start()
    with rig.cdn.fault(httpd.trickle(400_000, 0.1, 30 * MB), digest[7:], times=1):
        reader = wire(s)
        reader.request("GET", blob_path(image, digest))
        assert reader.head().status == 200
        for i in range(5):
            looks_in(wire(s), half, f"Range: bytes={i * MB}-")
        assert images.digest_of(reader.take(image.blobs[digest])) == digest
    assert len(rig.cdn.seen(digest[7:])) == 1
