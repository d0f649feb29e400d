"""An upstream that cuts, stalls, lies, limits and vanishes, before real clients: what can be pulled
is pulled to its end, and what cannot gives the error that names the cause.

Raw answers to single faults are in test_06_upstream.py and test_07_cache.py."""
import contextlib
import hashlib
import re
import socket
import zlib

import pytest

from rig import httpd, images
from rig.ca import openssl
from rig.clients import CLIENTS, Mirror
from rig.front import Cdn
from rig.mirror import Sluice
from rig.netns import Netns
from rig.proc import wait_for
from rig.wire import ACCEPT, Wire

MB = 1 << 20
SIZE = 3 * MB
# Short enough for a test, long enough for the rig to answer on a busy machine.
SHORT = {"connect_timeout": "3s", "first_byte_timeout": "3s", "stall": "1500ms",
         "tag_fresh": "0s"}


@pytest.fixture
def image(rig, request):
    """One layer of 3 MB, and a config; nobody has asked for it."""
    return images.one_blob(rig.push, f"library/f{zlib.crc32(request.node.name.encode()):08x}", SIZE)


@pytest.fixture(scope="module")
def short(shared_rig, folder):
    """One Sluice with short timeouts for all faults that heal."""
    with Sluice(shared_rig, folder / "short", {"mirror docker.io": SHORT}) as s:
        yield s
    assert "bug at" not in s.process.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def clients(short, shared_rig, folder):
    """clients(name): the real client of that name, made once."""
    made = {}
    with contextlib.ExitStack() as stack:
        def get(name):
            if name not in made:
                made[name] = stack.enter_context(CLIENTS[name](
                    folder / f"f{name[:3]}", Mirror("docker.io", short.host, shared_rig.ca.pem)))
            return made[name]
        yield get


def check_published(s, least=0):
    """Every file under blobs/ and manifests/ has the digest that it is named by."""
    files = [f for kind in ("blobs", "manifests") for f in (s.cache / kind).rglob("*")
             if f.is_file()]
    for f in files:
        hexa = re.match("[0-9a-f]{64}", f.name)
        assert hexa and hashlib.sha256(f.read_bytes()).hexdigest() == hexa[0], f
    assert len(files) >= least


# Faults that heal: the client's one pull comes to its end.

# Of each: [(server, fault, what it meets, how often, after how many)].  BLOB: the layer.
BLOB, MANIFEST, TOKEN = "BLOB", "/manifests/", "/token"
LIMIT = [("Retry-After", "1")]


def cut_then(server, fault, times=1):
    """The body is cut at 1 MB, and then the rest meets the fault."""
    return [("cdn", httpd.cut(MB), BLOB, 1, 0), (server, fault, BLOB, times, 1)]


def shift(by, total=0):
    """Content-Range of another place, or of a blob of another length."""
    def change(req, reply):
        for k, v in reply.headers:
            if k == "Content-Range":
                first, last, size = map(int, re.findall(r"\d+", v))
                reply.set(k, f"bytes {first + by}-{last + by}/{size + total}")
    return httpd.Fault(change=change)


