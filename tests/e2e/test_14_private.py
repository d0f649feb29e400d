"""auth = client: what upstream allows to one client is served to no other."""
import base64
import hashlib
import itertools
import json
import urllib.parse

import pytest

from rig import httpd, images, tokens
from rig.clients import CLIENTS, Mirror, curl
from rig.proc import wait_for
from rig.wire import ACCEPT, Ended

HOST, REPO = "docker.mirror.test", "private/one"
ALICE = "alice:" + tokens.USERS["alice"]
BASIC = "Authorization: Basic " + base64.b64encode(ALICE.encode()).decode()


@pytest.fixture
def mirror(start):
    return start({"mirror docker.io": {"auth": "client", "realm": "127.0.0.2"}})


@pytest.fixture
def secret(rig, request):
    return images.small(rig.push, REPO, salt=request.node.name)


@pytest.fixture
def get(wire, mirror):
    def ask(path, *headers, method="GET", host=HOST, port="https", to=None):
        return wire(to or mirror, port=port, name=host).ask(method, path, *headers, host=host)
    return ask


def bearer(rig, *repos, user="alice", actions=("pull",)):
    return "Authorization: Bearer " + rig.auth.issue(
        [{"type": "repository", "name": r, "actions": list(actions)} for r in repos], user)


def blob(image, n=0):
    return f"/v2/{image.repo}/blobs/{image.layers[n]}"


def manifest(image, ref=None):
    return f"/v2/{image.repo}/manifests/{ref or image.tag}"


@pytest.fixture
def warm(rig, get, secret):
    """Alice has all of it, so all of it is cached; what she came with."""
    value = bearer(rig, REPO)
    assert get(manifest(secret), value, *ACCEPT).body == secret.raw
    for d in secret.blobs:
        assert get(f"/v2/{REPO}/blobs/{d}", value).status == 200
    return value


def everything(image):
    """Every way to ask for the manifest and a layer: (method, path, headers)."""
    yield "GET", manifest(image), ACCEPT
    yield "HEAD", manifest(image), ACCEPT
    yield "GET", manifest(image, image.digest), ACCEPT
    yield "HEAD", manifest(image, image.digest), ACCEPT
    yield "GET", blob(image), []
    yield "HEAD", blob(image), []
    yield "GET", blob(image), ["Range: bytes=0-9"]
    yield "GET", blob(image), [f'If-None-Match: "{image.layers[0]}"']
    yield "GET", f"/v2/{image.repo}/tags/list", []


@pytest.mark.parametrize("client", ["skopeo", "podman", "ctr", "ctr-oauth"])
def test_real_client(rig, mirror, home, secret, client):
    """A private image comes with the client's password, and not without."""
    client, _, rig.auth.oauth = client.partition("-")
    with CLIENTS[client](home, Mirror(mirror.host, mirror.host, rig.ca.pem)) as c:
        with pytest.raises(RuntimeError):
            c.pull(secret.name)
        assert c.pull(secret.name, creds=ALICE) == secret.digest
        c.forget()
        with pytest.raises(RuntimeError):
            c.pull(secret.name)
    assert {f["grant_type"] for f in rig.auth.forms} == ({"password"} if rig.auth.oauth else set())


def test_podman_login(rig, mirror, home, secret):
    """A wrong password is refused, a right one is enough for pulls from then on."""
    with CLIENTS["podman"](home, Mirror(mirror.host, mirror.host, rig.ca.pem)) as c:
        login = ["login", "--authfile", home / "auth", "--cert-dir", c.certs, "-u", "alice"]
        assert c.podman(*login, "-p", "wrong", mirror.host, check=False).returncode
        c.podman(*login, "-p", tokens.USERS["alice"], mirror.host)
        c.podman("pull", "-q", "--authfile", home / "auth", "--cert-dir", c.certs,
                 f"{mirror.host}/{secret.name}")


