"""What there is to see of a running Sluice: metrics, state, the page, the dashboard."""
import base64
import json
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from rig import httpd, images, prom
from rig.chrome import Chrome
from rig.netns import Netns
from rig.proc import wait_for
from rig.wire import ACCEPT

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = "docker.mirror.test"
# Of alice-password.
ALICE = "alice:$2b$06$y0WKuE19LC25FZxRqU0QjuPs9Ru03BkOxsIRmIK8mHwGtEa3rwAGC\n"


def ask(s, path, *more, host=None, method="GET"):
    """(status, {field: value}, body) of the admin listener, with any Host."""
    with socket.create_connection(("127.0.0.1", s.ports["admin"]), 10) as c:
        fields = "".join(f"{x}\r\n" for x in more)
        c.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host or '127.0.0.1'}\r\n{fields}"
                  "Connection: close\r\n\r\n".encode())
        data = b""
        while more := c.recv(1 << 16):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(x.split(": ", 1) for x in lines[1:]), body.decode()


def pull(w, image):
    """An image's manifest and blobs, by one connection."""
    w.ask("GET", f"/v2/{image.repo}/manifests/{image.tag}", *ACCEPT, host=HOST)
    for digest in image.blobs:
        w.ask("GET", f"/v2/{image.repo}/blobs/{digest}", host=HOST)


def value(families, name, **labels):
    series = families[f"sluice_{name}"][2]
    return sum(v for (_, have), v in series.items() if labels.items() <= dict(have).items())


def test_metrics_are_whole(start, wire, alone):
    """Every family has HELP and TYPE and parses; what was asked is counted by mirror and how;
    times are in the histograms."""
    s = start()
    w = wire(to=s, name=HOST)
    pull(w, alone)
    s.wait_metric("fills_ok_total", 1 + len(alone.blobs))
    pull(w, alone)
    n = 1 + len(alone.blobs)
    text = s.admin("/metrics")[1]
    m = prom.parse(text)
    size = len(alone.raw) + sum(alone.blobs.values())
    assert value(m, "mirror_requests_total", mirror="docker.io", cache="miss") == n
    assert value(m, "mirror_requests_total", mirror="docker.io", cache="hit") == n
    assert value(m, "mirror_bytes_down_total", mirror="docker.io", cache="hit") == size
    assert value(m, "mirror_bytes_down_total", mirror="second.test") == 0
    assert value(m, "mirror_bytes_up_total", mirror="docker.io") >= size
    assert value(m, "mirror_fills_ok_total", mirror="docker.io") == n
    assert value(m, "bytes_down_total") == 2 * size and value(m, "bytes_cache_total") == size
    for name, count in (("request_seconds", 2 * n), ("time_to_first_byte_seconds", 2 * n),
                        ("fill_seconds", n)):
        series = m[f"sluice_{name}"][2]
        assert series[(f"sluice_{name}_count", ())] == count, name
    assert value(m, "cache_size_bytes") == 4 << 30
    assert abs(value(m, "start_time_seconds") - time.time()) < 600
    assert value(m, "certificate_expires_seconds", certificate="main") > time.time()
    assert value(m, "congestion_info") == 1
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                              capture_output=True, timeout=20)
        assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_are_bounded(start, wire):
    """Names that clients make up, found or not, make no series, and the page lists only what is."""
    s = start()
    w = wire(to=s, name=HOST)
    before = len(s.admin("/metrics")[1].splitlines())
    w.ask("GET", "/v2/library/none/manifests/latest", *ACCEPT, host=HOST)
    first = len(s.admin("/metrics")[1].splitlines())
    for i in range(10):
        w.ask("GET", f"/v2/library/none{i}/manifests/latest", *ACCEPT, host=HOST)
    assert len(s.admin("/metrics")[1].splitlines()) == first >= before
    assert json.loads(s.admin("/status")[1])["top"] == []


def test_series_survive_a_reload(start, wire, alone):
    """A mirror's counters go on when the configuration is read again."""
    s = start()
    pull(wire(to=s, name=HOST), alone)
    s.reload({"mirror docker.io": {"tag_fresh": "61s"}})
    pull(wire(to=s, name=HOST), alone)
    n = 1 + len(alone.blobs)
    m = prom.parse(s.admin("/metrics")[1])
    assert value(m, "mirror_requests_total", mirror="docker.io") == 2 * n