HEALS = {
    "cut-at-0": lambda: [("cdn", httpd.cut(0), BLOB, 1, 0)],
    "reset-at-1": lambda: [("cdn", httpd.cut(1, "reset"), BLOB, 1, 0)],
    "close_notify-near-the-end": lambda: [("cdn", httpd.cut(SIZE, "close_notify"), BLOB, 1, 0)],
    "cut-again-and-again": lambda: [("cdn", httpd.cut(500000), BLOB, 4, 0)],
    "stall-at-0": lambda: [("cdn", httpd.stall(0), BLOB, 1, 0)],
    "stall-in-the-middle": lambda: [("cdn", httpd.stall(MB), BLOB, 1, 0)],
    "trickle": lambda: [("cdn", httpd.trickle(2000, 0.02, 100000), BLOB, 1, 0)],
    "no-answer-for-the-rest": lambda: cut_then("cdn", httpd.slow_first_byte()),
    "rest-from-elsewhere": lambda: cut_then("cdn", shift(1)),
    "rest-of-another-length": lambda: cut_then("cdn", shift(0, 5)),
    "rest-without-Content-Range": lambda: cut_then("cdn", httpd.header("Content-Range")),
    "200-for-a-Range": lambda: cut_then("cdn", httpd.ignore_range(), None),
    "link-expired-for-the-rest": lambda: cut_then("cdn", httpd.status(403)),
    "404-for-the-rest": lambda: cut_then("cdn", httpd.status(404)),
    "503-burst-for-the-rest": lambda: cut_then("cdn", httpd.status(503), 3),
    "500-burst-of-the-registry": lambda: cut_then("front", httpd.status(500), 3),
    "429-for-the-rest": lambda: cut_then("cdn", httpd.status(429, LIMIT)),
    "429-for-a-blob": lambda: [("cdn", httpd.status(429, LIMIT), BLOB, 1, 0)],
    "429-for-a-manifest": lambda: [("front", httpd.status(429, LIMIT), MANIFEST, 1, 0)],
    "slow-token": lambda: [("auth", httpd.slow_first_byte(1), TOKEN, 1, 0)],
    "chunked": lambda: [("cdn", httpd.chunked(), BLOB, 1, 0)],
    "chunked-and-cut": lambda: [("cdn", httpd.chunked(), BLOB, 1, 0),
                                ("cdn", httpd.cut(MB), BLOB, 1, 0)],
}
# The others go the same way; these show that the client is not what makes it work.
ALSO = ["cut-again-and-again", "stall-in-the-middle", "link-expired-for-the-rest"]


@pytest.mark.parametrize("name, who", [*((n, "skopeo") for n in HEALS),
                                       *((n, c) for c in ("podman", "ctr") for n in ALSO)])
def test_heals(rig, short, clients, image, name, who):
    """The fault is met, the pull succeeds with the right digests, and so does one from the cache."""
    c, layer = clients(who), image.layers[0]
    faults = HEALS[name]()
    with contextlib.ExitStack() as stack:
        for server, fault, match, times, spare in faults:
            match = layer[7:] if match is BLOB else match
            stack.enter_context(getattr(rig, server).fault(fault, match, times=times, spare=spare))
        assert c.pull(image.name) == image.digest
        assert all(fault.hits for _, fault, *_ in faults)
    if hasattr(c, "has"):
        assert c.has(image)
    wait_for(short.blob_file(layer).exists, 20, "the layer's file")
    check_published(short, 3)
    c.forget()
    rig.cdn.log.clear()
    assert c.pull(image.name) == image.digest and not rig.cdn.log


# Bodies that are wrong: that pull may fail, nothing wrong is kept, and the next one is right.

@pytest.mark.parametrize("name", ["corrupt-first", "corrupt-middle", "corrupt-last", "truncated",
                                  "long", "length-too-large"])
