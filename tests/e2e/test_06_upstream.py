"""Towards the upstream: tokens, redirects, what is passed on and what never is, errors."""
import base64
import json
import threading

import pytest

from rig import httpd, images, tokens
from rig.clients import Mirror, Skopeo
from rig.httpd import Reply
from rig.proc import free_port, wait_for
from rig.wire import ACCEPT

HOST = "docker.mirror.test"


@pytest.fixture
def get(wire):
    """get(path, *headers): one request at docker.io's own host."""
    def ask(path, *headers, to=None, method="GET"):
        return wire(to, name=HOST).ask(method, path, *headers, host=HOST)
    return ask


@pytest.fixture
def manifest(get, fresh):
    """manifest(): the manifest of an image that is in no cache yet."""
    def ask(*headers, to=None, method="GET"):
        return get(f"/v2/{fresh.repo}/manifests/{fresh.tag}", *ACCEPT, *headers, to=to, method=method)
    return ask


@pytest.fixture
def layer(fresh):
    return f"/v2/{fresh.repo}/blobs/{fresh.layers[0]}"


@pytest.fixture
def fresh(alone):
    """Here a token of its own is needed for each."""
    return alone


# Tokens.

@pytest.mark.parametrize("spelling", ["token", "access_token", "both"])
@pytest.mark.parametrize("expires_in", [300, None])
def test_token_spellings(rig, manifest, fresh, spelling, expires_in):
    """Both names for the token, with and without expires_in."""
    rig.auth.spelling, rig.auth.expires_in = spelling, expires_in
    a = manifest()
    assert (a.status, a.body) == (200, fresh.raw)
    assert len(rig.auth.log) == 1


def test_token_is_cached(rig, get, manifest, fresh):
    """One token for manifest and blobs of a repository; another repository gets its own."""
    assert manifest().status == 200
    for d in fresh.blobs:
        assert get(f"/v2/{fresh.repo}/blobs/{d}").status == 200
    first = len(rig.auth.log)
    assert 1 <= first <= 2  # one per worker at most
    other = images.small(rig.push, fresh.repo + "-other")
    assert get(f"/v2/{other.repo}/manifests/latest", *ACCEPT).status == 200
    assert first < len(rig.auth.log) <= first + 2


def test_token_is_asked_for_once(rig, wire, fresh, get):
    """Many requests that need the same token at once: one question to the realm."""
    got = []
    with rig.auth.fault(httpd.slow_first_byte()) as f:
        threads = [threading.Thread(target=lambda d=d: got.append(
            get(f"/v2/{fresh.repo}/blobs/{d}").status)) for d in list(fresh.blobs) * 4]
        for t in threads:
            t.start()
        assert f.held.wait(10)
        f.release()
        for t in threads:
            t.join(30)
    assert got == [200] * len(threads)
    # One per worker at most: what is single is the flight, and workers share nothing but the cache.
    assert len(rig.auth.log) <= 2


def test_token_is_renewed(rig, get, fresh):
    """A token that lives a second is not used for long: a later request brings another one."""
    rig.auth.expires_in = 1
    path = f"/v2/{fresh.repo}/tags/list"
    wait_for(lambda: get(path).status == 200 and len(rig.auth.log) > 1, 15, "a second token", 0.2)


def test_revoked_token_is_replaced_once(rig, get, manifest, fresh, layer):
    """401 to a token that was good: a new one is fetched and the request repeated, once."""
    assert manifest().status == 200
    with rig.front.fault(httpd.status(401, challenge(rig, fresh)), layer, times=1) as f:
        assert get(layer).status == 200
        # (Another worker than the manifest's asks for a token of its own first.)
        assert f.hits == 1 and len(rig.auth.log) in (2, 3)


def challenge(rig, image):
    return [("WWW-Authenticate", f'Bearer realm="{rig.auth.realm}",service="{tokens.SERVICE}",'
             f'scope="repository:{image.repo}:pull"')]


