"""Tenants: who may come in by what, what each may have, and how fast."""
import base64
import contextlib
import errno
import json
import socket
import ssl
import threading
import time

import pytest

from rig import images
from rig.ca import CA, openssl
from rig.clients import Containerd, Docker, Mirror, Podman, Skopeo
from rig.httpd import Reply
from rig.mirror import Sluice
from rig.mirror import sluice as run_sluice
from rig.wire import ACCEPT, Ended, Wire

SECRET = "k7f2m9q4x8c1w6t3"
OTHER = "other-secret-of-bob"
# Of alice-password and bob-password.
ALICE = "alice:$2b$06$y0WKuE19LC25FZxRqU0QjuPs9Ru03BkOxsIRmIK8mHwGtEa3rwAGC\n"
BOB = "bob:$2b$06$rV./qZx6TdsxJWV74qMcuu4AW3HnXfJ6rr2sVt0x0dLl1P1JKNRsK\n"
PASSWORD = "alice-password"


def tenant(name="alice", **keys):
    return {f"tenant {name}": keys}


def manifest(image, before="", middle=""):
    repo, _, tag = image.name.partition(":")
    return f"{before}/v2/{middle}{repo}/manifests/{tag or 'latest'}"


def blob(image, before=""):
    return f"{before}/v2/{image.name.partition(':')[0]}/blobs/{image.largest}"


def basic(user, password):
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def htpasswd(folder, text=ALICE, name="htpasswd"):
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def at(sluice, rig, source, port="https"):
    """A connection from that address."""
    sock = socket.create_connection(("127.0.0.1", sluice.ports[port]), 20,
                                    source_address=(source, 0))
    return Wire(sock, ca=rig.ca.pem if port == "https" else None, name="docker.mirror.test")


HOST = {"host": "docker.mirror.test"}


def ask(wire, path, *headers, method="GET"):
    return wire.ask(method, path, *ACCEPT, *headers, **HOST)


# ---- secrets ----

@pytest.fixture(scope="module")
def closed(shared_sluice, shared_rig, folder):
    """A Sluice with two tenants, each with a secret of its own."""
    with Sluice(shared_rig, folder / "tenants", {
            **tenant("alice", secret=SECRET), **tenant("bob", secret=OTHER)}) as s:
        yield s


SPELLINGS = [
    f"/{SECRET}/v2/library/%s/manifests/%s", f"/v2/{SECRET}/library/%s/manifests/%s",
    f"/{SECRET}/docker.io/v2/library/%s/manifests/%s",
    f"/v2/{SECRET}/docker.io/library/%s/manifests/%s",
    f"/v2/{SECRET}/library/%s/manifests/%s?ns=docker.io",
    "/" + "".join(f"%%%%%02x" % ord(c) for c in SECRET) + "/v2/library/%s/manifests/%s",
]


@pytest.mark.parametrize("path", SPELLINGS, ids=range(len(SPELLINGS)))
def test_secret_in_each_spelling(closed, rig, fresh, path, wire):
    """The path of each kind of client leads in; the log and the upstream have none of it."""
    repo, _, tag = fresh.name.partition(":")
    path = path % (repo.removeprefix("library/"), tag)
    a = ask(wire(closed, name="docker.mirror.test"), path)
    assert a.status == 200 and images.digest_of(a.body) == fresh.digest
    line = closed.wait_access(lambda x: repo in x["path"] and x["status"] == 200)[-1]
    assert line["tenant"] == "alice"
    assert not any(SECRET in str(r.path) for r in rig.front.log)
    for text in (closed.access_path.read_text(), closed.tail(1000)):
        assert SECRET not in text and "%6b%37" not in text


@pytest.mark.parametrize("before", ["", "/k7f2m9q4x8c1w6t4", "/k7f2m9q4x8c1w6t", "/" + "x" * 300])
def test_wrong_secret(closed, fresh, before, wire):
    """403 whatever the guess was."""
    w = wire(closed, name="docker.mirror.test")
    for path in (manifest(fresh, before), before + "/v2/"):
        a = ask(w, path)
        if path == "/v2/":          # as podman asks: it says nothing
            assert a.status == 200
        else:
            assert a.status == 403 and a.code == "DENIED"


