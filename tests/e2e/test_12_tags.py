"""Rules for tags, refreshing in the background, 404s and referrers kept for a moment."""
import hashlib
import json
import threading
import time

import pytest

from rig import httpd, images
from rig.proc import free_port, wait_for
from rig.wire import ACCEPT

INDEX = images.INDEX


def tag_path(image, registry="docker.io"):
    return f"/v2/{registry}/{image.repo}/manifests/{image.tag}"


def asked(front, match):
    """What upstream was asked, but for the questions that only taught a worker the challenge."""
    return [r for r in front.seen(match) if r.status != 401]


def policy(rules, **more):
    return {"mirror docker.io": {"tag_fresh": None, "tag_policy": rules, **more}}


class Asker(threading.Thread):
    def __init__(self, wire, path):
        super().__init__(daemon=True)
        self.wire, self.path, self.answer = wire, path, None
        self.start()

    def run(self):
        self.answer = self.wire.ask("GET", self.path, *ACCEPT)


@pytest.fixture
def ask(wire):
    """ask(sluice, path): one answer on a connection of its own, so by any worker."""
    return lambda s, path, method="GET": wire(s).ask(method, path, *ACCEPT)


def digest_of(answer):
    return answer.get("Docker-Content-Digest")


def test_immutable(start, rig, ask, fresh):
    """Once known, such a tag is not asked for again, by no worker and after no restart; another
    tag moves meanwhile.  An operator who removes its record gets the new image."""
    s = start(policy("* window 0s, test-immu* immutable"))
    other = images.small(rig.push, fresh.repo, "moving")
    assert ask(s, tag_path(fresh)).body == fresh.raw
    assert ask(s, tag_path(other)).body == other.raw
    moved = images.small(rig.push, fresh.repo, fresh.tag, salt="moved")
    other_moved = images.small(rig.push, fresh.repo, other.tag, salt="moved")
    rig.reset()
    for _ in range(8):
        assert ask(s, tag_path(fresh)).body == fresh.raw
        assert digest_of(ask(s, tag_path(fresh), "HEAD")) == fresh.digest
    assert not rig.front.log
    assert ask(s, tag_path(other)).body == other_moved.raw
    file = s.cache / f"tags/docker.io/{fresh.repo}/_tags/{fresh.tag}"
    wait_for(file.exists, 10, "the record's file")
    s.restart()
    wait_for(lambda: not s.metrics()["cache_scanning"], 10, "the scan")
    rig.reset()
    assert ask(s, tag_path(fresh)).body == fresh.raw
    assert not asked(rig.front, "/manifests/")
    s.stop()
    file.unlink()
    s.start()
    assert ask(s, tag_path(fresh)).body == moved.raw


def test_immutable_whose_manifest_is_gone(start, rig, ask, fresh):
    """The record says a digest that neither cache nor upstream has: the tag is asked for again,
    rather than being a 404 for ever."""
    s = start(policy("* immutable"))
    file = s.cache / f"tags/docker.io/{fresh.repo}/_tags/{fresh.tag}"
    s.stop()
    gone = "sha256:" + "0" * 63 + "1"
    file.parent.mkdir(parents=True)
    file.write_text(f"{gone} - 0 {int(time.time())}\n")
    s.start()
    wait_for(lambda: not s.metrics()["cache_scanning"], 10, "the scan")
    assert ask(s, tag_path(fresh)).body == fresh.raw
    assert [r.status for r in asked(rig.front, gone)] == [404]


def test_always(start, rig, ask, fresh):
    """Asked each time, by HEAD, whatever the window of others is."""
    s = start(policy("* window 1h, test-always* always"))
    assert ask(s, tag_path(fresh)).body == fresh.raw
    rig.reset()
    for _ in range(4):
        assert ask(s, tag_path(fresh)).body == fresh.raw
    assert [r.method for r in asked(rig.front, "/manifests/")] == ["HEAD"] * 4
    moved = images.small(rig.push, fresh.repo, fresh.tag, salt="moved")
    assert ask(s, tag_path(fresh)).body == moved.raw


@pytest.mark.parametrize("workers", [1, 2])
def test_always_is_one_question_for_all(start, rig, wire, fresh, ask, workers):
    """Those who ask while it is being asked get the same answer: one HEAD for each worker."""
    s = start({**policy("* always"), "server": {"workers": workers}})
    for _ in range(12):                 # every worker has its token
        assert ask(s, tag_path(fresh)).body == fresh.raw
    rig.reset()
    hits = s.delta()
    with rig.front.fault(httpd.slow_first_byte(), "/manifests/") as f:
        askers = [Asker(wire(s), tag_path(fresh)) for _ in range(12)]
        assert f.held.wait(15)
        time.sleep(0.5)                 # (a late one asks again: that is a wrong count, no hang)
        f.release()
        for a in askers:
            a.join(30)
            assert a.answer.body == fresh.raw
    assert 1 <= len(asked(rig.front, "/manifests/")) <= workers
    assert hits()["tag_checks_total"] <= workers