@pytest.mark.parametrize("oauth", [False, True])
def test_docker_login(rig, mirror, home, secret, oauth):
    """With OAuth2 docker keeps a refresh token in place of the password, and comes with it."""
    rig.auth.oauth = oauth
    with CLIENTS["docker"](home, Mirror(mirror.host, mirror.host, rig.ca.pem)) as c:
        login = ["login", "-u", "alice", "-p"]
        assert c.docker(*login, "wrong", mirror.host, check=False).returncode
        with pytest.raises(RuntimeError):
            c.pull(secret.name)
        c.docker(*login, tokens.USERS["alice"], mirror.host)
        assert c.pull(secret.name) == secret.digest
    assert {f["grant_type"] for f in rig.auth.forms} == ({"refresh_token"} if oauth else set())


def test_ctr_by_namespace(rig, mirror, home, secret):
    """containerd names the registry by ?ns=, and has credentials for it."""
    with CLIENTS["ctr"](home, Mirror("docker.io", f"localhost:{mirror.ports['https']}",
                                     rig.ca.pem)) as c:
        with pytest.raises(RuntimeError):
            c.pull(secret.name)
        assert c.pull(secret.name, creds=ALICE) == secret.digest
    assert any("ns=docker.io" in x["path"] for x in mirror.access())


def test_public_image_without_login(rig, mirror, home, fresh):
    """An anonymous token is a permission, too."""
    with CLIENTS["skopeo"](home, Mirror(mirror.host, mirror.host, rig.ca.pem)) as c:
        assert c.pull(fresh.name) == fresh.digest


def test_challenge(rig, get, secret):
    """Everything is answered 401 with our own realm, never upstream's."""
    for path in ("/v2/", blob(secret), manifest(secret), f"/v2/{REPO}/tags/list"):
        a = get(path)
        value = a.get("WWW-Authenticate")
        assert (a.status, a.code) == (401, "UNAUTHORIZED")
        assert value.startswith(f'Bearer realm="https://{HOST}/token/docker.io",service="docker.io"')
        assert rig.auth.host not in value
        assert (f'scope="repository:{REPO}:pull"' in value) == (path != "/v2/")


def test_ping_with_token(rig, get, mirror):
    assert get("/v2/", bearer(rig, REPO)).status == 200
    assert get("/v2/", "Authorization: Bearer nonsense").status == 401


# The token endpoint.

def ask_token(get, query, *headers, **kw):
    return get(f"/token/docker.io?service=docker.io{query}", *headers, **kw)


def test_token(rig, get, secret):
    a = ask_token(get, f"&scope=repository:{REPO}:pull", BASIC)
    answer = json.loads(a.body)
    assert a.status == 200 and a.get("Cache-Control") == "no-store"
    assert answer["expires_in"] == 300
    assert get(manifest(secret), f"Authorization: Bearer {answer['token']}", *ACCEPT).body == secret.raw
    assert [r.get("Authorization") for r in rig.auth.log] == [BASIC.partition(": ")[2]]
    for r in (*rig.front.log, *rig.cdn.log):
        assert "Basic" not in (r.get("Authorization") or "")
    assert not any(r.get("Authorization") for r in rig.cdn.log)


@pytest.mark.parametrize("scope,seen", [
    (f"repository:{REPO}:pull,push", f"repository:{REPO}:pull"),
    (f"repository:{REPO}:push", ""), (f"repository:{REPO}:*", ""), ("registry:catalog:*", ""),
    ("repository:busybox:pull", "repository:library/busybox:pull"),
    ("repository:docker.io/a/b:pull", "repository:a/b:pull"),
    ("repository:../x:pull", ""), ("repository:a%26scope=x:pull", ""), ("", ""),
    ("repository:a:pull+repository:b:pull",
     "repository:library/a:pull repository:library/b:pull")])
def test_only_pull_scopes_pass(rig, get, scope, seen):
    assert ask_token(get, f"&scope={scope}", BASIC).status == 200
    query = urllib.parse.parse_qs(rig.auth.log[-1].target.partition("?")[2])
    assert " ".join(query.get("scope", [])) == seen
    assert query["service"] == [tokens.SERVICE]


