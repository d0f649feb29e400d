"""HTTP/2 towards clients: streams, windows, limits, ends; and frames that no client would send."""
import functools
import random
import socket
import struct
import threading

import pytest

from rig import clients, httpd, images
from rig.images import blob_path
from rig.proc import Process, free_port, refused, wait_for
from rig.wire import ACCEPT, Ended, Wire
from rig.wire2 import Wire2

NO_ERROR, PROTOCOL_ERROR, FRAME_SIZE, REFUSED, CANCEL, CALM = 0, 1, 6, 7, 8, 11
DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, GOAWAY, UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = b"\x82\x84\x87\x41\x0bmirror.test"        # GET / of https://mirror.test, by HPACK's table


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def frames(data):
    """[(kind, flags, stream, payload)] of what a server sent."""
    out = []
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        out.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + size]))
        data = data[9 + size:]
    return out


@pytest.fixture(scope="module")
def image(shared_rig):
    return images.one_blob(shared_rig.push, "library/http2", 3_000_000)


@pytest.fixture(scope="module")
def blob(shared_rig, image):
    return shared_rig.registry.blob_path(image.layers[0]).read_bytes()


@pytest.fixture(scope="module")
def path(image):
    return blob_path(image, image.layers[0])


@pytest.fixture
def wire2(wire):
    """wire2(): a connection by HTTP/2 to the session's Sluice, or wire2(other)."""
    return functools.partial(wire, kind=Wire2)


@pytest.fixture
def raw(wire):
    """raw(): a connection for frames written by hand; the preface is said."""
    def connect(to=None, hello=MAGIC + frame(SETTINGS)):
        w = wire(to, tweak=lambda c: c.set_alpn_protocols(["h2"]))
        w.send(hello)
        return w
    return connect


def all_of(w):
    """Everything up to the end of the connection, as frames."""
    got = b""
    while data := w.recv():
        got += data
    return frames(got)


def end_code(w):
    """The code of the GOAWAY that ends a connection; None: it ended without."""
    return next((int.from_bytes(p[4:8], "big") for k, _, _, p in all_of(w) if k == GOAWAY), None)


# What clients do.

def test_chosen_by_alpn(wire, wire2, start):
    """h2 if it is offered, whatever else is; not with http2 = no; a reload changes it for new ones."""
    def chosen(*names, to=None):
        return wire(to, tweak=lambda c: c.set_alpn_protocols(names)).tls.selected_alpn_protocol()
    assert chosen("h2", "http/1.1") == chosen("h2") == "h2"
    assert chosen("http/1.1") == "http/1.1"
    s = start({"server": {"http2": "no"}})
    assert chosen("h2", "http/1.1", to=s) == "http/1.1"
    s.reload({"server": {"http2": "yes"}})
    wait_for(lambda: chosen("h2", "http/1.1", to=s) == "h2", 20, "h2 after the reload")
    assert wire2(s).ask("GET", "/v2/").status == 200


def test_plain_begins_with_it(wire, wire2, start):
    """The listener for balancers takes HTTP/2 without asking, unless it is off."""
    assert wire2(port="plain").ask("GET", "/v2/").status == 200
    w = wire(port="plain")
    assert w.ask("GET", "/v2/").status == 200
    w.send(MAGIC)                               # not later
    assert w.answer().status in (400, 505)
    off = wire(start({"server": {"http2": "no"}}), port="plain")
    off.send(MAGIC + frame(SETTINGS))
    assert off.answer().status in (400, 505)