def test_ping_and_pages_keep_the_prefix(closed, rig, wire):
    """/v2/ answers; a Link of the next page names a path that the client may use."""
    w = wire(closed, name="docker.mirror.test")
    for path in (f"/{SECRET}/v2/", f"/{SECRET}/v2", f"/v2/{SECRET}/", f"/v2/{SECRET}"):
        assert ask(w, path).status == 200
    up = "/v2/library/pages/tags/list"
    rig.front.extra[f"{up}?n=1"] = Reply(200, [
        ("Content-Type", "application/json"), ("Link", f'<{up}?n=1&last=a>; rel="next"')],
        b'{"name": "library/pages", "tags": ["a"]}')
    a = ask(w, f"/v2/{SECRET}/library/pages/tags/list?n=1")
    assert a.get("Link") == f'</{SECRET}{up}?n=1&last=a>; rel="next"'


def test_redirect_log_hides_the_secret(closed, wire):
    """A client that begins by http is sent on, and its secret is not written down."""
    a = wire(closed, port="http").ask("GET", f"/{SECRET}/v2/", host="mirror.test")
    assert a.status == 302 and f"/{SECRET}/v2/" in a.get("Location")
    closed.wait_access(lambda x: "*" * len(SECRET) in x["path"])
    assert SECRET not in closed.access_path.read_text()


@pytest.mark.parametrize("kind", [Skopeo, Podman, Containerd])
def test_clients_by_secret(closed, rig, home, fresh, kind):
    """Real clients pull by https://mirror/SECRET as they would by https://mirror."""
    m = Mirror("docker.io", f"localhost:{closed.ports['https']}", rig.ca.pem, f"{SECRET}/docker.io")
    with kind(home, m) as c:
        assert c.pull(fresh.name) == fresh.digest


def test_check_and_reload_hide_secrets(start, rig, fresh, wire):
    """check -v masks it, a world-readable file is warned of; a reload changes who comes in."""
    s = start(tenant(secret=SECRET))
    s.file.chmod(0o644)
    out = run_sluice("check", "-v", "-c", s.file)
    assert "(hidden)" in out.stdout and SECRET not in out.stdout + out.stderr
    assert "others may read this file" in out.stdout + out.stderr
    assert ask(wire(s, name="docker.mirror.test"), manifest(fresh, "/" + SECRET)).status == 200
    s.reload({"tenant alice": None, **tenant("bob", secret=OTHER)})
    w = wire(s, name="docker.mirror.test")
    assert ask(w, manifest(fresh, "/" + SECRET)).status == 403
    assert ask(w, manifest(fresh, "/" + OTHER)).status == 200
    s.reload({"tenant bob": None})
    assert ask(wire(s, name="docker.mirror.test"), manifest(fresh)).status == 200
    assert "open to all" in s.tail(1000)


# ---- addresses, mirrors, images ----

def test_narrowest_network_counts(start, rig, fresh):
    """By address: the narrowest network's tenant, whatever the file's order; others are refused."""
    s = start({**tenant("wide", allow="127.0.0.0/24"), **tenant("one", allow="127.0.0.7"),
               **tenant("far", allow="10.0.0.0/8")})
    for source, who in (("127.0.0.7", "one"), ("127.0.0.8", "wide"), ("127.0.1.1", None)):
        a = ask(at(s, rig, source), manifest(fresh))
        assert a.status == (200 if who else 403)
        line = s.wait_access(lambda x: x["client"] == source)[-1]
        assert line.get("tenant") == who


