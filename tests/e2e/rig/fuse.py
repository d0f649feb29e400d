"""A file system that fails or hangs on command: FUSE's protocol (linux/fuse.h, 7.31) by hand, over a
folder of another file system.

    with FuseDisk(folder) as d:         # d.dir is mounted, d.backing is what lies below
        d.fail("write", errno.EIO)      # or "read", "fsync", "create", ...: every one from now on
        d.hang("write")                 # no answer, until
        d.mend()

Whoever uses d.dir waits while it hangs: a test looks at d.backing.
"""
import ctypes
import errno
import os
import pathlib
import struct
import subprocess
import threading

MAX_WRITE = 256 << 10
MS_NOSUID, MS_NODEV = 2, 4
FUSE_BIG_WRITES, FUSE_MAX_PAGES = 1 << 5, 1 << 22
SET_MODE, SET_UID, SET_GID, SET_SIZE, SET_ATIME, SET_MTIME = 1, 2, 4, 8, 16, 32
SET_ATIME_NOW, SET_MTIME_NOW = 128, 256
OPS = {1: "lookup", 2: "forget", 3: "getattr", 4: "setattr", 9: "mkdir", 10: "unlink", 11: "rmdir",
       12: "rename", 14: "open", 15: "read", 16: "write", 17: "statfs", 18: "release", 20: "fsync",
       25: "flush", 26: "init", 27: "open", 28: "readdir", 29: "release", 30: "fsync", 35: "create",
       36: "forget", 42: "batch_forget", 45: "rename2"}
SILENT = ("forget", "batch_forget")             # the kernel waits for no answer


