"""The rig is right without Sluice: real clients pull straight from it, and its faults are real."""
import hashlib
import json
import socket
import struct
import subprocess

import pytest

from rig import httpd, images
from rig.clients import CLIENTS, Mirror
from rig.front import serve_file
from rig.mirror import ini, merge
from rig.wire import Wire


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def image(shared_rig):
    return images.small(shared_rig.push, "library/straight")


def to(server, rig, **kw):
    return Wire((server.address, server.port), ca=rig.ca.pem, name=None, **kw)


def token(rig, repo, *headers):
    with to(rig.auth, rig) as w:
        a = w.ask("GET", f"/token?service=rig-registry&scope=repository:{repo}:pull", *headers)
    return a.status, json.loads(a.body).get("token")


def blob_link(rig, image, blob):
    """Path and query at the CDN, as the front hands them out."""
    with to(rig.front, rig) as w:
        a = w.ask("GET", f"/v2/{image.repo}/blobs/{blob}",
                  f"Authorization: Bearer {token(rig, image.repo)[1]}")
    assert a.status == 307
    return a.get("Location").removeprefix(rig.cdn.url)


@pytest.mark.parametrize("name", CLIENTS)
def test_client_pulls_straight(rig, home, image, name):
    """Each client gets the image from the rig by itself: token, redirect, blobs from the CDN."""
    with CLIENTS[name](home, Mirror(rig.front.host, rig.front.host, rig.ca.pem)) as c:
        assert c.pull(image.name) == image.digest
    assert {r.path[-64:] for r in rig.cdn.log} == {d[7:] for d in image.blobs}
    assert not any(r.get("Authorization") for r in rig.cdn.log)
    assert rig.auth.log


def test_token_is_demanded(rig, image):
    """No token: 401 and a challenge that names realm, service and scope."""
    with to(rig.front, rig) as w:
        a = w.ask("GET", f"/v2/{image.repo}/manifests/latest")
    assert a.status == 401
    for part in (f'realm="{rig.auth.realm}"', 'service="rig-registry"',
                 f'scope="repository:{image.repo}:pull"'):
        assert part in a.get("WWW-Authenticate")


def test_private_needs_password(rig):
    """Under private/ the anonymous token opens nothing, alice's does, a wrong password is 401."""
    secret = images.small(rig.push, "private/straight")
    basic = "Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ=="
    for headers, status in (((), 401), ((basic,), 200)):
        with to(rig.front, rig) as w:
            a = w.ask("GET", f"/v2/{secret.repo}/manifests/latest", f"Accept: {images.MANIFEST}",
                      f"Authorization: Bearer {token(rig, secret.repo, *headers)[1]}")
        assert a.status == status
    assert token(rig, secret.repo, "Authorization: Basic eDp5")[0] == 401


def test_cdn_refuses_authorization_and_bad_links(rig, image):
    """As S3: 400 for a request with Authorization, 403 for a link that is changed or expired."""
    path = blob_link(rig, image, image.layers[0])
    with to(rig.cdn, rig) as w:
        assert w.ask("GET", path, "Authorization: Bearer x").status == 400
        assert w.ask("GET", path + "0").status == 403
        assert w.ask("HEAD", path).status == 403
        assert digest(w.ask("GET", path).body) == image.layers[0]
    rig.cdn.link_s = -1
    with to(rig.cdn, rig) as w:
        assert w.ask("GET", blob_link(rig, image, image.layers[0])).status == 403


def test_cdn_ranges(rig, image):
    """One range is served, several get the whole, one beyond the end 416."""
    path, size = blob_link(rig, image, image.layers[0]), image.blobs[image.layers[0]]
    with to(rig.cdn, rig) as w:
        whole = w.ask("GET", path).body
        for text, part in (("5-9", whole[5:10]), ("100-", whole[100:]), ("-7", whole[-7:])):
            a = w.ask("GET", path, f"Range: bytes={text}")
            assert (a.status, a.body) == (206, part)
        assert w.ask("GET", path, "Range: bytes=0-1,4-5").status == 200
        assert w.ask("GET", path, f"Range: bytes={size}-").status == 416
        with rig.cdn.fault(httpd.ignore_range()):
            assert w.ask("GET", path, "Range: bytes=5-9").status == 200
    assert serve_file(rig.registry.blob_path("sha256:" + "0" * 64), None).status == 404