def test_endless_401(rig, get, fresh, layer):
    """An upstream that refuses every token: 401 for the client, without challenge, in few requests."""
    with rig.front.fault(httpd.status(401, challenge(rig, fresh)), layer) as f:
        a = get(layer)
        assert (a.status, a.code) == (401, "UNAUTHORIZED")
        assert f.hits <= 3
        assert rig.auth.host not in (a.get("WWW-Authenticate") or "")


def test_401_without_challenge(rig, manifest, fresh):
    """A 401 that names no realm: the challenge is learnt from /v2/."""
    with rig.front.fault(httpd.header("WWW-Authenticate"), "/manifests/"):
        a = manifest()
    assert (a.status, a.body) == (200, fresh.raw)


def test_slow_realm(sluice, rig, wire, alone):
    """What is short-lived (the rest of a 401's body) may not limit what comes after it: a token that
    takes a second and a half is waited for."""
    with rig.auth.fault(httpd.slow_first_byte(1.5)):
        a = wire(sluice).ask("GET", f"/v2/docker.io/{alone.repo}/manifests/{alone.tag}", *ACCEPT)
    assert a.status == 200 and a.body == alone.raw


@pytest.mark.parametrize("status", [429, 500, 503])
def test_realm_fails(rig, manifest, status):
    """The token server's failure is told as an upstream failure, and the next request tries again."""
    with rig.auth.fault(httpd.status(status, [("Retry-After", "9")], b"no")):
        a = manifest()
        assert a.status in (status, 502, 503) and a.code
    assert manifest().status == 200


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"token":5}', b'{"token":""}', b"<html>",
                                  b'{"token":"a\\r\\nX-Evil: 1"}', b"{" * 5000],
                         ids=["empty", "object", "list", "number", "no-token", "html", "header", "deep"])
def test_realm_talks_nonsense(rig, manifest, body):
    """A token answer that is none: an error, no header injection, no harm."""
    with rig.auth.fault(httpd.status(200, [("Content-Type", "application/json")], body)):
        a = manifest()
        assert 400 <= a.status < 600 and a.code
    assert not any(r.get("X-Evil") for r in rig.front.log)
    assert manifest().status == 200


def test_realm_by_http_is_refused(start, rig, manifest, fresh, listen):
    """A challenge that points to plain HTTP is not followed."""
    plain = listen("127.0.0.3")
    s = start()  # one that has not learned the right realm yet
    with rig.front.fault(httpd.header("WWW-Authenticate", challenge(rig, fresh)[0][1].replace(
            rig.auth.url, f"http://{plain.host}")), "/manifests/"):
        assert manifest(to=s).status in (401, 502)
    assert not plain.seen


# Credentials and what a client sends.

@pytest.fixture
def with_credentials(start, rig, tmp_path):
    """A Sluice that has alice's password for docker.io, and its file."""
    file = tokens.credentials(tmp_path / "cred", f"alice:{tokens.USERS['alice']}")
    return start({"mirror docker.io": {"credentials": file, "realm": "127.0.0.2"}})


def test_credentials(with_credentials, rig, home, wire):
    """A private image is pulled with Sluice's credentials; they go to the realm and nowhere else,
    and into no log.  The mirror without credentials gets nothing."""
    s = with_credentials
    secret = images.small(rig.push, "private/pulled")
    with Skopeo(home, Mirror("docker.io", s.host, rig.ca.pem)) as c:
        assert c.pull(secret.name) == secret.digest
    basic = "Basic " + base64.b64encode(f"alice:{tokens.USERS['alice']}".encode()).decode()
    assert [r.get("Authorization") for r in rig.auth.log] == [basic] * len(rig.auth.log)
    assert rig.auth.log
    for r in (*rig.front.log, *rig.cdn.log):
        assert basic not in r.all("Authorization")
    assert not any(r.get("Authorization") for r in rig.cdn.log)
    for text in (s.process.log.read_text(), s.access_path.read_text(), s.admin("/metrics")[1]):
        assert tokens.USERS["alice"] not in text and basic not in text and "eyJ" not in text
    other = images.small(rig.push, "private/other")
    w = wire(s, name="second.mirror.test")
    a = w.ask("GET", f"/v2/{other.repo}/manifests/latest", *ACCEPT, host="second.mirror.test")
    assert a.status in (401, 403, 404)