def test_wrong_password(rig, get):
    wrong = "Authorization: Basic " + base64.b64encode(b"alice:wrong").decode()
    assert ask_token(get, f"&scope=repository:{REPO}:pull", wrong).status == 401
    assert ask_token(get, "", "Authorization: Bearer x").status == 401
    assert get("/token/docker.io", method="PUT").status == 405
    assert get("/token/second.test").status == 404
    assert ask_token(get, "&scope=x" * 9).status == 400


FORM = {"grant_type": "password", "service": "docker.io", "client_id": "sluice-test",
        "scope": f"repository:{REPO}:pull,push registry:catalog:*", "username": "alice",
        "password": tokens.USERS["alice"]}


@pytest.fixture
def post(wire, mirror):
    """post(form or text): at the token endpoint; `cut` puts the form into pieces of one byte."""
    def ask(form, *headers, to=None, length=None, cut=False, path="/token/docker.io"):
        text = form if isinstance(form, str) else urllib.parse.urlencode(form)
        size = len(text) if length is None else length
        w = wire(to or mirror, name=HOST)
        w.send("".join(f"{x}\r\n" for x in (
            f"POST {path} HTTP/1.1", f"Host: {HOST}", f"Content-Length: {size}",
            "Content-Type: application/x-www-form-urlencoded", *headers, "")))
        for c in text if cut else [text]:
            w.send(c)
        return w.answer()
    return ask


@pytest.mark.parametrize("oauth", [True, False])
@pytest.mark.parametrize("cut", [True, False])
def test_post(rig, post, get, secret, mirror, oauth, cut):
    """A form goes to a token server that takes forms, as GET to another one; only pulls pass."""
    rig.auth.oauth = oauth
    a = post(FORM | {"access_type": "offline"}, "Authorization: Basic bm9ib2R5Og==", cut=cut)
    answer = json.loads(a.body)
    assert a.status == 200 and a.get("Cache-Control") == "no-store"
    token = answer["access_token"]
    assert get(manifest(secret), f"Authorization: Bearer {token}", *ACCEPT).body == secret.raw
    assert [r.method for r in rig.auth.log] == (["POST"] if oauth else ["POST", "GET"])
    if oauth:
        assert rig.auth.forms == [FORM | {"scope": f"repository:{REPO}:pull",
                                          "service": tokens.SERVICE, "access_type": "offline"}]
        rig.auth.forms.clear()
        refresh = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"],
                   "scope": FORM["scope"], "password": "not passed on"}
        token = json.loads(post(refresh).body)["access_token"]
        assert get(manifest(secret), f"Authorization: Bearer {token}", *ACCEPT).status == 200
        del refresh["password"]
        assert rig.auth.forms == [refresh | {"scope": f"repository:{REPO}:pull",
                                             "service": tokens.SERVICE, "client_id": "sluice"}]
    for r in (*rig.front.log, *rig.cdn.log):
        assert not (r.get("Authorization") or "").startswith("Basic")
    for text in (mirror.process.log.read_text(), mirror.access_path.read_text()):
        assert not any(x in text for x in ("correct", "refresh-", "eyJ"))


def test_post_by_http2(rig, start, tmp_path):
    """The same with a form in DATA frames, none at all, and one that is too long."""
    s = start({"server": {"http2": "yes"},
               "mirror docker.io": {"auth": "client", "realm": "127.0.0.2"}})
    rig.auth.oauth = True
    for form, status in ((FORM, 200), (FORM | {"password": "wrong"}, 401), ({}, 400),
                         (FORM | {"password": "x" * 20000}, 413)):
        (tmp_path / "form").write_text(urllib.parse.urlencode(form))
        out = curl("--http2", "-w", "\n%{http_code} %{http_version}", "-d", f"@{tmp_path}/form",
                   f"{s.url}/token/docker.io", ca=rig.ca.pem).stdout
        assert out.splitlines()[-1] == f"{status} 2", form
        assert "access_token" in out or status != 200
    assert len(rig.auth.log) == 2


