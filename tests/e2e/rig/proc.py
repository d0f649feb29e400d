"""Processes that a test starts and ends, free ports, and waiting with a bound."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time

DIE_WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]


def free_ports(count, address="127.0.0.1"):
    """All different: they are held together until each is known."""
    with contextlib.ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for s in found:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, 0))
        return [s.getsockname()[1] for s in found]


def free_port(address="127.0.0.1"):
    return free_ports(1, address)[0]


def refused(port):
    with socket.socket() as x:
        x.settimeout(2)
        return x.connect_ex(("127.0.0.1", port)) != 0


def wait_for(ready, seconds, why="", pause=0.02):
    """Poll until ready() is true and return what it gave; fail after the bound."""
    end = time.monotonic() + seconds
    while True:
        if value := ready():
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {why() if callable(why) else why}")
        time.sleep(pause)


class Process:
    """A child with its output in a file; it does not outlive this process."""
    def __init__(self, argv, log, env=None, cwd=None):
        self.log = pathlib.Path(log)
        self.argv = [str(a) for a in argv]
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(DIE_WITH_US + self.argv, stdout=out, stderr=out, cwd=cwd,
                                          stdin=subprocess.DEVNULL, start_new_session=True,
                                          env={**os.environ, **(env or {})})

    @property
    def pid(self):
        return self.child.pid

    def check(self):
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.argv[0]} ended, {self.child.returncode}:\n{self.tail()}")

    def tail(self, lines=40):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def signal(self, number):
        if self.child.poll() is None:
            self.child.send_signal(number)

    def wait(self, seconds):
        return self.child.wait(seconds)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(10)

    def stop(self, seconds=20):
        """SIGTERM, then SIGKILL after the bound; the exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