def test_mirrors_and_images(start, rig, fresh, alone):
    """A tenant gets only its mirrors, and of these only its images."""
    s = start({**tenant("a", allow="127.0.0.2", mirrors="second.test"),
               **tenant("b", allow="127.0.0.3", images="docker.io/library/fresh"),
               **tenant("c", allow="127.0.0.4", images_denied="*/fresh")})
    got = {}
    for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
        w = at(s, rig, source)
        got[source] = [ask(w, manifest(i)).status for i in (fresh, alone)]
        assert ask(w, "/v2/").status == 200
    assert got == {"127.0.0.2": [403, 403], "127.0.0.3": [200, 403], "127.0.0.4": [403, 200]}
    a = ask(at(s, rig, "127.0.0.4"), manifest(fresh))
    assert a.code == "DENIED" and b"docker.io/library/fresh" in a.body


# ---- logins ----

def test_login_by_hand(start, rig, fresh, folder, tmp_path, wire):
    """401 with a Bearer challenge, a token for the password, Basic as well; others not."""
    s = start(tenant(htpasswd=htpasswd(tmp_path)))
    w = wire(s, name="docker.mirror.test")
    a = ask(w, "/v2/")
    assert a.status == 401 and a.code == "UNAUTHORIZED"
    assert a.get("WWW-Authenticate") == \
        'Bearer realm="https://docker.mirror.test/token",service="sluice"'
    assert ask(w, "/token").status == 401
    assert ask(w, "/token", basic("alice", "wrong")).status == 401
    assert ask(w, "/token", basic("nobody", PASSWORD)).status == 401
    a = ask(w, "/token?service=sluice&account=alice", basic("alice", PASSWORD))
    assert a.status == 200 and a.get("Cache-Control") == "no-store"
    token = json.loads(a.body)["token"]
    bearer = f"Authorization: Bearer {token}"
    rig.reset()
    assert ask(w, manifest(fresh), bearer).status == 200
    assert ask(w, manifest(fresh), basic("alice", PASSWORD)).status == 200
    assert ask(w, manifest(fresh), bearer[:-1] + ("0" if bearer[-1] != "0" else "1")).status == 401
    assert ask(w, manifest(fresh)).status == 401
    assert ask(w, "/token", basic("alice", PASSWORD), method="HEAD").status == 405
    assert not any(token in str(r.headers) for r in rig.front.log)
    # A restart does not end a token, another password does.
    s.restart()
    assert ask(wire(s, name="docker.mirror.test"), manifest(fresh), bearer).status == 200
    htpasswd(tmp_path, BOB.replace("bob:", "alice:"))
    s.reload({})
    assert ask(wire(s, name="docker.mirror.test"), manifest(fresh), bearer).status == 401
    assert PASSWORD not in s.tail(1000) + s.access_path.read_text()


def test_wrong_passwords_are_throttled(start, rig, tmp_path):
    """Ten wrong ones, then 429, also for the right one, but not from another address."""
    s = start(tenant(htpasswd=htpasswd(tmp_path)))
    w = at(s, rig, "127.0.0.2")
    got = [ask(w, "/v2/", basic("alice", f"x{i}")).status for i in range(14)]
    assert got[:10] == [401] * 10 and 429 in got[10:]
    assert ask(at(s, rig, "127.0.0.3"), "/v2/", basic("alice", PASSWORD)).status == 200


@pytest.mark.parametrize("kind", ["skopeo", "podman", "docker", "ctr"])
def test_clients_log_in(start, rig, home, fresh, tmp_path, kind):
    """login and pull by real clients; a wrong password is told."""
    s = start(tenant(htpasswd=htpasswd(tmp_path)))
    if kind == "skopeo":
        c = Skopeo(home, Mirror(s.host, s.host, rig.ca.pem))
        assert c.pull(fresh.name, creds="alice:" + PASSWORD) == fresh.digest
        with pytest.raises(RuntimeError, match="authentication required|unauthorized"):
            c.pull(fresh.name, creds="alice:wrong")
    elif kind == "podman":
        with Podman(home, Mirror(s.host, s.host, rig.ca.pem)) as c:
            login = ["login", "--authfile", home / "auth", "--cert-dir", c.certs, "-u", "alice"]
            with pytest.raises(RuntimeError):
                c.podman(*login, "-p", "wrong", s.host)
            c.podman(*login, "-p", PASSWORD, s.host)
            assert c.pull(fresh.name, creds="alice:" + PASSWORD) == fresh.digest
    elif kind == "docker":
        with Docker(home, Mirror(s.host, s.host, rig.ca.pem)) as c:
            with pytest.raises(RuntimeError, match="unauthorized"):
                c.docker("login", "-u", "alice", "-p", "wrong", s.host)
            c.docker("login", "-u", "alice", "-p", PASSWORD, s.host)
            assert c.pull(fresh.name) == fresh.digest
    else:
        with Containerd(home, Mirror(s.host, s.host, rig.ca.pem)) as c:
            assert c.pull(fresh.name, creds="alice:" + PASSWORD) == fresh.digest


