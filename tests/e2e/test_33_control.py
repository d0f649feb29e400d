"""The control socket, and what it is asked for."""
import json
import os
import socket
import stat

import pytest

from rig.mirror import ini, merge
from rig.mirror import sluice as run_sluice
from rig.proc import wait_for

HOST = "mirror.test"


def ask(path, line):
    """The raw answer to one line, in lines."""
    with socket.socket(socket.AF_UNIX) as c:
        c.settimeout(20)
        c.connect(str(path))
        c.sendall(line)
        said = b""
        try:
            while more := c.recv(65536):
                said += more
        except ConnectionResetError:    # it did not read all of it
            pass
        return said.splitlines()


def test_reload_answers(start, wire):
    """sluice reload says what came of it, and its exit status does."""
    s = start()
    done = run_sluice("reload", "-c", s.file)
    assert done.returncode == 0 and "mirrors=2 certificates=1 done" in done.stdout, done
    s.file.write_text(ini(merge(s.config, {"mirror docker.io": {"tag_fresh": "soon"}})))
    bad = run_sluice("reload", "-c", s.file)
    assert bad.returncode == 1 and "tag_fresh" in bad.stderr and f"{s.file}:" in bad.stderr
    assert "the old configuration goes on" in bad.stderr and bad.stdout == ""
    lines = run_sluice("reload", "-c", s.file, "--json").stdout.splitlines()
    assert all("error" in json.loads(x) for x in lines) and len(lines) == 2
    assert wire(s).ask("GET", "/v2/").status == 200


def test_status(start):
    s = start()
    said = json.loads(run_sluice("status", "-c", s.file).stdout)
    assert said["pid"] == s.process.child.pid and said["workers"] == 2


def test_nobody_else_and_nothing_else(start):
    """Mode 0600; wrong commands get a sentence; who says nothing, or too much, holds nothing up."""
    s = start()
    path = s.config["server"]["control"]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert b"no command nonsense" in ask(path, b"nonsense\n")[0]
    assert json.loads(ask(path, b"reload\tnow\n")[0])["error"].startswith("reload takes 0")
    assert ask(path, b"x" * (1 << 15)) == []
    silent = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for c in silent:
        c.connect(str(path))
    wait_for(lambda: b"is busy" in ask(path, b"status\n")[0], 10, "no more")
    for c in silent:
        c.close()
    wait_for(lambda: b"pid" in ask(path, b"status\n")[0], 10, "an answer")
    s.stop()
    assert not os.path.exists(path)
    gone = run_sluice("status", "-c", s.file)
    assert gone.returncode == 1 and "no server runs" in gone.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_user_is_refused(start):
    """Even where the mode of the socket was changed, the kernel's word of who asks counts."""
    s = start()
    path = s.config["server"]["control"]
    os.chmod(path, 0o666)
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as c:
                c.settimeout(20)
                c.connect(str(path))
                os._exit(0 if c.recv(1) == b"" else 1)
        except PermissionError:         # the folder above is not theirs
            os._exit(0)
        except BaseException:           # noqa: B902 - a forked child
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
