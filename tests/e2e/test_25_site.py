"""[site]: requests passed on to any web server, bodies and WebSockets and all."""
import base64
import contextlib
import hashlib
import http.server
import json
import random
import socket
import ssl
import subprocess
import threading
import time

import pytest

from rig.clients import curl
from rig.mirror import is_sanitized, merge
from rig.proc import free_port, wait_for
from rig.wire import Ended, Wire
from rig.wire2 import Wire2

WIKI = "wiki.test"
BODY = random.Random(25).randbytes(3 << 20)


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Python's own server: what it saw comes back as JSON; /file, /chunked, /none and so on."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        got, size = hashlib.sha256(), 0
        if self.headers.get("Transfer-Encoding") == "chunked":
            while n := int(self.rfile.readline(), 16):
                got.update(self.rfile.read(n))
                size += n
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            size = left = int(self.headers.get("Content-Length", 0))
            while left and (data := self.rfile.read(min(left, 1 << 18))):
                got.update(data)
                left -= len(data)
        return size, got.hexdigest()

    def give(self, status, data=None, *fields, chunked=False):
        self.send_response(status)
        for k, v in fields:
            self.send_header(k, v)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif data is not None:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if not data or self.command == "HEAD":
            return
        for at in range(0, len(data), 100_000):
            part = data[at:at + 100_000]
            self.wfile.write(b"%x;a=b\r\n%s\r\n" % (len(part), part) if chunked else part)
        if chunked:
            self.wfile.write(b"0\r\nX-Trailer: 1\r\n\r\n")

    def handle_any(self):
        size, digest = self.body()
        self.server.seen.append((self.command, self.path, self.headers.items()))
        match self.path.partition("?")[0]:
            case "/file":
                return self.give(200, BODY, ("ETag", '"x"'))
            case "/chunked":
                return self.give(200, BODY, ("Trailer", "X-Trailer"), chunked=True)
            case "/none":
                return self.give(204)
            case "/same":
                return self.give(304, None, ("ETag", '"x"'))
            case "/made":
                return self.give(201, b"made", ("Location", "/x"), ("Set-Cookie", "a=1"),
                                 ("Set-Cookie", "b=2"), ("Connection", "X-Hop"), ("X-Hop", "1"),
                                 ("Keep-Alive", "timeout=5"), ("X-Long", "v" * 20000))
        answer = {"method": self.command, "path": self.path, "size": size, "sha": digest,
                  "headers": [list(x) for x in self.headers.items()],
                  "port": self.client_address[1]}
        return self.give(200, json.dumps(answer).encode(), ("Content-Type", "application/json"))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PROPFIND = handle_any


class Web(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_):
        pass


@pytest.fixture(scope="module")
def cert(shared_rig):
    return shared_rig.ca.issue("wiki", [WIKI, "a.pages.test", "127.0.0.1"])


@pytest.fixture
def sites(start, cert):
    """sites(url, {key: value}): a Sluice with [site wiki] to it."""
    def begin(url, keys=None, more=None):
        chain, key = cert
        return start(merge({"certificate wiki": {"chain": chain, "key": key},
                            "site wiki": {"host": f"{WIKI} *.pages.test", "upstream": url,
                                          **(keys or {})}}, more or {}))
    return begin


@pytest.fixture
def web():
    server = Web()
    yield server
    server.shutdown()
    server.server_close()


def fields(answer):
    out = {}
    for k, v in answer["headers"]:
        out.setdefault(k.lower(), []).append(v)
    return out


def on(s, version="1.1", ca=None, **kw):
    """A connection to the site: by TLS (ca), or to the plain listener."""
    kind = Wire2 if version == "2" else Wire
    return kind(("127.0.0.1", s.ports["https" if ca else "plain"]), ca=ca, name=WIKI, **kw)


def lines(s, count):
    return s.wait_access(lambda x: x["mirror"] == "wiki", count)


# ---- requests and answers ----