# ---- rates, connections, quotas ----

class Taker(threading.Thread):
    """Takes a blob again and again until it is told to stop."""
    def __init__(self, wire, path):
        super().__init__(daemon=True)
        self.wire, self.path, self.taken, self.over = wire, path, 0, False

    def run(self):
        while not self.over:
            self.wire.request("GET", self.path, **HOST)
            left = int(self.wire.head().get("Content-Length"))
            left -= len(self.wire.rest)
            self.taken, self.wire.rest = self.taken + len(self.wire.rest), b""
            while left > 0 and not self.over:
                data = self.wire.recv()
                if not data:
                    return
                left -= len(data)
                self.taken += len(data)


def measure(takers, seconds):
    """What each took in the time after a first second."""
    for t in takers:
        t.start()
    time.sleep(1.5)
    before = [t.taken for t in takers]
    time.sleep(seconds)
    got = [t.taken - b for t, b in zip(takers, before)]
    for t in takers:
        t.over = True
    for t in takers:
        t.join(20)
    return got


@pytest.mark.parametrize("port", ["https", "plain"])
def test_rate_is_shared_fairly(start, rig, blob_image, port):
    """Eight connections of one client get what one of another client gets; both stay below."""
    s = start(tenant(allow="127.0.0.0/8", rate="8M"))
    path = blob(blob_image)
    warm = at(s, rig, "127.0.0.9", port)
    assert warm.ask("GET", path, **HOST).status == 200
    one = Taker(at(s, rig, "127.0.0.2", port), path)
    many = [Taker(at(s, rig, "127.0.0.3", port), path) for _ in range(8)]
    got = measure([one, *many], 3)
    of_one, of_many = got[0], sum(got[1:])
    assert of_one + of_many < 1.5 * 3 * (8 << 20)
    assert 0.5 < of_one / of_many < 2, got


def test_two_tenants_at_once(start, rig, blob_image):
    """One client of one tenant and many of another, each tenant with a rate: each gets its own."""
    s = start({**tenant("a", allow="127.0.0.2", rate="4M"),
               **tenant("b", allow="127.0.0.0/24", rate="4M")})
    path = blob(blob_image)
    takers = [Taker(at(s, rig, "127.0.0.2"), path),
              *(Taker(at(s, rig, f"127.0.0.{i}"), path) for i in range(10, 16))]
    got = measure(takers, 3)
    assert 0.5 < got[0] / sum(got[1:]) < 2, got


def test_per_client(start, rig, blob_image):
    """Each address has a limit of its own."""
    s = start(tenant(allow="127.0.0.0/8", per_client="2M"))
    got = measure([Taker(at(s, rig, f"127.0.0.{i}"), blob(blob_image)) for i in (2, 2, 3)], 2)
    assert got[0] + got[1] < 1.6 * 2 * (2 << 20)
    assert 0.5 < (got[0] + got[1]) / got[2] < 2, got


@pytest.fixture
def blob_image(blob):
    return blob[0]