@pytest.mark.parametrize("how", ["fin", "close_notify", "reset"])
def test_fault_cut(rig, image, how):
    """A body cut at byte 1000 shows as a short body and the end that was asked for."""
    path = blob_link(rig, image, image.layers[0])
    with rig.cdn.fault(httpd.cut(1000, how)) as f, to(rig.cdn, rig) as w:
        a = w.ask("GET", path)
        assert (len(a.body), a.cut, w.end, f.hits) == (1000, True, how, 1)


def test_fault_bodies(rig, image):
    """corrupt, truncate, wrong_length, chunked, trickle: what a client sees of each."""
    layer = image.layers[0]
    path, size = blob_link(rig, image, layer), image.blobs[layer]

    def got(fault):
        with rig.cdn.fault(fault, times=1), to(rig.cdn, rig) as w:
            return w.ask("GET", path)
    a = got(httpd.corrupt(77))
    assert len(a.body) == size and digest(a.body) != layer
    a = got(httpd.truncate(500))
    assert (len(a.body), a.cut, a.get("Content-Length")) == (500, False, "500")
    a = got(httpd.wrong_length(10))
    assert (len(a.body), a.cut) == (size, True)
    a = got(httpd.chunked())
    assert a.get("Content-Length") is None and digest(a.body) == layer
    a = got(httpd.trickle(100, 0.001, total=1000))
    assert digest(a.body) == layer


def test_fault_stall_and_slow_first_byte(rig, image):
    """A stalled answer goes on when the test releases it, not before."""
    path = blob_link(rig, image, image.layers[0])
    with rig.cdn.fault(httpd.stall(1000)) as f, to(rig.cdn, rig) as w:
        w.request("GET", path, host="x")
        a = w.head()
        assert len(w.take(1000)) == 1000 and f.held.wait(5)
        f.release()
        assert len(w.take(int(a.get("Content-Length")) - 1000)) == image.blobs[image.layers[0]] - 1000
    with rig.cdn.fault(httpd.slow_first_byte()) as f, to(rig.cdn, rig) as w:
        w.request("GET", path, host="x")
        assert f.held.wait(5)
        f.release()
        assert w.answer().status == 200


def test_fault_answers(rig):
    """status, redirect and header replace what the server would say; `times` bounds them."""
    with to(rig.front, rig) as w:
        with rig.front.fault(httpd.status(429, [("Retry-After", "7")], b"slow"), times=1):
            a = w.ask("GET", "/v2/")
            assert (a.status, a.get("Retry-After"), a.body) == (429, "7", b"slow")
            assert w.ask("GET", "/v2/").status == 401
        with rig.front.fault(httpd.redirect("/elsewhere", 302), "^/v2/$"):
            assert w.ask("GET", "/v2/").get("Location") == "/elsewhere"
        with rig.front.fault(httpd.header("WWW-Authenticate")):
            assert w.ask("GET", "/v2/").get("WWW-Authenticate") is None


def test_name_server(rig):
    """A and AAAA from the table, no address, NXDOMAIN, silence."""
    def ask(name, kind):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.3)
            labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
            s.sendto(struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels
                     + struct.pack("!BHH", 0, kind, 1), rig.dns.sock.getsockname())
            data = s.recv(512)
            return data[3] & 15, struct.unpack_from("!H", data, 6)[0], data[-4:]
    assert ask("registry.test", 1) == (0, 1, socket.inet_aton("127.0.0.1"))
    assert ask("registry.test", 28)[:2] == (0, 0)
    assert ask("nowhere.test", 1)[0] == 3
    rig.dns.dead = True
    with pytest.raises(TimeoutError):
        ask("registry.test", 1)


def test_certificates(rig):
    """Every certificate verifies against the throw-away CA, for names and addresses."""
    chain, _ = rig.ca.issue("try", ["a.test", "127.0.0.9"], rsa=True)
    for how in (["-verify_hostname", "a.test"], ["-verify_ip", "127.0.0.9"]):
        subprocess.run(["openssl", "verify", "-CAfile", rig.ca.pem, *how, chain], check=True,
                       capture_output=True)


def test_ini_writing():
    """Sections, lists and removal, as the tests use them."""
    config = merge({"a": {"x": 1, "y": [1, 2]}, "b": {}}, {"a": {"x": None}, "b": None})
    assert ini(config) == "[a]\ny = 1 2\n"
