"""`make demo` and `make run`, without make: what they print, and that nothing of them stays."""
import glob
import os
import pathlib
import re
import signal
import subprocess

import pytest

from rig.clients import curl
from rig.mirror import BINARY, ROOT
from rig.proc import Process, free_port, wait_for

DEMO, RUN = ROOT / "tests/demo/demo.sh", ROOT / "tests/demo/run.sh"


@pytest.fixture(autouse=True)
def binary(shared_sluice):
    """These need the binary as everything here does."""
    return BINARY


def left_behind():
    return glob.glob("/tmp/sluice-demo.*")


def children_of(pid):
    """Processes whose parent is the demo."""
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(x) for x in text.split()]


def alive(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


def test_demo(binary):
    """Cold: all bytes from upstream; warm: none; digests equal; exit 0 and no traces."""
    before = left_behind()
    done = subprocess.run([DEMO], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "SLUICE": str(binary)}, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    cold, warm = (re.search(rf"^  {x} +([\d.]+) +([\d.]+) +([\d.]+) +(\w+)$", done.stdout, re.M)
                  for x in ("cold", "warm"))
    assert (cold[4], warm[4]) == ("yes", "yes")
    assert float(cold[2]) > 60 and float(cold[3]) == 0
    assert float(warm[2]) == 0 and float(warm[3]) > 60
    assert "make run" in done.stdout and left_behind() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_is_interrupted(binary, tmp_path, number):
    """Ctrl-C in the middle: everything that it started ends, its folder goes, exit 128 + signal."""
    before = left_behind()
    # A shell cannot trap what was ignored when it began, as SIGINT is in what runs behind an '&'.
    demo = Process(["env", "--default-signal=INT", DEMO], tmp_path / "log",
                   env={"SLUICE": str(binary)})
    wait_for(lambda: "Starting Sluice" in demo.tail(), 60, demo.tail)
    wait_for(lambda: len(children_of(demo.pid)) >= 2, 20, demo.tail)
    children = children_of(demo.pid)
    os.killpg(demo.pid, number)         # a terminal sends it to the whole group
    assert demo.wait(30) == 128 + number
    wait_for(lambda: not any(map(alive, children)), 10, "the end of what it started")
    assert left_behind() == before


def test_run(binary, tmp_path):
    """The mirror answers by its own certificate; the commands name its port and its CA; the
    certificate is kept for the next time."""
    port, admin = free_port(), free_port()
    env = {"SLUICE": str(binary), "PORT": str(port), "ADMIN_PORT": str(admin),
           "RUN_DIR": str(tmp_path / "run")}
    certs = []
    for _ in range(2):
        run = Process([RUN], tmp_path / "log", env=env)
        try:
            wait_for(lambda: answers(port, tmp_path), 30, run.tail)
        finally:
            assert run.stop() == 0
        certs.append((tmp_path / "run/server.pem").read_text())
    assert certs[0] == certs[1]
    text = (tmp_path / "log").read_text()
    assert f"https://localhost:{port}" in text and str(tmp_path / "run/ca.pem") in text
    for client in ("docker", "containerd", "podman", "skopeo"):
        assert client in text


def answers(port, folder):
    ca = folder / "run/ca.pem"
    return ca.exists() and curl("-f", f"https://localhost:{port}/v2/", ca=ca,
                                check=False).returncode == 0