def test_post_refused(rig, post, get):
    """What is no login is answered here; what the token server refuses, it refuses."""
    rig.auth.oauth = True
    for bad in ("", "grant_type=password", "x" * 20, "grant_type=password&username=alice&password=%zz",
                FORM | {"grant_type": "client_credentials"}, FORM | {"username": "a:b"},
                FORM | {"username": "a\r\nb"}, urllib.parse.urlencode(FORM) + "&password=again",
                FORM | {"scope": "x " * 9}):
        assert post(bad).status == 400, bad
    assert post(FORM | {"password": "x" * 20000}).status == 413
    assert post(FORM, path="/token/second.test").status in (404, 405)
    assert not rig.auth.log
    assert post(FORM | {"password": "wrong"}).status == 401
    assert post({"grant_type": "refresh_token", "refresh_token": "wrong"}).status == 401
    rig.auth.oauth = False
    assert post({"grant_type": "refresh_token", "refresh_token": "wrong"}).status == 405
    assert post(FORM | {"password": "wrong"}).status == 401
    with rig.auth.fault(httpd.redirect(lambda r: r.target + "&again=1", 307)):
        assert post(FORM).status == 502
    for r in rig.auth.log:
        assert "correct" not in r.target


def test_post_goes_once(rig, post):
    """A form is not sent again: not even on the first failure of a connection that was kept."""
    def gone(req):
        raise ConnectionError
    rig.auth.oauth = True
    assert post(FORM).status == 200
    with rig.auth.fault(httpd.Fault(before=gone)):
        assert post(FORM).status == 502
    assert [r.method for r in rig.auth.log] == ["POST", "POST"]


def test_post_cut_off(rig, wire, mirror, post):
    """A form that does not come to its end asks nobody, and holds nothing up."""
    rig.auth.oauth = True
    head = (f"POST /token/docker.io HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 500\r\n\r\n"
            "grant_type=password&username=alice")
    w = wire(mirror, name=HOST)
    w.send(head)
    w.close()
    assert post(FORM).status == 200
    wait_for(lambda: mirror.metrics()["connections"] <= 1, 20, "the first one is gone")
    assert len(rig.auth.log) == 1


def test_realm_that_is_not_allowed(rig, start, get, post):
    """A token server that the configuration does not know gets no credentials."""
    rig.auth.oauth = True
    s = start({"mirror docker.io": {"auth": "client"}})
    assert ask_token(get, "", BASIC, to=s).status == 502
    assert post(FORM, to=s).status == 502
    assert not rig.auth.log


def test_realm_that_redirects(rig, get):
    """Credentials do not go along to another origin."""
    with rig.auth.fault(httpd.redirect(rig.cdn.url + "/token")):
        assert ask_token(get, "", BASIC).status >= 400
    assert rig.cdn.log and not any(r.get("Authorization") for r in rig.cdn.log)


# Stealing.

@pytest.mark.parametrize("who", ["nobody", "nonsense", "anonymous", "other-repository", "expired",
                                 "forged", "basic"])
def test_steal(rig, get, secret, warm, who):
    """Whoever has no permission of his own gets nothing of what is cached."""
    if who == "expired":
        rig.auth.lifetime_s = -100
    value = {"nobody": lambda: [], "nonsense": lambda: ["Authorization: Bearer nonsense"],
             "anonymous": lambda: [bearer(rig, user="")],
             "other-repository": lambda: [bearer(rig, "private/other")],
             "expired": lambda: [bearer(rig, REPO)],
             "forged": lambda: [warm[:-8] + "AAAAAAAA"],
             "basic": lambda: [BASIC]}[who]()
    for method, path, headers in everything(secret):
        for _ in range(3):
            a = get(path, *value, *headers, method=method)
            assert a.status == 401, (method, path)
            assert secret.raw not in a.body


def test_steal_by_digest_from_own_repository(rig, get, secret, warm):
    """A token for one's own repository does not open the digests of another."""
    images.small(rig.push, "private/mine")
    mine = bearer(rig, "private/mine")
    for d in [*secret.blobs, secret.digest]:
        kind = "manifests" if d == secret.digest else "blobs"
        for method in ("GET", "HEAD"):
            assert get(f"/v2/private/mine/{kind}/{d}", mine, *ACCEPT, method=method).status == 404
            assert get(f"/v2/{REPO}/{kind}/{d}", mine, *ACCEPT, method=method).status == 401