@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("up", ["http", "https"])
def test_requests(rig, sites, cert, version, up):
    """Each kind of request and answer, whole and as it came; what is of one hop stays there."""
    tls = None
    if up == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*cert)
    web = Web(tls)
    s = sites(web.url, {"ca": rig.ca.pem} if tls else {})
    grew = s.delta()
    w = on(s, version, rig.ca.pem)
    a = json.loads(w.ask("GET", "/a/b%20c?d=%2e", "X-Own: 1", "Cookie: a=1", "Cookie: b=2",
                         "User-Agent: me", "Authorization: Basic eDp5", "Range: bytes=0-1",
                         "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: gopher",
                         "X_Forwarded_Host: evil.test", "Accept-Encoding: gzip",
                         host=WIKI).body)
    assert (a["method"], a["path"], a["size"]) == ("GET", "/a/b%20c?d=%2e", 0)
    assert fields(a) == {
        "host": [WIKI], "x-own": ["1"], "cookie": ["a=1; b=2"], "user-agent": ["me"],
        "authorization": ["Basic eDp5"], "range": ["bytes=0-1"], "accept-encoding": ["gzip"],
        "x-forwarded-for": ["192.0.2.1, 127.0.0.1"], "x-forwarded-proto": ["https"],
        "x-forwarded-host": [WIKI]}
    for path in ("/file", "/chunked"):
        got = w.ask("GET", path, host=WIKI)
        assert (got.status, sha(got.body), got.cut) == (200, sha(BODY), False)
        assert not got.all("trailer")
    got = w.ask("HEAD", "/file", host=WIKI)
    assert (got.status, got.get("content-length"), got.body) == (200, str(len(BODY)), b"")
    got = w.ask("GET", "/none", host=WIKI)
    assert (got.status, got.all("content-length"), got.body) == (204, [], b"")
    got = w.ask("GET", "/same", host=WIKI)
    assert (got.status, got.get("etag"), got.body) == (304, '"x"', b"")
    got = w.ask("POST", "/made", "Content-Length: 0", host=WIKI)
    assert (got.status, got.get("location"), got.body) == (201, "/x", b"made")
    assert got.all("set-cookie") == ["a=1", "b=2"] and got.get("x-long") == "v" * 20000
    assert len(got.all("date")) == 1
    for name in ("x-hop", "keep-alive", "connection", "strict-transport-security",
                 "docker-distribution-api-version"):
        assert not got.all(name), name
    for method in ("PUT", "DELETE", "OPTIONS", "PROPFIND"):
        body = b"x" * 16000 if method == "PUT" else b""
        more = [f"Content-Length: {len(body)}"] if body else []
        a = json.loads(w.ask(method, "/", *more, host=WIKI, body=body.decode()).body)
        assert (a["method"], a["size"], a["sha"]) == (method, len(body), sha(body))
    assert w.ask("TRACE", "/", host=WIKI).status == 405
    assert w.ask("GET", "/v2/", host="mirror.test").status == 421
    if version == "1.1":
        w = on(s, version, rig.ca.pem)
    got = on(s, version, rig.ca.pem).ask("GET", "/", host="no.such.test")
    assert got.status == 421
    w.close()
    ends = {(x["status"], x["end"], x["cache"], x["upstream"]) for x in lines(s, 12)}
    assert ends >= {(200, "ok", "site", web.url.split("//")[1]), (405, "ok", "site", web.url.split("//")[1])}
    g = grew()
    assert g["site_requests_total"] >= 12 and g.get("site_errors_total", 0) == 0
    assert g["site_up_bytes_total"] == 16000 and g["site_down_bytes_total"] > 2 * len(BODY)
    # One connection served all of them, but where it had to be a new one.
    assert g["upstream_connections_total"] <= 3, g
    assert g.get("bytes_down_total", 0) < 10000, "the mirrors' counters have nothing of it"
    web.shutdown()
    web.server_close()


def test_names(rig, sites, web):
    """Whole names and *, on both listeners; the http port leads to https; others are the mirror's."""
    s = sites(web.url, {"host_rewrite": "inner.test:8080"})
    for name, there in ((WIKI, True), ("WIKI.test", True), ("wiki.test:443", True),
                        ("a.pages.test", True), ("a.b.pages.test", False), ("pages.test", False),
                        ("mirror.test", False)):
        with on(s) as w:
            a = w.ask("GET", "/v2/", host=name)
            assert (b'"headers"' in a.body) == there, (name, a)
            if there:
                got = fields(json.loads(a.body))
                assert got["host"] == ["inner.test:8080"] and got["x-forwarded-host"] == [name]
                assert got["x-forwarded-proto"] == ["http"]
    with on(s) as w:                    # behind a balancer that ends TLS
        a = w.ask("GET", "/", "X-Forwarded-Proto: https", host=WIKI)
        assert fields(json.loads(a.body))["x-forwarded-proto"] == ["https"]
    with Wire(("127.0.0.1", s.ports["http"])) as w:
        a = w.ask("GET", "/x", host=WIKI)
        assert (a.status, a.get("location")) == (302, f"https://{WIKI}:{s.ports['https']}/x")