def test_credentials_to_a_strange_realm(start, rig, tmp_path, wire):
    """Credentials are not sent to a token server that the configuration does not know."""
    file = tokens.credentials(tmp_path / "cred", "alice:correct horse")
    s = start({"mirror docker.io": {"credentials": file, "realm": "auth.test"}})
    wire(s, name=HOST).ask("GET", "/v2/private/strange/manifests/latest", *ACCEPT, host=HOST)
    assert not any(r.get("Authorization") for r in rig.auth.log)


def test_wrong_credentials(start, rig, tmp_path, wire, fresh):
    """The realm refuses the password: an error that says so; no loop."""
    file = tokens.credentials(tmp_path / "cred", "alice:wrong")
    s = start({"mirror docker.io": {"credentials": file, "realm": "127.0.0.2"}})
    a = wire(s, name=HOST).ask("GET", f"/v2/{fresh.repo}/manifests/latest", *ACCEPT, host=HOST)
    assert a.status in (401, 403, 502) and a.code
    assert len(rig.auth.log) <= 3


@pytest.mark.versions
def test_nothing_of_the_client_goes_upstream(rig, get, manifest, fresh, layer):
    """Authorization, cookies, ns, addresses and odd headers of the client reach no upstream."""
    mine = ["Authorization: Bearer client-secret", "Cookie: a=client-secret", "X-Odd: client-secret",
            "Proxy-Authorization: Basic client-secret", "X-Forwarded-For: 192.0.2.1",
            "Referer: https://client-secret/", "Connection: keep-alive, X-Odd"]
    assert manifest(*mine).status == 200
    assert get(f"{layer}?ns=docker.io&secret=client-secret", *mine).status == 200
    seen = [*rig.front.log, *rig.auth.log, *rig.cdn.log]
    assert len(rig.front.log) >= 2 and rig.auth.log and rig.cdn.log
    for r in seen:
        text = f"{r.target} {r.headers}"
        assert "client-secret" not in text and "192.0.2.1" not in text, text
        assert "ns=" not in r.target and HOST not in text
        assert not r.get("Cookie")
        assert r.get("Accept-Encoding") in (None, "identity")


def test_cold_range_fetches_identity(rig, get, layer, fresh):
    """A cold range becomes a fill of the whole blob."""
    a = get(layer, "Range: bytes=5-9")
    assert (a.status, len(a.body)) == (206, 5)
    assert images.digest_of(get(layer).body) == fresh.layers[0]
    assert len(rig.cdn.seen(fresh.layers[0][7:])) == 1


# Redirects.

def test_redirect_across_hosts(rig, get, layer, fresh, sluice):
    """The CDN, which refuses any Authorization, hands out the blob; the client sees no redirect."""
    delta = sluice.delta()
    a = get(layer)
    assert a.status == 200 and a.get("Location") is None
    assert images.digest_of(a.body) == fresh.layers[0]
    assert delta()["redirects_total"] == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_relative(rig, get, layer, fresh, code):
    """A relative Location, by every status; the same host may see the token again."""
    data = rig.registry.blob_path(fresh.layers[0]).read_bytes()
    rig.front.extra["/moved/here"] = Reply(200, [("Content-Type", "application/octet-stream")], data)
    for at in ("/moved/here", "../../../../moved/here?x=1"):
        with rig.front.fault(httpd.redirect(at, code), layer):
            a = get(layer)
        assert (a.status, a.body) == (200, data)