def test_status(start, rig, wire, alone):
    """/status: counters by their metrics' names, top images, fills as they go on, certificates."""
    s = start()
    pull(wire(to=s, name=HOST), alone)
    big = images.one_blob(rig.push, "library/status", 4 << 20)
    with rig.cdn.fault(httpd.trickle(64 << 10, .1)) as slow:
        t = threading.Thread(target=pull, args=(wire(to=s, name=HOST), big))
        t.start()
        try:
            def filling():
                found = [f for f in json.loads(s.admin("/status")[1])["fills"]
                         if f["digest"] == big.largest and f["bytes"]]
                return found and found[0]
            fill = wait_for(filling, 20, "the fill is told")
            assert fill["repository"] == "library/status" and fill["mirror"] == "docker.io"
            assert fill["size"] == big.blobs[big.largest] and fill["kind"] == "blob"
            wait_for(lambda: (filling() or {"bytes": 0})["bytes"] > fill["bytes"], 20, "it grows")
        finally:
            slow.release()
            t.join(30)
    wait_for(lambda: not json.loads(s.admin("/status")[1])["fills"], 20, "no fill is left")
    status, fields, body = ask(s, "/status")
    told = json.loads(body)
    assert status == 200 and fields["Content-Type"] == "application/json"
    assert told["workers"] == 2 and told["cache"]["blobs"] > 0 and not told["draining"]
    names = set(re.findall(r"^# TYPE sluice_(\w+)", s.admin("/metrics")[1], re.M))
    assert told["counters"].keys() <= names
    assert {t["image"] for t in told["top"]} == {f"docker.io/{alone.repo}",
                                                 "docker.io/library/status"}
    top = next(t for t in told["top"] if t["image"] == f"docker.io/{alone.repo}")
    assert top["requests"] == 1 + len(alone.blobs)
    assert top["bytes"] == len(alone.raw) + sum(alone.blobs.values())
    assert [c["certificate"] for c in told["certificates"]] == ["main"]
    assert any(m["host"] == "127.0.0.1" and m["workers_out"] == 0 for m in told["members"])


def test_history(start, wire, alone):
    """/history: samples in order of time; since= gives only newer ones."""
    s = start()
    pull(wire(to=s, name=HOST), alone)

    def samples(since=0):
        return json.loads(s.admin(f"/history?since={since}")[1])["samples"]
    wait_for(lambda: len(samples()) > 1, 20, "two samples")
    all_ = samples()
    assert [x["at"] for x in all_] == sorted(x["at"] for x in all_)
    assert samples(all_[-2]["at"])[0]["at"] == all_[-1]["at"]
    assert s.admin("/history?since=yesterday")[0] == 400


@pytest.mark.parametrize("host, status", [
    ("127.0.0.1", 200), ("localhost:9", 200), ("[::1]:80", 200), ("127.9.9.9", 200),
    ("evil.test", 403), ("127.0.0.1.evil.test", 403), ("10.0.0.1", 403), ("mirror.test", 403)])
def test_other_hosts_see_nothing(sluice, host, status):
    """A page elsewhere whose name leads to loopback (DNS rebinding) cannot read ours."""
    for path in ("/", "/status", "/metrics", "/history"):
        assert ask(sluice, path, host=host)[0] == status, path
    assert ask(sluice, "/healthz", host=host)[0] == 200


def test_only_looking(sluice):
    """Other methods are 405, other paths 404."""
    assert ask(sluice, "/status", method="DELETE")[0] == 405
    assert ask(sluice, "/metrics/x")[0] == 404


def test_dashboard(sluice):
    """Every metric that the Grafana dashboard asks for is there."""
    board = json.loads((ROOT / "conf/grafana-sluice.json").read_text())
    asked = " ".join(t["expr"] for p in board["panels"] for t in p.get("targets", ()))
    asked += json.dumps(board["templating"])
    text = sluice.admin("/metrics")[1]
    names = {n + p for n, f in prom.parse(text).items()
             for p in (prom.PARTS.get(f[0], ("",)))}
    used = set(re.findall(r"\bsluice_\w+", asked))
    assert len(used) > 20 and used <= names, used - names
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids))


@pytest.fixture
def chrome(home):
    if not shutil.which("chromedriver"):
        pytest.fail("chromedriver is missing: `make test` installs it", pytrace=False)
    with Chrome(home) as c:
        yield c


