"""Memory is bounded whatever clients and upstreams do, and is used again by those who come next.

A part of the crowd by default; MEMORY_FULL=1 takes 10,000 idle connections, 2,000 slow readers and
1,100 cold blobs.  What is measured is the process's anonymous memory against what it was before."""
import asyncio
import hashlib
import os
import pathlib
import re
import select
import socket
import subprocess
import sys
import threading

import pytest

from rig import images
from rig.mirror import is_sanitized
from rig.proc import wait_for
from rig.wire import Wire, tls_context

KB, MB = 1 << 10, 1 << 20
FULL = bool(os.environ.get("MEMORY_FULL"))
IDLE, PROCESSES = (10000, 4) if FULL else (1000, 2)
SLOW, SLOW_TLS = (2000, 300) if FULL else (400, 100)
COLD = 1100 if FULL else 220
# An idle TLS connection: its client with its stream (1.3 KB), and what malloc adds after handshakes.
IDLE_MAX = 4 * KB
# A reader that takes nothing: one buffer of what could not be sent (128 KB), its xfer and body.
SLOW_MAX = 160 * KB
# A fill: two chunks of 256 KB, its head buffer, a pull and a fetch; and its client.
COLD_MAX = 704 * KB
FIXED = 6 * MB          # what pools keep, and malloc
AGAIN = 2 * MB          # by how much a second crowd may exceed the first
LONG = {"idle_timeout": "10m", "header_timeout": "10m", "send_timeout": "10m"}

needs_plain = pytest.mark.skipif(is_sanitized(), reason="a sanitizer has memory of its own")


def anon(s):
    text = pathlib.Path(f"/proc/{s.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", text)[1]) * KB


def report(what, count, base, peak, after):
    print(f"{what}: {count}, {(peak - base) / count / KB:.1f} KB each, base {base / MB:.1f} MB, "
          f"peak {peak / MB:.1f} MB, after {after / MB:.1f} MB")


def settled(s):
    """No connection is left; the memory then."""
    wait_for(lambda: s.metrics()["connections"] == 0, 30, lambda: str(s.metrics()))
    return anon(s)


def check_answers(s, blob):
    """Others are served meanwhile."""
    path, want = blob
    with Wire(("127.0.0.1", s.ports["https"]), ca=s.rig.ca.pem) as w:
        assert w.ask("GET", path).body == want


@pytest.fixture
def small_blob(rig, fresh):
    digest = fresh.layers[0]
    return (f"/v2/docker.io/{fresh.repo}/blobs/{digest}",
            rig.registry.blob_path(digest).read_bytes())


