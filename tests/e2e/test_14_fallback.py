"""Several upstreams, several accounts: who is asked, who is left in peace, and what is told."""
import json
import re
import threading

import pytest

from rig import httpd, images, tokens
from rig.httpd import Reply, Server
from rig.proc import free_port, wait_for
from rig.wire import ACCEPT

HOST = "docker.mirror.test"


class Up(Server):
    """A registry in memory.  With a realm, every request needs a token of it (any will do, but for
    users in `refused`); limit: {user: how many manifests are left}, told as Docker Hub does."""
    name = "up"

    def __init__(self, rig, realm=False):
        super().__init__("127.0.0.1", rig.cert)
        self.realm = realm and rig.auth.realm
        self.has, self.limit = {}, {}

    def put(self, repo, data, kind=images.MANIFEST, tag=None):
        digest = images.digest_of(data)
        part = "manifests" if kind else "blobs"
        for ref in filter(None, (digest, tag)):
            self.has[f"/v2/{repo}/{part}/{ref}"] = (kind or "application/octet-stream", digest, data)
        return digest

    def answer(self, req):
        if self.realm and not (req.get("Authorization") or "").startswith("Bearer "):
            return Reply(401, [("WWW-Authenticate", f'Bearer realm="{self.realm}",'
                                f'service="{tokens.SERVICE}"')])
        if req.path not in self.has:
            return error(404, "MANIFEST_UNKNOWN", f"not at {self.port}")
        kind, digest, data = self.has[req.path]
        headers = [("Content-Type", kind), ("Docker-Content-Digest", digest)]
        user = who(req)
        if user in self.limit:
            if "/manifests/" in req.path and req.method == "GET":
                self.limit[user] -= 1
            if self.limit[user] < 0:
                return error(429, "TOOMANYREQUESTS", "enough", [("Retry-After", "600")])
            headers += [("ratelimit-limit", "100;w=21600"),
                        ("ratelimit-remaining", f"{self.limit[user]};w=21600")]
        first = re.fullmatch(r"bytes=(\d+)-", req.get("Range") or "")
        if first:
            at = int(first[1])
            headers.append(("Content-Range", f"bytes {at}-{len(data) - 1}/{len(data)}"))
            return Reply(206, headers, data[at:])
        return Reply(200, headers, data)