WAYS = [
    ("second.mirror.test", "/v2/{}"), ("mirror.test", "/v2/{}?ns=second.test"),
    ("mirror.test", "/second.test/v2/{}"), ("mirror.test", "/v2/second.test/{}"),
    ("mirror.test", "/v2/{}?ns=docker.io"), ("mirror.test", "/docker.io/v2/{}"),
    ("mirror.test", "/v2/docker.io/{}"), (HOST, "/v2/docker.io/{}"), (HOST, "/v2/%70rivate/one/{}"),
    (HOST, "//v2/{}"), (HOST, "/v2//{}"), (HOST, "/v2/./{}")]


def test_steal_by_another_way(rig, get, secret, warm, mirror):
    """Neither another mirror (which has no credentials upstream) nor another spelling helps, and
    after a restart it does not either."""
    for again in range(2):
        for (host, path), below in itertools.product(WAYS, (
                f"{REPO}/blobs/{secret.layers[0]}", f"{REPO}/manifests/{secret.digest}",
                f"{REPO}/manifests/{secret.tag}")):
            tail = below[len(REPO) + 1:] if "%70" in path else below
            for method in ("GET", "HEAD"):
                a = get(path.format(tail), *ACCEPT, host=host, method=method)
                assert a.status in (400, 401, 404), (path, a.status)
        if not again:
            mirror.restart()


def yes_to_all(image):
    """An upstream that allows everything to everybody: it names what it was asked for, with the
    sizes of the image, and sends nonsense."""
    def instead(req):
        ref = req.path.rpartition("/")[2]
        size = len(image.blobs.get(ref, image.raw))
        headers = [("Content-Type", json.loads(image.raw)["mediaType"]),
                   ("Docker-Content-Digest", ref if ":" in ref else image.digest)]
        if req.get("Range") == "bytes=0-0":
            headers.append(("Content-Range", f"bytes 0-0/{size}"))
            return httpd.Reply(206, headers, b"x")
        return httpd.Reply(200, headers, b"x" * size)
    return httpd.Fault(instead=instead)


def test_steal_by_an_upstream_that_lies(rig, get, secret, start):
    """What another upstream allows opens nothing of this one, not even after a restart."""
    liar = rig.another_front("127.0.0.4").start()
    s = start({"mirror docker.io": {"auth": "client", "realm": "127.0.0.2"},
               "mirror second.test": {"auth": "client", "upstream": liar.url}})
    mine = bearer(rig, REPO)
    for d in secret.blobs:
        assert get(f"/v2/{REPO}/blobs/{d}", mine, to=s).status == 200
    assert get(manifest(secret), mine, *ACCEPT, to=s).body == secret.raw
    with liar.fault(yes_to_all(secret)):
        for again in range(2):
            for method, path, headers in everything(secret):
                for _ in range(2):
                    a = get(path, *headers, method=method, host="second.mirror.test", to=s)
                    assert a.get("X-Cache") not in ("hit", "join"), (method, path)
                    assert set(a.body) <= set(b"x") or a.status >= 400
            if not again:
                s.restart()
    liar.stop()


def test_steal_while_upstream_has_a_page_for_everybody(rig, get, secret, warm):
    """A 200 that does not speak of the content is no permission."""
    page_text = b"<h1>maintenance</h1>"
    page = httpd.status(200, [("Content-Type", "text/html")], page_text)
    thief = bearer(rig, "private/other")
    for _ in range(2):
        with rig.front.fault(page):
            for method, path, headers in everything(secret):
                try:
                    a = get(path, thief, *headers, method=method)
                except Ended:       # its digest is wrong
                    continue
                known = path == blob(secret)    # and its size: the page is not it
                assert a.status == 502 if known else a.body in (b"", page_text), (method, path)
    for method, path, headers in everything(secret):
        assert get(path, thief, *headers, method=method).status == 401


