"""What must work before anything else is worth a look: start, configuration, local answers."""
import json

import pytest

from rig.mirror import ini, merge, sluice as run_sluice
from rig.wire import ACCEPT

V2 = "Docker-Distribution-Api-Version"


def check(tmp_path, text):
    file = tmp_path / "sluice.ini"
    file.write_text(text)
    return run_sluice("check", "-c", file)


def test_check_accepts(start, tmp_path):
    """`sluice check` says nothing bad of the configuration that all these tests use."""
    s = start(start=False)
    done = check(tmp_path, ini(s.config))
    assert done.returncode == 0, done.stderr


def test_check_names_every_error(start, tmp_path):
    """Unknown section, unknown key, duplicate, bad unit, bad value, unreadable file: all are told
    at once, as file:line with the value; exit 1."""
    s = start(start=False)
    text = ini(merge(s.config, {"certificate main": {"chain": "/nonexistent/chain.pem"}}))
    text += ("[nonsense]\n"
             "x = 1\n"
             "[mirror third.test]\n"
             "upstream = https://third.test\n"
             "colour = red\n"
             "tag_fresh = 5 parsecs\n"
             "private = perhaps\n"
             "[mirror fourth.test]\n"
             "upstream = ftp://fourth.test\n"
             "upstream = https://fourth.test\n")
    lines = text.splitlines()
    done = check(tmp_path, text)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    for part in ("nonsense", "colour", "tag_fresh = 5", "private = perhaps", "upstream = ftp", "chain = /non"):
        number = 1 + next(i for i, line in enumerate(lines) if part in line)
        assert f"sluice.ini:{number}:" in said, f"nothing of line {number}, {part}:\n{said}"
    for value in ("nonsense", "colour", "5 parsecs", "perhaps", "/nonexistent/chain.pem"):
        assert value in said, f"{value}:\n{said}"
    duplicate = 2 + next(i for i, line in enumerate(lines) if "upstream = ftp" in line)
    assert f"sluice.ini:{duplicate}:" in said


def test_check_missing_file(tmp_path):
    """No such file: exit 1 and its name."""
    done = run_sluice("check", "-c", tmp_path / "none.ini")
    assert done.returncode == 1 and "none.ini" in done.stdout + done.stderr


def test_serve_refuses_a_bad_file(start, tmp_path):
    """`serve` does not start from a file that `check` refuses."""
    s = start(start=False)
    file = tmp_path / "sluice.ini"
    file.write_text(ini(merge(s.config, {"cache": {"size": "many"}})))
    done = run_sluice("serve", "-c", file)
    assert done.returncode == 1 and "many" in done.stdout + done.stderr


def test_health_and_metrics(sluice):
    """The admin listener answers /healthz and /metrics in Prometheus' format, 404 to the rest."""
    assert sluice.admin("/healthz")[0] == 200
    status, text = sluice.admin("/metrics")
    assert status == 200 and "# TYPE sluice_requests_total counter" in text
    assert sluice.admin("/nothing")[0] == 404


@pytest.mark.versions
def test_ping_is_local(wire, rig):
    """/v2/ is answered by Sluice itself: 200, the API version, and no word to the upstream."""
    for path in ("/v2/", "/v2/?ns=docker.io"):
        host = "docker.mirror.test" if "ns" not in path else "mirror.test"
        a = wire(name=host).ask("GET", path, host=host)
        assert (a.status, a.get(V2)) == (200, "registry/2.0")
    a = wire().ask("HEAD", "/v2/")
    assert a.status == 200
    assert not rig.front.log


def test_http_redirects(wire):
    """Port 80's listener sends everything to https with path and query."""
    a = wire(port="http").ask("GET", "/v2/library/x/tags/list?n=1&last=a%2Fb")
    assert a.status == 302
    assert a.get("Location").startswith("https://mirror.test")
    assert a.get("Location").endswith("/v2/library/x/tags/list?n=1&last=a%2Fb")
    assert a.get("Strict-Transport-Security") is None


def test_acme_webroot(sluice, wire):
    """What certbot and acme.sh put below the webroot is served by plain HTTP, and nothing else."""
    folder = sluice.acme / ".well-known/acme-challenge"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token-_1").write_text("token-_1.thumbprint")
    a = wire(port="http").ask("GET", "/.well-known/acme-challenge/token-_1")
    assert (a.status, a.body) == (200, b"token-_1.thumbprint")
    assert wire(port="http").ask("GET", "/.well-known/acme-challenge/missing").status == 404
    for path in ("../../../sluice.ini", "%2e%2e/%2e%2e/%2e%2e/sluice.ini", "..", "",
                 "..%2f..%2f..%2fsluice.ini"):
        a = wire(port="http").ask("GET", f"/.well-known/acme-challenge/{path}")
        assert a.status in (302, 400, 404) and b"certificate" not in a.body, path


