#!/usr/bin/python3
"""sluice-tune in a kernel of its own: apply and undo, with every value compared.  Argument: the program.

Interfaces: one with a queue (queue0), one with two (multi0), one that somebody has set up (choice0),
one that came up under another default (older0), and one that has no queue (bare0).
"""
# SPDX-License-Identifier: GPL-3.0-or-later
import json
import pathlib
import socket
import subprocess
import sys

PROGRAM = sys.argv[1]
UNDO = pathlib.Path("/var/lib/sluice/tune.undo")
SYSCTL = pathlib.Path("/etc/sysctl.d/90-sluice.conf")
MODULES = pathlib.Path("/etc/modules-load.d/sluice.conf")
OURS = ("queue0", "multi0", "older0")


def sh(text):
    return subprocess.run(text.split(), capture_output=True, text=True, timeout=60, check=True).stdout


def tune(*argv, status=0, uid=None):
    p = subprocess.run([PROGRAM, *argv], capture_output=True, text=True, timeout=60, user=uid)
    assert p.returncode == status, f"{argv}: {p.returncode}\n{p.stdout}{p.stderr}"
    return p.stdout + p.stderr


def check(status):
    found = json.loads(tune("check", "--json", status=status))
    assert found["status"] == status
    return {x["name"]: x for x in found["settings"]}


def sysctls():
    """Every value in these folders, whoever may have changed it."""
    out = {}
    for top in ("net/core", "net/ipv4", "fs"):
        for f in sorted(pathlib.Path("/proc/sys", top).glob("*")):
            try:
                if f.is_file() and f.stat().st_mode & 0o200:
                    out[str(f)] = f.read_text().split()
            except OSError:
                pass
    for moving in ("/proc/sys/fs/inode-state", "/proc/sys/fs/dentry-state"):
        out.pop(moving, None)
    return out


def qdiscs():
    """{interface: (root's kind, kinds of its queues, whether somebody chose it)}"""
    out = {}
    for q in json.loads(sh("tc -j qdisc show")):
        kind, leaves, chosen = out.get(q["dev"], ("", [], False))
        if q.get("root"):
            kind, chosen = q["kind"], q["handle"] != "0:"
        else:
            leaves = leaves + [q["kind"]]
        out[q["dev"]] = (kind, leaves, chosen)
    return out


def differences(a, b):
    return {k: (a.get(k), b.get(k)) for k in a.keys() | b.keys() if a.get(k) != b.get(k)}


def set_up():
    for folder in ("/etc", "/var/lib"):
        sh(f"mount -t tmpfs none {folder}")
    pathlib.Path("/etc/resolv.conf").write_text("")
    default = pathlib.Path("/proc/sys/net/core/default_qdisc")
    was = default.read_text()
    default.write_text("pfifo")         # older0 comes up with it; undo has to bring that back
    sh("ip link add older0 type ifb")
    sh("ip link set older0 up")
    default.write_text(was)
    sh("ip link add queue0 type ifb")
    sh("ip link add multi0 numtxqueues 2 type ifb")
    sh("ip link add choice0 type ifb")
    sh("ip link add bare0 type veth peer name bare1")
    for name in ("queue0", "multi0", "choice0", "bare0"):
        sh(f"ip link set {name} up")
    sh("tc qdisc add dev choice0 root netem delay 1ms")


def test_round_trip():
    first, had = sysctls(), qdiscs()
    assert had["older0"][0] == "pfifo" and had["multi0"][0] == "mq", had
    before = check(1)
    assert before["qdisc multi0"]["verdict"] == before["qdisc queue0"]["verdict"] == "apply"
    assert before["qdisc choice0"]["verdict"] == "advice"
    assert before["qdisc bare0"]["verdict"] == "ok"

    tune("apply", "--dry-run")
    assert not differences(first, sysctls()) and qdiscs() == had and not UNDO.exists()

    said = tune("apply", "--persist")
    assert "+net.ipv4.tcp_congestion_control = bbr\n" in said
    assert "-qdisc multi0 = pfifo_fast\n+qdisc multi0 = fq\n" in said
    after = check(0)
    applied = sysctls()
    changed = differences(first, applied)
    for name, x in after.items():
        path = "/proc/sys/" + name.replace(".", "/")
        assert x["verdict"] in ("ok", "advice"), x
        assert (before[name]["verdict"] == "apply") == (path in changed) or "/" in name or \
            " " in name, (name, before[name], changed.get(path))
    now = qdiscs()
    assert now["queue0"][0] == now["older0"][0] == "fq", now
    assert now["multi0"][0] == "mq" and set(now["multi0"][1]) == {"fq"}, now
    for name in ("choice0", "bare0"):
        assert now[name] == had[name]
    assert "net.core.default_qdisc = fq\n" in SYSCTL.read_text()
    assert MODULES.read_text().endswith("\ntcp_bbr\nsch_fq\n")

    record = UNDO.read_text()
    assert "nothing to change" in tune("apply", "--persist")
    assert UNDO.read_text() == record and not differences(applied, sysctls())

    tune("undo")
    assert not differences(first, sysctls()), differences(first, sysctls())
    assert qdiscs() == had, (had, qdiscs())
    assert not any(f.exists() for f in (UNDO, SYSCTL, MODULES))
    assert "nothing to undo" in tune("undo")


def test_undo_after_a_restart():
    """The interface comes up with fq by itself, so there is nothing of ours to delete."""
    had = qdiscs()
    tune("apply")
    sh("ip link del queue0")
    sh("ip link add queue0 type ifb")
    sh("ip link set queue0 up")
    assert qdiscs()["queue0"] == ("fq", [], False)
    tune("undo")
    assert qdiscs() == had, (had, qdiscs())


def test_sockets_get_it():
    """What was applied is what a new connection has."""
    tune("apply")
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as c:
            assert c.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).startswith(b"bbr\0")
    tune("undo")
    with socket.socket() as c:
        assert c.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).startswith(b"cubic\0")


def test_not_root():
    said = tune("apply", status=3, uid=65534) + tune("undo", status=3, uid=65534)
    assert said.count("takes root") == 2 and not UNDO.exists()
    assert "+net.ipv4.tcp_congestion_control = bbr\n" in tune("apply", "--dry-run", uid=65534)


def test_read_only():
    """A container that may not: said by check, and apply changes nothing it cannot."""
    sh("mount --bind /proc/sys/net /proc/sys/net")
    sh("mount -o remount,ro,bind /proc/sys/net")
    try:
        found, first, had = check(2), sysctls(), qdiscs()
        assert "Read-only" in found["net.core.rmem_max"]["reason"], found
        assert found["qdisc queue0"]["verdict"] == found["qdisc multi0"]["verdict"] == "impossible"
        assert "impossible here" in tune("apply")
        tune("undo")
        assert not differences(first, sysctls()) and qdiscs() == had
    finally:
        sh("umount /proc/sys/net")


set_up()
for name, test in [x for x in globals().items() if x[0].startswith("test_")]:
    test()
    print(f"ok {name}", flush=True)