def test_pattern_with_a_repository(start, rig, ask):
    """REPOSITORY:TAG holds in that repository alone."""
    s = start(policy("library/rule-a:* immutable, * always"))
    for repo, heads in (("library/rule-a", 0), ("library/rule-b", 2)):
        image = images.small(rig.push, repo)
        assert ask(s, tag_path(image)).body == image.raw
        rig.reset()
        for _ in range(2):
            assert ask(s, tag_path(image)).body == image.raw
        assert len(asked(rig.front, "/manifests/")) == heads


@pytest.mark.parametrize("workers", [1, 2])
def test_revalidate(start, rig, ask, fresh, workers):
    """Past the window, within revalidate: the old answer at once, though upstream takes its time;
    it is asked in the background, and then the new image is there."""
    s = start({**policy("* window 0s revalidate 1h"), "server": {"workers": workers}})
    assert ask(s, tag_path(fresh)).body == fresh.raw
    s.wait_metric("fills_ok_total", 1)
    moved = images.small(rig.push, fresh.repo, fresh.tag, salt="moved")
    rig.reset()
    with rig.front.fault(httpd.slow_first_byte(), "/manifests/") as f:
        for method in ("GET", "HEAD", "GET"):
            a = ask(s, tag_path(fresh), method)
            assert (a.status, digest_of(a)) == (200, fresh.digest)
            assert a.get("Warning").startswith("299 ") and "being asked" in a.get("Warning")
            assert int(a.get("Age")) >= 0
        assert f.held.wait(15)
        assert 1 <= s.metrics()["tag_refreshes_total"] <= workers
        f.release()
    wait_for(lambda: digest_of(ask(s, tag_path(fresh))) == moved.digest, 15, "the new image")
    assert ask(s, tag_path(fresh)).body == moved.raw


def test_revalidate_has_an_end(start, rig, ask, fresh):
    """Past window and revalidate the client waits for the answer: never the old image."""
    s = start(policy("* window 0s revalidate 1s"))
    assert ask(s, tag_path(fresh)).body == fresh.raw
    s.wait_metric("fills_ok_total", 1)
    moved = images.small(rig.push, fresh.repo, fresh.tag, salt="moved")
    time.sleep(2.1)                     # ages are whole seconds
    a = ask(s, tag_path(fresh))
    assert (a.body, a.get("Warning")) == (moved.raw, None)


@pytest.mark.parametrize("code", [401, 403, 404])
def test_revalidate_ends_a_tag(start, rig, ask, fresh, code):
    """A refresh that says the tag is gone, or not for us, ends it for the next one."""
    s = start(policy("* window 0s revalidate 1h", negative="1h"))
    assert ask(s, tag_path(fresh)).body == fresh.raw
    s.wait_metric("fills_ok_total", 1)
    with rig.front.fault(httpd.status(code), "/manifests/"):
        assert ask(s, tag_path(fresh)).body == fresh.raw
        wait_for(lambda: ask(s, tag_path(fresh)).status == code, 15, "the end of the tag")
    a = ask(s, tag_path(fresh))
    assert a.status == (404 if code == 404 else 200)


def test_revalidate_while_upstream_fails(start, rig, ask, fresh):
    """A refresh that gets a 503 changes nothing."""
    s = start(policy("* window 0s revalidate 1h"))
    assert ask(s, tag_path(fresh)).body == fresh.raw
    s.wait_metric("fills_ok_total", 1)
    with rig.front.fault(httpd.status(503), "/manifests/") as f:
        for n in range(1, 4):
            assert ask(s, tag_path(fresh)).body == fresh.raw
            wait_for(lambda n=n: f.hits >= n, 15, "a refresh")
    assert ask(s, tag_path(fresh)).body == fresh.raw


def test_stop_in_a_refresh(start, rig, ask, fresh):
    """SIGTERM does not wait for an upstream that nobody waits for."""
    s = start(policy("* window 0s revalidate 1h"))
    assert ask(s, tag_path(fresh)).body == fresh.raw
    s.wait_metric("fills_ok_total", 1)
    with rig.front.fault(httpd.slow_first_byte(), "/manifests/") as f:
        assert ask(s, tag_path(fresh)).body == fresh.raw
        assert f.held.wait(15)
        s.stop(10)                      # drain_timeout is 30 s


# What is not there.

