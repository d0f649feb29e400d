"""[passthrough]: TLS connections that are passed on unopened, by their SNI."""
import contextlib
import hashlib
import os
import random
import socket
import ssl
import threading
import time

import pytest

from rig import httpd
from rig.clients import curl
from rig.mirror import merge
from rig.proc import free_port, refused, wait_for
from rig.wire import Wire

GIT = "git.example.com"
BODY = random.Random(15).randbytes(8 << 20)


@pytest.fixture
def passes(start):
    """passes(peer, {key: value}, {section: ..}): a Sluice with [passthrough git] to it."""
    def begin(peer, keys=None, more=None):
        place = peer if isinstance(peer, str) else peer.host
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


def echo(s):
    while data := s.recv(1 << 16):
        s.sendall(data)


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
def test_hello_in_pieces(passes, listen, size):
    """It arrives as it was sent, however it came."""
    seen = []
    first = hello(alpn=["http/1.1", "x" * 200])

    def talk(s):
        seen.append(rest(s))
        s.sendall(b"answer")
    s = passes(listen(serve=talk))
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


def test_hello_over_records(passes, listen):
    """A ClientHello in many records, with bytes behind it in the same segment."""
    seen = []
    first = hello()
    cut = b"".join(b"\x16\x03\x01" + len(p).to_bytes(2, "big") + p
                   for p in (first[5 + i:5 + i + 50] for i in range(0, len(first) - 5, 50)))

    def talk(s):
        seen.append(take(s, len(cut) + 4))
        s.sendall(b"ok")
    s = passes(listen(serve=talk))
    c = connect(s)
    c.sendall(cut + b"more")
    assert take(c, 2) == b"ok" and seen == [cut + b"more"]


def test_half_close(passes, listen):
    """A FIN of one side is passed on behind its last byte; the other goes on for as long as it
    likes."""
    def talk(s):
        got = rest(s)                           # to the client's FIN
        time.sleep(0.3)
        s.sendall(BODY)
        s.sendall(sha(got).encode())
    peer = listen(serve=talk)
    s = passes(peer)
    c, first = connect(s), hello()
    c.sendall(first + BODY)
    c.shutdown(socket.SHUT_WR)
    got = rest(c)
    assert got == BODY + sha(first + BODY).encode() and not peer.errors
    s.wait_metric("passthrough_down_bytes_total", len(got))
    wait_for(lambda: s.metrics()["passthrough_open"] == 0, 20)


def test_server_closes_first(passes, listen):
    """The same the other way round."""
    result = []

    def talk(s):
        s.sendall(BODY)
        s.shutdown(socket.SHUT_WR)
        result.append(sha(rest(s)))
    s = passes(listen(serve=talk))
    c, first = connect(s), hello()
    c.sendall(first)
    assert rest(c) == BODY
    c.sendall(BODY)
    c.close()
    wait_for(lambda: result, 20)
    assert result == [sha(first + BODY)]


def test_both_ways_at_once_and_slowly(passes, listen):
    """8 MB each way at the same time, with readers that rest: nothing is lost or stuck."""
    def talk(s):
        t = threading.Thread(target=lambda: (s.sendall(BODY), s.shutdown(socket.SHUT_WR)))
        t.start()
        time.sleep(0.5)
        got = rest(s)
        t.join()
        digests.append(sha(got))
    digests, first = [], hello()
    s = passes(listen(serve=talk))
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


def test_reset_is_noticed(passes, listen):
    """When one side is gone, the other is told at once."""
    def talk(s):
        take(s, 4)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    s = passes(listen(serve=talk))
    c = connect(s)
    c.sendall(hello())
    with contextlib.suppress(ConnectionResetError):
        assert rest(c) == b""
    wait_for(lambda: s.metrics()["passthrough_open"] == 0, 20)


def test_proxy_protocol(passes, listen):
    """The header comes first, with the client's address and ours."""
    seen, first = [], hello()

    def talk(s):
        seen.append(take(s, 28 + len(first)))
        s.sendall(b"ok")
    s = passes(listen(serve=talk), {"proxy_protocol": "v2"})
    c = connect(s)
    c.sendall(first)
    assert take(c, 2) == b"ok"
    want = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1"
            + c.getsockname()[1].to_bytes(2, "big") + s.ports["https"].to_bytes(2, "big"))
    assert seen == [want + first]


def test_other_names(rig, passes, listen, wire):
    """What no section names has Sluice's own TLS, as before."""
    peer = listen(serve=rest)
    s = passes(peer, {"sni": f"{GIT} *.corp.example *.mirror.test"})
    for name in ("mirror.test", "docker.mirror.test", "", "corp.example", "a.b.corp.example",
                 "xgit.example.com", "git.example.com.evil.test"):
        with Wire(("127.0.0.1", s.ports["https"]), ca=rig.ca.pem, name=name or None) as w:
            assert w.tls.version().startswith("TLS")
    assert len(peer.seen) == 0
    w = connect(s)
    w.sendall(hello("x.mirror.test"))
    wait_for(lambda: len(peer.seen) == 1, 20)


def test_no_server(passes, listen):
    """Refused, or at a private address that is not allowed: the client's connection ends."""
    peer = listen(serve=rest)
    for upstream in (f"127.0.0.1:{free_port()}", "localhost:" + peer.host.partition(":")[2]):
        s = passes(upstream)
        c = connect(s)
        c.sendall(hello())
        with contextlib.suppress(ConnectionResetError):
            assert c.recv(1) == b""
        assert s.wait_access(lambda x: x["mirror"] == "git")[0]["status"] == 502
        assert s.metrics()["passthrough_failed_total"] == 1
    assert len(peer.seen) == 0


def test_idle(passes, listen):
    """Silence ends it after idle_timeout; a byte now and then keeps it."""
    s = passes(listen(serve=echo), {"idle_timeout": "2s"})
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


def test_pool(passes, listen):
    """Its servers in turn; one that is down is not missed."""
    peers = [listen(serve=lambda c: c.sendall(take(c, 1))) for _ in range(2)]
    s = passes("", {"upstream": None, "pool": "forge"},
               {"pool forge": {"servers": [f"127.0.0.1:{free_port()}", *(p.host for p in peers)]}})
    for _ in range(12):
        c = connect(s)
        c.sendall(hello())
        assert take(c, 1) == b"\x16"
        c.close()
    assert all(len(p.seen) >= 2 for p in peers)


def test_drain_and_reload(passes, listen):
    """A connection outlives a reload that drops its section, and a SIGTERM by drain_timeout."""
    s = passes(listen(serve=echo), more={"server": {"drain_timeout": "3s"}})
    c, first = connect(s), hello()
    c.sendall(first)
    assert take(c, len(first)) == first
    s.reload({"passthrough git": {"sni": "other.example.com", "upstream": "127.0.0.1:1"}})
    time.sleep(1.5)                     # the old configuration is looked after once a second
    c.sendall(b"still")
    assert take(c, 5) == b"still"
    s.term()
    wait_for(lambda: refused(s.ports["https"]), 20)
    c.sendall(b"there")
    assert take(c, 5) == b"there"
    with contextlib.suppress(ConnectionResetError):
        assert rest(c) == b""           # cut by drain_timeout
    assert s.process.wait(20) == 0
    assert s.access()[-1]["end"] == "shutdown"


def test_many(passes, listen):
    """200 connections at once, each with its own bytes; descriptors are given back."""
    s = passes(listen(serve=echo))
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