def test_wrong_body(rig, short, clients, image, name):
    """One wrong body: no client has it for the right one, it is not in the cache, it is counted, and
    what was pulled later is right."""
    layer, c = image.layers[0], clients("skopeo")
    fault = {"corrupt-first": lambda: httpd.corrupt(0),
             "corrupt-middle": lambda: httpd.corrupt(SIZE // 2),
             "corrupt-last": lambda: httpd.corrupt(image.blobs[layer] - 1),
             "truncated": lambda: httpd.truncate(MB),
             "long": lambda: httpd.Fault(change=longer),
             "length-too-large": lambda: httpd.wrong_length(1000)}[name]()
    with rig.cdn.fault(fault, layer[7:], times=1) as f:
        try:
            assert c.pull(image.name) == image.digest and c.has(image)
        except RuntimeError:            # skopeo says so, and has nothing
            assert name != "corrupt-last"       # of which it could have nothing wrong
        assert f.hits == 1
    check_published(short)
    assert c.pull(image.name) == image.digest and c.has(image)
    wait_for(short.blob_file(layer).exists, 20, "the layer's file")
    check_published(short, 3)


def longer(req, reply):
    reply.body = [*reply.chunks(), b"more"]
    reply.length += 4


def test_corruption_is_told(start, rig, home, image):
    """An upstream that is wrong every time: the pull fails, the log names digest and reason, it is
    counted, no file has the name, and the manifest is still served."""
    s = start({"mirror docker.io": SHORT})
    layer = image.layers[0]
    with rig.cdn.fault(httpd.corrupt(MB), layer[7:]), skopeo(home, s) as c:
        with pytest.raises(RuntimeError):
            c.pull(image.name)
    assert not s.blob_file(layer).exists()
    assert s.metrics()["fills_corrupt_total"] >= 1
    assert re.search(f"{layer}.*digest differs", s.process.log.read_text())
    assert not s.blob_file(layer).exists()


def skopeo(home, s):
    return CLIENTS["skopeo"](home, Mirror("docker.io", s.host, s.rig.ca.pem))


# Errors: status, code and log line for each.

def bad_certificate(rig, kind):
    """A front whose certificate is not to be believed."""
    if kind == "expired":
        cert = rig.ca.issue("expired", ["127.0.0.1"], days=-1)
    elif kind == "not of this CA":
        chain, key = rig.ca.dir / "self.pem", rig.ca.dir / "self.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", 3, "-subj", "/CN=self", "-addext", "subjectAltName=IP:127.0.0.1",
                "-keyout", key, "-out", chain)
        cert = chain, key
    else:
        cert = rig.ca.issue("elsewhere2", ["elsewhere.test", "127.0.0.77"])
    return rig.another_front(cert=cert).start()


@pytest.mark.parametrize("kind", ["expired", "not of this CA", "of another name"])
def test_certificate(start, rig, home, image, kind):
    """A certificate that is not to be believed: no request is made, 502, the log says why; what is
    cached is served from then on too, with its tag."""
    s = start({"mirror docker.io": SHORT})
    with skopeo(home, s) as c:
        assert c.pull(image.name) == image.digest
        wait_for(s.blob_file(image.layers[0]).exists, 20, "the layer's file")
        front = bad_certificate(rig, kind)
        s.restart({"mirror docker.io": {"upstream": front.url}})
        a = ask(s, f"/v2/{image.repo}/manifests/other")
        assert (a.status, bool(a.code)) == (502, True)
        assert re.search("certificate", s.process.log.read_text())
        assert s.metrics()["upstream_errors_total"] >= 1
        assert c.pull(image.name) == image.digest and c.has(image)
    assert not front.log
    front.stop()


def ask(s, path, host="127.0.0.1"):
    with Wire(("127.0.0.1", s.ports["plain"])) as w:
        w.sock.settimeout(60)
        return w.ask("GET", path, *ACCEPT, host=host)


GONE = ["refused", "resets", "silent", "name servers silent", "no such name"]


@pytest.mark.parametrize("kind", GONE)
def test_upstream_gone(start, rig, home, image, kind):
    """Nobody there, or no name for it, from one moment on: a cold request gives 502 or 504 and an
    OCI error; the cached image is pulled by its tag all the same, after a restart too."""
    rig.dns.names["gone.test"] = ["127.0.0.1"]
    front = rig.another_front().start()
    up = f"https://registry.test:{front.port}" if "name" in kind else front.url
    s = start({"mirror docker.io": {**SHORT, "upstream": up},
               "resolver": {"nameservers": rig.dns.host, "family": "v4"}})
    silent = None
    try:
        with skopeo(home, s) as c:
            assert c.pull(image.name) == image.digest
            wait_for(s.blob_file(image.layers[0]).exists, 20, "the layer's file")
            front.stop()
            if kind == "silent":
                silent = socket.create_server(("127.0.0.1", front.port))
            elif kind == "resets":
                silent = Resetter(front.port)
            rig.dns.dead = kind == "name servers silent"
            if kind == "no such name":
                rig.dns.names.pop("registry.test")
            for again in (False, True):
                a = ask(s, f"/v2/{image.repo}/manifests/other")
                assert a.status in (502, 504) and a.code
                assert c.pull(image.name) == image.digest and c.has(image)
                if not again:
                    s.restart()
            assert s.metrics()["stale_total"] >= 1
            assert s.metrics()["upstream_errors_total"] >= 1
    finally:
        rig.dns.names["registry.test"] = ["127.0.0.1"]
        if silent:
            silent.close()