def test_connections(start, rig, fresh):
    """One more than it may have at once is answered 429; when one goes, another may come."""
    s = start({**tenant("a", allow="127.0.0.2", connections=2),
               **tenant("b", allow="127.0.0.3")})
    two = [at(s, rig, "127.0.0.2") for _ in range(2)]
    assert [ask(w, "/v2/").status for w in two] == [200, 200]
    a = ask(at(s, rig, "127.0.0.2"), "/v2/")
    assert a.status == 429 and a.code == "TOOMANYREQUESTS" and a.get("Retry-After")
    assert ask(at(s, rig, "127.0.0.3"), "/v2/").status == 200
    two[0].close()
    deadline = time.monotonic() + 20
    while ask(at(s, rig, "127.0.0.2"), "/v2/").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def usage(s):
    path = s.cache / "tenants"
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    return {x.split()[0]: int(x.split()[2]) for x in lines}


def test_quota(start, rig, blob_image, home):
    """Spent: 429 with a text that says so; kept over SIGKILL; others go on."""
    s = start({**tenant("a", allow="127.0.0.2", quota="4M/month"),
               **tenant("b", allow="127.0.0.0/8", quota="900M/month")})
    w = at(s, rig, "127.0.0.2")
    assert ask(w, blob(blob_image)).status == 200       # 8 MB: what was begun is finished
    a = ask(w, manifest(blob_image))
    assert a.status == 429 and a.code == "DENIED"
    assert b"has used its quota of 4M for this month" in a.body
    assert ask(w, "/v2/").status == 200
    assert ask(at(s, rig, "127.0.0.3"), manifest(blob_image)).status == 200
    with Skopeo(home, Mirror(s.host, s.host, rig.ca.pem)) as c:
        assert c.pull(blob_image.name) == blob_image.digest
    deadline = time.monotonic() + 30
    while usage(s).get("a", 0) < 8 << 20:
        assert time.monotonic() < deadline, usage(s)
        time.sleep(0.2)
    s.kill()
    s.start()
    assert ask(at(s, rig, "127.0.0.2"), manifest(blob_image)).status == 429
    s.stop()
    assert usage(s)["a"] >= 8 << 20 and usage(s)["b"] > 0


# ---- limits, balancers ----

def test_limits_of_a_client(start, rig):
    """Connections at once and requests a second of one address; another one is not concerned."""
    s = start({"limits": {"client_connections": 3, "client_requests": 2}})
    held = [at(s, rig, "127.0.0.2") for _ in range(3)]
    with pytest.raises((OSError, Exception)):
        at(s, rig, "127.0.0.2")
    assert s.metrics()["connections_limited_total"] >= 1
    got = [ask(held[0], "/v2/").status for _ in range(12)]
    assert got[0] == 200 and 429 in got
    assert ask(at(s, rig, "127.0.0.3"), "/v2/").status == 200


def test_forwarded_for_only_from_the_trusted(start, rig, fresh):
    """Behind a balancer the client is who it says; anybody else says it in vain."""
    s = start({"server": {"trusted": "127.0.0.5"}, **tenant(allow="192.0.2.0/24")})
    field = "X-Forwarded-For: 10.0.0.1, 192.0.2.7"
    assert ask(at(s, rig, "127.0.0.5", "plain"), manifest(fresh), field).status == 200
    s.wait_access(lambda x: x["client"] == "192.0.2.7")
    for source, text in (("127.0.0.6", field), ("127.0.0.5", "X-Forwarded-For: 10.0.0.1"),
                         ("127.0.0.5", "X-Forwarded-For: 192.0.2.7, 10.0.0.1"),
                         ("127.0.0.5", "X-Forwarded-For: 192.0.2.7, x"), ("127.0.0.5", "X: y")):
        assert ask(at(s, rig, source, "plain"), manifest(fresh), text).status == 403, text


def v2_header(source, payload=b""):
    return (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + (12 + len(payload)).to_bytes(2, "big")
            + socket.inet_aton(source) + b"\x7f\0\0\1" + b"\x10\0\x01\xbb" + payload)


HEADERS = {"v2": v2_header("192.0.2.7"), "v2-extensions": v2_header("192.0.2.7", bytes(200)),
           "v1": b"PROXY TCP4 192.0.2.7 127.0.0.1 4096 443\r\n"}


