"""`sluice doctor`: what it says of a well host, and of each thing that can be wrong."""
import email.utils
import json
import os
import re
import subprocess
import time

import pytest

from rig import httpd, images
from rig.mirror import BINARY, SAN, ini, merge


@pytest.fixture
def hello(rig):
    """The image that it asks docker.io for."""
    return images.small(rig.push, "library/hello-world", "latest")


def doctor(sluice, *argv, config=None, trusts=None, seconds=60):
    """The process; .found: the findings as (about, check) -> [(verdict, text)]."""
    file = sluice.file
    if config is not None:
        file = sluice.dir / "doctor.ini"
        file.write_text(ini(merge(sluice.config, config)))
    elif not file.exists():
        file.write_text(ini(sluice.config))
    env = {**os.environ, **SAN, **({"SSL_CERT_FILE": str(trusts)} if trusts else {})}
    done = subprocess.run([BINARY, "doctor", "-c", file, *argv], capture_output=True, text=True,
                          timeout=seconds, stdin=subprocess.DEVNULL, env=env)
    done.found = {}
    if "--json" in argv and done.stdout:
        told = json.loads(done.stdout)
        assert told["status"] == done.returncode
        for f in told["findings"]:
            assert f["verdict"] in ("ok", "note", "wrong", "unknown")
            done.found.setdefault(f["check"], []).append((f["verdict"], f["text"], f["about"]))
    return done


def verdicts(done, check, about=""):
    return [f[0] for f in done.found.get(check, []) if about in f[2]]


def test_all_is_well(start, rig, hello):
    """Beside a running server: exit 0, every step of both mirrors, nothing that costs a blob."""
    s = start({"mirror second.test": {"probe_image": "library/hello-world"}})
    rig.reset()
    done = doctor(s, "--json", trusts=rig.ca.pem)
    assert done.returncode == 0, done.stdout
    for check in ("dns", "ping", "token", "head", "manifest", "redirect", "range"):
        for mirror in ("docker.io", "second.test"):
            assert verdicts(done, check, f"[mirror {mirror}]") == ["ok"], (check, done.stdout)
    assert any(rig.auth.host.split(":")[0] in f[1] for f in done.found["token"])
    assert any(rig.cdn.host.split(":")[0] in f[1] for f in done.found["redirect"])
    assert verdicts(done, "port") == ["ok"] * 4
    for check in ("kernel", "io_uring", "cache", "certificate", "chain", "covered", "space"):
        assert set(verdicts(done, check)) == {"ok"}, (check, done.found.get(check))
    assert verdicts(done, "days") == ["ok"]
    assert "ok" in verdicts(done, "clock")
    sent = [r for r in rig.cdn.log]
    assert len(sent) == 2 and all(r.get("Range") == "bytes=1-16" for r in sent)
    assert len(rig.front.seen("/manifests/", "GET")) == 2
    assert s.metrics()["cache_blobs"] == 0 and s.process.child.poll() is None


def test_sentences(start, rig, hello):
    """For people: what it is about, a verdict, a sentence; the end says how many."""
    done = doctor(start(), trusts=rig.ca.pem)
    assert done.returncode == 0 and not done.stderr, done.stderr
    blocks = done.stdout.split("\n\n")
    assert blocks[-1].startswith("All is well") and blocks[0].startswith("This host\n")
    assert len({b.splitlines()[0] for b in blocks}) == len(blocks)
    for line in done.stdout.splitlines():
        assert not line.startswith("  ") or re.match(r"  (ok|note)\s+\S.*\.$", line), line


def upstream_wrong(start, rig, **kw):
    done = doctor(start(start=False), "--json", config={"mirror second.test": None, **kw})
    assert done.returncode == 1, done.stdout
    return done