def test_many_streams(sluice, wire2, fresh, image, blob, path):
    """Cold and warm blobs, manifests, errors and HEADs at once on one connection, 60 streams: each
    gets its own, and the access log says HTTP/2's end of each."""
    for _ in ("cold", "warm"):
        w = wire2()
        asked = {}
        for _ in range(6):
            for d in [*fresh.layers, image.layers[0]]:
                asked[w.request("GET", blob_path(image if d in image.layers else fresh, d))] = d
            asked[w.request("GET", "/v2/docker.io/library/none/manifests/x")] = 404
            asked[w.request("HEAD", path)] = "head"
            asked[w.request("GET", f"/v2/docker.io/{fresh.repo}/manifests/{fresh.tag}", *ACCEPT)] = fresh.digest
        for stream, want in asked.items():
            a = w.answer(stream)
            assert not a.cut
            if want == 404:
                assert a.status == 404 and a.code
            elif want == "head":
                assert (a.status, a.body, a.get("content-length")) == (200, b"", str(len(blob)))
            else:
                assert a.status == 200 and images.digest_of(a.body) == want
                assert a.get("docker-content-digest") == want
        assert not w.resets and not w.goaway
        sluice.wait_access(lambda x: x["end"] == "ok" and x["path"] == path, 12)


def test_streams_share(wire2, path, blob):
    """Three large bodies come side by side, not one after the other; a small one is not behind them."""
    w = wire2()
    large = [w.request("GET", path) for _ in range(3)]
    small = w.request("GET", "/v2/")
    assert w.until(lambda: small in w.over)
    assert all(len(w.answers[s].body) < len(blob) for s in large)
    assert w.until(lambda: any(s in w.over for s in large))
    assert all(len(w.answers[s].body) > len(blob) / 2 for s in large)
    for s in large:
        assert w.answer(s).body == blob


def test_windows(wire2, path, blob):
    """A stream without window stands still and holds up no other; a byte of window is a byte."""
    w = wire2(own_window=True, first=1)
    slow = w.request("GET", path)
    assert w.until(lambda: slow in w.answers and len(w.answers[slow].body) == 1)
    quick = w.request("HEAD", path)
    assert w.answer(quick).status == 200
    assert len(w.answers[slow].body) == 1
    for n in (1, 2, 1000):
        had = len(w.answers[slow].body)
        w.give(n, slow)
        assert w.until(lambda had=had, n=n: len(w.answers[slow].body) == had + n)
    w.give(1 << 30, slow)
    w.give(1 << 30)
    assert w.answer(slow).body == blob


def test_cancel(sluice, wire2, rig, path, blob, fresh):
    """A stream that is cancelled, while its body comes or upstream is waited for, is over; others and
    the fill go on."""
    w = wire2(own_window=True)
    gone = w.request("GET", path)
    assert w.until(lambda: gone in w.answers and w.answers[gone].body)
    w.cancel(gone)
    with rig.cdn.fault(httpd.stall(1000), fresh.layers[0][7:]) as f:
        waits = w.request("GET", blob_path(fresh, fresh.layers[0]))
        assert f.held.wait(10)
        w.cancel(waits)
        w.give(1 << 30)
        good = w.request("GET", path)
        w.give(1 << 30, good)
        assert w.answer(good).body == blob
        f.release()
    sluice.wait_access(lambda x: x["path"] == path and x["end"] == "client_gone")
    wait_for(lambda: sluice.blob_file(fresh.layers[0]).exists(), 10, "the fill")


def test_bodies_of_requests(wire2, path, blob):
    """A push is refused at once, short or endless; an endless body is stopped without blame; what
    else the connection carries goes on, after ten of them as well."""
    w = wire2()
    for _ in range(10):
        assert w.ask("POST", "/v2/a/b/blobs/uploads/", body=b"x" * 100).status == 405
        s = w.request("POST", "/v2/a/b/blobs/uploads/", body=b"x" * 16000, end=False)
        assert w.until(lambda s=s: s in w.over)
        w.h2.send_data(s, b"y" * 16000)
        w.put()
        assert w.until(lambda s=s: s in w.resets)
        assert w.resets[s] == NO_ERROR
    assert w.ask("GET", path).body == blob


def test_heads(wire2):
    """Too long: 431; what HTTP/1.1's parser refuses: 400.  Only that stream ends."""
    w = wire2()
    assert w.ask("GET", "/v2/", "X-Long: " + "x" * 40_000).status == 200
    assert w.ask("GET", "/v2/", "X-Long: " + "x" * 60_000).status == 431
    assert w.ask("GET", "/v2/#a").status == 400
    assert w.ask("GET", "/v2/", *(f"X-{i}: {i}" for i in range(101))).status == 431
    assert w.ask("BREW", "/v2/").status == 405
    assert w.ask("GET", "/v2/", host="other.test").status == 421
    assert w.ask("GET", "/v2/").status == 200