def test_redirect_manifest(rig, manifest, fresh):
    """A manifest may be redirected as well."""
    rig.front.extra["/elsewhere"] = Reply(200, [("Content-Type", fresh.media), (
        "Docker-Content-Digest", fresh.digest)], fresh.raw)
    with rig.front.fault(httpd.redirect("/elsewhere", 302), "/manifests/"):
        a = manifest()
    assert (a.status, a.body) == (200, fresh.raw)


def test_redirect_to_http_is_refused(rig, get, layer, listen):
    """https to http: 502, and nobody connects there."""
    spy = listen("127.0.0.3")
    with rig.front.fault(httpd.redirect(f"http://{spy.host}/blob"), layer):
        a = get(layer)
    assert (a.status, bool(a.code)) == (502, True)
    assert not spy.seen


@pytest.mark.parametrize("target", [
    "file:///etc/passwd", "ftp://127.0.0.3/x", "//", "https://", "https://127.0.0.3:99999/",
    "https://user:pw@127.0.0.3/", "https://a b/", "", "javascript:1"])
def test_redirect_to_nonsense(get, rig, layer, target):
    """A Location that is no https address: 502."""
    with rig.front.fault(httpd.redirect(target), layer):
        assert get(layer).status == 502


def test_redirect_loop(rig, get, layer):
    """A loop ends after a few steps: 502."""
    with rig.front.fault(httpd.redirect(layer), layer) as f:
        assert get(layer).status == 502
        assert f.hits < 15


def test_private_addresses_are_refused(start, rig, wire):
    """private = no: neither upstream by address, by name, nor as a redirect may be loopback."""
    s = start({"mirror docker.io": {"private": "no"},
               "mirror named.test": {"upstream": rig.front.url.replace("127.0.0.1", "registry.test"),
                                     "ca": rig.ca.pem},
               "mirror local.test": {"upstream": f"https://localhost:{rig.front.port}",
                                     "ca": rig.ca.pem},
               "resolver": {"nameservers": rig.dns.host}})
    before = rig.front.connections
    for name in ("docker.io", "named.test", "local.test"):
        a = wire(s).ask("GET", f"/v2/{name}/library/x/manifests/latest", *ACCEPT)
        assert a.status == 502 and a.code
    assert rig.front.connections == before


def test_link_that_expired(rig, get, layer, fresh):
    """A signed link that the CDN refuses: an error and no published file; later it works."""
    rig.cdn.link_s = -1
    a = get(layer)
    assert a.status in (403, 502) and a.code
    rig.cdn.link_s = 300
    assert images.digest_of(get(layer).body) == fresh.layers[0]


# Errors.

@pytest.mark.versions
@pytest.mark.parametrize("status, code", [(429, "TOOMANYREQUESTS"), (403, "DENIED"),
                                          (404, "MANIFEST_UNKNOWN"), (500, None), (503, None)])
def test_manifest_errors(rig, manifest, status, code):
    """The upstream's status is kept, the body is an OCI error, Retry-After is passed on."""
    with rig.front.fault(httpd.status(status, [("Retry-After", "17")], b"<html>no</html>"),
                         "/manifests/"):
        a = manifest()
        assert a.status == status
        assert a.code == code or code is None
        assert status != 429 or a.get("Retry-After") == "17"
        h = manifest(method="HEAD")
        assert (h.status, h.body) == (status, b"")
    assert manifest().status == (404 if status == 404 else 200)     # a 404 is kept (negative)


