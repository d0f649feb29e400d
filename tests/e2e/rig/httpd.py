"""A small threaded HTTP/1.1 server over TLS that remembers every request and can misbehave.

A subclass of Server answers with a Reply; a Fault added by a test changes what goes out.
"""
import collections
import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 256 * 1024
HELD_MAX_S = 60         # no fault holds a request for longer


@dataclass
class Request:
    """One line of a server's log; status, sent and done are filled in while it is answered."""
    method: str
    target: str
    headers: list
    peer: tuple
    body: object = None         # an iterable of bytes
    status: int = 0
    sent: int = 0               # body bytes
    done: bool = False
    when: float = field(default_factory=time.monotonic)

    @property
    def path(self):
        return self.target.partition("?")[0]

    def get(self, name, default=None):
        return next(iter(self.all(name)), default)

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def __str__(self):
        return f"{self.method} {self.target} -> {self.status} {self.sent}{'' if self.done else '..'}"


@dataclass
class Reply:
    status: int
    headers: list = field(default_factory=list)
    body: object = b""          # bytes, or an iterable of them
    length: int = -1            # -1: the length of the bytes; None: unknown, sent chunked

    def __post_init__(self):
        if isinstance(self.body, str):
            self.body = self.body.encode()
        if self.length == -1:
            self.length = len(self.body)

    def set(self, name, value):
        self.headers = [(k, v) for k, v in self.headers if k.lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))

    def chunks(self):
        return [self.body] if isinstance(self.body, bytes) else self.body


class Cut(Exception):
    """Raised by a fault inside a body: end the connection now, by reset, fin or close_notify."""


class Fault:
    """What goes wrong.  Any of the hooks may be None.

    before(req)          changes the request that the server sees
    instead(req)         gives the Reply without asking the server
    change(req, reply)   changes the Reply
    body(chunks)         a generator over the body; may raise Cut
    """
    def __init__(self, before=None, instead=None, change=None, body=None):
        self.before, self.instead, self.change, self.body = before, instead, change, body
        self.gate = threading.Event()   # opened by release(): what stalls goes on
        self.held = threading.Event()   # set when something stalls
        self.hits, self.match, self.times, self.spare = 0, None, None, 0

    def release(self):
        self.gate.set()

    def hold(self, seconds=HELD_MAX_S):
        self.held.set()
        self.gate.wait(min(seconds, HELD_MAX_S))


def upto(chunks, at):
    """The first `at` bytes of chunks, then the rest: yields (is_rest, bytes)."""
    for c in chunks:
        head, c = c[:at], c[at:]
        at -= len(head)
        if head:
            yield False, head
        if c or at == 0:
            yield True, c


def cut(at, how="fin"):
    def body(chunks):
        for rest, c in upto(chunks, at):
            if rest:
                raise Cut(how)
            yield c
        raise Cut(how)
    return Fault(body=body)


def stall(at, then=None):
    """Hold the body after `at` bytes until release(); then go on, or Cut(then)."""
    def body(chunks):
        waited = False
        for rest, c in upto(chunks, at):
            if rest and not waited:
                waited = True
                fault.hold()
                if then:
                    raise Cut(then)
            yield c
    fault = Fault(body=body)
    return fault


def trickle(size, pause, total=None):
    """`size` bytes every `pause` seconds, for the first `total` bytes."""
    def body(chunks):
        n = 0
        for c in chunks:
            while c and (total is None or n < total) and not fault.gate.is_set():
                yield c[:size]
                n, c = n + len(c[:size]), c[size:]
                fault.gate.wait(pause)
            yield c
    fault = Fault(body=body)
    return fault


def corrupt(at):
    """Flip one bit of the byte at offset `at`."""
    def body(chunks):
        n = 0
        for c in chunks:
            if n <= at < n + len(c):
                c = bytearray(c)
                c[at - n] ^= 1
            n += len(c)
            yield bytes(c)
    return Fault(body=body)


def truncate(at):
    """A clean answer that is short: Content-Length says `at` and `at` bytes come."""
    def change(req, reply):
        reply.body = [c for rest, c in upto(reply.chunks(), at) if not rest]
        reply.length = at
    return Fault(change=change)


def wrong_length(delta):
    """Content-Length is off by delta; the body is whole."""
    def change(req, reply):
        reply.set("Content-Length", str(reply.length + delta))
    return Fault(change=change)


def ignore_range():
    def before(req):
        req.headers = [(k, v) for k, v in req.headers if k.lower() != "range"]
    return Fault(before=before)


def status(code, headers=(), body=b"", times=None):
    return Fault(instead=lambda req: Reply(code, list(headers), body))


def redirect(location, code=307):
    """location: a URL, or a function of the request that gives one."""
    at = location if callable(location) else lambda req: location
    return Fault(instead=lambda req: Reply(code, [("Location", at(req))]))


def header(name, value=None):
    """Set, or without a value drop, a header of the answer."""
    return Fault(change=lambda req, reply: reply.set(name, value))


def chunked():
    def change(req, reply):
        reply.set("Content-Length", None)
        reply.length = None
    return Fault(change=change)