def test_broken_body_cuts(sluice, wire2, rig, fresh):
    """Upstream's bytes are wrong: the connection is cut by FIN without END_STREAM and close_notify,
    which clients resume behind, and the log says why."""
    digest = fresh.layers[0]
    with rig.cdn.fault(httpd.corrupt(1000), digest[7:]):
        w = wire2()
        path = blob_path(fresh, digest)
        a = w.answer(w.request("GET", path))
        assert a.status == 200 and a.cut and len(a.body) < fresh.blobs[digest]
        assert w.end == "fin"
    sluice.wait_access(lambda x: x["path"] == path and x["end"] == "fill_failed")


# Limits in time, and the end.

@pytest.fixture
def hasty(start):
    return start({"server": {"send_timeout": "1s", "header_timeout": "1s"}})


def test_idle_ends_politely(wire2, start):
    """GOAWAY without an error, close_notify."""
    w = wire2(start({"server": {"idle_timeout": "1s"}}))
    assert w.ask("GET", "/v2/").status == 200
    assert w.closed() == "close_notify"
    assert w.goaway == (NO_ERROR, 1)


def test_half_a_head_is_not_waited_for(raw, hasty):
    """A head that does not come to its end takes header_timeout, pings or not."""
    w = raw(hasty)
    w.send(frame(HEADERS, 0x1, 1, GET[:1]))     # END_STREAM, no END_HEADERS
    w.closed()


def test_a_client_without_window(hasty, wire2, path):
    """A stream that gets no window is reset after send_timeout; the connection serves on."""
    w = wire2(hasty, own_window=True, first=10)
    s = w.request("GET", path)
    assert w.until(lambda: s in w.resets)
    assert w.resets[s] == CANCEL
    assert w.ask("HEAD", path).status == 200
    hasty.wait_access(lambda x: x["path"] == path and x["end"] == "client_timeout" and x["bytes"] == 10)


def test_a_client_that_does_not_read(hasty, wire2, path, image):
    """A socket that takes nothing ends the connection after send_timeout."""
    w = wire2(hasty, own_window=True, first=(1 << 31) - 1)
    w.give((1 << 30))
    for _ in range(8):
        w.request("GET", path)
    hasty.wait_access(lambda x: x["path"] == path and x["end"] == "client_timeout", 1)
    wait_for(lambda: hasty.metrics()["connections"] == 0, 20, "no connection")


def test_drain(start, rig, wire2, fresh):
    """SIGTERM: idle connections end with GOAWAY at once; on a busy one streams finish, new ones are
    not taken; exit 0."""
    s = start()
    digest = fresh.layers[0]
    idle = wire2(s)
    assert idle.ask("GET", "/v2/").status == 200
    with rig.cdn.fault(httpd.stall(1000), digest[7:]) as f:
        w = wire2(s)
        a = w.request("GET", blob_path(fresh, digest))
        assert f.held.wait(10)
        s.term()
        assert idle.closed() == "close_notify" and idle.goaway[0] == NO_ERROR
        assert w.until(lambda: w.goaway) and w.goaway == (NO_ERROR, a)
        assert s.process.child.poll() is None
        f.release()
        got = w.answer(a)
        assert images.digest_of(got.body) == digest
        assert w.closed() == "close_notify"
    assert s.process.wait(20) == 0


# Floods.