# What is broken: rig -> a fault; the step that must be found wrong; words in its sentence.
BROKEN = {
    "no-registry": (lambda r: r.front.fault(httpd.status(404), "/v2/"), "ping", "404"),
    "ping-500": (lambda r: r.front.fault(httpd.status(500), "/v2/"), "ping", "500"),
    "no-token": (lambda r: r.auth.fault(httpd.status(403)), "token", "403"),
    "token-429": (lambda r: r.auth.fault(httpd.status(429, [("Retry-After", "9")])), "token",
                  "too many requests"),
    "no-image": (lambda r: r.front.fault(httpd.status(404), "/manifests/latest"), "head", "404"),
    "wrong-manifest": (lambda r: r.front.fault(httpd.corrupt(9), "/manifests/sha256", "GET"),
                       "manifest", "digest differs"),
    "no-manifest": (lambda r: r.front.fault(httpd.status(500), "/manifests/sha256", "GET"),
                    "manifest", "500"),
    "cut-manifest": (lambda r: r.front.fault(httpd.cut(9), "/manifests/sha256", "GET"),
                     "manifest", "close_notify"),
    "no-blob": (lambda r: r.cdn.fault(httpd.status(403)), "blob", "403"),
    "to-http": (lambda r: r.front.fault(httpd.redirect("http://127.0.0.9/x"), "/blobs/", "GET"),
                "blob", "redirect refused"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_upstream_wrong(start, rig, hello, case):
    """Each step that can fail is the one that is named, and none after it is well."""
    fault, check, words = BROKEN[case]
    with fault(rig):
        done = upstream_wrong(start, rig)
    wrong = [(k, f[1]) for k, v in done.found.items() for f in v if f[0] == "wrong"]
    assert [k for k, _ in wrong] == [check] and words in wrong[0][1], wrong
    steps = ["ping", "token", "head", "manifest", "redirect"]
    if check in steps:
        assert not any("ok" in verdicts(done, x, "[mirror") for x in steps[steps.index(check) + 1:])


def test_upstream_not_there(start, rig, hello):
    """A name without an address, a closed port, a strange CA, a private address."""
    def wrong(upstream, check, words, resolver={}, **keys):
        done = upstream_wrong(start, rig, resolver=resolver,
                              **{"mirror docker.io": {"upstream": upstream, **keys}})
        [(verdict, text, _)] = [f for f in done.found[check] if "[mirror" in f[2]]
        assert verdict == "wrong" and words in text, text
    wrong("https://nowhere.invalid", "dns", "does not resolve",
          resolver={"nameservers": rig.dns.host})
    wrong("https://127.0.0.1:1", "ping", "refused")
    wrong(rig.front.url, "ping", "certificate", ca=None)
    wrong(rig.front.url.replace("127.0.0.1", "localhost"), "ping", "private = yes", private="no")


def test_upstream_silent(start, rig, hello):
    """One that says nothing: the mirror's own limit, and the others are told of all the same."""
    with rig.front.fault(httpd.slow_first_byte(), "library/silent"):
        done = doctor(start(start=False), "--json", config={
            "mirror second.test": {"probe_image": "library/silent:1", "first_byte_timeout": "1s"}})
    assert done.returncode == 1
    assert verdicts(done, "head", "second.test") == ["wrong"]
    assert verdicts(done, "range", "docker.io") == ["ok"]


def test_upstreams_apart(start, rig, hello):
    """Two upstreams of one mirror: each is asked for itself, and the second does not help the first."""
    done = upstream_wrong(start, rig, **{"mirror docker.io": {
        "upstream": ["https://127.0.0.1:1", rig.front.url]}})
    assert verdicts(done, "ping", "https://127.0.0.1:1") == ["wrong"]
    assert verdicts(done, "range", rig.front.url) == ["ok"]


def test_without_an_image(start, rig):
    """A registry that is not known: /v2/ and a token; probe_image says what else, and must be one."""
    done = doctor(start(start=False), "--json", config={"mirror docker.io": None},
                  trusts=rig.ca.pem)
    assert done.returncode == 0, done.stdout
    assert verdicts(done, "token", "second.test") == ["ok"]
    assert verdicts(done, "head", "second.test") == ["note"] and not done.found.get("manifest")
    assert not rig.front.seen("/manifests/")
    for bad in ("quay.io/X:1", "a:1:2", "/a", "a//b", "a:"):
        done = doctor(start(start=False), config={"mirror docker.io": {"probe_image": bad}})
        assert done.returncode == 2 and "REPOSITORY:TAG" in done.stderr


def test_no_ranges(start, rig, hello):
    """Whole blobs only: a note, and no more than the head of it is taken."""
    rig.front.redirect = False
    with rig.front.fault(httpd.ignore_range(), "/blobs/"):
        done = doctor(start(start=False), "--json", config={"mirror second.test": None})
    assert done.returncode == 0, done.stdout
    assert verdicts(done, "range") == ["note"] and verdicts(done, "redirect") == ["ok"]


def test_quota(start, rig, hello):
    """What Docker Hub says is left; when it is little, no manifest is spent on this."""
    def left(n):
        rig.reset()
        with rig.front.fault(httpd.header("ratelimit-remaining", f"{n};w=21600")), \
                rig.front.fault(httpd.header("ratelimit-limit", "100;w=21600")):
            done = doctor(start(start=False), "--json", config={"mirror second.test": None})
        assert done.returncode == 0, done.stdout
        assert f"{n} of 100 requests are left" in done.found["quota"][0][1]
        return done.found["quota"][0][0], verdicts(done, "manifest"), \
            len(rig.front.seen("/manifests/", "GET"))
    assert left(76) == ("ok", ["ok"], 1)
    assert left(9) == ("note", ["ok"], 1)
    assert left(2) == ("note", ["note"], 0)


def test_private_mirror(start, rig):
    """auth = client: nothing of ours is asked for but /v2/."""
    done = doctor(start(start=False), "--json", config={
        "mirror second.test": None, "mirror docker.io": {"auth": "client"}})
    assert done.returncode == 0, done.stdout
    assert verdicts(done, "token") == ["ok"] and not done.found.get("head")
    assert not rig.auth.log


def test_clock(start, rig, hello):
    """Half an hour beside the registry's clock."""
    date = email.utils.formatdate(time.time() + 1800, usegmt=True)
    with rig.front.fault(httpd.header("Date", date)):
        done = upstream_wrong(start, rig)
    [text] = [f[1] for f in done.found["clock"] if f[0] == "wrong"]
    assert re.search(r"(1799|1800|1801|1802) s behind", text), text


def test_certificates(start, rig, hello):
    """Names that no certificate covers, one that ends soon, one that ended, no root, disorder."""
    def look(names, days=20, chain=None, trusts=None, host="mirror.test"):
        pem, key = rig.ca.issue("doctor", names, days=days)
        if chain:
            pem.write_text("".join(p.read_text() for p in chain(pem)))
        return doctor(s, "--json", trusts=trusts, config={
            "server": {"host": host}, "certificate main": {"chain": pem, "key": key},
            "mirror second.test": None, "mirror docker.io": {"host": None}})
    s = start(start=False)
    done = look(["other.test"])
    assert done.returncode == 1 and verdicts(done, "covered") == ["wrong"]
    assert verdicts(done, "chain") == ["note"]          # a CA of our own
    done = look(["mirror.test"], days=3, trusts=rig.ca.pem)
    assert done.returncode == 0 and verdicts(done, "covered") == ["ok"]
    assert verdicts(done, "days") == ["note"] and verdicts(done, "chain") == ["ok"]
    done = look(["mirror.test"], chain=lambda pem: [pem, rig.ca.pem])
    assert verdicts(done, "chain") == ["note"] and "chain of 2" in done.found["chain"][0][1]
    strange = rig.ca.dir / "upstream.pem"
    done = look(["mirror.test"], chain=lambda pem: [pem, strange])
    assert verdicts(done, "chain") == ["wrong"] and "out of order" in done.found["chain"][0][1]
    done = doctor(s, "--json", config={"certificate main": {"key": strange.with_suffix(".key")}})
    assert done.returncode == 1 and verdicts(done, "certificate") == ["wrong"]
    assert "range" in done.found                        # and upstreams were asked all the same


def test_host(start, rig, hello, listen):
    """A port that another program has, a cache that cannot be written, a user that is not there."""
    other = listen()
    s = start(start=False)
    quiet = {"mirror second.test": None, "mirror docker.io": {"host": "127.0.0.1"}}
    done = doctor(s, "--json", config={**quiet, "server": {"plain": other.host}})
    assert done.returncode == 1 and sorted(verdicts(done, "port")) == ["note"] * 3 + ["wrong"]
    assert any(f"process {os.getpid()}" in f[1] for f in done.found["port"])
    done = doctor(s, "--json", config={**quiet, "cache": {"path": s.dir / "new"}})
    assert verdicts(done, "cache") == ["note"] and not (s.dir / "new").exists()
    if os.getuid() == 0:
        s.cache.chmod(0o700)
        done = doctor(s, "--json", config={**quiet, "server": {"user": "nobody"}})
        assert done.returncode == 1 and verdicts(done, "cache") == ["wrong"]
        assert "Permission denied" in done.found["cache"][0][1] or "permitted" in done.stdout
    assert not list(s.cache.iterdir())


def test_cannot_look(start, tmp_path):
    """No configuration: exit 2, and why."""
    s = start(start=False)
    s.file = tmp_path / "none.ini"
    done = subprocess.run([BINARY, "doctor", "-c", s.file], capture_output=True, text=True,
                          timeout=20)
    assert done.returncode == 2 and "none.ini" in done.stderr and not done.stdout