def test_missing_tag_is_asked_once(start, rig, ask, alone):
    """Any worker repeats a 404 within `negative`; another repository or mirror is asked."""
    s = start({"mirror docker.io": {"negative": "1h"}, "mirror second.test": {"negative": "1h"}})
    path = f"/v2/docker.io/{alone.repo}/manifests/nothing"
    delta = s.delta()
    first = ask(s, path)
    assert first.status == 404
    for method in ("GET", "HEAD") * 6:
        a = ask(s, path, method)
        assert a.status == 404 and (method == "HEAD" or a.code == first.code)
    assert len(asked(rig.front, "/manifests/nothing")) == 1
    assert delta()["negative_total"] == 12
    assert s.wait_access(lambda x: x["cache"] == "negative", 12)
    assert ask(s, path.replace("docker.io", "second.test")).status == 404
    assert len(asked(rig.front, "/manifests/nothing")) == 2
    assert ask(s, path.replace(alone.repo, alone.repo + "2")).status == 404
    assert len(asked(rig.front, "/manifests/nothing")) == 3


@pytest.mark.parametrize("what", ["blobs", "manifests"])
def test_missing_digest_is_asked_once(start, rig, ask, alone, what):
    """The same for a blob and for a manifest by digest; GET and HEAD share it."""
    s = start({"mirror docker.io": {"negative": "1h"}})
    for n, first in ((1, "GET"), (2, "HEAD")):
        path = f"/v2/docker.io/{alone.repo}/{what}/sha256:{n:064x}"
        assert ask(s, path, first).status == 404
        count = len(asked(rig.front, f"{n:064x}"))
        assert count >= 1
        for method in ("GET", "HEAD") * 4:
            assert ask(s, path, method).status == 404
        assert len(asked(rig.front, f"{n:064x}")) == count
    assert ask(s, f"/v2/docker.io/{alone.repo}/blobs/{alone.layers[0]}").status == 200


def test_missing_is_seen_when_pushed(start, rig, ask, alone):
    """What is pushed is there at the end of `negative`, and a cached blob at once."""
    s = start({"mirror docker.io": {"negative": "1s"}})
    path = f"/v2/docker.io/{alone.repo}/manifests/later"
    assert ask(s, path).status == 404
    later = images.small(rig.push, alone.repo, "later")
    wait_for(lambda: ask(s, path).status == 200, 15, "the pushed tag", 0.2)
    assert ask(s, path).body == later.raw
    assert ask(s, f"/v2/docker.io/{alone.repo}/manifests/{later.digest}").body == later.raw


def test_no_negative(start, rig, ask, alone):
    """negative = 0s: asked each time."""
    s = start({"mirror docker.io": {"negative": "0s"}})
    path = f"/v2/docker.io/{alone.repo}/manifests/nothing"
    for _ in range(3):
        assert ask(s, path).status == 404
    assert len(asked(rig.front, "/manifests/nothing")) == 3
    assert s.metrics()["negative_total"] == 0


@pytest.mark.parametrize("code", [401, 403, 429, 500, 503])
def test_only_a_404_is_kept(start, rig, ask, alone, code):
    """Any other refusal is for the one who got it."""
    s = start({"mirror docker.io": {"negative": "1h"}})
    path = f"/v2/docker.io/{alone.repo}/manifests/{alone.tag}"
    with rig.front.fault(httpd.status(code), "/manifests/"):
        assert ask(s, path).status == code
    assert ask(s, path).status == 200


# Referrers.

def referrers(repo, digest, kind=""):
    return f"/v2/{repo}/referrers/{digest}" + (f"?artifactType={kind}" if kind else "")


def listing(*more, size=0, salt=""):
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [],
                       "annotations": {"x": salt + "x" * size}}).encode()
    return httpd.Reply(200, [("Content-Type", INDEX), *more], body)


def test_referrers_are_kept(start, rig, ask, alone):
    """Asked once in referrers_fresh, by any worker, with all that upstream said; each filter is a
    question of its own."""
    s = start({"mirror docker.io": {"referrers_fresh": "1h"}})
    plain, filtered = (referrers(alone.repo, alone.digest, k) for k in ("", "a/b"))
    rig.front.extra[plain] = listing(
        ("Link", f'<{plain}?n=1&last=x>; rel="next"'))
    rig.front.extra[filtered] = listing(("OCI-Filters-Applied", "artifactType"), salt="f")
    for spelling in ("/v2/docker.io" + plain[3:], plain + "?ns=docker.io",
                     *["/v2/docker.io" + plain[3:]] * 8):
        a = ask(s, spelling)
        assert (a.status, a.body) == (200, rig.front.extra[plain].body)
        assert a.get("Content-Type") == INDEX and a.get("OCI-Filters-Applied") is None
        ns = "&ns=docker.io" if "ns=" in spelling else ""
        assert a.get("Link") == f'<{spelling.partition("?")[0]}?n=1&last=x{ns}>; rel="next"'
    assert a.get("X-Cache") == "hit"
    head = ask(s, "/v2/docker.io" + plain[3:], "HEAD")
    assert (head.status, int(head.get("Content-Length"))) == (200, len(a.body))
    assert len(asked(rig.front, "/referrers/")) == 1
    for _ in range(4):
        a = ask(s, "/v2/docker.io" + filtered[3:])
        assert a.body == rig.front.extra[filtered].body
        assert a.get("OCI-Filters-Applied") == "artifactType"
    assert len(asked(rig.front, "/referrers/")) == 2
    assert s.metrics()["referrers_kept_total"] == 9 + 1 + 3
    second = ask(s, "/v2/second.test" + plain[3:])
    assert second.status == 200 and len(asked(rig.front, "/referrers/")) == 3