@pytest.mark.versions
@pytest.mark.parametrize("method, path", [
    ("POST", "/v2/library/x/blobs/uploads/"), ("PUT", "/v2/library/x/manifests/latest"),
    ("PATCH", "/v2/library/x/blobs/uploads/1"), ("DELETE", "/v2/library/x/manifests/latest")])
def test_push_is_refused(wire, rig, method, path):
    """Push methods: 405 and the code UNSUPPORTED, with and without a body; nothing goes upstream."""
    for more, body in (((), ""), (("Content-Length: 5",), "12345")):
        a = wire(name="docker.mirror.test").ask(method, path, *more, host="docker.mirror.test", body=body)
        assert (a.status, a.code) == (405, "UNSUPPORTED")
    assert not rig.front.log


@pytest.mark.versions
@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/library/x/nonsense/y", "/favicon.ico",
                                  "/v2/_catalog"])
def test_unknown_paths(wire, path):
    """What is no registry path is 404 with an OCI error."""
    a = wire(name="docker.mirror.test").ask("GET", path, host="docker.mirror.test")
    assert a.status in (404, 405) and a.code


@pytest.mark.versions
def test_unknown_image(wire):
    """An image that the upstream does not have: its 404 and an OCI error body."""
    a = wire(name="docker.mirror.test").ask("GET", "/v2/library/none/manifests/latest", *ACCEPT, host="docker.mirror.test")
    assert (a.status, a.code) == (404, "MANIFEST_UNKNOWN")
    a = wire(name="docker.mirror.test").ask("GET", f"/v2/library/none/blobs/sha256:{'0' * 64}", host="docker.mirror.test")
    assert (a.status, a.code) == (404, "BLOB_UNKNOWN")


@pytest.mark.versions
@pytest.mark.parametrize("path", [
    "/v2/library/x/blobs/sha256:123", "/v2/library/x/blobs/md5:00",
    "/v2/library/x/manifests/sha256:xyz", "/v2/Library/x/manifests/latest",
    "/v2/library/../x/manifests/latest", "/v2/library//x/manifests/latest",
    "/v2/library/x/manifests/" + "t" * 129, "/v2/library/x/manifests/-x",
    "/v2/library%2fx/manifests/a%00b"])
def test_bad_names(wire, rig, path):
    """Names, tags and digests outside the grammar: 400 or 404, never passed on."""
    a = wire(name="docker.mirror.test").ask("GET", path, host="docker.mirror.test")
    assert a.status in (400, 404) and a.code
    assert not rig.front.log


@pytest.mark.versions
def test_hsts(wire):
    """Strict-Transport-Security on what goes out by TLS, errors included, and only there."""
    assert wire().ask("GET", "/v2/").get("Strict-Transport-Security") == "max-age=15552000"
    assert wire().ask("GET", "/nothing").get("Strict-Transport-Security") == "max-age=15552000"
    assert wire(port="plain").ask("GET", "/v2/").get("Strict-Transport-Security") is None


@pytest.mark.versions
def test_host_must_fit_sni(wire):
    """A Host other than the name of the handshake: 421."""
    for name, host, status in (("docker.mirror.test", "docker.mirror.test", 200),
                               ("docker.mirror.test", "DOCKER.mirror.test:443", 200),
                               ("docker.mirror.test", "second.mirror.test", 421),
                               ("mirror.test", "evil.test", 421)):
        assert wire(name=name).ask("GET", "/v2/", host=host).status == status, (name, host)


def test_plain_listener(wire, fresh):
    """The listener for balancers serves the mirror without TLS."""
    w = wire(port="plain")
    assert w.ask("GET", "/v2/", host="docker.mirror.test").status == 200
    a = w.ask("GET", f"/v2/{fresh.repo}/manifests/{fresh.tag}", *ACCEPT, host="docker.mirror.test")
    assert (a.status, a.body) == (200, fresh.raw)


@pytest.mark.versions
def test_errors_are_json(wire):
    """An error body parses, has code and message, and HEAD has the same head without the body."""
    w = wire()
    a = w.ask("GET", "/v2/library/none/manifests/latest", *ACCEPT)
    error = json.loads(a.body)["errors"][0]
    assert set(error) >= {"code", "message"}
    h = w.ask("HEAD", "/v2/library/none/manifests/latest", *ACCEPT)
    assert (h.status, h.body) == (a.status, b"")
