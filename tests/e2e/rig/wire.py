"""A client that sees bytes: raw requests over TCP or TLS, and how a connection ended."""
import json
import socket
import ssl
from dataclasses import dataclass

WAIT_S = 20
# One line each, as containers/image sends them.
ACCEPT = [f"Accept: application/vnd.{x}+json" for x in (
    "oci.image.manifest.v1", "docker.distribution.manifest.v2",
    "docker.distribution.manifest.list.v2", "oci.image.index.v1")]


@dataclass
class Answer:
    status: int
    headers: list
    body: bytes = b""
    cut: bool = False           # the connection ended before the body did

    def get(self, name, default=None):
        return next(iter(self.all(name)), default)

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    @property
    def code(self):
        """The first code of an OCI error body."""
        assert self.get("Content-Type", "").startswith("application/json"), self.headers
        return json.loads(self.body)["errors"][0]["code"]


class Ended(Exception):
    """No answer: the peer closed before a status line."""


def tls_context(ca, tweak=None):
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if tweak:
        tweak(context)
    return context


class Wire:
    """address: (host, port), or a socket that is connected.  name: the SNI; ca None: no TLS.  end: how the peer ended it, one of
    "", "fin" (under TLS: without close_notify), "close_notify", "reset".

    TLS goes through memory: the ssl module's own sockets cannot tell a reset from an end."""
    def __init__(self, address, ca=None, name="mirror.test", tweak=None, session=None,
                 context=None):
        made = isinstance(address, socket.socket)
        self.sock = address if made else socket.create_connection(address, WAIT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.end, self.rest, self.tls = "", b"", None
        if ca:
            context = context or tls_context(ca, tweak)
            self.inward, self.outward = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.inward, self.outward, server_hostname=name,
                                        session=session)
            self.until_done(self.tls.do_handshake)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Abrupt: no close_notify."""
        self.sock.close()

    def until_done(self, call, *args):
        """One TLS operation, moving records until it is through; Ended if the peer goes away."""
        while True:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                self.flush()
                if not self.raw():
                    raise Ended(self.end) from None
            finally:
                self.flush()

    def flush(self):
        if self.outward.pending:
            self.sock.sendall(self.outward.read())

    def raw(self):
        """Bytes from the socket, into the TLS object if there is one; b"" at the end."""
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            self.end = "reset"
            return b""
        if self.tls:
            self.inward.write(data)
        if not data:
            self.end = "fin"
        return data

    def send(self, data):
        data = data.encode("latin-1") if isinstance(data, str) else data
        if not self.tls:
            return self.sock.sendall(data)
        for at in range(0, len(data), 1 << 16):
            self.until_done(self.tls.write, data[at:at + (1 << 16)])

    def recv(self, most=1 << 18):
        """b"" at the end, which self.end then names."""
        if not self.tls:
            return self.raw()
        try:
            if data := self.until_done(self.tls.read, most):
                return data
            self.end = "close_notify"
        except ssl.SSLZeroReturnError:  # when this side has said it too
            self.end = "close_notify"
        except Ended:
            pass
        return b""

    def fill(self):
        data = self.recv()
        self.rest += data
        return bool(data)

    def line(self):
        while b"\r\n" not in self.rest:
            if len(self.rest) > 65536 or not self.fill():
                raise Ended(self.end)
        line, _, self.rest = self.rest.partition(b"\r\n")
        return line.decode("latin-1")

    def take(self, size):
        """`size` bytes, fewer if the connection ends."""
        got = [self.rest]
        left = size - len(self.rest)
        while left > 0 and (data := self.recv()):
            got.append(data)
            left -= len(data)
        whole = b"".join(got)
        self.rest = whole[size:]
        return whole[:size]

    def head(self):
        """The status line and headers of the next answer."""
        version, status = self.line().split(" ")[:2]
        assert version == "HTTP/1.1", version
        headers = []
        while line := self.line():
            k, _, v = line.partition(":")
            headers.append((k, v.strip()))
        return Answer(int(status), headers)

    def answer(self, method="GET"):
        """The next answer with its body."""
        a = self.head()
        while a.status == 100:
            a = self.head()
        if method == "HEAD" or a.status in (204, 304):
            return a
        if a.get("Transfer-Encoding", "").lower() == "chunked":
            return self.chunks(a)
        if a.get("Content-Length") is None:
            while self.fill():
                pass
            a.body, self.rest = self.rest, b""
            return a
        size = int(a.get("Content-Length"))
        a.body = self.take(size)
        a.cut = len(a.body) < size
        return a

    def chunks(self, a):
        try:
            while size := int(self.line(), 16):
                part = self.take(size)
                a.body += part
                a.cut = len(part) < size
                self.line()
            self.line()
        except Ended:
            a.cut = True
        return a

    def request(self, method, path, *headers, host="mirror.test", body=""):
        """Sends it, and reads nothing."""
        self.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n"
                  + "".join(f"{h}\r\n" for h in headers) + f"\r\n{body}")

    def ask(self, method, path, *headers, **kw):
        self.request(method, path, *headers, **kw)
        return self.answer(method)

    def closed(self):
        """Read to the end and tell how it came."""
        while self.recv():
            pass
        return self.end