@needs_plain
def test_idle_connections(start, rig, small_blob):
    """Thousands of idle TLS connections: 4 KB each, and a second crowd needs no more
    than what the first one left (malloc keeps it)."""
    s = start({"server": LONG})
    check_answers(s, small_blob)
    crowd(s, 1, 100)()
    base = settled(s)
    peaks = []
    for _ in range(2):
        leave = crowd(s, PROCESSES, IDLE // PROCESSES)
        assert s.metrics()["connections"] >= IDLE
        peaks.append(anon(s))
        check_answers(s, small_blob)
        leave()
        after = settled(s)
        report("idle TLS", IDLE, base, peaks[-1], after)
    assert peaks[0] - base <= IDLE * IDLE_MAX + FIXED
    assert peaks[1] - peaks[0] <= AGAIN, "the second crowd should need what the first one had"
    check_answers(s, small_blob)


def crowd(s, processes, each):
    """Idle connections, made by processes; the function that is given ends them."""
    held = [subprocess.Popen([sys.executable, "-m", "rig.crowd", str(s.ports["https"]),
                              str(s.rig.ca.pem), str(each)], cwd=pathlib.Path(__file__).parent,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(processes)]

    def leave():
        for p in held:
            p.stdin.close()
            p.wait(30)
            p.stdout.close()
    try:
        for p in held:
            assert select.select([p.stdout], [], [], 240)[0] and p.stdout.readline() == b"ready\n"
    except BaseException:
        for p in held:
            p.kill()
        leave()
        raise
    return leave


@needs_plain
def test_slow_readers(start, rig, small_blob):
    """Readers of one large blob with tiny buffers, who take some bytes now and then: one buffer for
    each at most; others are served; a second crowd needs no more."""
    s = start({"server": LONG})
    check_answers(s, small_blob)
    image = images.one_blob(rig.push, "library/slowread", 16 * MB)
    path = f"/v2/docker.io/{image.repo}/blobs/{image.largest}"
    with Wire(("127.0.0.1", s.ports["plain"])) as w:
        assert images.digest_of(w.ask("GET", path).body) == image.largest
    base = settled(s)
    peaks = [slow_crowd(s, path, small_blob, base) for _ in range(2)]
    assert peaks[0] - base <= (SLOW + SLOW_TLS) * SLOW_MAX + FIXED
    assert peaks[1] - peaks[0] <= FIXED
    check_answers(s, small_blob)


def slow_crowd(s, path, small_blob, base):
    """All of them come, read a little and leave; the memory while they were there."""
    context, readers = tls_context(s.rig.ca.pem), []
    try:
        for i in range(SLOW + SLOW_TLS):
            readers.append(slow_reader(s, path, context if i >= SLOW else None))
        for _ in range(5):
            for r in readers:
                r.recv(100)
            check_answers(s, small_blob)
        peak = anon(s)
        assert s.metrics()["connections"] >= len(readers)
    finally:
        for r in readers:
            r.close()
    report("slow readers", len(readers), base, peak, settled(s))
    return peak


def slow_reader(s, path, context):
    """A socket with a tiny receive buffer, on which the blob is waiting."""
    port = s.ports["https" if context else "plain"]
    sock = socket.socket()
    sock.settimeout(30)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    request = f"GET {path} HTTP/1.1\r\nHost: mirror.test\r\n\r\n"
    if not context:
        sock.sendall(request.encode())
        return sock
    w = Wire(sock, ca=True, context=context)
    w.send(request)
    w.tls = None
    return sock


class Source:
    """Upstream for any number of blobs of 512 KB: the first 300 KB at once, the rest at release()."""
    SIZE, FIRST = 512 * KB, 300 * KB

    def __init__(self, count):
        self.data = {}
        for i in range(count):
            body = b"%08d" % i * (self.SIZE // 8)
            self.data[hashlib.sha256(body).hexdigest()] = b"%08d" % i
        self.loop = asyncio.new_event_loop()
        self.gate = asyncio.Event()
        self.waiting = 0
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.server = self.call(asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=2048))
        self.url = "http://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    def call(self, coroutine, seconds=120):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def release(self):
        self.loop.call_soon_threadsafe(self.gate.set)

    def close(self):
        self.release()
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_later(0.2, self.loop.stop)

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                hexa = re.search(rb"sha256:([0-9a-f]{64})", head)[1].decode()
                body = self.data[hexa] * (self.SIZE // 8)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.SIZE
                             + body[:self.FIRST])
                await writer.drain()
                self.waiting += 1
                await self.gate.wait()
                writer.write(body[self.FIRST:])
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def ask(self, port, hexa):
        """One client; its status, and whether its body was right."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /v2/source.test/a/b/blobs/sha256:%b HTTP/1.1\r\nHost: mirror.test\r\n"
                         b"Connection: close\r\n\r\n" % hexa.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read(-1)
            return int(head.split()[1]), hashlib.sha256(body).hexdigest() == hexa, head
        finally:
            writer.close()

    async def ask_all(self, port):
        return await asyncio.gather(*(self.ask(port, h) for h in self.data))


@needs_plain
def test_cold_blobs(start, rig, small_blob):
    """As many different cold blobs at once, on one worker, of which upstream holds back the rest:
    bounded memory for each; one above the bound of fills is told 503; all others come right."""
    source = Source(COLD)
    s = start({"server": {**LONG, "workers": 1},
               "mirror source.test": {"upstream": source.url, "private": "yes",
                                      "stall": "5m", "first_byte_timeout": "5m"}})
    try:
        check_answers(s, small_blob)
        base = settled(s)
        asked = asyncio.run_coroutine_threadsafe(source.ask_all(s.ports["plain"]), source.loop)
        most = min(COLD, 1000)
        wait_for(lambda: source.waiting >= most, 120, lambda: f"{source.waiting} fills")
        peak = anon(s)
        with Wire(("127.0.0.1", s.ports["plain"])) as w:    # a hit needs no fill
            assert w.ask("GET", small_blob[0]).body == small_blob[1]
        source.release()
        got = asked.result(180)
    finally:
        source.close()
    after = settled(s)
    report("cold blobs", COLD, base, peak, after)
    good = [g for g in got if g[0] == 200]
    assert all(right for _, right, _ in good) and len(good) >= most
    for status, _, head in got:
        assert status == 200 or (status == 503 and b"etry-" in head), head
    assert peak - base <= COLD * COLD_MAX + FIXED
    # Chunks go back to the system but for 64; smaller blocks stay in malloc's heaps.
    assert after - base <= (peak - base) / 2 + FIXED + 64 * 256 * KB
    check_answers(s, small_blob)
