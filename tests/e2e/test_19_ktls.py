"""Kernel TLS, in a kernel that has it (tests/kernel/ktls.py; `make test-ktls` takes more kernels)."""
from rig import kernel
from rig.mirror import ROOT

GUEST_MAX_S = 500       # a bound; on an idle machine it is 40 s


def test_pulls_by_kernel_tls():
    """Cold and warm pulls, a slow client, KeyUpdate and every fallback: bytes, alerts, counters."""
    out = kernel.run("/usr/bin/python3", ROOT / "tests/kernel/ktls.py", "--quick", "--seconds",
                     GUEST_MAX_S, kernel.KERNEL, seconds=GUEST_MAX_S + 60)
    assert " s: done\n" in out, out