class Resetter(httpd.Server):
    """Ends every connection at once, by a reset."""
    def __init__(self, port):
        super().__init__("127.0.0.1", None, port)
        self.start()

    def finish_request(self, sock, address):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()

    def close(self):
        self.stop()


def test_upstream_comes_back(start, rig, home, image):
    """Refused while it restarts, in the middle of a layer: the pull waits for it and is whole."""
    front = rig.another_front()
    port = front.port
    front.start()
    s = start({"mirror docker.io": {**SHORT, "upstream": front.url}})
    layer = image.layers[0]

    def vanish(chunks):
        for rest, data in httpd.upto(chunks, MB):
            if rest:
                front.stop()
                raise httpd.Cut("reset")
            yield data
    with rig.cdn.fault(httpd.Fault(body=vanish), layer[7:], times=1), Wire(
            ("127.0.0.1", s.ports["plain"])) as w:
        w.sock.settimeout(60)
        w.request("GET", f"/v2/{image.repo}/blobs/{layer}", host="127.0.0.1")
        wait_for(lambda: "retry=2" in s.process.log.read_text(), 20, s.tail)
        again = rig.another_front(port=port).start()
        a = w.answer()
    assert (a.status, images.digest_of(a.body)) == (200, layer)
    again.stop()


REFUSED = [  # (name, server, fault, status, what the log says)
    ("redirect-loop", "front", lambda rig, path: httpd.redirect(path), 502, "redirect refused"),
    # (Behind a redirect to another host no token is shown, back at the first one neither.)
    ("loop-of-hosts", "cdn", lambda rig, path: httpd.redirect(f"{rig.front.url}{path}"), 401,
     "status=401"),
    ("redirect-to-http", "front", lambda rig, path: httpd.redirect("http://127.0.0.3/x"), 502,
     "redirect refused"),
    ("403", "front", lambda rig, path: httpd.status(403), 403, "status=403"),
    ("404", "front", lambda rig, path: httpd.status(404), 404, "status=404"),
    ("429", "front", lambda rig, path: httpd.status(429, [("Retry-After", "7")]), 429, "status=429"),
    ("500", "cdn", lambda rig, path: httpd.status(500), 500, "status=500"),
    ("503", "front", lambda rig, path: httpd.status(503), 503, "status=503"),
    ("no-answer", "front", lambda rig, path: httpd.slow_first_byte(), 504, ""),
    ("206-for-all", "cdn", lambda rig, path: httpd.Fault(change=partial), 502, "status=206"),
]


def partial(req, reply):
    reply.status = 206
    reply.set("Content-Range", f"bytes 0-{reply.length - 1}/{reply.length}")