def test_curl(rig, sites, web, tmp_path):
    """A real client, both versions: 100 MB up with bounded memory, by length; less by the others."""
    s = sites(web.url)
    block = random.Random(1).randbytes(1 << 20)
    (tmp_path / "body").write_bytes(block * 100)
    (tmp_path / "less").write_bytes(block * 20)
    at = f"{WIKI}:{s.ports['https']}"
    to = ["--resolve", f"{at}:127.0.0.1", f"https://{at}/x"]
    before = rss(s)
    for name, *args in (("body", "--http1.1"), ("less", "--http2"),
                        ("less", "--http1.1", "-H", "Transfer-Encoding: chunked"),
                        ("less", "--http1.1", "-H", "Expect: 100-continue")):
        a = json.loads(curl(*args, "-T", tmp_path / name, *to, ca=rig.ca.pem).stdout)
        want = (tmp_path / name).read_bytes()
        assert (a["method"], a["size"], a["sha"]) == ("PUT", len(want), sha(want)), args
    assert rss(s) - before < 8 << 20 or is_sanitized()
    for args in (["--http1.1"], ["--http2"], ["--http1.1", "--http1.0"]):
        out = curl(*args, "-o", tmp_path / "got", "-w", "%{http_code}", "--resolve",
                   f"{at}:127.0.0.1", f"https://{at}/chunked", ca=rig.ca.pem).stdout
        assert out == "200" and (tmp_path / "got").read_bytes() == BODY


def rss(s):
    with open(f"/proc/{s.process.pid}/status") as f:
        return next(int(x.split()[1]) << 10 for x in f if x.startswith("VmRSS"))


def test_h2load(rig, sites, web):
    """Many at once by HTTP/2, all of them answered."""
    s = sites(web.url)
    done = subprocess.run(["h2load", "-n", "300", "-c", "3", "-m", "10", "--header",
                           f":authority: {WIKI}", f"http://127.0.0.1:{s.ports['plain']}/x"],
                          capture_output=True, text=True, timeout=60)
    assert "300 succeeded, 0 failed" in done.stdout, done.stdout


# ---- the body of a request ----

def talk(then):
    """A server by hand: reads a head, then does what `then` says with the connection."""
    def serve(c):
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := c.recv(65536)):
                return
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        then(c, head + b"\r\n", rest)
    return serve


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("how", ["says", "silent", "refuses"])
def test_expect(rig, sites, listen, version, how):
    """The client is told to go on when upstream says so, or says nothing; not if it refuses."""
    got = []

    def serve(c, head, rest):
        assert b"\r\nExpect: 100-continue\r\n" in head and not rest
        if how == "refuses":
            c.sendall(b"HTTP/1.1 417 No\r\nContent-Length: 3\r\n\r\nno\n")
            return c.recv(1)
        if how == "says":
            c.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(rest) < 5:
            rest += c.recv(100)
        got.append(rest)
        return c.sendall(OK)
    up = listen(serve=talk(serve))
    s = sites(f"http://{up.host}")
    w = on(s, version, rig.ca.pem)
    ask = ("POST", "/", "Content-Length: 5", "Expect: 100-continue")
    if version == "1.1":
        w.request(*ask, host=WIKI)
        a = w.head()
        if how != "refuses":
            assert a.status == 100 and got == []
            w.send("hello")
        else:
            assert a.get("connection") == "close"
            w.rest = f"HTTP/1.1 {a.status} x\r\nContent-Length: 3\r\n\r\n".encode() + w.rest
        a = w.answer()
    else:
        stream = w.request(*ask, host=WIKI, end=False)
        if how != "refuses":
            w.until(lambda: stream in w.told)
            w.h2.send_data(stream, b"hello", end_stream=True)
            w.put()
        a = w.answer(stream)
    w.close()
    assert (a.status, a.body) == ((417, b"no\n") if how == "refuses" else (200, b"ok"))
    assert got == ([] if how == "refuses" else [b"hello"]) and not up.errors


