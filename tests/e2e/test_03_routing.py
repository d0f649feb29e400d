"""Which registry and which image a request means, by Host, ns or path; and what is refused."""
import pytest

from rig import images
from rig.wire import ACCEPT

HOST = "docker.mirror.test"


@pytest.fixture(scope="module")
def image(shared_rig):
    return images.small(shared_rig.push, "library/routed")


SPELLINGS = [
    ("host", HOST, "/v2/{name}/{rest}"),
    ("ns", "mirror.test", "/v2/{name}/{rest}?ns=docker.io"),
    ("docker prefix", "mirror.test", "/docker.io/v2/{name}/{rest}"),
    ("containerd override_path, buildkit", "mirror.test", "/v2/docker.io/{name}/{rest}?ns=docker.io"),
    ("podman prefix", "mirror.test", "/v2/docker.io/{name}/{rest}"),
    ("host and ns", HOST, "/v2/{name}/{rest}?ns=docker.io"),
]


@pytest.mark.versions
@pytest.mark.parametrize("what, host, spelling", SPELLINGS, ids=[s[0] for s in SPELLINGS])
@pytest.mark.parametrize("name", ["library/routed", "routed"])
def test_spellings(wire, image, what, host, spelling, name):
    """Every spelling finds manifest and blob, also with library/ left out as Docker Hub allows."""
    w = wire(name=host)
    a = w.ask("GET", spelling.format(name=name, rest="manifests/latest"), *ACCEPT, host=host)
    assert (a.status, a.body) == (200, image.raw)
    a = w.ask("GET", spelling.format(name=name, rest=f"blobs/{image.layers[0]}"), host=host)
    assert images.digest_of(a.body) == image.layers[0]


def test_library_is_docker_hubs(rig, wire):
    """Another registry's one-part names stay as they are."""
    one = images.small(rig.push, "onepart")
    a = wire(name="second.mirror.test").ask("GET", "/v2/onepart/manifests/latest", *ACCEPT,
                                            host="second.mirror.test")
    assert (a.status, a.body) == (200, one.raw)
    assert wire().ask("GET", "/v2/second.test/routed/manifests/latest", *ACCEPT).status == 404


def test_completion_is_in_the_scope(rig, wire):
    """The token asked for a one-part name is for library/NAME."""
    images.small(rig.push, "library/scoped")
    assert wire().ask("GET", "/v2/docker.io/scoped/manifests/latest", *ACCEPT).status == 200
    assert "repository%3Alibrary%2Fscoped%3Apull" in rig.auth.log[-1].target \
        or "repository:library/scoped:pull" in rig.auth.log[-1].target


@pytest.mark.versions
def test_unknown_namespace(rig, wire, sluice):
    """An ns that is not configured is 404 at once, and is dialled neither as a name nor as an
    address."""
    rig.dns.log.clear()
    before = rig.front.connections, sluice.metrics()["upstream_connections_total"]
    for ns in (rig.front.host, "unknown.test", "127.0.0.1", "docker.io.evil.test", "",
               "docker.io%00.test", "docker.io/../second.test", "x" * 2000):
        a = wire().ask("GET", f"/v2/library/routed/manifests/latest?ns={ns}", *ACCEPT)
        assert a.status in (400, 404) and a.code, ns
    assert (rig.front.connections, sluice.metrics()["upstream_connections_total"]) == before
    assert not rig.dns.log and not rig.front.log


def test_unknown_prefix(rig, wire):
    """The same for the first part of a path, and for a name without any registry."""
    for path in (f"/v2/{rig.front.host}/library/routed/manifests/latest",
                 "/v2/unknown.test/library/routed/manifests/latest",
                 "/unknown.test/v2/library/routed/manifests/latest",
                 "/v2/routed/manifests/latest"):
        a = wire().ask("GET", path, *ACCEPT)
        assert a.status in (400, 404) and a.code, path
    assert not rig.front.log


@pytest.mark.versions
def test_ns_that_contradicts(rig, wire, image):
    """ns and Host, or ns and path, that name two registries: refused, nothing is fetched."""
    w = wire(name=HOST)
    a = w.ask("GET", "/v2/library/routed/manifests/latest?ns=second.test", *ACCEPT, host=HOST)
    assert 400 <= a.status < 500
    a = wire().ask("GET", "/v2/docker.io/library/routed/manifests/latest?ns=second.test", *ACCEPT)
    assert 400 <= a.status < 500


@pytest.mark.versions
def test_host_spelling(wire, image):
    """Host is compared without regard to case, port and a final dot."""
    for host in ("Docker.Mirror.Test", f"{HOST}:8443", f"{HOST}."):
        a = wire(name=HOST).ask("GET", "/v2/library/routed/manifests/latest", *ACCEPT, host=host)
        assert a.status == 200, host


def test_absolute_target(wire, image):
    """A request target with scheme and host (RFC 9112 3.2.2) is routed by that host."""
    a = wire(name=HOST).ask("GET", f"https://{HOST}/v2/library/routed/manifests/latest", *ACCEPT,
                            host=HOST)
    assert a.status in (200, 400)


def test_names_with_many_parts(rig, wire):
    """Four and more levels, and parts that look like keywords of the API."""
    for repo in ("a/b/c/d/e", "manifests/blobs/tags", "v2/v2/v2"):
        i = images.small(rig.push, repo)
        a = wire().ask("GET", f"/v2/docker.io/{repo}/manifests/latest", *ACCEPT)
        assert (a.status, a.body) == (200, i.raw), repo