def test_public_before(rig, get, secret, start, tmp_path):
    """A mirror that begins to ask for permissions asks for those of its old content, too.  What was
    public before stays so by its digest at the public mirrors, where everybody could have had it."""
    file = tokens.credentials(tmp_path / "credentials", ALICE)
    s = start({"mirror docker.io": {"credentials": file, "realm": "127.0.0.2"}})
    for method, path, headers in everything(secret):
        assert get(path, *headers, method=method, to=s).status in (200, 206, 304)
    s.restart({"mirror docker.io": {"credentials": None, "auth": "client"}})
    for method, path, headers in everything(secret):
        assert get(path, *headers, method=method, to=s).status == 401
    assert get(blob(secret), bearer(rig, REPO), to=s).status == 200
    assert get(blob(secret), host="second.mirror.test", to=s).status == 200
    # And back: what was fetched by permission does not become public by that.
    only = images.small(rig.push, REPO, salt="only by permission")
    assert get(blob(only), bearer(rig, REPO), to=s).status == 200
    assert get(blob(only), host="second.mirror.test", to=s).status == 401
    s.restart({"mirror docker.io": {"auth": "mirror"}})
    assert get(blob(only), to=s).status == 401


def test_empty_blob(rig, get, mirror):
    """It has no first byte to ask for."""
    empty = "sha256:" + hashlib.sha256(b"").hexdigest()
    value = bearer(rig, REPO)
    rig.front.extra[f"/v2/{REPO}/blobs/{empty}"] = httpd.Reply(200, [], b"")

    def change(req, reply):
        if req.get("Range") and reply.status == 200:
            reply.status, reply.body, reply.length = 416, b"", 0
            reply.set("Content-Range", "bytes */0")
    with rig.front.fault(httpd.Fault(change=change), empty):
        for _ in range(2):
            a = get(f"/v2/{REPO}/blobs/{empty}", value)
            assert (a.status, a.body) == (200, b"")


def test_public_mirror_ignores_authorization(rig, get, secret, warm):
    """What a client sends to a mirror with auth = mirror goes nowhere."""
    rig.front.log.clear()
    assert get(blob(secret), warm, host="second.mirror.test").status == 401
    assert all(r.get("Authorization") != warm.partition(": ")[2] for r in rig.front.log)


def test_another_identity_is_asked_for(rig, get, secret, warm):
    """A second client with a permission is served from the cache, after a question of his own."""
    rig.front.log.clear()
    rig.cdn.log.clear()
    again = bearer(rig, REPO)
    assert again != warm
    a = get(blob(secret), again)
    assert a.status == 200 and images.digest_of(a.body) == secret.layers[0]
    assert a.get("X-Cache") == "hit" and "private" in a.get("Cache-Control")
    assert [r.get("Authorization") for r in rig.front.seen("/blobs/")] == [again.partition(": ")[2]]
    assert [r.get("Range") for r in rig.cdn.log] == ["bytes=0-0"]


def test_grant_ends_with_the_token(rig, get, secret, warm):
    """After the token's end nothing is served by it any more."""
    rig.auth.lifetime_s = 3
    value = bearer(rig, REPO)
    assert get(blob(secret), value).status == 200
    # (The registry allows a token a minute more: upstream is made to say what it will say then.)
    with rig.front.fault(httpd.status(401), "/blobs/"):
        # Of every worker.
        wait_for(lambda: [get(blob(secret), value).status for _ in range(8)] == [401] * 8, 20,
                 "the grant's end", 0.3)


def test_revoked(rig, get, secret, warm):
    """What upstream takes back is refused to everybody whose grant is not of before, and a tag to
    all at once."""
    with rig.front.fault(httpd.status(403)):
        assert get(blob(secret), bearer(rig, REPO)).status == 403
        assert get(manifest(secret), warm, *ACCEPT).status == 403


@pytest.mark.parametrize("answer", [429, 500, 503])
def test_nothing_stale(rig, get, secret, warm, answer):
    """Upstream that cannot say: an error, however fresh the cache is."""
    with rig.front.fault(httpd.status(answer)):
        for method, path, headers in everything(secret):
            assert get(path, bearer(rig, REPO), *headers, method=method).status == answer
    with rig.front.fault(httpd.status(answer)):
        assert get(manifest(secret), warm, *ACCEPT).status == answer