def begin(s, rig, source, header, port, cut=0):
    """A connection that begins with that, in two pieces."""
    sock = socket.create_connection(("127.0.0.1", s.ports[port]), 20, source_address=(source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(header[:cut])
    if cut:
        time.sleep(0.05)
    sock.sendall(header[cut:])
    return Wire(sock, ca=rig.ca.pem if port == "https" else None, name="docker.mirror.test")


@pytest.fixture(scope="module")
def balanced(shared_sluice, shared_rig, folder):
    with Sluice(shared_rig, folder / "balanced", {
            "server": {"trusted": "127.0.0.5"}, **tenant(allow="192.0.2.0/24")}) as s:
        yield s


@pytest.mark.parametrize("port", ["https", "plain"])
@pytest.mark.parametrize("header", HEADERS)
def test_proxy_header(balanced, rig, fresh, header, port):
    """Of a balancer that is trusted it counts, however it comes; of others it is nonsense."""
    s, header = balanced, HEADERS[header]
    for cut in (0, 1, 13, 20):
        assert ask(begin(s, rig, "127.0.0.5", header, port, cut), manifest(fresh)).status == 200
    assert s.wait_access(lambda x: x["client"] == "192.0.2.7" and x["tenant"] == "alice")
    with pytest.raises(Exception):
        if ask(begin(s, rig, "127.0.0.6", header, port), manifest(fresh)).status != 200:
            raise RuntimeError("refused")


def test_proxy_header_absent_or_cut(balanced, rig, fresh):
    """Health checks without one are served as the balancer's; half of one ends nothing else."""
    assert ask(at(balanced, rig, "127.0.0.5"), manifest(fresh)).status == 403
    for text in (b"PROXY TCP4", b"\r\n\r\n", b"PROXY nonsense here\r\n", b""):
        sock = socket.create_connection(("127.0.0.1", balanced.ports["plain"]), 20,
                                        source_address=("127.0.0.5", 0))
        sock.sendall(text)
        with contextlib.suppress(ConnectionResetError):     # what was not read
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError as e:        # the same, when the reset is here before our end
                assert e.errno == errno.ENOTCONN
            assert sock.recv(100) == b""
    sock = socket.create_connection(("127.0.0.1", balanced.ports["plain"]), 20,
                                    source_address=("127.0.0.5", 0))
    sock.sendall(b"PROXY ")         # still open when Sluice is stopped, at the module's end
    assert balanced.admin("/healthz")[0] == 200


# ---- certificates ----

def client_cert(folder, ca, name):
    key, csr, pem = (folder / f"{name}.{x}" for x in ("key", "csr", "pem"))
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/O=Corp/CN={name}", "-keyout", key, "-out", csr)
    ext = folder / "client.ext"
    ext.write_text("basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")
    openssl("x509", "-req", "-in", csr, "-CA", ca.pem, "-CAkey", ca.key, "-CAcreateserial",
            "-days", 5, "-extfile", ext, "-out", pem)
    return pem, key


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_client_certificate(start, rig, fresh, tmp_path, version):
    """By the common name of a certificate of client_ca; without one, or of another CA, not."""
    ours, theirs = CA(tmp_path / "ours"), CA(tmp_path / "theirs")
    s = start({"server": {"client_ca": ours.pem},
               **tenant("build", certificate="build-*.corp.test")})

    def by(ca, name):
        def tweak(context):
            context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
            if name:
                context.load_cert_chain(*client_cert(tmp_path, ca, name))
        sock = socket.create_connection(("127.0.0.1", s.ports["https"]), 20)
        return Wire(sock, ca=rig.ca.pem, name="docker.mirror.test", tweak=tweak)
    w = by(ours, "build-7.corp.test")
    for _ in range(2):
        assert ask(w, manifest(fresh)).status == 200
    assert s.wait_access(lambda x: x.get("tenant") == "build")
    assert ask(by(ours, "other.corp.test"), manifest(fresh)).status == 403
    assert ask(by(None, None), manifest(fresh)).status == 403
    with pytest.raises((Ended, ssl.SSLError, OSError)):
        ask(by(theirs, "build-7.corp.test"), manifest(fresh))
