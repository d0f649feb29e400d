"""A control group with little memory, for servers whose files are larger than that."""
import os
import pathlib

from .load import Skip

V1, V2 = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")


class Group:
    """Of its own for each server; page cache counts, for whoever reads a page first."""
    def __init__(self, name, limit_bytes):
        v2 = (V2 / "cgroup.controllers").exists()
        self.dir = (V2 if v2 else V1) / f"sluice-bench-{os.getpid()}-{name}"
        try:
            if v2:
                (V2 / "cgroup.subtree_control").write_text("+memory")
            self.dir.mkdir()
            (self.dir / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(
                str(limit_bytes))
        except OSError as e:
            self.close()
            raise Skip(f"no control group for memory: {e}") from e

    def take(self, pids):
        for p in pids:
            (self.dir / "cgroup.procs").write_text(str(p))

    def close(self):
        """When all that were in it have ended."""
        if self.dir.is_dir():
            self.dir.rmdir()


def forget(folder):
    """No file below it is in the page cache any more."""
    for file in pathlib.Path(folder).rglob("*"):
        if file.is_file():
            fd = os.open(file, os.O_RDONLY)
            try:
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