@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("closes", [False, True])
def test_early_answer(rig, sites, listen, version, closes):
    """An answer before the request's end reaches the client, whole, whether upstream then reads on
    or closes at once (its kernel then resets what still comes)."""
    def serve(c, head, rest):
        c.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nlarge\n")
        if not closes:
            while c.recv(1 << 16):
                pass
    up = listen(serve=talk(serve))
    s = sites(f"http://{up.host}")
    for _ in range(5):
        w = on(s, version, rig.ca.pem)
        if version == "1.1":
            w.request("POST", "/", "Content-Length: 100000000", host=WIKI)
            with contextlib.suppress(OSError, Ended):
                for _ in range(40):
                    w.send(b"x" * 16384)
            a = w.answer()
            assert a.get("connection") == "close"
        else:
            stream = w.request("POST", "/", host=WIKI, body=b"x" * 16384, end=False)
            a = w.answer(stream)
        assert (a.status, a.body) == (413, b"large\n")
        w.close()
    assert not up.errors


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_both_ways_at_once(rig, sites, listen, version):
    """The answer begins while the request goes on: each piece comes back before the next is sent."""
    def serve(c, head, rest):
        c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        f = c.makefile("rb")
        assert not rest
        while n := int(f.readline(), 16):
            data = f.read(n + 2)[:-2]
            c.sendall(b"%x\r\n%s\r\n" % (n, data))
        f.readline()
        c.sendall(b"0\r\n\r\n")
        assert c.recv(1) == b"" or True
    up = listen(serve=talk(serve))
    s = sites(f"http://{up.host}")
    w = on(s, version, rig.ca.pem)
    if version == "1.1":
        w.request("POST", "/", "Transfer-Encoding: chunked", host=WIKI)
        assert w.head().status == 200
        for i in range(20):
            piece = b"%d" % i * 10
            w.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            got = w.take(int(w.line(), 16))
            assert got == piece and w.line() == ""
        w.send("0\r\n\r\n")
        assert w.line() == "0"
    else:
        stream = w.request("POST", "/", host=WIKI, end=False)
        w.until(lambda: stream in w.answers)
        got = b""
        for i in range(20):
            got += b"%d" % i * 10
            w.h2.send_data(stream, b"%d" % i * 10, end_stream=i == 19)
            w.put()
            assert w.until(lambda: len(w.answers[stream].body) >= len(got))
        assert w.answer(stream).body == got
    w.close()
    assert not up.errors


def test_half_close(rig, sites, web):
    """Who has said all and ends his side still gets the answer."""
    s = sites(web.url)
    with on(s) as w:
        w.request("POST", "/", "Content-Length: 5", host=WIKI, body="hello")
        w.sock.shutdown(socket.SHUT_WR)
        assert json.loads(w.answer().body)["size"] == 5
    with on(s) as w:                    # but not who has not
        w.request("POST", "/", "Content-Length: 50", host=WIKI, body="hello")
        w.sock.shutdown(socket.SHUT_WR)
        assert w.closed() in ("fin", "reset")
    assert {x["end"] for x in lines(s, 2)} == {"ok", "client_gone"}


