"""[passthrough]: TLS connections that are passed on unopened, by their SNI."""
import contextlib
import hashlib
import os
import random
import select
import socket
import ssl
import threading
import time

import pytest

from rig import httpd
from rig.clients import curl
from rig.mirror import ini, merge
from rig.proc import wait_for
from rig.wire import Wire

GIT = "git.example.com"
BODY = random.Random(15).randbytes(8 << 20)


class Peer:
    """A TCP server: each connection goes to talk(socket), in a thread of its own."""
    def __init__(self, talk, address="127.0.0.1"):
        self.talk, self.socket = talk, socket.create_server((address, 0))
        self.place = "%s:%d" % self.socket.getsockname()
        self.open, self.errors, self.count = [], [], 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                s = self.socket.accept()[0]
                s.settimeout(30)
                self.count += 1
                self.open.append(s)
                threading.Thread(target=self.one, args=(s,), daemon=True).start()

    def one(self, s):
        try:
            self.talk(s)
        except Exception as e:          # looked at by the test
            self.errors.append(repr(e))
        finally:
            with contextlib.suppress(OSError):
                s.close()

    def close(self):
        for s in [self.socket, *self.open]:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


@pytest.fixture
def serve(request):
    def begin(talk, **kw):
        p = Peer(talk, **kw)
        request.addfinalizer(p.close)
        return p
    return begin


@pytest.fixture
def passes(start):
    """passes(peer, {key: value}, {section: ..}): a Sluice with [passthrough git] to it."""
    def begin(peer, keys=None, more=None):
        place = peer if isinstance(peer, str) else peer.place
        return start(merge({"passthrough git": {"sni": f"{GIT} *.corp.example", "upstream": place,
                                                **(keys or {})}}, more or {}))
    return begin


def connect(s):
    c = socket.create_connection(("127.0.0.1", s.ports["https"]), 20)
    c.settimeout(30)
    return c


def hello(name=GIT, alpn=None):
    """A real ClientHello."""
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(alpn)
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def take(s, size):
    got = bytearray()
    while len(got) < size and (data := s.recv(min(1 << 18, size - len(got)))):
        got += data
    return bytes(got)


def rest(s):
    got = bytearray()
    while data := s.recv(1 << 18):
        got += data
    return bytes(got)


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def cert(shared_rig):
    return shared_rig.ca.issue("git", [GIT, "a.corp.example"])


class Files(httpd.Server):
    def answer(self, req):
        if req.method == "POST":
            return httpd.Reply(200, [], sha(b"".join(req.body)))
        return httpd.Reply(200, [], BODY)


def test_curl(rig, passes, cert, tmp_path):
    """The client has TLS with the server itself; bytes both ways are right, logged and counted."""
    server = Files("127.0.0.4", cert).start()
    s = passes(server.host)
    (tmp_path / "body").write_bytes(BODY)
    grew = s.delta()
    for name in (GIT, "a.corp.example"):
        at = f"{name}:{s.ports['https']}"
        args = ["--resolve", f"{at}:127.0.0.1", "--http1.1"]
        curl(*args, "-o", tmp_path / "got", f"https://{at}/file", ca=rig.ca.pem)
        assert sha((tmp_path / "got").read_bytes()) == sha(BODY)
        out = curl(*args, "-H", "Expect:", "--data-binary", f"@{tmp_path}/body", f"https://{at}/",
                   ca=rig.ca.pem).stdout
        assert out == sha(BODY)
    lines = s.wait_access(lambda x: x["mirror"] == "git", 4)
    assert {x["host"] for x in lines} == {GIT, "a.corp.example"}
    for x in lines:
        # (Who has closed resets the server's last words.)
        assert (x["status"], x["upstream"]) == (200, server.host)
        assert x["end"] in ("ok", "client_gone")
    assert sum(x["bytes"] for x in lines) > 2 * len(BODY) < sum(x["bytes_up"] for x in lines)
    g = grew()
    assert g["passthrough_total"] == 4 and g["passthrough_open"] == 0
    assert g["passthrough_up_bytes_total"] == sum(x["bytes_up"] for x in lines)
    assert g["passthrough_down_bytes_total"] == sum(x["bytes"] for x in lines)
    assert g.get("handshakes_total", 0) == 0 == g.get("handshakes_failed_total", 0)
    server.stop()


