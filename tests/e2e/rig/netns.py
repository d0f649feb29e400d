"""A network of one's own, in which any address may be used: for what loopback cannot show."""
import contextlib
import ctypes
import os
import subprocess
import threading

from .proc import Process, wait_for

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def leave_network():
    """This thread, and what it starts from now on, gets an empty network with an lo.  Needs root;
    else all is as it was."""
    if os.geteuid() == 0 and libc.unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Netns:
    """addresses: those that its lo has besides 127/8.  Sockets that are made under inside() belong
    to it, whoever uses them later; wrap stands before a command that is to run in it."""
    def __init__(self, folder, addresses):
        self.holder = Process(["unshare", "--net", "--", "sleep", "600"], folder / "netns.log")
        self.path = f"/proc/{self.holder.pid}/ns/net"
        home = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink(self.path) != home, 10, self.holder.tail)
        self.wrap = ["nsenter", f"--net={self.path}", "--"]
        for command in (["link", "set", "lo", "up"],
                        *(["addr", "add", f"{a}/32", "dev", "lo"] for a in addresses)):
            subprocess.run([*self.wrap, "ip", *command], check=True)

    def inside(self, make):
        """make() in a thread that is in this network; what it gave."""
        got, failed = [], []

        def run():
            try:
                with open(self.path) as f:
                    if libc.setns(f.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                got.append(make())
            except BaseException as e:  # noqa: BLE001 - raised again below
                failed.append(e)
        t = threading.Thread(target=run)
        t.start()
        t.join()
        if failed:
            raise failed[0]
        return got[0]

    def close(self):
        with contextlib.suppress(OSError):
            self.holder.kill()
