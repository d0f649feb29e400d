"""TLS towards clients: versions, ciphers, tickets, certificates, and the records after the
handshake, which Sluice makes itself."""
import socket
import ssl
import subprocess
import threading

import pytest

from rig import images
from rig.clients import curl, run
from rig.mirror import Sluice
from rig.proc import wait_for
from rig.wire import tls_context

HOST = "mirror.test"


@pytest.fixture(scope="module")
def image(shared_rig):
    return images.one_blob(shared_rig.push, "library/tls", 3_000_000)


@pytest.fixture(scope="module")
def path(image):
    return f"/v2/docker.io/{image.repo}/blobs/{image.layers[0]}"


TLS12 = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"]
TLS13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]


@pytest.fixture(scope="module")
def rsa(shared_rig, folder):
    """A Sluice with an RSA certificate."""
    chain, key = shared_rig.ca.issue("rsa", [HOST, "127.0.0.1", "localhost"], rsa=True)
    with Sluice(shared_rig, folder / "rsa",
                {"certificate main": {"chain": chain, "key": key}}) as s:
        yield s


@pytest.mark.parametrize("cipher", TLS12 + TLS13)
@pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
def test_ciphers(sluice, rsa, rig, path, image, kind, cipher, tmp_path):
    """A blob by each cipher suite, with an ECDSA and an RSA certificate: its digest."""
    s = sluice if kind == "ECDSA" else rsa
    how = ["--tls13-ciphers", cipher, "--tlsv1.3"] if cipher in TLS13 else \
        ["--ciphers", f"ECDHE-{kind}-{cipher}", "--tls-max", "1.2"]
    out = tmp_path / "blob"
    curl(*how, "--resolve", f"{HOST}:{s.ports['https']}:127.0.0.1", "-f", "-o", out,
         f"https://{HOST}:{s.ports['https']}{path}", ca=rig.ca.pem)
    assert images.digest_of(out.read_bytes()) == image.layers[0]


@pytest.mark.parametrize("curve", ["X25519", "P-256"])
def test_groups(sluice, rig, path, curve):
    """Key exchange by X25519 and P-256."""
    curl("--curves", curve, "--resolve", f"{HOST}:{sluice.ports['https']}:127.0.0.1", "-f", "-o",
         "/dev/null", f"https://{HOST}:{sluice.ports['https']}{path}", ca=rig.ca.pem)


@pytest.mark.parametrize("bad", [["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
                                 ["-tls1_2", "-cipher", "AES128-SHA"],
                                 ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]],
                         ids=["TLS 1.1", "RSA key exchange", "CBC"])
def test_old_is_refused(sluice, bad):
    """TLS 1.1, suites without forward secrecy or AEAD: no handshake."""
    done = run("openssl", "s_client", "-connect", sluice.host, *bad, check=False)
    assert done.returncode != 0 and "Cipher is (NONE)" in done.stdout + done.stderr


def test_alpn(wire):
    """http/1.1 is chosen from what clients offer; none offered, none chosen."""
    def offer(*names):
        return wire(tweak=lambda c: c.set_alpn_protocols(list(names))).tls
    assert offer("http/1.1").selected_alpn_protocol() == "http/1.1"
    assert wire().tls.selected_alpn_protocol() is None
    w = wire(tweak=lambda c: c.set_alpn_protocols(["spdy/3", "http/1.1"]))
    assert w.tls.selected_alpn_protocol() == "http/1.1"
    assert w.ask("GET", "/v2/").status == 200


def test_certificate_by_sni(start, rig, wire):
    """The certificate is chosen by name, exact before wildcard; a wildcard stands for one label;
    unknown and absent names get the first."""
    more = {}
    for label, names in (("exact", ["a.wild.test"]), ("wild", ["*.wild.test"]),
                         ("two", ["b.test", "c.test"])):
        chain, key = rig.ca.issue(label, names)
        more[f"certificate {label}"] = {"chain": chain, "key": key}
    s = start(more)

    def served(name):
        return wire(s, name=name).tls.getpeercert()["subject"][0][0][1]
    for name, label in (("a.wild.test", "exact"), ("b.wild.test", "wild"), ("B.WILD.test", "wild"),
                        ("x.b.wild.test", "mirror"), ("wild.test", "mirror"), ("c.test", "two"),
                        ("unknown.test", "mirror"), (None, "mirror")):
        assert served(name) == label, name


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets(sluice, rig, wire, path, image, version):
    """A ticket resumes the session, again and again, on whatever worker it lands."""
    def only(c):
        c.minimum_version = c.maximum_version = version
    context = tls_context(rig.ca.pem, only)
    w = wire(context=context)
    w.ask("GET", "/v2/")
    assert not w.tls.session_reused
    before = sluice.metrics()["handshakes_resumed_total"]
    for _ in range(8):
        w = wire(context=context, session=w.tls.session)
        a = w.ask("GET", path)
        assert w.tls.session_reused
        assert images.digest_of(a.body) == image.layers[0]
    assert sluice.metrics()["handshakes_resumed_total"] == before + 8


def test_tickets_in_a_long_row(sluice, rig, wire):
    """A client that resumes each connection by the one before never comes to an end of it."""
    context = tls_context(rig.ca.pem, lambda c: setattr(c, "minimum_version", ssl.TLSVersion.TLSv1_3))
    w = wire(context=context)
    w.ask("GET", "/v2/")
    for n in range(300):
        with wire(context=context, session=w.tls.session) as w:
            assert w.ask("GET", "/v2/").status == 200, n
            assert w.tls.session_reused, n


