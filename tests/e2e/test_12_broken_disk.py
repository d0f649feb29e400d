"""A disk that gives errors or no answer at all, by FUSE: clients are served, one line says it, and
caching begins again."""
import errno
import hashlib

import pytest

from rig import httpd
from rig.fuse import FuseDisk
from rig.proc import wait_for
from test_12_disk import MB, Reader, get, lines, usable


@pytest.fixture
def broken(tmp_path_factory):
    try:
        disk = FuseDisk(tmp_path_factory.mktemp("fuse"))
    except OSError as e:
        pytest.skip(f"no FUSE here: {e}")
    with disk:
        yield disk


def at(disk, digest):
    return disk.backing / "cache/blobs/sha256" / digest[7:9] / digest[7:]


def recovers(s, wire, disk, image, digest):
    disk.mend()
    wait_for(lambda: usable(s), 60, "a usable cache", 0.2)
    assert len(lines(s, " unusable error=")) == 1 and lines(s, "usable again")
    assert get(wire(s), image, digest) == (200, digest, False)
    wait_for(at(disk, digest).exists, 20, "the blob's file")
    assert hashlib.sha256(at(disk, digest).read_bytes()).hexdigest() == digest[7:]
    assert not list((disk.backing / "cache/tmp").iterdir())


@pytest.mark.parametrize("op, fault", [("write", errno.EIO), ("write", errno.ENOSPC), ("write", None),
                                       ("create", errno.EROFS),
                                       ("fsync", errno.EIO), ("rename", errno.EIO)])
def test_writing(broken, start, rig, wire, blob, op, fault):
    """Whatever fails or hangs while a blob is written: a client in the middle of it gets the whole,
    others pass by meanwhile, the disk is told as unusable once."""
    image, digest = blob
    s = start({"cache": {"path": broken.dir / "cache", "free": "0"}})
    if op == "create":
        broken.fail(op, fault)
        assert get(wire(s), image, digest) == (200, digest, False)
    else:
        with rig.cdn.fault(httpd.stall(3 * MB), digest[7:], times=1) as f:
            r = Reader(wire(s), image, digest)
            assert f.held.wait(20)
            broken.fail(op, fault)
            f.release()
            assert r.done() == (200, digest, False)
    wait_for(lambda: not usable(s), 20, "an unusable cache")
    passed = s.metrics()["cache_bypass_total"]
    assert get(wire(s), image, digest) == (200, digest, False)
    assert s.metrics()["cache_bypass_total"] == passed + 1
    assert not at(broken, digest).exists() or op == "fsync"
    recovers(s, wire, broken, image, digest)


@pytest.mark.parametrize("fault", [errno.EIO, None])
def test_reading(broken, start, rig, wire, blob, fault):
    """A cached blob cannot be read any more, or its read hangs: its reader gets the rest from upstream;
    so does the next, who has it cached anew if the file was bad."""
    image, digest = blob
    s = start({"cache": {"path": broken.dir / "cache", "free": "0", "scrub": "0s"}})
    assert get(wire(s), image, digest) == (200, digest, False)
    wait_for(at(broken, digest).exists, 20, "the blob's file")
    broken.forget_content(at(broken, digest).relative_to(broken.backing))
    broken.fail("read", fault)
    assert get(wire(s), image, digest) == (200, digest, False)
    broken.mend()
    assert s.metrics()["cache_bypass_total"] == 1
    assert get(wire(s), image, digest) == (200, digest, False)
    wait_for(at(broken, digest).exists, 20, "the blob's file")
