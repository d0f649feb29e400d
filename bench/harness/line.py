"""A registry, a mirror and a far client in a kernel of their own (tests/kernel/wan.py): what
bench/loss and bench/bbr share."""
import hashlib
import os
import pathlib
import subprocess
import sys

from . import ROOT

sys.path.insert(0, str(ROOT / "tests/kernel"))

import wan                                          # noqa: E402
from rig import mirror                              # noqa: E402
from rig.proc import Process, wait_for              # noqa: E402

CURL_LATE = 28                      # its exit status after -m
HOME = pathlib.Path("/run/bench")
ADMIN = "http://127.0.0.1:15001"
NEAR, FAR = (f"http://{host}:{wan.PORT}" for host in ("127.0.0.1", "10.9.2.2"))     # the mirror
REPO = "/v2/bench/blob/blobs/sha256:"


def ini(**keys):
    """Of a mirror with these keys in its section."""
    return mirror.ini({
        "server": {"plain": f"0.0.0.0:{wan.PORT}", "admin": ADMIN.partition("//")[2], "workers": 1,
                   "host": "mirror.test", "access_log": "off", "drain_timeout": "1s"},
        "cache": {"path": HOME / "cache", "size": "4G", "free": "1M"},
        "mirror bench.test": {"host": "127.0.0.1 10.9.2.2", "upstream": wan.UPSTREAM,
                              "private": "yes", **keys}})


def blob(mb):
    """(its bytes, its digest), and a file for the registry."""
    HOME.mkdir()
    data = os.urandom(mb << 20)
    digest = hashlib.sha256(data).hexdigest()
    (HOME / digest).write_bytes(data)
    return data, digest


def serve():
    """The mirror of HOME / "sluice.ini".  Its listening socket has the congestion control that was
    the default when it was made."""
    p = Process([mirror.BINARY, "serve", "-c", HOME / "sluice.ini"], HOME / "sluice.log",
                env=mirror.SAN)
    wait_for(lambda: p.check() or subprocess.run(
        ["curl", "-s", "-m", "20", "-o", "/dev/null", f"{ADMIN}/healthz"]).returncode == 0, 60,
        p.tail)
    return p


def guest(script, kernel, seconds, mb):
    """The command that runs the script's own inside() in a kernel, with the same arguments."""
    return [ROOT / "tests/kernel/run", "--seconds", str(seconds), "--memory", str(512 + 6 * mb),
            kernel, pathlib.Path(script).resolve(), "--inside", *sys.argv[1:]]
