#!/usr/bin/python3
"""Pulls by kernel TLS in kernels that have it.  KERNEL: see tests/kernel/run; without, those there are.

    tests/kernel/ktls.py [--quick] [--core] [KERNEL ...]

What is made beforehand (certificates, a blob) is made outside, where it is quick; then the script
runs itself in the guest, behind the unit test.  --quick: what that has shown already is left out.
--core: end-to-end tests of ranges and bodies in the guest, too, every
Sluice with ktls = on.  Exit status: 0, 1, or 77 when no kernel could be had.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
import argparse
import contextlib
import hashlib
import os
import pathlib
import re
import shlex
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import types

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))
sys.dont_write_bytecode = True

from rig import mirror                              # noqa: E402
from rig.ca import CA                               # noqa: E402
from rig.front import serve_file                    # noqa: E402
from rig.httpd import Reply, Server                 # noqa: E402
from rig.proc import wait_for                       # noqa: E402

SKIP = 77
KERNELS = ["uml", "qemu", "bookworm-backports", "trixie-backports"]
BLOB_BYTES = 3 << 20
WAIT_S = 60                                         # a guest without KVM is slow
EARLY = 192 * 1024                                  # what goes before the kernel has its turn
REKEYS_FROM = (6, 14)
CORE = ["tests/e2e/test_04_http.py", "-k", "range or Range or body or head or keep"]
mirror.START_MAX_S = 120


class Blobs(Server):
    name = "blobs"

    def answer(self, req):
        if req.path == "/v2/":
            return Reply(200)
        return serve_file(HOME / req.path.rpartition("sha256:")[2], req.get("Range"))


def tls_stat(name):
    return int(re.search(rf"^{name}\s+(\d+)", pathlib.Path("/proc/net/tls_stat").read_text(), re.M)[1])


class Counts:
    """What the mirror's metrics and the kernel's own count grew by since it was made."""
    def __init__(self, s):
        self.s, self.before, self.sockets = s, s.metrics(), tls_stat("TlsTxSw")

    def check(self, least, most=None, sockets=1):
        """Bytes by the kernel's TLS, and sockets that went over to it."""
        grown = {k: v - self.before.get(k, 0) for k, v in self.s.metrics().items()}
        kernel = grown["tls_kernel_bytes_total"]
        assert least <= kernel <= (least + EARLY + 8192 if most is None else most), grown
        assert tls_stat("TlsTxSw") - self.sockets == sockets == grown["tls_kernel_connections_total"]