def who(req):
    """The user for whom the token was made."""
    token = (req.get("Authorization") or "").rpartition(" ")[2]
    if token.count(".") != 2:
        return None
    part = token.split(".")[1]
    return json.loads(tokens.base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sub"]


def error(status, code, message, headers=()):
    return Reply(status, [("Content-Type", "application/json"), *headers],
                 json.dumps({"errors": [{"code": code, "message": message}]}))


@pytest.fixture
def ups(rig):
    """ups(n): so many upstreams."""
    made = []

    def make(count, **kw):
        made.extend(Up(rig, **kw).start() for _ in range(count))
        return made[-count:]
    yield make
    for u in made:
        u.stop()


@pytest.fixture
def mirror(start):
    """mirror(ups, key=value..): a Sluice before them, and a function that asks it."""
    def make(ups, **keys):
        urls = [u if isinstance(u, str) else u.url for u in ups]
        return start({"mirror docker.io": {"upstream": urls, "first_byte_timeout": "2s",
                                           "connect_timeout": "2s", "tag_fresh": "0",
                                           "retry_after_max": "1h", **keys}})
    return make


@pytest.fixture
def get(wire):
    def ask(s, path, method="GET", *headers):
        return wire(s, name=HOST).ask(method, path, *ACCEPT, *headers, host=HOST)
    return ask


def manifest(n=0):
    return json.dumps({"schemaVersion": 2, "mediaType": images.MANIFEST, "n": n}).encode()


def closed_port():
    return f"https://127.0.0.1:{free_port()}"


# The order.

def test_the_first_that_has_it(ups, mirror, get):
    """What the first upstream has is asked of nobody else."""
    a, b = ups(2)
    for u in (a, b):
        u.put("x/y", manifest(), tag="1")
    s = mirror([a, b])
    assert get(s, "/v2/x/y/manifests/1").body == manifest()
    assert len(a.log) >= 1 and not b.log


@pytest.mark.parametrize("how", [401, 403, 404, 429, 500, 502, 503, "refused", "silent", "cut", "bad",
                                 "redirect"])
def test_the_next_is_asked(ups, mirror, get, how):
    """Whatever the first upstream's refusal: manifest, blob and list come from the second."""
    a, b = ups(2)
    tag = b.put("x/y", manifest(), tag="1")
    data = b"layer" * 1000
    blob = b.put("x/y", data, kind=None)
    b.has["/v2/x/y/tags/list"] = ("application/json", "", b'{"name":"x/y","tags":["1"]}')
    fault = {"silent": httpd.slow_first_byte(), "cut": httpd.Fault(change=cut_head),
             "bad": httpd.header("Content-Length", "x"),
             "redirect": httpd.redirect("http://127.0.0.9/")}.get(how) or httpd.status(
                 how if isinstance(how, int) else 500)
    s = mirror([closed_port() if how == "refused" else a, b], retry_after_max="0",
               first_byte_timeout="500ms")
    with a.fault(fault):
        assert get(s, "/v2/x/y/manifests/1").body == manifest()
        assert get(s, f"/v2/x/y/manifests/{tag}").status == 200
        assert get(s, f"/v2/x/y/blobs/{blob}").body == data
        assert get(s, "/v2/x/y/tags/list").status == 200
    assert s.metrics()["upstream_fallbacks_total"] >= 3


def cut_head(req, reply):
    raise ConnectionError


@pytest.mark.parametrize("first, second, told", [
    (404, 404, 404), (401, 404, 404), (404, 403, 403), (503, 404, 503), (404, 503, 503),
    (429, 404, 429), (404, 429, 429), (500, 503, 503), ("refused", 404, 502), (404, "refused", 502),
    (429, "refused", 502), ("refused", 429, 429)])
@pytest.mark.parametrize("what", ["manifests/1", "blobs/sha256:" + 64 * "a"])
def test_what_is_told(ups, mirror, get, first, second, told, what):
    """The last word counts, but a 404 does not while another upstream could not say."""
    both = ups(2)
    s = mirror([closed_port() if x == "refused" else u for x, u in zip((first, second), both)],
               retry_after_max="0")
    with both[0].fault(httpd.Fault(instead=lambda r: say(first))), \
            both[1].fault(httpd.Fault(instead=lambda r: say(second))):
        a = get(s, f"/v2/x/y/{what}")
    assert a.status == told and a.code
    if told == 429:
        assert a.get("Retry-After") == "77"
    if what.startswith("blobs") and told in (403, 429, 503):
        assert f"says {told}" in a.body.decode()


def say(status):
    more = [("Retry-After", "77")] if status == 429 else []
    return error(status if isinstance(status, int) else 500, "X", f"says {status}", more)


def test_a_tag_and_its_manifest_come_from_one(ups, mirror, get):
    """The manifest is asked first of the upstream that named its digest."""
    a, b = ups(2)
    digest = b.put("x/y", manifest(), tag="1")
    s = mirror([a, b])
    assert get(s, "/v2/x/y/manifests/1").body == manifest()
    assert [r.path for r in a.log] == ["/v2/x/y/manifests/1"]
    assert [r.path for r in b.log] == ["/v2/x/y/manifests/1", f"/v2/x/y/manifests/{digest}"]


def test_the_first_names_the_tag(ups, mirror, get):
    """Both have the tag, not the same image: the first one's counts."""
    a, b = ups(2)
    a.put("x/y", manifest(1), tag="1")
    b.put("x/y", manifest(2), tag="1")
    s = mirror([a, b])
    assert get(s, "/v2/x/y/manifests/1").body == manifest(1)


def test_a_tag_lives_while_one_cannot_say(ups, mirror, get):
    """503 of the one and 404 of the other forget no tag: the last answer is served; 404 of both do."""
    a, b = ups(2)
    a.put("x/y", manifest(), tag="1")
    s = mirror([a, b])
    assert get(s, "/v2/x/y/manifests/1").status == 200
    s.wait_metric("fills_ok_total", 1)
    with a.fault(httpd.status(503)):
        r = get(s, "/v2/x/y/manifests/1")
        assert (r.status, r.body) == (200, manifest()) and r.get("Warning")
    a.has.clear()
    assert get(s, "/v2/x/y/manifests/1").status == 404


def test_a_broken_body_goes_on_elsewhere(ups, mirror, get):
    """The first upstream breaks every body: the rest comes from the second, and all of it is right."""
    a, b = ups(2)
    data = images.noise(14, 3 << 20)
    for u in (a, b):
        blob = u.put("x/y", data, kind=None)
    s = mirror([a, b])
    with a.fault(httpd.cut(100000), "/blobs/"):
        assert get(s, f"/v2/x/y/blobs/{blob}").body == data
    assert b.seen("/blobs/")[0].get("Range", "").startswith("bytes=")


def test_a_wrong_blob_of_one_is_never_served(ups, mirror, get):
    """Any upstream may give a blob; what has not its digest is no blob."""
    a, b = ups(2)
    data = images.noise(15, 1 << 20)
    blob = b.put("x/y", data, kind=None)
    a.has[f"/v2/x/y/blobs/{blob}"] = ("application/octet-stream", blob, data[:-1] + b"!")
    s = mirror([a, b])
    for _ in range(3):
        r = get(s, f"/v2/x/y/blobs/{blob}")
        assert r.body == data or r.cut or r.status >= 500
        assert len(r.body) < len(data) or r.body == data


# Credentials.

@pytest.fixture
def account(tmp_path, monkeypatch):
    """account(name): the file of one that the realm knows."""
    def make(name, password="pw"):
        monkeypatch.setitem(tokens.USERS, name, "pw")
        return tokens.credentials(tmp_path / name, f"{name}:{password}")
    return make


def users(server):
    return [who(r) for r in server.log if r.get("Authorization")]


def basic_user(req):
    value = req.get("Authorization")
    return value and tokens.base64.b64decode(value.split()[1]).decode().partition(":")[0]


def test_credentials_reach_one_upstream_only(ups, rig, mirror, get, account):
    """Both name the same realm: it sees the credentials for the one that has them, and the other is
    asked as nobody."""
    a, b = ups(2, realm=True)
    b.put("x/y", manifest(), tag="1")
    s = mirror([a, b], credentials=account("bob"), credentials_for=b.url, realm="127.0.0.2")
    assert get(s, "/v2/x/y/manifests/1").status == 200
    assert users(a) and set(users(a)) == {""}
    assert users(b) and set(users(b)) == {"bob"}
    assert sorted(map(str, map(basic_user, rig.auth.log))) == ["None", "bob"]


def test_two_accounts_are_spent_evenly(ups, rig, mirror, get, account):
    """Manifests alternate between two accounts of which nothing is known."""
    a, = ups(1, realm=True)
    s = mirror([a], credentials=[account("bob"), account("carol")], realm="127.0.0.2")
    digests = [a.put(f"x/r{i}", manifest(i)) for i in range(8)]
    for i, d in enumerate(digests):
        assert get(s, f"/v2/x/r{i}/manifests/{d}").status == 200
    assert sorted(users(a)) == ["bob"] * 4 + ["carol"] * 4
    assert sorted(map(basic_user, rig.auth.log)) == ["bob"] * 4 + ["carol"] * 4


def test_the_account_with_more_left_goes_first(ups, mirror, get, account):
    """What remains is levelled, shown in the metrics, and a 429 costs the client nothing."""
    a, = ups(1, realm=True)
    a.limit = {"bob": 3, "carol": 6}
    s = mirror([a], credentials=[account("bob"), account("carol")], realm="127.0.0.2")
    digests = [a.put("x/y", manifest(i)) for i in range(12)]
    got = [get(s, f"/v2/x/y/manifests/{d}") for d in digests]
    assert [r.status for r in got] == [200] * 9 + [429] * 3
    assert all(599 <= int(r.get("Retry-After")) + 1 <= 601 for r in got[9:])
    asked = users(a)
    assert asked[2:5] == ["carol"] * 3, asked           # one each to learn, then the richer one
    assert asked.count("bob") == 4 and asked.count("carol") == 7     # one 429 each
    text = s.admin("/metrics")[1]
    for who_, left in (("bob", 0), ("carol", 0)):
        label = f'{{mirror="docker.io",upstream="{a.url}",account="{who_}"}}'
        assert f"sluice_upstream_quota_limit{label} 100\n" in text
        assert f"sluice_upstream_quota_remaining{label} {left}\n" in text
        assert re.search(re.escape(f"sluice_upstream_rest_seconds{label} ") + r"[5-6]\d\d\n", text)
    m = s.metrics()
    assert m["upstream_limited_total"] == 2 and m["upstream_spared_total"] == 2
    # What is cached is served, and blobs go on: Docker Hub counts manifests only.
    assert get(s, f"/v2/x/y/manifests/{digests[0]}").status == 200
    a.limit = {}
    blob = a.put("x/y", b"a layer", kind=None)
    before = len(a.log)
    assert get(s, f"/v2/x/y/blobs/{blob}").body == b"a layer"
    assert len(a.log) == before + 1


def test_a_refused_login_is_set_aside(ups, rig, mirror, get, account):
    """One wrong password of two: pulls go on with the other account, and the realm is not plagued."""
    a, = ups(1, realm=True)
    s = mirror([a], credentials=[account("bob", "wrong"), account("carol")], realm="127.0.0.2")
    digests = [a.put(f"x/r{i}", manifest(i)) for i in range(6)]
    for i, d in enumerate(digests):
        assert get(s, f"/v2/x/r{i}/manifests/{d}").status == 200
    assert set(users(a)) == {"carol"}
    assert [basic_user(r) for r in rig.auth.log].count("bob") == 1
    log = s.process.log.read_text()
    assert "were refused" in log and "wrong" not in log


def test_one_account_may_what_another_may_not(ups, mirror, get, account):
    """403 to the first account: the second one is asked."""
    a, = ups(1, realm=True)
    d = a.put("x/y", manifest())
    s = mirror([a], credentials=[account("bob"), account("carol")], realm="127.0.0.2")
    with a.fault(httpd.Fault(change=lambda q, r: deny(r) if who(q) == "bob" else None)):
        for _ in range(2):
            assert get(s, f"/v2/x/y/manifests/{d}").status == 200


def deny(reply):
    reply.status, reply.headers, reply.body, reply.length = 403, [], b"", 0


# 429.

def test_no_request_during_retry_after(ups, mirror, get):
    """After a 429 the upstream hears nothing; clients are told at once what is left of it."""
    a, = ups(1)
    s = mirror([a])
    with a.fault(httpd.status(429, [("Retry-After", "300")]), "/manifests/") as f:
        for i in range(10):
            r = get(s, f"/v2/x/r{i}/manifests/1")
            assert (r.status, r.code) == (429, "TOOMANYREQUESTS")
            assert 200 < int(r.get("Retry-After")) <= 300
            r = get(s, f"/v2/x/y/manifests/sha256:{i:064x}")
            assert r.status == 429
    assert f.hits == 1 and len(a.log) == 1
    assert get(s, "/v2/x/y/manifests/1").status == 429
    assert len(a.log) == 1


def test_tags_are_served_during_retry_after(ups, mirror, get):
    """A tag's last answer is served, with a warning, and costs no request."""
    a, = ups(1)
    a.put("x/y", manifest(), tag="1")
    s = mirror([a])
    assert get(s, "/v2/x/y/manifests/1").status == 200
    s.wait_metric("fills_ok_total", 1)
    before = len(a.log)
    with a.fault(httpd.status(429, [("Retry-After", "300")])):
        for _ in range(5):
            r = get(s, "/v2/x/y/manifests/1")
            assert (r.status, r.body) == (200, manifest()) and r.get("Warning")
    assert len(a.log) == before + 1


def test_the_next_upstream_is_asked_during_retry_after(ups, mirror, get):
    """The first is left in peace, the second one serves."""
    a, b = ups(2)
    digests = [b.put("x/y", manifest(i)) for i in range(5)]
    s = mirror([a, b])
    with a.fault(httpd.status(429, [("Retry-After", "300")])):
        for d in digests:
            assert get(s, f"/v2/x/y/manifests/{d}").status == 200
    assert len(a.log) == 1 and len(b.log) == 5


@pytest.mark.parametrize("retry", [[("Retry-After", "1")], []], ids=["told", "not-told"])
def test_a_rest_ends(ups, mirror, get, retry):
    """When the time is over the upstream is asked again."""
    a, = ups(1)
    d = a.put("x/y", manifest())
    s = mirror([a])
    with a.fault(httpd.status(429, retry), times=1):
        assert get(s, f"/v2/x/y/manifests/{d}").status == 429
    wait_for(lambda: get(s, f"/v2/x/y/manifests/{d}").status == 200, 30, "an answer", 0.2)
    assert len(a.log) == 2


def test_a_rest_is_bounded(ups, mirror, get):
    """retry_after_max bounds what is believed."""
    a, = ups(1)
    d = a.put("x/y", manifest())
    s = mirror([a], retry_after_max="1s")
    with a.fault(httpd.status(429, [("Retry-After", "86400")]), times=1):
        assert get(s, f"/v2/x/y/manifests/{d}").status == 429
    wait_for(lambda: get(s, f"/v2/x/y/manifests/{d}").status == 200, 30, "an answer", 0.2)


def test_the_realm_is_left_in_peace_too(ups, rig, mirror, get):
    """429 of the token server: the client is told how long, and nobody is asked meanwhile."""
    a, = ups(1, realm=True)
    a.put("x/y", manifest(), tag="1")
    s = mirror([a])
    with rig.auth.fault(httpd.status(429, [("Retry-After", "200")])):
        for _ in range(5):
            r = get(s, "/v2/x/y/manifests/1")
            assert r.status == 429 and 100 < int(r.get("Retry-After")) <= 200
    assert len(rig.auth.log) == 1


def test_many_at_once_during_a_429(ups, mirror, get):
    """A crowd that meets a 429: everyone is answered, few requests get through."""
    a, = ups(1)
    s = mirror([a])
    got = []

    def ask(i):
        got.append(get(s, f"/v2/x/r{i}/manifests/1").status)
    with a.fault(httpd.status(429, [("Retry-After", "300")])):
        get(s, "/v2/x/y/manifests/1")
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(30)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
    assert got == [429] * 30 and len(a.log) == 1


def test_a_cold_blobs_refusal_is_told(ups, mirror, get):
    """404, 401, 403, 429 of a cold blob are told as such, as an OCI error."""
    a, = ups(1)
    s = mirror([a], retry_after_max="0")
    for status in (404, 401, 403, 429):
        with a.fault(httpd.status(status)):
            r = get(s, f"/v2/x/y/blobs/sha256:{status:064x}")
        assert r.status == status and r.code


def test_the_head_of_a_cold_blob_does_not_wait(ups, mirror, wire):
    """It goes out as soon as upstream's is known, while the body is still held back."""
    a, = ups(1)
    data = images.noise(16, 1 << 20)
    blob = a.put("x/y", data, kind=None)
    s = mirror([a], stall="30s")
    with a.fault(httpd.stall(0)) as f:
        w = wire(s, name=HOST)
        w.request("GET", f"/v2/x/y/blobs/{blob}", host=HOST)
        head = w.head()
        assert head.status == 200 and head.get("Content-Length") == str(len(data))
        assert not f.gate.is_set()
        f.release()
        assert w.take(len(data)) == data