def test_ticket_of_another_name(rig, wire):
    """A ticket from one name is not proof for another: Host still has to fit the new SNI."""
    context = tls_context(rig.ca.pem)
    w = wire(context=context, name="docker.mirror.test")
    w.ask("GET", "/v2/", host="docker.mirror.test")
    w = wire(context=context, session=w.tls.session, name="second.mirror.test")
    assert w.ask("GET", "/v2/", host="docker.mirror.test").status == 421


class SClient:
    """openssl s_client with its commands: k is KeyUpdate, K asks for one in return."""
    def __init__(self, sluice, folder, ca):
        self.out = folder / "out"
        self.err = folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.child = subprocess.Popen(
                ["openssl", "s_client", "-connect", sluice.host, "-servername", HOST, "-CAfile", ca,
                 "-tls1_3", "-quiet", "-no_ign_eof"], stdin=subprocess.PIPE, stdout=out, stderr=err)

    def say(self, text):
        self.child.stdin.write(text.encode())
        self.child.stdin.flush()

    def update(self, letter):
        seen = self.err.read_text().count("KEYUPDATE")
        self.say(f"{letter}\n")
        wait_for(lambda: self.err.read_text().count("KEYUPDATE") > seen, 10, "KeyUpdate")

    def ask(self, path, size, during=""):
        """One request whose answer's body has `size` bytes; a KeyUpdate while it comes."""
        start = self.out.stat().st_size
        self.say(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        if during:
            wait_for(lambda: self.out.stat().st_size > start, 10, "first bytes")
            self.update(during)

        def whole():
            got = self.out.read_bytes()[start:]
            head, mark, body = got.partition(b"\r\n\r\n")
            return (head, body) if mark and len(body) >= size else None
        return wait_for(whole, 30, lambda: f"{self.err.read_text()[-500:]}")

    def close(self):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()


@pytest.mark.parametrize("letter", ["k", "K"])
def test_key_update(sluice, rig, tmp_path, letter):
    """KeyUpdate between requests and in the middle of a long body: bytes stay right, and a
    request for an update in return is answered."""
    small = images.one_blob(rig.push, "library/keyupdate", 60 << 20)
    path = f"/v2/docker.io/{small.repo}/blobs/{small.largest}"
    c = SClient(sluice, tmp_path, rig.ca.pem)
    try:
        for _ in range(3):
            assert b"200 OK" in c.ask("/v2/", 2)[0]
            c.update(letter)
        for _ in range(2):
            head, body = c.ask(path, small.blobs[small.largest], during=letter)
            assert images.digest_of(body) == small.largest
        assert b"200 OK" in c.ask("/v2/", 2)[0]
    finally:
        c.close()


def test_clients_close_notify(wire):
    """A client that says close_notify gets one in return."""
    w = wire()
    assert w.ask("GET", "/v2/").status == 200
    with pytest.raises(ssl.SSLWantReadError):
        w.tls.unwrap()
    w.flush()
    assert w.closed() == "close_notify"


def test_garbage(sluice, wire):
    """No TLS at all, a broken record after the handshake, a record that is too long: an alert or the
    end, never an answer; Sluice lives."""
    w = wire(ca=None)
    w.request("GET", "/v2/")
    assert b"200" not in (w.recv() or b"")
    for record in (b"\x17\x03\x03\x00\x20" + b"x" * 32, b"\x17\x03\x03\xff\xff" + b"x" * 100,
                   b"\x99\x03\x03\x00\x01x", b"\x17\x03\x03\x00\x00"):
        w = wire()
        w.sock.sendall(record * 40)
        try:
            assert not w.recv()
        except ssl.SSLError as e:
            assert "ALERT" in e.reason, e.reason
    assert wire().ask("GET", "/v2/").status == 200


def test_handshake_in_pieces(sluice, rig):
    """A ClientHello that comes byte by byte."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_context(rig.ca.pem).wrap_bio(inward, outward, server_hostname=HOST)
    with socket.create_connection(("127.0.0.1", sluice.ports["https"]), 10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(20):
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                for b in outward.read():
                    s.sendall(bytes([b]))
                inward.write(s.recv(65536))
        else:
            pytest.fail("no handshake")
    assert tls.version() == "TLSv1.3"


def test_upload_of_requests(wire):
    """4 MB of pipelined requests, all answered: records in both directions at once."""
    w, count = wire(), 4000
    for _ in range(count):
        w.tls.write(f"GET /v2/ HTTP/1.1\r\nHost: {HOST}\r\nX-Filler: {'f' * 900}\r\n\r\n".encode())
    sealed = w.outward.read()           # here: the TLS object is not shared between threads
    sender = threading.Thread(target=w.sock.sendall, args=(sealed,), daemon=True)
    sender.start()
    for i in range(count):
        assert w.answer().status == 200, i
    sender.join(10)


def test_many_connections(wire, path):
    """One full handshake per request, as old podman and docker do it: 100 in a row."""
    for i in range(100):
        w = wire()
        a = w.ask("GET", path, "Range: bytes=%d-%d" % (i * 1000, i * 1000 + 999), "Connection: close")
        assert len(a.body) == 1000
        assert w.closed() == "close_notify"
        w.close()


def test_curl_trusts_it(sluice, rig):
    """An ordinary client with the CA, address and name checked."""
    out = curl("-f", "-w", "%{http_code} %{ssl_verify_result}", f"{sluice.url}/v2/", ca=rig.ca.pem)
    assert out.stdout.endswith("200 0")
