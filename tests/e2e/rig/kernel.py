"""Tests in a kernel of their own, booted by tests/kernel/run."""
import os
import subprocess

import pytest

SKIP = 77               # the status of one that cannot be booted here
# A process has 512 GB of addresses in user-mode Linux; sanitizers want terabytes.
KERNEL = "qemu" if os.environ.get("SAN") else "uml"


def run(*argv, seconds):
    """What the command, which boots one, prints; skips the test where there is none."""
    p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=seconds,
                       stdin=subprocess.DEVNULL)
    if p.returncode == SKIP:
        pytest.skip(p.stderr.strip().removeprefix("skipped: "))
    assert p.returncode == 0, p.stdout + p.stderr
    return p.stdout
