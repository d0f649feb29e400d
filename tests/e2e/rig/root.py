"""A root file system of one's own: a copy on write of another, for what installs and removes."""
import contextlib
import pathlib
import subprocess

from .proc import Process, wait_for

MOUNTS = """
mkdir -p "$1"
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
cd "$1/root"
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
echo ready
exec sleep 1800
"""


class Root:
    """lower: what it looks like at first.  Its changes are in memory, and gone with close()."""
    def __init__(self, folder, lower="/"):
        self.dir = pathlib.Path(folder)
        log = self.dir / "root.log"
        self.holder = Process(["unshare", "--mount", "--propagation", "private", "--",
                               "bash", "-euc", MOUNTS, "root", self.dir / "mnt", lower], log)

        def ready():
            self.holder.check()
            return "ready" in self.holder.tail()
        wait_for(ready, 30, self.holder.tail)
        self.inside = f"{self.dir}/mnt/root"
        self.wrap = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--",
                     "chroot", self.inside, "env", "-i", "LC_ALL=C.UTF-8", "HOME=/root",
                     "DEBIAN_FRONTEND=noninteractive",
                     "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]

    def path(self, name):
        """That file, as a path from outside."""
        return pathlib.Path(f"/proc/{self.holder.pid}/root{self.inside}{name}")

    def run(self, *argv, check=True, seconds=120):
        done = subprocess.run([*self.wrap, *map(str, argv)], stdin=subprocess.DEVNULL, timeout=seconds,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}"
        return done.stdout if check else done

    def close(self):
        with contextlib.suppress(OSError):
            self.holder.kill()