def slow_first_byte(seconds=HELD_MAX_S):
    def change(req, reply):
        fault.hold(seconds)
    fault = Fault(change=change)
    return fault


class Server(ThreadingHTTPServer):
    """Listens at once; start() serves in a thread.  Subclasses give answer(req)."""
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    name = "server"

    def __init__(self, address, cert=None, port=0):
        super().__init__((address, port), Handler)
        self.address, self.port = self.server_address[:2]
        self.tls = None
        if cert:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*cert)
            self.tls.set_alpn_protocols(["http/1.1"])
        self.log = collections.deque(maxlen=20000)
        self.faults, self.lock = [], threading.Lock()
        self.connections = 0            # handshakes finished
        self.open = set()               # sockets, for drop_all and stop

    @property
    def host(self):
        return f"{self.address}:{self.port}"

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def answer(self, req):
        raise NotImplementedError

    def start(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), name=self.name,
                         daemon=True).start()
        return self

    def stop(self):
        self.shutdown()
        self.server_close()
        self.drop_all()

    def drop_all(self):
        """Close every connection, as a server does that restarts."""
        for s in list(self.open):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def finish_request(self, sock, address):
        sock.settimeout(HELD_MAX_S)
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self.connections += 1
            self.open.add(sock)
            Handler(sock, address, self)
        except OSError:                 # ssl.SSLError is one: the peer's business
            pass
        finally:
            self.open.discard(sock)
            with contextlib.suppress(OSError, ValueError):
                if self.tls:
                    sock.settimeout(0)
                    sock.unwrap()       # sends close_notify, waits for nothing
            sock.close()

    def handle_error(self, request, client_address):
        pass

    @contextlib.contextmanager
    def fault(self, fault, match="", method="", times=None, spare=0):
        """While in force, requests whose target matches the regex meet the fault: `times` of them,
        after the first `spare`."""
        fault.match, fault.method, fault.times = re.compile(match), method, times
        fault.spare = spare
        with self.lock:
            self.faults.append(fault)
        try:
            yield fault
        finally:
            with self.lock:
                self.faults.remove(fault)
            fault.release()

    def take_faults(self, req):
        with self.lock:
            found = [f for f in self.faults
                     if f.match.search(req.target) and f.method in ("", req.method)
                     and (f.times is None or f.hits < f.times)]
            spared = [f for f in found if f.spare > 0]
            for f in spared:
                f.spare -= 1
            found = [f for f in found if f not in spared]
            for f in found:
                f.hits += 1
        return found

    def seen(self, match="", method=""):
        """The requests so far whose target matches."""
        return [r for r in list(self.log) if re.search(match, r.target)
                and method in ("", r.method)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 64 * 1024

    def serve(self):
        req = Request(self.command, self.path, self.headers.items(), self.client_address,
                      self.body())
        self.server.log.append(req)
        seen = Request(req.method, req.target, list(req.headers), req.peer, req.body)
        faults = self.server.take_faults(req)
        for f in faults:
            if f.before:
                f.before(seen)
        reply = next((f.instead(seen) for f in faults if f.instead), None)
        reply = reply or self.server.answer(seen)
        for f in faults:
            if f.change:
                f.change(seen, reply)
        req.status = reply.status
        try:
            self.send(req, reply, [f.body for f in faults if f.body])
        except Cut as c:
            self.end(str(c))
        else:
            for _ in req.body:          # what nobody read
                pass
        req.done = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def send(self, req, reply, spoilers):
        bare = req.method == "HEAD" or reply.status in (204, 304)
        given = {k.lower() for k, _ in reply.headers}
        self.send_response_only(reply.status)
        for k, v in reply.headers:
            self.send_header(k, v)
        if "date" not in given:
            self.send_header("Date", self.date_time_string())
        if reply.length is None:
            self.send_header("Transfer-Encoding", "chunked")
        elif "content-length" not in given:
            self.send_header("Content-Length", str(reply.length))
        elif not bare:
            self.close_connection = True        # the fault wrong_length
        self.end_headers()
        if bare:
            return
        chunks = reply.chunks()
        for spoil in spoilers:
            chunks = spoil(chunks)
        for c in chunks:
            if not c:
                continue
            if reply.length is None:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(c), c))
            else:
                self.wfile.write(c)
            req.sent += len(c)
        if reply.length is None:
            self.wfile.write(b"0\r\n\r\n")

    def body(self):
        """The request's body as a generator; read it before the next request."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return self.body_chunked()
        return self.body_plain(int(self.headers.get("Content-Length") or 0))

    def body_plain(self, left):
        while left > 0:
            c = self.rfile.read(min(left, CHUNK))
            if not c:
                raise ConnectionError("short body")
            left -= len(c)
            yield c

    def body_chunked(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def end(self, how):
        """End the connection in the middle of a body."""
        self.close_connection = True
        sock = self.connection
        if how == "reset":
            raw = socket.socket(fileno=sock.detach())
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()
        elif how == "fin":              # no close_notify
            sock.shutdown(socket.SHUT_WR)

    def log_message(self, *args):
        pass