@pytest.mark.parametrize("until_close", [False, True])
def test_spliced(sites, listen, until_close):
    """Between plain sockets bodies go by the kernel: whole, also by a slow reader and a server that
    pauses, one after the other on a connection, and a cut one is cut."""
    length = b"" if until_close else b"Content-Length: %d\r\n" % len(BODY)
    cuts = iter([len(BODY)] * 3 + [len(BODY) // 2])

    def serve(c):
        f = c.makefile("rb")
        while line := f.readline():
            size = 0
            while (line := f.readline()).strip():
                if line.startswith(b"Content-Length:"):
                    size = int(line.split()[1])
            assert sha(f.read(size)) == sha(BODY[:size])
            end = next(cuts)
            c.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + BODY[:10])
            for at in range(10, end, 1_000_000):
                time.sleep(0.03)
                c.sendall(BODY[at:min(end, at + 1_000_000)])
            if until_close or end < len(BODY):
                return
    up = listen(serve=serve)
    s = sites(f"http://{up.host}")
    w = on(s)
    for n in range(4):
        if n and until_close:
            w = on(s)
        w.request("PUT", "/", f"Content-Length: {len(BODY)}", host=WIKI)
        for at in range(0, len(BODY), 1_000_000):
            w.send(BODY[at:at + 1_000_000])
            time.sleep(0.01 * (n == 1))
        time.sleep(0.3 * (n == 2))
        a = w.answer()
        want = BODY if n < 3 else BODY[:len(BODY) // 2]
        assert (a.status, sha(a.body)) == (200, sha(want))
        assert a.cut == (n == 3 and not until_close)
    w.close()
    got = lines(s, 4)
    assert [x["bytes_up"] for x in got] == [len(BODY)] * 4
    assert [x["end"] for x in got] == ["ok"] * 3 + ["ok" if until_close else "upstream"]
    assert not up.errors


# ---- upstreams that fail ----

@pytest.mark.parametrize("version", ["1.1", "2"])
def test_cut_answers(rig, sites, listen, version):
    """An answer that breaks off is never taken for a whole one."""
    replies = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
               b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"]
    turn = iter(replies)
    up = listen(serve=talk(lambda c, *_: c.sendall(next(turn))))
    s = sites(f"http://{up.host}")
    for _ in replies:
        w = on(s, version, rig.ca.pem)
        try:
            a = w.ask("GET", "/", host=WIKI)
            assert a.cut
        except Ended:
            pass
        assert w.closed() != "close_notify" or version == "2"
        w.close()
    assert [x["end"] for x in lines(s, 2)] == ["upstream"] * 2


@pytest.mark.parametrize("reply", [
    b"", b"HTTP/1.1 200 OK\r\nContent-Len", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"SSH-2.0-x\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"])
def test_bad_answers(rig, sites, listen, reply):
    up = listen(serve=talk(lambda c, *_: c.sendall(reply)))
    s = sites(f"http://{up.host}")
    with on(s) as w:
        a = w.ask("GET", "/", host=WIKI)
        assert (a.status, a.get("content-type")) == (502, "text/plain")
        assert w.ask("GET", "/v2/", host="mirror.test").status == 200      # goes on
    assert s.metrics()["site_errors_total"] == 1


def test_silence(rig, sites, listen):
    """timeout: 504 when upstream says nothing, 408 when the client does not go on."""
    up = listen()
    s = sites(f"http://{up.host}", {"timeout": "700ms"})
    with on(s) as w:
        assert w.ask("GET", "/", host=WIKI).status == 504
    with on(s) as w:
        a = w.ask("POST", "/", "Content-Length: 50", host=WIKI, body="some")
        assert (a.status, a.get("connection")) == (408, "close")
    with on(sites(f"http://127.0.0.1:{free_port()}")) as w:
        assert w.ask("GET", "/", host=WIKI).status == 502


def test_retry(rig, sites, listen):
    """A kept connection that upstream has just closed: what is safe is sent again, once; what may
    have had an effect is not."""
    state = {"first": 0, "heads": []}

    def serve(c):
        f = c.makefile("rb")
        for n in range(2):
            head = b""
            while (line := f.readline()).strip():
                head += line
            if not head:
                return
            state["heads"].append(head.split(b"\r\n")[0])
            if b"Content-Length: 1\r\n" in head:
                f.read(1)
            if n == 1:                  # the second on a connection gets none
                return
            c.sendall(OK)
    up = listen(serve=serve)
    s = sites(f"http://{up.host}", more={"server": {"workers": 1}})
    with on(s) as w:
        assert w.ask("GET", "/1", host=WIKI).status == 200
        assert w.ask("GET", "/2", host=WIKI).status == 200         # broke, and went again
        assert w.ask("POST", "/3", "Content-Length: 1", host=WIKI, body="x").status == 502
    paths = [x.split()[1] for x in state["heads"]]
    assert paths == [b"/1", b"/2", b"/2", b"/3"], paths


def test_pool(rig, sites, web):
    """By a pool's servers alone; one that is dead costs nothing."""
    dead = free_port()
    s = sites(None, {"pool": "webs"}, {"pool webs": {
        "servers": f"127.0.0.1:{dead} {web.url.split('//')[1]}"}})
    with on(s) as w:
        for _ in range(6):
            assert w.ask("GET", "/", host=WIKI).status == 200


# ---- what must not be smuggled ----

@pytest.mark.parametrize("head", [
    "POST / HTTP/1.1\r\nHost: wiki.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: wiki.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: wiki.test\r\nContent-Length: +5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: wiki.test\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: wiki.test\r\nTransfer-Encoding : chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: wiki.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: wiki.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: wiki.test\r\nHost: mirror.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: wiki.test\r\nX: a\n Content-Length: 5\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: wiki.test\r\nX: a\r\n b\r\n\r\n",
    "GET /a b HTTP/1.1\r\nHost: wiki.test\r\n\r\n",
])
def test_ambiguous_requests(sites, web, head):
    """What could be read in two ways never reaches upstream."""
    s = sites(web.url)
    with on(s) as w:
        w.send(head + "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: wiki.test\r\n\r\n")
        assert w.answer().status in (400, 501)
        assert w.closed() == "fin"
    assert web.seen == []


def test_reframed(sites, listen):
    """Bodies and fields are written anew: no chunk extension, trailer or field of one hop gets to
    upstream, and what follows a body is another request."""
    seen = []

    def serve(c):
        f = c.makefile("rb")
        while (line := f.readline()).strip():
            head = line
            while (line := f.readline()).strip():
                head += line
            body = b""
            if b"Transfer-Encoding: chunked" in head:
                while size := f.readline():
                    data = f.read(int(size, 16) + 2)
                    body += size + data
                    if size == b"0\r\n":
                        break
            seen.append((head, body))
            c.sendall(OK)
    up = listen(serve=serve)
    s = sites(f"http://{up.host}")
    with on(s) as w:
        w.send("POST /1 HTTP/1.1\r\nHost: wiki.test\r\nTransfer-Encoding: chunked\r\n"
               "Connection: keep-alive, X-Drop\r\nX-Drop: 1\r\nTE: trailers\r\nTrailer: T\r\n"
               "Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\nProxy-Authorization: Basic eA==\r\n\r\n"
               "0005;ext=1\r\nhello\r\n0\r\nContent-Length: 100\r\n\r\n"
               "GET /2 HTTP/1.1\r\nHost: wiki.test\r\n\r\n")
        assert w.answer().status == w.answer().status == 200
    (head, body), (second, _) = seen
    assert body == b"5\r\nhello\r\n0\r\n\r\n"
    assert head == (b"POST /1 HTTP/1.1\r\nHost: wiki.test\r\nX-Forwarded-For: 127.0.0.1\r\n"
                    b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: wiki.test\r\n"
                    b"Transfer-Encoding: chunked\r\n")
    assert second.startswith(b"GET /2 HTTP/1.1\r\nHost: wiki.test\r\n")


def test_bad_body(sites, web):
    """A body whose framing breaks in the middle ends the connection; the request is not complete
    for upstream, and nothing behind it is taken for one."""
    s = sites(web.url)
    with on(s) as w:
        w.send("POST / HTTP/1.1\r\nHost: wiki.test\r\nTransfer-Encoding: chunked\r\n\r\n"
               "5\r\nhelloXX\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: wiki.test\r\n\r\n")
        assert w.closed() in ("fin", "reset")
    assert lines(s, 1)[0]["end"] == "bad_request"
    assert web.seen == []


# ---- WebSockets ----

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def websocket(c, head, rest):
    """Accepts, and sends back whatever comes until the end of it."""
    key = next(x.split(":", 1)[1].strip() for x in head.decode().split("\r\n")
               if x.lower().startswith("sec-websocket-key:"))
    assert "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head.decode()
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    c.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
              f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"hi")
    while rest or (rest := c.recv(1 << 16)):
        c.sendall(rest)
        rest = b""
    c.sendall(b"bye")


ASK_WS = ("GET", "/ws", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket",
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("up_tls", [False, True])
def test_websocket(rig, sites, listen, cert, tls, up_tls):
    """Bytes both ways, at once and many, also those that came with the heads; an end is passed on
    and the other way goes on; logged and counted."""
    much = BODY[:600_000] if tls else BODY      # (the test's own TLS is slow)

    def serve(c):
        if up_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*cert)
            c = context.wrap_socket(c, server_side=True, suppress_ragged_eofs=True)
        talk(websocket)(c)
        if up_tls:
            c.unwrap()
    up = listen(serve=serve)
    s = sites(f"http{'s' if up_tls else ''}://{up.host}", {"ca": rig.ca.pem} if up_tls else {})
    w = on(s, ca=rig.ca.pem if tls else None)
    w.request(*ASK_WS, host=WIKI, body="early")
    a = w.head()
    assert (a.status, a.get("upgrade"), a.get("connection")) == (101, "websocket", "Upgrade")
    assert a.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert w.take(7) == b"hiearly"
    assert s.metrics()["site_websockets_open"] == 1
    for i in range(10):
        w.send(b"ping%d" % i)
        assert w.take(5) == b"ping%d" % i
    sender = threading.Thread(target=w.sock.sendall, args=(much,)) if not tls else None
    if sender:
        sender.start()
        assert sha(w.take(len(much))) == sha(much)
        sender.join()
        w.sock.shutdown(socket.SHUT_WR)
    else:
        for at in range(0, len(much), 30000):
            w.send(much[at:at + 30000])
            assert w.take(len(much[at:at + 30000])) == much[at:at + 30000]
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            w.tls.unwrap()
        w.flush()
    assert w.take(3) == b"bye" or tls
    w.close()
    line = lines(s, 1)[0]
    assert (line["status"], line["end"]) in ((101, "ok"), (101, "client_gone"))
    assert line["bytes"] >= len(much) + 57 and line["bytes_up"] == len(much) + 55
    m = s.metrics()
    assert (m["site_websockets_total"], m["site_websockets_open"]) == (1, 0)


def test_websocket_limits(rig, sites, listen):
    """A WebSocket that is silent for idle_timeout is closed; one that is refused is an answer; HTTP/2
    has none; SIGTERM ends one after drain_timeout."""
    turn = iter([websocket, websocket,
                 lambda c, *_: c.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")])
    up = listen(serve=lambda c: talk(next(turn))(c))
    s = sites(f"http://{up.host}", {"idle_timeout": "1s"}, {"server": {"drain_timeout": "1s"}})
    with on(s) as w:
        w.request(*ASK_WS, host=WIKI)
        assert w.head().status == 101
        assert w.closed() in ("fin", "reset")
    assert lines(s, 1)[0]["end"] == "idle"
    w = on(s)
    w.request(*ASK_WS, host=WIKI)
    assert w.head().status == 101
    with on(s) as other:
        a = other.ask(*ASK_WS, host=WIKI)
        assert (a.status, a.body) == (403, b"no")
    with on(s, "2", rig.ca.pem) as h2, pytest.raises(Exception):
        assert h2.ask("CONNECT", "/", host=WIKI).status in (400, 405)
        h2.ask("GET", "/", "Upgrade: websocket", "Connection: Upgrade", host=WIKI)
    s.stop()
    w.close()


# ---- its life ----

def test_reload(rig, sites, web, listen):
    """A request that runs goes on with the site that it began with; the next is the new one's."""
    gate = threading.Event()

    def serve(c, head, rest):
        gate.wait(20)
        c.sendall(OK)
    up = listen(serve=talk(serve))
    s = sites(f"http://{up.host}")
    w = on(s)
    w.request("GET", "/old", host=WIKI)
    wait_for(lambda: up.seen, 10)
    s.reload({"site wiki": {"upstream": web.url}})
    with on(s) as other:
        assert json.loads(other.ask("GET", "/new", host=WIKI).body)["path"] == "/new"
    time.sleep(1.2)                     # old generations are looked for once a second
    gate.set()
    assert w.answer().body == b"ok"
    w.close()
    s.reload({"site wiki": None})
    with on(s) as other:
        assert other.ask("GET", "/v2/", host=WIKI).status != 502
        assert b"headers" not in other.ask("GET", "/x", host=WIKI).body


def test_client_leaves(rig, sites, listen):
    """Who leaves in the middle of an answer, or of his own body, takes his request with him."""
    ended = []

    def serve(c, head, rest):
        if b"POST" not in head:
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            with contextlib.suppress(OSError):
                while True:
                    c.sendall(b"x" * 65536)
        else:
            while c.recv(65536):
                pass
        ended.append(head[:4])
    up = listen(serve=talk(serve))
    s = sites(f"http://{up.host}")
    for version in ("1.1", "2"):
        w = on(s, version, rig.ca.pem)
        stream = w.request("GET", "/", host=WIKI)
        assert w.head() if version == "1.1" else w.until(lambda: stream in w.answers)  # noqa: B023
        w.close()
        w = on(s, version, rig.ca.pem)
        kw = {"end": False} if version == "2" else {}
        w.request("POST", "/", "Content-Length: 100", host=WIKI, body="x", **kw)
        w.flush()
        time.sleep(0.1)
        w.close()
    wait_for(lambda: len(ended) == 4, 20, lambda: ended)
    wait_for(lambda: s.metrics()["connections"] == 0, 10)
    assert not up.errors
