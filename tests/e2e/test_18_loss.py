"""Pulls over a line with loss and delay, in a kernel of the test's own (tests/kernel, bench/loss)."""
import json

import pytest

from rig import kernel
from rig.mirror import BINARY, ROOT

GUEST_MAX_S = 300       # a bound; on an idle machine it is 30 s


def pulls(*names, system=kernel.KERNEL, size=4):
    """bench/loss in one round, 40 ms and 1 % loss: {name: its figures}.  It compares every byte."""
    out = kernel.run(
        "/usr/bin/python3", ROOT / "bench/loss", "--json", "--kernel", system, "--rounds", 1,
        "--rtt", 40, "--size", size, "--seconds", 120, "--only", ",".join(names),
        seconds=GUEST_MAX_S * 3)
    rows = [json.loads(x) for x in out.splitlines() if x.startswith("{")]
    return {x.pop("pull"): x for x in rows}


@pytest.fixture(autouse=True)
def built():
    assert BINARY.exists(), f"{BINARY} does not exist: run make"


def test_whole_blob_over_loss():
    """Cold over one stream, and warm to a far client by BBR: every byte is right."""
    got = pulls("single", "bbr")
    assert got["single"]["whole"] and got["bbr"]["whole"]
    assert got["single"]["upstream_requests_total"] == 1
    assert got["single"]["fills_ok_total"] == got["bbr"]["fills_ok_total"] == 1


def test_parallel_ranges_over_loss():
    """The blob is whole, and came by several requests on several connections."""
    got = pulls("parallel", size=12)["parallel"]
    if "skipped" in got:
        pytest.skip(got["skipped"])
    assert got["whole"]
    assert got["upstream_requests_total"] >= 4
    assert got["upstream_connections_total"] >= 4
    assert got["fills_ok_total"] == 1


def test_kernel_of_servers():
    """Sluice starts, fills and serves in the release's own kernel, not only in the host's."""
    assert pulls("single", system="qemu", size=1)["single"]["whole"]