class FuseDisk:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.dir, self.backing = folder / "disk", folder / "below"
        for d in (self.dir, self.backing):
            d.mkdir()
        self.lock, self.faults, self.held = threading.Lock(), {}, []
        self.nodes, self.counts = {1: os.open(self.backing, os.O_PATH)}, {1: 1}
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"sluice-test", os.fsencode(self.dir), b"fuse", MS_NOSUID | MS_NODEV,
                      options.encode()) < 0:
            os.close(self.fd)
            raise OSError(ctypes.get_errno(), "mount")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.mend()
        subprocess.run(["umount", "-l", self.dir], check=False)
        self.thread.join(10)
        for fd in self.nodes.values():
            os.close(fd)

    def fail(self, op, err):
        with self.lock:
            self.faults[op] = err

    def hang(self, op):
        self.fail(op, None)

    def forget_content(self, path):
        """What the kernel has in memory of a file, as in a long time."""
        fd = os.open(self.dir / path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)

    def mend(self):
        with self.lock:
            self.faults.clear()
            held, self.held = self.held, []
        for request in held:
            self.answer(*request)

    # ---- the protocol ----

    def serve(self):
        """Ends with ENODEV, when nobody has it mounted any more."""
        while True:
            try:
                message = os.read(self.fd, MAX_WRITE + 4096)
            except InterruptedError:
                continue
            except OSError as e:
                if e.errno in (errno.ENOENT, errno.EAGAIN):     # a request that was taken back
                    continue
                break
            _, code, unique, node = struct.unpack_from("<IIQQ", message)
            request = (OPS.get(code, "unknown"), unique, node, message[40:])
            with self.lock:
                if request[0] in self.faults and self.faults[request[0]] is None:
                    self.held.append(request)
                    continue
            self.answer(*request)
        os.close(self.fd)

    def answer(self, op, unique, node, body):
        err, out = 0, b""
        try:
            if self.faults.get(op):
                raise OSError(self.faults[op], op)
            out = getattr(self, op)(node, body)
        except OSError as e:
            err = e.errno
        except AttributeError:
            err = errno.ENOSYS
        if op in SILENT:
            return
        try:
            os.write(self.fd, struct.pack("<IiQ", 16 + len(out), -err, unique) + out)
        except OSError:                 # the asker has been killed, or it is unmounted
            pass

    def path(self, node):
        return f"/proc/self/fd/{self.nodes[node]}"

    @staticmethod
    def names(body):
        return body.split(b"\0")

    def attr(self, st):
        def ns(t):
            return t % 10 ** 9
        return struct.pack("<QQQQQQIIIIIIIIII", st.st_ino, st.st_size, st.st_blocks,
                           st.st_atime_ns // 10 ** 9, st.st_mtime_ns // 10 ** 9,
                           st.st_ctime_ns // 10 ** 9, ns(st.st_atime_ns), ns(st.st_mtime_ns),
                           ns(st.st_ctime_ns), st.st_mode, st.st_nlink, st.st_uid, st.st_gid, 0,
                           4096, 0)

    def entry(self, parent, name):
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self.nodes[parent])
        st = os.fstat(fd)
        node = 1 if st.st_ino == os.fstat(self.nodes[1]).st_ino else st.st_ino
        if node in self.nodes:
            os.close(fd)
        else:
            self.nodes[node] = fd
        self.counts[node] = self.counts.get(node, 0) + 1
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self.attr(st)

    def drop(self, node, count):
        self.counts[node] = self.counts.get(node, 0) - count
        if self.counts[node] <= 0 and node != 1 and node in self.nodes:
            os.close(self.nodes.pop(node))
            del self.counts[node]

    def init(self, node, body):
        major, minor, readahead, flags = struct.unpack_from("<IIII", body)
        return struct.pack("<IIIIHHIIHHI7I", 7, min(minor, 31), readahead,
                           flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES), 16, 12, MAX_WRITE, 1,
                           MAX_WRITE // 4096, 0, 0, *[0] * 7)

    def lookup(self, node, body):
        return self.entry(node, self.names(body)[0])

    def forget(self, node, body):
        self.drop(node, struct.unpack_from("<Q", body)[0] if body else 0)

    def batch_forget(self, node, body):
        for i in range(struct.unpack_from("<I", body)[0]):
            self.drop(*struct.unpack_from("<QQ", body, 8 + 16 * i))

    def getattr(self, node, body):
        return struct.pack("<QII", 0, 0, 0) + self.attr(os.fstat(self.nodes[node]))

    def setattr(self, node, body):
        (what, _, _, size, _, at, mt, _, atn, mtn, _, mode, _, uid,
         gid) = struct.unpack_from("<IIQQQQQQIIIIIII", body)
        path = self.path(node)
        if what & SET_MODE:
            os.chmod(path, mode & 0o7777)
        if what & (SET_UID | SET_GID):
            os.chown(path, uid if what & SET_UID else -1, gid if what & SET_GID else -1)
        if what & SET_SIZE:
            os.truncate(path, size)
        if what & (SET_ATIME | SET_MTIME):
            st = os.stat(path)
            times = [st.st_atime_ns, st.st_mtime_ns]
            for i, (one, now, value) in enumerate([(SET_ATIME, SET_ATIME_NOW, at * 10 ** 9 + atn),
                                                   (SET_MTIME, SET_MTIME_NOW, mt * 10 ** 9 + mtn)]):
                if what & one and not what & now:
                    times[i] = value
            os.utime(path, ns=tuple(times))
        return self.getattr(node, b"")

    def mkdir(self, node, body):
        name = self.names(body[8:])[0]
        os.mkdir(name, struct.unpack_from("<I", body)[0] & 0o7777, dir_fd=self.nodes[node])
        return self.entry(node, name)

    def unlink(self, node, body):
        os.unlink(self.names(body)[0], dir_fd=self.nodes[node])
        return b""

    def rmdir(self, node, body):
        os.rmdir(self.names(body)[0], dir_fd=self.nodes[node])
        return b""

    def rename(self, node, body, skip=8):
        old, new = self.names(body[skip:])[:2]
        os.rename(old, new, src_dir_fd=self.nodes[node],
                  dst_dir_fd=self.nodes[struct.unpack_from("<Q", body)[0]])
        return b""

    def rename2(self, node, body):
        return self.rename(node, body, 16)

    def open(self, node, body):
        flags = struct.unpack_from("<I", body)[0] & ~(os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL)
        return struct.pack("<QII", os.open(self.path(node), flags), 0, 0)

    def create(self, node, body):
        flags, mode = struct.unpack_from("<II", body)
        name = self.names(body[16:])[0]
        fd = os.open(name, flags | os.O_CREAT | os.O_NOFOLLOW, mode & 0o7777, dir_fd=self.nodes[node])
        return self.entry(node, name) + struct.pack("<QII", fd, 0, 0)

    def read(self, node, body):
        fd, at, size = struct.unpack_from("<QQI", body)
        return os.pread(fd, size, at)

    def write(self, node, body):
        fd, at, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(fd, body[40:40 + size], at), 0)

    def fsync(self, node, body):
        return b""

    def flush(self, node, body):
        return b""

    def release(self, node, body):
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def statfs(self, node, body):
        v = os.fstatvfs(self.nodes[node])
        return struct.pack("<QQQQQIIII6I", v.f_blocks, v.f_bfree, v.f_bavail, v.f_files, v.f_ffree,
                           v.f_bsize, 255, v.f_frsize, 0, *[0] * 6)

    def readdir(self, node, body):
        _, at, size = struct.unpack_from("<QQI", body)
        out = b""
        for n, name in enumerate([".", ".."] + sorted(os.listdir(self.path(node)))):
            name = os.fsencode(name)
            one = struct.pack("<QQII", 1, n + 1, len(name), 0) + name
            one += b"\0" * (-len(one) % 8)
            if n >= at:
                if len(out) + len(one) > size:
                    break
                out += one
        return out
