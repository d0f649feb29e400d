"""sluice-tune: made-up hosts by --root; apply and undo in a kernel of their own (tests/kernel/tune.py)."""
import json
import os
import subprocess

import pytest

from rig import kernel
from rig.mirror import BINARY, ROOT, SAN
from rig.proc import wait_for

TUNE = BINARY.with_name("sluice-tune")


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
    out = kernel.run(ROOT / "tests/kernel/run", "--seconds", 240, kernel.KERNEL, "/usr/bin/python3",
                     ROOT / "tests/kernel/tune.py", TUNE, seconds=300)
    assert out.count("ok test_") == len([
        x for x in (ROOT / "tests/kernel/tune.py").read_text().split("\n") if x.startswith("def test_")])


def ss(text, port):
    """What ss says of the sockets that Sluice has accepted at that port."""
    p = subprocess.run(["ss", "-tniH", "state", "established", "sport", "=", f":{port}"],
                       capture_output=True, text=True, timeout=20)
    return text in p.stdout.replace("\t", " ")


def test_keys_of_sockets(start, wire):
    """[server] congestion and pacing_max are those of the accepted sockets; what is wrong is said once."""
    s = start({"server": {"congestion": "reno", "pacing_max": "1M", "notsent_lowat": "128K",
                          "sndbuf": "256K", "fastopen": 16}})
    with wire(to=s):
        wait_for(lambda: ss(" reno ", s.ports["https"]), 10, "reno in ss")
    assert "refused by the kernel" not in s.tail(1000)
    s = start({"server": {"congestion": "nonesuch", "fastopen": 16}})
    assert s.tail(1000).count("server congestion refused by the kernel") == 1
    with wire(to=s):
        assert not ss(" nonesuch ", s.ports["https"])


def test_probe_and_watch(start, wire, listen):
    """probe shows each congestion control in use, watch the connections of Sluice and no other."""
    known = open("/proc/sys/net/ipv4/tcp_available_congestion_control").read().split()
    text = tune("probe", listen(serve=sink).host, "--bytes", "300000")
    for cc in known:
        row = next(x.split() for x in text.splitlines() if x.startswith(cc + " "))
        assert float(row[7]) >= 300, text     # KB that were acknowledged
    assert "Connection refused" in tune("probe", "127.0.0.1:1", status=3)
    assert "HOST:PORT" in tune("probe", "127.0.0.1", status=100)
    s = start()
    with wire(to=s) as w:
        here, there = w.sock.getpeername(), w.sock.getsockname()
        rows = [x.split()[:3] for x in tune("watch", "--count", "1").splitlines()]
        assert ["127.0.0.1:%d" % here[1], "127.0.0.1:%d" % there[1]] in [x[:2] for x in rows]
        assert not any(x[:2] == ["127.0.0.1:%d" % there[1], "127.0.0.1:%d" % here[1]] for x in rows)


def sink(c):
    while c.recv(1 << 16):
        pass