def test_upstream_gone(rig, start, get, secret, tmp_path):
    front = rig.another_front("127.0.0.4").start()
    s = start({"mirror docker.io": {"auth": "client", "realm": "127.0.0.2", "upstream": front.url}})
    value = bearer(rig, REPO)
    for path in (manifest(secret), blob(secret)):
        assert get(path, value, *ACCEPT, to=s).status == 200
    front.stop()
    for method, path, headers in everything(secret):
        assert get(path, bearer(rig, REPO), *headers, method=method, to=s).status in (502, 504)


def test_joined_fill(rig, wire, mirror, get):
    """A fill in progress is joined only with a permission."""
    big = images.one_blob(rig.push, REPO, 3 << 20, tag="joined")
    path, value = f"/v2/{REPO}/blobs/{big.largest}", bearer(rig, REPO)
    assert get(manifest(big), value, *ACCEPT).status == 200
    with rig.cdn.fault(httpd.stall(1 << 20), big.largest.rpartition(":")[2]) as f:
        w = wire(mirror, name=HOST)
        w.request("GET", path, value, host=HOST)
        assert w.head().status == 200 and f.held.wait(20)
        for thief in ([], [bearer(rig, "private/other")], [bearer(rig, user="")]):
            assert get(path, *thief).status == 401
            assert get(path, *thief, host="second.mirror.test").status == 401
        f.release()
        got = w.take(big.blobs[big.largest])
    assert images.digest_of(got) == big.largest


def test_cdn_sees_no_authorization_and_logs_no_secret(rig, get, mirror, secret, warm):
    ask_token(get, f"&scope=repository:{REPO}:pull", BASIC)
    assert not any(r.get("Authorization") for r in rig.cdn.log)
    for text in (mirror.process.log.read_text(), mirror.access_path.read_text(),
                 mirror.admin("/metrics")[1]):
        assert warm.split()[-1] not in text and BASIC.split()[-1] not in text and "eyJ" not in text
    for f in mirror.cache.rglob("*"):
        assert "tags" not in f.parts or not f.is_file()     # no tag of it is remembered
    assert not [f for f in (mirror.cache / "blobs").rglob("*") if f.is_file()]
    assert (mirror.cache / "private").stat().st_mode & 0o777 == 0o700


def test_plain_http(rig, get, secret, warm):
    """Without TLS nothing is asked for or served, unless a balancer has ended it."""
    for path in ("/v2/", blob(secret), "/token/docker.io?service=docker.io"):
        assert get(path, warm, port="plain").status == 403
    assert get(blob(secret), warm, "X-Forwarded-Proto: https", port="plain").status == 200
    assert "https://" in get(blob(secret), "X-Forwarded-Proto: https",
                             port="plain").get("WWW-Authenticate")


def test_upstream_with_basic(rig, get, start, secret):
    """An upstream that wants Basic gets the client's own, and its redirects do not."""
    s = start({"mirror docker.io": {"auth": "client"}})
    token = bearer(rig, REPO).partition(": ")[2]

    def before(req):
        good = req.get("Authorization") == BASIC.partition(": ")[2]
        req.headers = [(k, v) for k, v in req.headers if k.lower() != "authorization"]
        if good:
            req.headers.append(("Authorization", token))

    def change(req, reply):
        if reply.status == 401:
            reply.set("WWW-Authenticate", 'Basic realm="rig"')
    with rig.front.fault(httpd.Fault(before=before, change=change)):
        a = get("/v2/", to=s)
        assert (a.status, a.get("WWW-Authenticate")) == (401, 'Basic realm="docker.io"')
        assert get(blob(secret), BASIC, to=s).status == 200
        assert get(blob(secret), BASIC, to=s).status == 200
        assert get(blob(secret), BASIC[:-6] + "AAAA==", to=s).status == 401
        assert get(blob(secret), to=s).status == 401
    assert not any(r.get("Authorization") for r in rig.cdn.log)