@pytest.mark.parametrize("name, server, fault, status, said", REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(start, rig, home, image, name, server, fault, status, said):
    """What can never succeed: the raw client gets that status with an OCI error, skopeo fails in
    bounded time, the log has a line about it, and without the fault the next pull is whole."""
    s = start({"mirror docker.io": SHORT})
    layer = image.layers[0]
    path = f"/v2/{image.repo}/blobs/{layer}"
    with getattr(rig, server).fault(fault(rig, path), layer[7:]) as f, skopeo(home, s) as c:
        a = ask(s, path)
        assert (a.status, bool(a.code)) == (status, True), a.body
        assert status != 429 or 1 <= int(a.get("Retry-After")) <= 7
        asked = f.hits
        assert asked <= 12
        if status != 429:               # for which skopeo has patience of its own
            with pytest.raises(RuntimeError):
                c.pull(image.name)
        assert said in s.process.log.read_text()
        assert not s.blob_file(layer).exists()
    wait_for(lambda: ask(s, path).status == 200, 20, "an end of the Retry-After", 0.3)
    with skopeo(home, s) as c:
        assert c.pull(image.name) == image.digest and c.has(image)


def test_realm_moves(start, rig, home, image):
    """A challenge that names a realm on another host than the one learnt: it is asked there, and
    nothing of a secret goes with the question."""
    s = start({"mirror docker.io": SHORT})
    assert ask(s, f"/v2/{image.repo}/manifests/latest").status == 200
    moved = Moved("127.0.0.4", rig.cert, rig.auth).start()
    rig.front.names = {rig.auth.host: moved.host}
    fresh = images.small(rig.push, image.repo + "-b")
    try:
        with rig.auth.fault(httpd.status(401)), skopeo(home, s) as c:
            assert c.pull(fresh.name) == fresh.digest
        assert moved.log and not any(r.get("Authorization") for r in moved.log)
    finally:
        moved.stop()


class Moved(httpd.Server):
    """The rig's token server at another address."""
    def __init__(self, address, cert, auth):
        super().__init__(address, cert)
        self.auth = auth

    def answer(self, req):
        return self.auth.answer(req)


# Addresses.

PUBLIC = {"front": "5.5.5.1", "auth": "5.5.5.2", "cdn": "5.5.5.3"}
SECRET = ["127.0.0.3", "10.1.2.3", "169.254.169.254"]


@pytest.fixture(scope="module")
def world(shared_rig, folder):
    """A Sluice that knows public addresses only (private = no), in a network of its own."""
    rig = shared_rig
    net = Netns(folder, [*PUBLIC.values(), *SECRET[1:]])
    cert = rig.ca.issue("world", [*PUBLIC.values(), *SECRET])
    made = [net.inside(lambda: rig.another_front(PUBLIC["front"], cert)),
            net.inside(lambda: Moved(PUBLIC["auth"], cert, rig.auth)),
            *(net.inside(lambda a=a: cdn_at(rig, a, cert)) for a in (PUBLIC["cdn"], *SECRET))]
    for server in made:
        server.start()
    front, auth, cdn, *secret = made
    front.names = {rig.auth.host: auth.host, rig.cdn.host: cdn.host}
    s = Sluice(rig, folder / "world", {
        "mirror docker.io": {"upstream": front.url, "private": "no"}}, start=False)
    s.net = net
    try:
        with s.start():
            yield s, front, cdn, secret
    finally:
        for server in made:
            server.stop()
        net.close()


def cdn_at(rig, address, cert):
    cdn = Cdn(address, cert, rig.registry)
    cdn.secret = rig.cdn.secret
    return cdn


def world_ask(s, path):
    return s.net.inside(lambda: ask(s, path))


def test_public_addresses(world, rig, image):
    """What is refused below works when the addresses are public."""
    s, front, cdn, _ = world
    a = world_ask(s, f"/v2/{image.repo}/blobs/{image.layers[0]}")
    assert (a.status, images.digest_of(a.body)) == (200, image.layers[0])
    assert len(cdn.seen(image.layers[0][7:])) == 1


@pytest.mark.parametrize("where", range(len(SECRET)), ids=SECRET)
def test_redirect_to_private_address(world, rig, image, where):
    """A redirect of a public upstream to loopback, a private network or cloud metadata, where the
    blob could be had: 502, the log says why, nobody is asked there."""
    s, front, cdn, secret = world
    layer = image.layers[0]
    with front.fault(httpd.Fault(change=lambda req, reply: reply.set(
            "Location", rig.cdn.link(layer, secret[where].host))), layer[7:]):
        a = world_ask(s, f"/v2/{image.repo}/blobs/{layer}")
    assert (a.status, bool(a.code)) == (502, True)
    assert secret[where].connections == 0
    assert "address is private" in s.process.log.read_text()
    a = world_ask(s, f"/v2/{image.repo}/blobs/{layer}")
    assert images.digest_of(a.body) == layer


def test_realm_at_private_address(world, rig, image):
    """A challenge that points inwards is not followed."""
    s, front, cdn, secret = world
    with front.fault(httpd.status(401, [("WWW-Authenticate",
                     f'Bearer realm="{secret[1].url}/token",service="x"')])):
        a = world_ask(s, f"/v2/{image.repo}/manifests/latest")
    assert a.status in (401, 502) and a.code
    assert secret[1].connections == 0