@pytest.mark.parametrize("what", ["reset", "ping", "settings", "priority", "empty", "update", "refused"])
def test_floods(sluice, raw, wire2, what):
    """Frames that make Sluice work for nothing: GOAWAY with ENHANCE_YOUR_CALM, counted; others are
    served meanwhile."""
    def flood():
        for i in range(1, 8001, 2):
            yield {
                "reset": lambda: frame(HEADERS, 5, i, GET) + frame(RST, 0, i, b"\0\0\0\x08"),
                "ping": lambda: frame(PING, 0, 0, b"01234567"),
                "settings": lambda: frame(SETTINGS),
                "priority": lambda: frame(PRIORITY, 0, i, b"\0\0\0\0\x10"),
                "empty": lambda: (frame(HEADERS, 4, 1, GET) if i == 1 else b"") + frame(DATA, 0, 1),
                "update": lambda: frame(UPDATE, 0, 0, b"\0\0\0\1"),
                # A window that overflows: the stream is reset by us.
                "refused": lambda: frame(HEADERS, 4, i, GET) + frame(UPDATE, 0, i, b"\x7f\xff\xff\xff"),
            }[what]()
    grew = sluice.delta()
    w = raw()
    try:
        for part in flood():
            w.send(part)
    except (OSError, Ended):
        pass
    code = end_code(w)
    assert code == CALM or w.end == "reset"
    assert grew()["http2_floods_total"] == 1
    assert wire2().ask("GET", "/v2/").status == 200


def test_endless_head(sluice, raw):
    """CONTINUATION without end, and a small head that HPACK makes large: the same."""
    grew = sluice.delta()
    w = raw()
    w.send(frame(HEADERS, 1, 1, GET) + b"".join(frame(CONTINUATION, 0, 1, b"\0\1a\1b") for _ in range(8)))
    assert end_code(w) == CALM
    w = raw()
    w.send(frame(HEADERS, 1, 1, GET + b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000)
           + frame(CONTINUATION, 4, 1, b"\xbe" * 1000))
    assert end_code(w) == CALM
    assert grew()["http2_floods_total"] == 2


def test_too_many_streams(raw):
    """More streams at once than SETTINGS allow: refused, so that a client may try again."""
    w = raw()
    w.send(frame(SETTINGS, 1) + b"".join(frame(HEADERS, 4, i, GET) for i in range(1, 206, 2)))
    w.send(frame(PING, 0, 0, b"01234567"))
    got = b""
    while not any(k == PING for k, _, _, _ in frames(got)) and (data := w.recv()):
        got += data
    told = {s: int.from_bytes(p, "big") for k, _, s, p in frames(got) if k == RST}
    assert told.get(203, told.get(205)) in (REFUSED, None) and set(told.values()) <= {REFUSED}


