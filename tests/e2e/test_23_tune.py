"""sluice-tune: made-up hosts by --root; apply and undo in a kernel of their own (tests/kernel/tune.py)."""
import json
import os
import subprocess

import pytest

from rig.mirror import BINARY, ROOT, SAN

TUNE = BINARY.with_name("sluice-tune")
SKIP = 77
# A process has 512 GB of addresses in user-mode Linux; sanitizers want terabytes.
KERNEL = "qemu" if os.environ.get("SAN") else "uml"


def tune(*argv, status=0):
    p = subprocess.run([TUNE, *map(str, argv)], capture_output=True, text=True, timeout=60,
                       stdin=subprocess.DEVNULL, env={**os.environ, **SAN})
    assert p.returncode == status, p.stdout + p.stderr
    return p.stdout + p.stderr


@pytest.fixture
def host(tmp_path):
    """Some of a small VPS: what is not there is no setting of its kernel."""
    for path, text in {
            "proc/meminfo": "MemTotal:        1000000 kB\n",
            "proc/sys/kernel/osrelease": "6.1.0-40-amd64\n",
            "proc/sys/net/core/rmem_max": "212992\n",
            "proc/sys/net/ipv4/tcp_available_congestion_control": "reno cubic bbr\n",
            "proc/sys/net/ipv4/tcp_congestion_control": "cubic\n",
            "proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_check_says_what_and_why(host):
    text = tune("--root", host, status=2)
    assert "1000 Mbit/s x 200 ms / 8 = 25000000 bytes" in text
    rows = {x["name"]: x for x in json.loads(tune("check", "--json", "--root", host, status=2))["settings"]}
    assert rows["net.core.rmem_max"] == {
        "name": "net.core.rmem_max", "now": "212992", "wanted": "63963136", "verdict": "apply",
        "why": "the largest receive buffer that a program may ask for (rcvbuf)"}
    assert rows["net.core.somaxconn"]["reason"] == "this kernel has no such setting"
    small = json.loads(tune("check", "--json", "--root", host, "--rtt", "40ms", "--bandwidth", "100mbit",
                            status=2))
    assert small["bdp_bytes"] == 500000 and small["buffer_bytes"] == 4 << 20


@pytest.mark.parametrize("argv, said", [
    (["--rtt", "6s"], "--rtt 6s: a time of 1ms to 5s"),
    (["--bandwidth", "1g"], "--bandwidth 1g: 1mbit to 400gbit"),
    (["--profile", "vps-2g"], "there are vps-1g and vps-10g"),
    (["profile", "x"], "there are vps-1g and vps-10g"),
    (["chekc"], "chekc: no such command"),
    (["apply", "now"], "usage:"), (["profile"], "usage:"), (["--root", "x"], "begins with /")])
def test_mistakes_are_named(argv, said):
    assert said in tune(*argv, status=100)


def test_apply_and_undo_in_a_kernel_of_their_own():
    p = subprocess.run(
        [ROOT / "tests/kernel/run", "--seconds", "240", KERNEL, "/usr/bin/python3",
         ROOT / "tests/kernel/tune.py", TUNE], capture_output=True, text=True, timeout=300,
        stdin=subprocess.DEVNULL)
    if p.returncode == SKIP:
        pytest.skip(p.stderr.strip().removeprefix("skipped: "))
    assert p.returncode == 0, p.stdout + p.stderr
    assert p.stdout.count("ok test_") == len([
        x for x in (ROOT / "tests/kernel/tune.py").read_text().split("\n") if x.startswith("def test_")])