class Guest:
    def __init__(self):
        self.tmp = pathlib.Path(os.environ["TMPDIR"])
        self.data = next(HOME.glob("blob.*")).read_bytes()
        self.digest = hashlib.sha256(self.data).hexdigest()
        self.kernel = tuple(map(int, os.uname().release.split(".")[:2]))
        self.upstream = Blobs("127.0.0.1", port=8080).start()
        self.rig = types.SimpleNamespace(ca=CA(HOME / "ca"), front=types.SimpleNamespace(
            url="http://127.0.0.1:8080"))
        self.path = f"/v2/library/ktls/blobs/sha256:{self.digest}"

    @contextlib.contextmanager
    def sluice(self, ktls):
        plain = {"ca": None}
        # A folder of its own: another's would take up this one's file as its own that has changed.
        with mirror.Sluice(self.rig, tempfile.mkdtemp(dir=self.tmp, prefix=f"sluice-{ktls}."), {
                "server": {"ktls": ktls, "workers": 1}, "cache": {"free": "1M"},
                "mirror docker.io": plain, "mirror second.test": plain}) as s:
            yield s

    def curl(self, s, *argv, want=None, times=1):
        """The blob, or of it what is wanted, so many times over one connection."""
        out = [self.tmp / f"out.{n}" for n in range(times)]
        p = subprocess.run(
            ["curl", "-sS", "--fail", "-m", str(WAIT_S), "--cacert", self.rig.ca.pem, "--http1.1", *argv,
             *(x for f in out for x in ("-o", f, s.url + self.path))], capture_output=True, text=True)
        assert p.returncode == 0, p.stderr + s.tail()
        for f in out:
            assert f.read_bytes() == (self.data if want is None else want)
            f.unlink()

    # ---- what is tried

    def pulls(self, s):
        n = len(self.data)
        before = s.metrics()
        self.curl(s)                                    # cold: as the fill goes on
        assert s.metrics()["fills_ok_total"] - before["fills_ok_total"] == 1
        c = Counts(s)
        self.curl(s)
        c.check(n - EARLY, n)
        c = Counts(s)
        self.curl(s, times=2)
        c.check(2 * n - EARLY, 2 * n + 4096)            # the second with its head
        c = Counts(s)
        self.curl(s, "-r", "100001-2100000", want=self.data[100001:2100001])
        c.check(2000000 - EARLY, 2000000)
        c = Counts(s)
        self.curl(s, "-r", "0-99999", want=self.data[:100000])
        self.curl(s, "--http2")
        c.check(0, 0, sockets=0)

    def ciphers(self, s):
        n = len(self.data)
        for argv in (["--tlsv1.3", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384"],
                     ["--tlsv1.3", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"],
                     ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"],
                     ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"],
                     ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"]):
            c = Counts(s)
            self.curl(s, *argv)
            c.check(n - EARLY, n)

    def slow_client(self, s):
        """Its window is closed most of the time; it is told of the end by close_notify."""
        context = ssl.create_default_context(cafile=self.rig.ca.pem)
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        raw.settimeout(WAIT_S)
        raw.connect(("127.0.0.1", s.ports["https"]))
        c, got = Counts(s), bytearray()
        with context.wrap_socket(raw, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as w:
            w.sendall(f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            while piece := w.recv(65536):               # raises at an end without close_notify
                got += piece
                time.sleep(0.002)
        assert got.partition(b"\r\n\r\n")[2] == self.data
        c.check(len(self.data) - EARLY, len(self.data))

    def key_update(self, s):
        """OpenSSL updates its own key, then asks for ours, too, on a connection that has gone over."""
        with Client(self, s) as w:
            c = Counts(s)
            w.get(self.path, self.data)
            c.check(len(self.data) - EARLY, len(self.data))
            w.type("k")
            w.get(self.path, self.data)
            w.type("K")
            if self.kernel >= REKEYS_FROM:
                w.get(self.path, self.data)
                w.type("K")
                w.get(self.path, self.data)
                assert tls_stat("TlsTxRekeyOk") >= 2 and tls_stat("TlsTxRekeyError") == 0
            else:
                w.ends()

    def refused(self, s):
        """A cipher's module that goes, and then all: connections stay with our records."""
        pathlib.Path("/proc/sys/kernel/modprobe").write_text("/bin/false\n")
        wait_for(lambda: tls_stat("TlsCurrTxSw") == 0, WAIT_S, "sockets of kernel TLS close")
        rmmod("chacha20poly1305")
        chacha = ["--tlsv1.3", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"]
        c = Counts(s)
        self.curl(s, *chacha)
        self.curl(s, *chacha)
        c.check(0, 0, sockets=0)
        assert s.tail(200).count("ktls refused by the kernel") == 1, s.tail()
        with self.sluice("auto") as other:
            assert "refused=1.3-chacha20,1.2-chacha20" in other.tail(), other.tail()
            assert re.search(r"ktls=auto user_s_per_gb=[0-9.]+ kernel_s_per_gb=[0-9.]+", other.tail())
            self.curl(other, *chacha)
        rmmod("tls")
        for mode, level in (("on", "warn"), ("auto", "info"))[:1 if args.quick else 2]:
            with self.sluice(mode) as other:
                line = re.search(r"(\w+) tls engine=user ktls=refused reason=.*modprobe tls", other.tail())
                assert line and line[1] == level, other.tail()
                self.curl(other)
                assert other.metrics()["tls_kernel_bytes_total"] == 0

    def run(self):
        step("start")
        with self.sluice("on") as s:
            assert re.search(r"info tls engine=kernel ktls=on user_s_per_gb=[0-9.]+ kernel_s_per_gb="
                             r"[0-9.]+ measured=aes128gcm refused=- rekey=", s.tail()), s.tail()
            assert ("rekey=yes" in s.tail()) == (self.kernel >= REKEYS_FROM), s.tail()
            for what in (self.pulls, self.ciphers, self.slow_client, self.key_update, self.refused):
                if what == self.ciphers and args.quick:
                    continue
                step(what.__name__)
                what(s)
        step("done")


class Client:
    """openssl s_client, whose input can be commands."""
    def __init__(self, guest, s):
        self.p = subprocess.Popen(
            ["openssl", "s_client", "-connect", s.host, "-CAfile", guest.rig.ca.pem, "-tls1_3"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.out, self.seen = bytearray(), 0
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while piece := os.read(self.p.stdout.fileno(), 1 << 16):
            self.out += piece

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.kill()
        self.p.wait()
        self.reader.join()
        self.p.stdin.close()
        self.p.stdout.close()

    def wait(self, text):
        """For that output, behind what was waited for before."""
        at = wait_for(lambda: self.out.find(text, self.seen) + 1, WAIT_S,
                      lambda: f"{text[:50]}; last: {bytes(self.out[-300:])}")
        self.seen = at - 1 + len(text)

    def write(self, text):
        self.p.stdin.write(text.encode())
        self.p.stdin.flush()

    def get(self, path, body):
        self.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self.wait(body)

    def type(self, key):
        self.write(key + "\n")
        self.wait(b"KEYUPDATE")

    def ends(self):
        """By close_notify: at any other end it complains."""
        self.p.wait(WAIT_S)
        self.reader.join()
        assert self.out[self.seen:].strip().endswith(b"closed"), bytes(self.out[-300:])


def rmmod(name):
    subprocess.run(["busybox", "rmmod", name], check=True, timeout=WAIT_S)


def step(text):
    print(f"{pathlib.Path('/proc/uptime').read_text().split()[0]} s: {text}", flush=True)


def unit_test():
    """The unit test of this build that needs such a kernel, if it is there."""
    found = [f / "tests/unit/net_ktls_test" for f in (mirror.BINARY.parent, ROOT / "build/release")]
    return next((f for f in found if f.exists()), pathlib.Path("true"))


def guest(kernel, seconds, *command):
    out = subprocess.run([HERE / "run", "--seconds", str(seconds), kernel, *map(str, command)],
                         stdout=subprocess.PIPE, text=True)
    print(f"== {kernel}\n{out.stdout}", end="", flush=True)
    if out.returncode == 0 and "kernel complains" in out.stdout:
        return 1
    return out.returncode


def outside(kernel, folder):
    here = [str(HERE / "ktls.py"), "--inside", folder, *["--quick"][:args.quick]]
    status = guest(kernel, args.seconds, "bash", "-c",
                   f"{shlex.quote(str(unit_test()))} && {shlex.join(here)}")
    if status == 0 and args.core:
        os.environ["SLUICE_SET"] = "server.ktls=on"
        tests = ["/usr/bin/python3", "-m", "pytest", "-q", "-x", "--color=no", "-p", "no:cacheprovider", *CORE]
        status = guest(kernel, args.seconds * 3, "bash", "-c",
                       shlex.join(tests) + " && grep '^TlsTxSw[[:space:]]*[1-9]' /proc/net/tls_stat")
    return status


def main():
    with tempfile.TemporaryDirectory(prefix="sluice-ktls.") as folder:
        path = pathlib.Path(folder)
        path.chmod(0o755)
        CA(path / "ca").issue("mirror", ["127.0.0.1", "localhost", "mirror.test"])
        data = os.urandom(BLOB_BYTES)
        (path / hashlib.sha256(data).hexdigest()).write_bytes(data)
        (path / "blob.0").write_bytes(data)
        os.environ["NET_CERTS"] = f"{folder}/certs"
        (path / "certs").mkdir()
        subprocess.run([unit_test(), "refused"], stdout=subprocess.DEVNULL, check=True)
        ends = [outside(k, folder) for k in args.kernels or KERNELS]
    if all(x == SKIP for x in ends):
        return SKIP
    return int(any(x not in (0, SKIP) for x in ends) or (bool(args.kernels) and SKIP in ends))


parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("--quick", action="store_true")
parser.add_argument("--core", action="store_true")
parser.add_argument("--seconds", type=int, default=300)
parser.add_argument("--inside", type=pathlib.Path)
parser.add_argument("kernels", nargs="*", choices=[*KERNELS, []])
args = parser.parse_args()
if args.inside:
    HOME = args.inside
    Guest().run()
else:
    sys.exit(main())