def test_referrers_change(start, rig, ask, alone):
    """Seen at the end of referrers_fresh."""
    s = start({"mirror docker.io": {"referrers_fresh": "1s"}})
    path = referrers(alone.repo, alone.digest)
    rig.front.extra[path] = listing(salt="old")
    old = ask(s, "/v2/docker.io" + path[3:])
    rig.front.extra[path] = listing(salt="new")
    wait_for(lambda: ask(s, "/v2/docker.io" + path[3:]).body != old.body, 15, "the new list", 0.2)
    assert ask(s, "/v2/docker.io" + path[3:]).body == rig.front.extra[path].body


@pytest.mark.parametrize("fresh, size", [("0s", 0), ("1h", 300_000)])
def test_referrers_that_are_not_kept(start, rig, ask, alone, fresh, size):
    """referrers_fresh = 0s, and lists that are too large: asked each time."""
    s = start({"mirror docker.io": {"referrers_fresh": fresh}})
    path = referrers(alone.repo, alone.digest)
    rig.front.extra[path] = listing(size=size)
    for _ in range(3):
        assert ask(s, "/v2/docker.io" + path[3:]).body == rig.front.extra[path].body
    assert len(asked(rig.front, "/referrers/")) == 3


def test_referrers_that_are_cut(start, rig, ask, alone):
    """Half a list is an error for one, and nothing is kept of it."""
    s = start({"mirror docker.io": {"referrers_fresh": "1h"}})
    path = referrers(alone.repo, alone.digest)
    rig.front.extra[path] = listing(size=1000)
    with rig.front.fault(httpd.cut(500), "/referrers/"):
        assert ask(s, "/v2/docker.io" + path[3:]).status == 502
    assert ask(s, "/v2/docker.io" + path[3:]).body == rig.front.extra[path].body


def test_no_referrers(start, rig, ask, alone):
    """A registry without them: the 404 reaches clients, which then ask for the fallback tag, and is
    kept."""
    s = start({"mirror docker.io": {"negative": "1h"}})
    path = "/v2/docker.io" + referrers(alone.repo, alone.digest)[3:]
    for _ in range(6):
        a = ask(s, path)
        assert a.status == 404 and a.code
    assert len(asked(rig.front, "/referrers/")) == 1


@pytest.mark.parametrize("fresh", ["0s", "1h"])
def test_fallback_tag(start, rig, ask, alone, fresh):
    """sha256-<hex>.sig is good for referrers_fresh, even if all tags are immutable."""
    s = start(policy("* immutable", referrers_fresh=fresh))
    tag = alone.digest.replace(":", "-") + ".sig"
    old = images.small(rig.push, alone.repo, tag)
    assert ask(s, tag_path(old)).body == old.raw
    moved = images.small(rig.push, alone.repo, tag, salt="moved")
    want = moved.raw if fresh == "0s" else old.raw
    assert ask(s, tag_path(old)).body == want


# Digests.

def test_digests_while_upstream_is_down(start, rig, ask, alone):
    """Nothing listens at the upstream: manifests by digest and blobs come from the cache, by every
    worker, also after a restart; so does an immutable tag."""
    s = start(policy("* immutable"))
    paths = {f"/v2/docker.io/{alone.repo}/manifests/{alone.digest}": alone.digest,
             f"/v2/docker.io/{alone.repo}/blobs/{alone.layers[0]}": alone.layers[0],
             tag_path(alone): alone.digest}
    for path in paths:
        assert ask(s, path).status == 200
    s.wait_metric("fills_ok_total", 2)
    s.restart({"mirror docker.io": {"upstream": f"https://127.0.0.1:{free_port()}"}})
    wait_for(lambda: not s.metrics()["cache_scanning"], 10, "the scan")
    for path in [*paths] * 4:
        a = ask(s, path)
        assert (a.status, "sha256:" + hashlib.sha256(a.body).hexdigest()) == (200, paths[path])
        assert a.get("Warning") is None
        assert ask(s, path, "HEAD").status == 200
    assert s.metrics()["upstream_connections_total"] == 0