def test_page(start, rig, wire, alone, chrome, tmp_path):
    """The page in a browser: charts move, fills have bars, nothing is complained of, and no request
    goes elsewhere; it is readable in light and dark."""
    s = start()
    w = wire(to=s, name=HOST)
    stop = threading.Event()

    def load():
        while not stop.wait(.1):
            pull(w, alone)
    big = images.one_blob(rig.push, "library/page", 16 << 20)
    with rig.cdn.fault(httpd.trickle(64 << 10, .05), match=big.largest.partition(":")[2]) as slow:
        threads = [threading.Thread(target=load),
                   threading.Thread(target=pull, args=(wire(to=s, name=HOST), big))]
        for t in threads:
            t.start()
        try:
            page = f"http://127.0.0.1:{s.ports['admin']}/"
            chrome.requests()
            chrome.open(page)

            def path(chart):
                return chrome.run(f"return document.querySelector('#{chart} .series')"
                                  "?.getAttribute('d')")
            first = wait_for(lambda: path("c-bytes"), 20, "a line is drawn", .3)
            wait_for(lambda: path("c-bytes") != first, 20, "it moves", .3)
            wait_for(lambda: path("c-hit"), 20, "the hit rate is drawn", .3)
            wide = chrome.run("return document.querySelector('#fills .bar > div').style.width")
            wait_for(lambda: chrome.run("return document.querySelector('#fills .bar > div')"
                                        "?.style.width") != wide, 20, "the bar grows", .3)
            assert f"docker.io/{alone.repo}" in chrome.run("return document.querySelector('#top').textContent")
            ink = {}
            for dark in (False, True):
                chrome.screenshot(tmp_path / "page.png", dark)
                ink[dark] = chrome.run("const s = getComputedStyle(document.body);"
                                       "return [s.color, s.backgroundColor]")
            assert ink[False] != ink[True]
            assert chrome.run("return document.documentElement.scrollWidth <= innerWidth")
            assert chrome.console() == []
            assert all(x.startswith((page, "data:", "chrome:")) for x in chrome.requests())
        finally:
            stop.set()
            slow.release()
            for t in threads:
                t.join(30)


def test_page_policy(sluice):
    """The page's own script runs, by a nonce that is another one each time; no other would."""
    seen = set()
    for _ in range(2):
        status, fields, body = ask(sluice, "/")
        policy = fields["Content-Security-Policy"]
        nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy)[1]
        assert status == 200 and fields["Content-Type"].startswith("text/html")
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert body.count(f'nonce="{nonce}"') == 2 and "0123456789abcdef01" not in body
        assert not re.search(r"""(?:src|href)=["'](?!data:)""", body)
        seen.add(nonce)
    assert len(seen) == 2


@pytest.fixture
def elsewhere(start, tmp_path):
    """elsewhere(**server): a Sluice whose admin listener is at 10.9.8.7, too; (it, ask(path, ..) from
    there: the status)."""
    net = Netns(tmp_path, ["10.9.8.7"])

    def begin(**server):
        s = start({"server": server}, start=False)
        s.net = net
        s.config["server"]["admin"] = [f"127.0.0.1:{s.ports['admin']}",
                                       f"10.9.8.7:{s.ports['admin']}"]
        s.start()

        def status(path, login=None, host="10.9.8.7"):
            more = f"Authorization: Basic {base64.b64encode(login.encode()).decode()}\r\n" if login else ""

            def get():
                with socket.create_connection(("10.9.8.7", s.ports["admin"]), 10) as c:
                    c.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n{more}\r\n".encode())
                    return int(c.recv(4096).split()[1])
            return net.inside(get)
        return s, status
    yield begin
    net.close()


PAGES = ("/", "/status", "/metrics", "/history")


def test_from_elsewhere(elsewhere):
    """At an address that others can reach, nothing but /healthz is shown without a login."""
    s, status = elsewhere()
    assert status("/healthz") == 200
    assert [status(p, host="127.0.0.1") for p in PAGES] == [403] * 4
    assert status("/status", login="alice:alice-password") == 403
    s.stop()


def test_login(elsewhere, tmp_path):
    """A user of admin_htpasswd sees it from elsewhere; another password or user does not; on the
    machine itself none is needed."""
    file = tmp_path / "admin.htpasswd"
    file.write_text(ALICE)
    file.chmod(0o600)
    s, status = elsewhere(admin_htpasswd=file)
    assert status("/healthz") == 200
    assert [status(p, login="alice:alice-password") for p in PAGES] == [200] * 4
    assert [status("/status", login=x) for x in (None, "alice:bob-password", "bob:alice-password", "alice", "alice:alice-password:")] == [401] * 5
    assert s.admin("/status")[0] == 200
    assert "alice-password" not in s.tail(1000) and "$2b$" not in s.tail(1000)
    s.stop()