@pytest.mark.parametrize("size", [1, 100, 100000])
def test_hello_in_pieces(passes, serve, size):
    """It arrives as it was sent, however it came."""
    seen = []
    first = hello(alpn=["http/1.1", "x" * 200])

    def talk(s):
        seen.append(rest(s))
        s.sendall(b"answer")
    s = passes(serve(talk))
    c = connect(s)
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(first), size):
        c.sendall(first[at:at + size])
        if size == 1:
            time.sleep(0.0005)
    c.sendall(b"behind it")
    c.shutdown(socket.SHUT_WR)
    assert rest(c) == b"answer"
    assert seen == [first + b"behind it"]


def test_hello_over_records(passes, serve):
    """A ClientHello in many records, with bytes behind it in the same segment."""
    seen = []
    first = hello()
    cut = b"".join(b"\x16\x03\x01" + len(p).to_bytes(2, "big") + p
                   for p in (first[5 + i:5 + i + 50] for i in range(0, len(first) - 5, 50)))

    def talk(s):
        seen.append(take(s, len(cut) + 4))
        s.sendall(b"ok")
    s = passes(serve(talk))
    c = connect(s)
    c.sendall(cut + b"more")
    assert take(c, 2) == b"ok" and seen == [cut + b"more"]


def test_half_close(passes, serve):
    """A FIN of one side is passed on behind its last byte; the other goes on for as long as it
    likes."""
    def talk(s):
        got = rest(s)                           # to the client's FIN
        time.sleep(0.3)
        s.sendall(BODY)
        s.sendall(sha(got).encode())
    peer = serve(talk)
    s = passes(peer)
    c, first = connect(s), hello()
    c.sendall(first + BODY)
    c.shutdown(socket.SHUT_WR)
    got = rest(c)
    assert got == BODY + sha(first + BODY).encode() and not peer.errors
    s.wait_metric("passthrough_down_bytes_total", len(got))
    wait_for(lambda: s.metrics()["passthrough_open"] == 0, 20)


def test_server_closes_first(passes, serve):
    """The same the other way round."""
    result = []

    def talk(s):
        s.sendall(BODY)
        s.shutdown(socket.SHUT_WR)
        result.append(sha(rest(s)))
    s = passes(serve(talk))
    c, first = connect(s), hello()
    c.sendall(first)
    assert rest(c) == BODY
    c.sendall(BODY)
    c.close()
    wait_for(lambda: result, 20)
    assert result == [sha(first + BODY)]


def test_both_ways_at_once_and_slowly(passes, serve):
    """8 MB each way at the same time, with readers that rest: nothing is lost or stuck."""
    def talk(s):
        t = threading.Thread(target=lambda: (s.sendall(BODY), s.shutdown(socket.SHUT_WR)))
        t.start()
        time.sleep(0.5)
        got = rest(s)
        t.join()
        digests.append(sha(got))
    digests, first = [], hello()
    s = passes(serve(talk))
    c = connect(s)

    def send():
        c.sendall(first + BODY)
        c.shutdown(socket.SHUT_WR)
    t = threading.Thread(target=send)
    t.start()
    got = bytearray()
    while data := c.recv(1 << 16):
        got += data
        if random.random() < 0.05:
            time.sleep(0.01)
    t.join()
    assert bytes(got) == BODY
    wait_for(lambda: digests == [sha(first + BODY)], 20)


def test_reset_is_noticed(passes, serve):
    """When one side is gone, the other is told at once."""
    def talk(s):
        take(s, 4)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    s = passes(serve(talk))
    c = connect(s)
    c.sendall(hello())
    with contextlib.suppress(ConnectionResetError):
        assert rest(c) == b""
    wait_for(lambda: s.metrics()["passthrough_open"] == 0, 20)


def test_proxy_protocol(passes, serve):
    """The header comes first, with the client's address and ours."""
    seen, first = [], hello()

    def talk(s):
        seen.append(take(s, 28 + len(first)))
        s.sendall(b"ok")
    s = passes(serve(talk), {"proxy_protocol": "v2"})
    c = connect(s)
    c.sendall(first)
    assert take(c, 2) == b"ok"
    want = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1"
            + c.getsockname()[1].to_bytes(2, "big") + s.ports["https"].to_bytes(2, "big"))
    assert seen == [want + first]


def test_other_names(rig, passes, serve, wire):
    """What no section names has Sluice's own TLS, as before."""
    peer = serve(rest)
    s = passes(peer, {"sni": f"{GIT} *.corp.example *.mirror.test"})
    for name in ("mirror.test", "docker.mirror.test", "", "corp.example", "a.b.corp.example",
                 "xgit.example.com", "git.example.com.evil.test"):
        with Wire(("127.0.0.1", s.ports["https"]), ca=rig.ca.pem, name=name or None) as w:
            assert w.tls.version().startswith("TLS")
    assert peer.count == 0
    w = connect(s)
    w.sendall(hello("x.mirror.test"))
    wait_for(lambda: peer.count == 1, 20)