@pytest.mark.versions
@pytest.mark.parametrize("where", ["front", "cdn"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_blob_errors(rig, get, layer, fresh, where, status):
    """The same for blobs, from the registry and from its CDN; nothing of it is cached."""
    with getattr(rig, where).fault(httpd.status(status, [("Retry-After", "3")], b"no"),
                                   fresh.layers[0][7:]):
        a = get(layer)
        assert (a.status, bool(a.code)) == (status, True)
        assert status != 429 or a.get("Retry-After") == "3"
    assert images.digest_of(get(layer).body) == fresh.layers[0]


def test_upstream_message_is_kept(rig, get, layer):
    """What the upstream says in its OCI error reaches the client (a tag is asked for by HEAD, whose
    answer has no words: there only the status is kept)."""
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your limit"}]})
    with rig.front.fault(httpd.status(429, [("Content-Type", "application/json")], body.encode())):
        a = get(layer)
    assert a.code == "TOOMANYREQUESTS" and b"You have reached your limit" in a.body


def test_upstream_is_down(start, rig, wire):
    """Nobody listens: 502 and an OCI error, cached things are still served."""
    s = start({"mirror down.test": {"upstream": f"https://127.0.0.1:{free_port()}", "private": "yes"}})
    a = wire(s).ask("GET", "/v2/down.test/a/b/manifests/latest", *ACCEPT)
    assert a.status in (502, 504) and a.code


def test_upstream_certificate(start, rig, wire, fresh):
    """A certificate of an unknown CA, and one for another name: refused before any request."""
    wrong = rig.another_front(cert=rig.ca.issue("elsewhere", ["elsewhere.test"])).start()
    s = start({"mirror nameless.test": {"upstream": wrong.url, "ca": rig.ca.pem, "private": "yes"},
               "mirror noca.test": {"upstream": rig.front.url, "private": "yes"}})
    for name in ("nameless.test", "noca.test"):
        a = wire(s).ask("GET", f"/v2/{name}/{fresh.repo}/manifests/latest", *ACCEPT)
        assert a.status == 502 and a.code
    assert not wrong.log and not rig.front.log
    wrong.stop()


def test_idle_connection_that_died(rig, get, layer, manifest, fresh):
    """The upstream closed its kept connections: the next request goes through all the same."""
    assert manifest().status == 200
    for server in rig.servers:
        server.drop_all()
    assert images.digest_of(get(layer).body) == fresh.layers[0]


def test_upstream_connections_are_kept(rig, wire, start):
    """Thirty blobs one after the other take few connections to front and CDN."""
    s = start({"server": {"workers": 1}})
    many = images.many_layers(rig.push, "library/kept")
    before = rig.front.connections, rig.cdn.connections
    w = wire(s)
    for d in many.blobs:
        assert w.ask("GET", f"/v2/docker.io/{many.repo}/blobs/{d}").status == 200
    assert rig.front.connections - before[0] <= 4
    assert rig.cdn.connections - before[1] <= 4


def test_stalled_upstream_is_given_up(start, rig, wire, fresh):
    """An upstream that stops in the middle is given up by Sluice and asked for the rest, so that the
    client sees one whole body.  One that never begins to answer: 504."""
    s = start({"mirror docker.io": {"stall": "500ms", "first_byte_timeout": "500ms"}})
    path = f"/v2/docker.io/{fresh.repo}/blobs/"
    with rig.cdn.fault(httpd.stall(1000), times=1):
        a = wire(s).ask("GET", path + fresh.layers[0])
        assert images.digest_of(a.body) == fresh.layers[0] and not a.cut
    assert "broke at=1000 " in s.tail()
    with rig.cdn.fault(httpd.slow_first_byte()):
        a = wire(s).ask("GET", path + fresh.layers[1])
        assert a.status in (502, 504) and a.code
    assert images.digest_of(wire(s).ask("GET", path + fresh.layers[0]).body) == fresh.layers[0]


# Oddities that registries have.

@pytest.mark.parametrize("fault", [
    httpd.chunked, lambda: httpd.header("Docker-Content-Digest"), lambda: httpd.header("ETag"),
    lambda: httpd.header("Content-Type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")],
    ids=["chunked", "no digest", "no ETag", "type with a parameter"])
def test_manifest_oddities(rig, manifest, fresh, fault):
    """The client gets digest, length and type whatever the upstream leaves out."""
    with rig.front.fault(fault(), "/manifests/"):
        a = manifest()
        h = manifest(method="HEAD")
    assert (a.status, a.body) == (200, fresh.raw)
    for x in (a, h):
        assert x.get("Docker-Content-Digest") == fresh.digest
        assert x.get("Content-Length") == str(len(fresh.raw))
        assert x.get("Content-Type") == fresh.media


def test_head_405(rig, manifest, fresh):
    """An upstream without HEAD for manifests."""
    with rig.front.fault(httpd.status(405), "/manifests/", method="HEAD"):
        h, a = manifest(method="HEAD"), manifest()
    assert (h.status, h.get("Docker-Content-Digest")) == (200, fresh.digest)
    assert (a.status, a.body) == (200, fresh.raw)


@pytest.mark.versions
def test_chunked_blob(rig, get, layer, fresh):
    """A blob without Content-Length: the client gets it whole, cold and warm."""
    with rig.cdn.fault(httpd.chunked()):
        assert images.digest_of(get(layer).body) == fresh.layers[0]
    a = get(layer)
    assert a.get("Content-Length") == str(fresh.blobs[fresh.layers[0]])


def test_text_manifest(rig, manifest, fresh):
    """registry.access.redhat.com sent text/plain: the manifest still comes, with its real type."""
    with rig.front.fault(httpd.header("Content-Type", "text/plain"), "/manifests/"):
        a = manifest()
    assert (a.status, a.body, a.get("Content-Type")) == (200, fresh.raw, fresh.media)


# Lists.

@pytest.mark.versions
@pytest.mark.parametrize("host, base", [(HOST, "/v2"), ("mirror.test", "/v2/docker.io"),
                                        ("mirror.test", "/docker.io/v2")])
def test_tags_list(rig, wire, host, base):
    """tags/list page by page: each Link leads through Sluice again, in the client's spelling."""
    tags = [f"t{i}" for i in range(5)]
    up = "/v2/library/tagged/tags/list"
    # Debian's docker-registry does not page: an upstream that does, one page a path.
    for i, last in enumerate(["", "&last=t1", "&last=t3"]):
        link = [("Link", f'<{up}?n=2&last=t{2 * i + 1}>; rel="next"')] if i < 2 else []
        rig.front.extra[f"{up}?n=2{last}"] = Reply(
            200, [("Content-Type", "application/json")] + link,
            json.dumps({"name": "library/tagged", "tags": tags[2 * i:2 * i + 2]}).encode())
    w, path, got = wire(name=host), f"{base}/library/tagged/tags/list?n=2", []
    for _ in range(5):
        a = w.ask("GET", path, host=host)
        assert a.status == 200
        got += json.loads(a.body)["tags"]
        link = a.get("Link")
        if not link:
            break
        path, _, rest = link.removeprefix("<").partition(">")
        assert 'rel="next"' in rest
        path = path.removeprefix(f"https://{host}")
        assert path.startswith(f"{base}/library/tagged/tags/list?")
    assert got == tags


def test_tags_list_by_ns(rig, wire):
    """Asked by ns, the Link keeps the ns."""
    up = "/v2/library/nstagged/tags/list"
    for query, tags, link in (("?n=2", "ab", [("Link", f'<{up}?n=2&last=b>; rel="next"')]),
                              ("?n=2&last=b", "c", [])):
        rig.front.extra[up + query] = Reply(
            200, [("Content-Type", "application/json")] + link,
            json.dumps({"name": "library/nstagged", "tags": list(tags)}).encode())
    w = wire()
    a = w.ask("GET", "/v2/library/nstagged/tags/list?n=2&ns=docker.io")
    path = a.get("Link").removeprefix("<").partition(">")[0]
    assert "ns=docker.io" in path
    assert json.loads(w.ask("GET", path).body)["tags"] == ["c"]
    assert not any("ns=" in r.target for r in rig.front.log)


def test_referrers(rig, wire, get, fresh):
    """Referrers are relayed with filter, header and Link; a registry without them says 404."""
    path = f"/v2/{fresh.repo}/referrers/{fresh.digest}"
    assert get(path).status == 404
    index = json.dumps({"schemaVersion": 2, "mediaType": images.INDEX, "manifests": []}).encode()
    rig.front.extra[path] = Reply(200, [("Content-Type", images.INDEX), ("OCI-Filters-Applied",
                                        "artifactType"), ("Link", f'<{path}?page=2>; rel="next"')], index)
    a = wire().ask("GET", f"/v2/docker.io/{fresh.repo}/referrers/{fresh.digest}?artifactType=a%2Fb")
    assert (a.status, a.body, a.get("Content-Type")) == (200, index, images.INDEX)
    assert a.get("OCI-Filters-Applied") == "artifactType"
    assert a.get("Link").startswith(f"</v2/docker.io/{fresh.repo}/referrers/{fresh.digest}?page=2>")
    assert rig.front.log[-1].target.endswith("?artifactType=a%2Fb")
    assert get(f"/v2/{fresh.repo}/referrers/sha256:short").status == 400


# Names.

@pytest.fixture
def named(start, rig):
    """Upstream, realm and CDN by names that only the rig's name server knows."""
    rig.dns.log.clear()
    rig.front.names = {rig.auth.host: f"auth.test:{rig.auth.port}",
                       rig.cdn.host: f"cdn.test:{rig.cdn.port}"}
    yield start({"mirror docker.io": {"upstream": f"https://registry.test:{rig.front.port}"},
                 "mirror gone.test": {"upstream": "https://gone.test:1", "private": "yes"},
                 "resolver": {"nameservers": rig.dns.host, "family": "v4"}})
    rig.dns.names["registry.test"] = ["127.0.0.1"]


def test_names(named, rig, wire, fresh):
    """Names are asked of [resolver] nameservers, A only with family = v4, and Host is the name."""
    a = wire(named).ask("GET", f"/v2/docker.io/{fresh.repo}/blobs/{fresh.layers[0]}")
    assert images.digest_of(a.body) == fresh.layers[0]
    assert {n for n, _ in rig.dns.log} == {"registry.test", "auth.test", "cdn.test"}
    assert {kind for _, kind in rig.dns.log} == {1}
    assert rig.front.log[-1].get("Host") == f"registry.test:{rig.front.port}"


def test_name_that_does_not_exist(named, rig, wire):
    """NXDOMAIN: 502 and an OCI error."""
    a = wire(named).ask("GET", "/v2/gone.test/a/b/manifests/latest", *ACCEPT)
    assert a.status in (502, 504) and a.code
    assert ("gone.test", 1) in rig.dns.log


def test_dead_name_server(named, rig, wire, fresh):
    """Names cannot be asked: what is cached is served, the rest fails in the end."""
    path = f"/v2/docker.io/{fresh.repo}/blobs/"
    assert wire(named).ask("GET", path + fresh.layers[0]).status == 200
    rig.dns.dead = True
    assert wire(named).ask("GET", path + fresh.layers[0]).status == 200
    w = wire(named)
    w.sock.settimeout(60)
    a = w.ask("GET", "/v2/gone.test/a/b/manifests/latest", *ACCEPT)
    assert a.status in (502, 504) and a.code


def test_name_with_several_addresses(named, rig, wire, fresh):
    """The first address refuses connections: the next is tried."""
    rig.dns.names["registry.test"] = ["127.0.0.9", "127.0.0.1"]
    a = wire(named).ask("GET", f"/v2/docker.io/{fresh.repo}/manifests/latest", *ACCEPT)
    assert (a.status, a.body) == (200, fresh.raw)