@pytest.mark.parametrize("what, code", [
    (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),                    # on a stream
    (frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"), 3),        # a window over 2^31 - 1
    (frame(UPDATE, 0, 0, b"\0\0\0\0"), PROTOCOL_ERROR),
    (frame(UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2, 3),
    (frame(PING, 0, 0, b"short"), FRAME_SIZE),
    (frame(HEADERS, 5, 2, GET), PROTOCOL_ERROR),                # an even number
    (frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff"), 9),     # no HPACK
    (frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),                  # on an idle stream
    (frame(HEADERS, 1, 1, GET) + frame(PING, 0, 0, b"01234567"), PROTOCOL_ERROR),
    (b"\xff\xff\xff\0\0\0\0\0\1", FRAME_SIZE),
    (frame(RST, 0, 1, b"\0\0\0\x08"), PROTOCOL_ERROR),          # idle
])
def test_breaches(raw, what, code):
    """A breach of the protocol ends the connection with the code that RFC 9113 has for it."""
    w = raw()
    w.send(what)
    assert end_code(w) == code


@pytest.mark.parametrize("hello", [b"GET / HTTP/1.1\r\nHost: mirror.test\r\n\r\n",
                                   MAGIC[:20] + b"XXXX", MAGIC + frame(PING, 0, 0, b"01234567")])
def test_bad_preface(raw, hello):
    """What does not begin with the preface and SETTINGS is closed."""
    w = raw(hello=hello)
    assert end_code(w) in (None, PROTOCOL_ERROR)


def test_mutations(sluice, wire2, wire, path):
    """Frames of real requests with bytes flipped, cut and repeated, 150 connections of them: no
    answer is required, but that Sluice goes on and holds nothing."""
    dice = random.Random(9113)
    whole = (MAGIC + frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64") + frame(UPDATE, 0, 0, b"\0\1\0\0")
             + frame(HEADERS, 5, 1, GET) + frame(HEADERS, 4, 3, GET) + frame(DATA, 1, 3, b"body")
             + frame(HEADERS, 0x25, 5, b"\0\0\0\0\x10" + GET) + frame(PING, 0, 0, b"01234567")
             + frame(RST, 0, 5, b"\0\0\0\x08") + frame(HEADERS, 1, 7, GET[:3])
             + frame(CONTINUATION, 4, 7, GET[3:]) + frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0"))
    address = ("127.0.0.1", sluice.ports["plain"])
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(24, len(data))
            how = dice.random()
            if how < .6:
                data[at] = dice.randrange(256)
            elif how < .8:
                del data[at:at + dice.randint(1, 20)]
            else:
                data[at:at] = data[dice.randrange(24, len(data)):][:dice.randint(1, 40)]
        with socket.create_connection(address, 10) as s:
            s.sendall(data)
            if dice.random() < .5:
                s.shutdown(socket.SHUT_WR)
                try:
                    while s.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
    sluice.process.check()
    assert wire2().ask("GET", "/v2/").status == 200


# Others' clients.

def curl(rig, s, *argv):
    at = f"mirror.test:{s.ports['https']}"
    return clients.curl("--http2", "--resolve", f"{at}:127.0.0.1", *argv, ca=rig.ca.pem, seconds=30,
                        text=False).stdout


def test_curl(sluice, rig, path, blob):
    """Bodies, ranges, a push with a body; many at once."""
    url = f"https://mirror.test:{sluice.ports['https']}"
    assert curl(rig, sluice, url + path) == blob
    assert curl(rig, sluice, "-r", "1000-2999", url + path) == blob[1000:3000]
    out = curl(rig, sluice, "-d", "abc", "-o", "/dev/null", "-w", "%{http_version} %{response_code}", url + "/v2/")
    assert out == b"2 405"
    out = curl(rig, sluice, "--parallel", "--parallel-max", "20", "-w", "%{http_version} %{size_download}\n",
               *(x for _ in range(20) for x in ("-o", "/dev/null", url + path)))
    assert out.split(b"\n")[:-1] == [b"2 %d" % len(blob)] * 20


def test_h2load(sluice, path):
    """8 connections with 20 streams each, a thousand requests: all succeed."""
    out = clients.run("h2load", "-n1000", "-c8", "-m20", "-t1", "https://mirror.test/v2/",
                      "--connect-to", f"127.0.0.1:{sluice.ports['https']}", seconds=60).stdout
    assert "1000 succeeded, 0 failed" in out, out


THROUGH = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}", relativeurls: true, secret: rig}}
proxy: {{remoteurl: "https://localhost:{sluice}"}}
"""


def test_go(sluice, rig, tmp_path, path, blob, image):
    """Go's own HTTP/2 client: a docker-registry that pulls through Sluice.  (The container tools of
    Debian 12 give Go a dialler of their own, which turns HTTP/2 off there.)"""
    port = free_port()
    conf = tmp_path / "config.yml"
    conf.write_text(THROUGH.format(root=tmp_path / "data", port=port, sluice=sluice.ports["https"]))
    grew = sluice.delta()
    p = Process(["docker-registry", "serve", conf], tmp_path / "log",
                env={"OTEL_TRACES_EXPORTER": "none", "SSL_CERT_FILE": str(rig.ca.pem)})
    try:
        def get(path):
            with socket.create_connection(("127.0.0.1", port), 20) as s:
                w = Wire(s)
                return w.ask("GET", path, *ACCEPT, host=f"127.0.0.1:{port}")
        wait_for(lambda: p.check() or not refused(port), 15, p.tail)
        got = []
        asks = [threading.Thread(target=lambda: got.append(get(path).body)) for _ in range(8)]
        for t in asks:
            t.start()
        for t in asks:
            t.join(60)
        assert got == [blob] * 8
        a = get(f"/v2/docker.io/{image.repo}/manifests/{image.tag}")
        assert (a.status, a.body) == (200, image.raw)
        assert grew()["http2_connections_total"] >= 1
    finally:
        p.stop()