def test_no_server(rig, passes, serve):
    """Refused, or at a private address that is not allowed: the client's connection ends."""
    gone = socket.create_server(("127.0.0.1", 0))
    place = "127.0.0.1:%d" % gone.getsockname()[1]
    gone.close()
    peer = serve(rest)
    dns = {"resolver": {"nameservers": rig.dns.address}} if hasattr(rig.dns, "address") else {}
    for upstream, more in ((place, {}), ("localhost:" + peer.place.partition(":")[2], dns)):
        s = passes(upstream, more=more)
        c = connect(s)
        c.sendall(hello())
        with contextlib.suppress(ConnectionResetError):
            assert c.recv(1) == b""
        assert s.wait_access(lambda x: x["mirror"] == "git")[0]["status"] == 502
        assert s.metrics()["passthrough_failed_total"] == 1
    assert peer.count == 0


def test_idle(passes, serve):
    """Silence ends it after idle_timeout; a byte now and then keeps it."""
    def talk(s):
        while data := s.recv(1000):
            s.sendall(data)
    s = passes(serve(talk), {"idle_timeout": "2s"})
    c, first = connect(s), hello()
    c.sendall(first)
    assert take(c, len(first)) == first
    for _ in range(7):
        time.sleep(0.5)
        c.sendall(b"x")
        assert take(c, 1) == b"x"
    with contextlib.suppress(ConnectionResetError):
        assert rest(c) == b""
    assert s.wait_access(lambda x: x["mirror"] == "git")[0]["end"] == "client_timeout"


def test_pool(passes, serve):
    """Its servers in turn; one that is down is not missed."""
    gone = socket.create_server(("127.0.0.1", 0))
    down = "127.0.0.1:%d" % gone.getsockname()[1]
    gone.close()
    peers = [serve(lambda s: s.sendall(take(s, 1))) for _ in range(2)]
    s = passes("", {"upstream": None, "pool": "forge"},
               {"pool forge": {"servers": [down, *(p.place for p in peers)]}})
    for _ in range(12):
        c = connect(s)
        c.sendall(hello())
        assert take(c, 1) == b"\x16"
        c.close()
    assert all(p.count >= 2 for p in peers)


def test_drain_and_reload(passes, serve):
    """A connection outlives a reload that drops its section, and a SIGTERM by drain_timeout."""
    def talk(s):
        while data := s.recv(1000):
            s.sendall(data)
    s = passes(serve(talk), more={"server": {"drain_timeout": "3s"}})
    c, first = connect(s), hello()
    c.sendall(first)
    assert take(c, len(first)) == first
    s.config["passthrough git"] = {"sni": "other.example.com", "upstream": "127.0.0.1:1"}
    s.file.write_text(ini(s.config))
    s.process.signal(1)
    wait_for(lambda: "reload" in s.process.log.read_text(), 20)
    time.sleep(1.5)                     # the old configuration is looked after once a second
    c.sendall(b"still")
    assert take(c, 5) == b"still"
    s.term()
    wait_for(lambda: not select.select([], [], [], 0.2)[0] and refuses(s), 20)
    c.sendall(b"there")
    assert take(c, 5) == b"there"
    with contextlib.suppress(ConnectionResetError):
        assert rest(c) == b""           # cut by drain_timeout
    assert s.process.wait(20) == 0
    assert s.access()[-1]["end"] == "shutdown"


def refuses(s):
    try:
        connect(s).close()
    except OSError:
        return True
    return False


def test_many(passes, serve):
    """200 connections at once, each with its own bytes; descriptors are given back."""
    def talk(s):
        while data := s.recv(1 << 16):
            s.sendall(data)
    s = passes(serve(talk))
    fds = f"/proc/{s.process.pid}/fd"
    before = len(os.listdir(fds))
    first = hello()
    open_ = [connect(s) for _ in range(200)]
    for c in open_:
        c.sendall(first)
    for i, c in enumerate(open_):
        assert take(c, len(first)) == first
        c.sendall(b"%05d" % i)
    for i, c in enumerate(open_):
        assert take(c, 5) == b"%05d" % i
        c.close()
    wait_for(lambda: s.metrics()["passthrough_open"] == 0, 20)
    wait_for(lambda: len(os.listdir(fds)) <= before + 2 * 2 * 32 + 4, 20)
    wait_for(lambda: s.metrics()["connections"] == 0, 20)
