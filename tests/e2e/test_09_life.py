"""Start and end of the process, its logs and its numbers."""
import pathlib
import re
import signal
import socket

import pytest

from rig import httpd, images, prom
from rig.images import blob_path
from rig.mirror import sluice as run_sluice
from rig.proc import refused, wait_for
from rig.wire import ACCEPT

HOST = "mirror.test"


def test_sigterm_drains(start, rig, wire, fresh):
    """SIGTERM in the middle of a transfer: no new connection, idle ones are closed, the transfer is
    finished, exit 0."""
    s = start()
    digest = fresh.layers[0]
    idle = wire(s)
    assert idle.ask("GET", "/v2/").status == 200
    with rig.cdn.fault(httpd.stall(1000), digest[7:]) as f:
        w = wire(s)
        w.request("GET", blob_path(fresh, digest))
        assert w.head().status == 200 and f.held.wait(10)
        s.term()
        wait_for(lambda: refused(s.ports["https"]), 10, "no more connections")
        assert idle.closed() in ("close_notify", "fin")
        assert s.process.child.poll() is None
        f.release()
        assert images.digest_of(w.take(fresh.blobs[digest])) == digest
        assert w.closed() == "close_notify"
    assert s.process.wait(20) == 0


def test_sigterm_has_a_bound(start, rig, wire, fresh):
    """A transfer that never ends is given up after drain_timeout: exit 0 all the same."""
    s = start({"server": {"drain_timeout": "1s"}})
    with rig.cdn.fault(httpd.stall(1000), fresh.layers[0][7:]) as f:
        w = wire(s)
        w.request("GET", blob_path(fresh, fresh.layers[0]))
        assert f.held.wait(10)
        s.stop(seconds=25)
        assert w.closed() in ("close_notify", "fin", "reset")
    assert not s.blob_file(fresh.layers[0]).exists()


def test_idle_stops_at_once(start):
    """Nothing to do: SIGTERM ends it well before the drain bound of 30 s; SIGINT does the same."""
    for number in (signal.SIGTERM, signal.SIGINT):
        s = start()
        s.process.signal(number)
        assert s.process.wait(15) == 0


def test_sighup_changes_mirrors(start, rig, wire, fresh):
    """A mirror goes, another comes; a transfer that began before ends as it should, and what is in
    the cache is still there; the old mirror's name is unknown afterwards."""
    s = start({"mirror second.test": None})
    digest = fresh.layers[0]
    with rig.cdn.fault(httpd.stall(1000), digest[7:]) as f:
        w = wire(s)
        w.request("GET", blob_path(fresh, digest))
        assert w.head().status == 200 and f.held.wait(10)
        s.reload({"mirror docker.io": None, "mirror second.test": {
            "host": "second.mirror.test", "upstream": rig.front.url, "ca": rig.ca.pem,
            "private": "yes"}}, "done")
        path = f"/{fresh.repo}/manifests/{fresh.tag}"
        assert wire(s).ask("GET", f"/v2/second.test{path}", host=HOST).status == 200
        assert wire(s).ask("GET", f"/v2/docker.io{path}", host=HOST).status == 404
        f.release()
        assert images.digest_of(w.take(fresh.blobs[digest])) == digest
    assert wire(s).ask("GET", f"/v2/second.test/{fresh.repo}/blobs/{digest}", host=HOST).status == 200


@pytest.mark.parametrize("change, why", [
    ({"mirror docker.io": {"upstrem": "https://x"}}, "upstrem"),
    ({"mirror docker.io": {"tag_fresh": "soon"}}, "tag_fresh"),
    ({"certificate main": {"key": "/nowhere.key"}}, "/nowhere.key"),
])
def test_sighup_refuses_a_mistake(start, wire, fresh, change, why):
    """A file with a mistake is refused as a whole, the line is named, and the old one goes on."""
    s = start()
    s.reload(change, "refused: the old configuration goes on")
    assert why in s.tail() and "sluice.ini:" in s.tail()
    path = f"/v2/docker.io/{fresh.repo}/manifests/{fresh.tag}"
    assert wire(s).ask("GET", path, host=HOST).status == 200


def test_sighup_takes_a_new_certificate(start, rig, wire):
    """As acme.sh renews one: the same files with other content; a connection that is there goes on."""
    s = start()
    old = wire(s)
    assert old.ask("GET", "/v2/").status == 200
    names = ["127.0.0.1", "localhost", "mirror.test", "docker.mirror.test"]
    rig.ca.issue("renewed", names)
    before = old.tls.getpeercert(True)
    s.reload({"certificate main": {"chain": rig.ca.dir / "renewed.pem",
                                    "key": rig.ca.dir / "renewed.key"}}, "done")
    assert wire(s).tls.getpeercert(True) != before
    assert old.ask("GET", "/v2/").status == 200


def test_sighup_names_what_takes_a_restart(start, wire):
    s = start()
    s.reload({"server": {"workers": 1, "log_level": "debug"}}, "key=workers")
    assert "key=log_level" not in s.tail() and "key=https" not in s.tail()
    assert wire(s).ask("GET", "/v2/").status == 200


def test_reload_with_everything_down(start, rig, wire, fresh):
    """No upstream and no name server answers: it starts, reloads, and serves what is cached."""
    s = start()
    path = blob_path(fresh, fresh.layers[0])
    by_digest = f"/v2/docker.io/{fresh.repo}/manifests/{fresh.digest}"
    assert wire(s).ask("GET", path, host=HOST).status == 200
    assert wire(s).ask("GET", by_digest, host=HOST).status == 200
    down = {"resolver": {"nameservers": "127.0.0.1:9"},
            "mirror docker.io": {"upstream": "https://registry.nowhere.test"}}
    s.restart(down)
    for _ in range(2):
        assert images.digest_of(wire(s).ask("GET", path, host=HOST).body) == fresh.layers[0]
        assert wire(s).ask("GET", by_digest, host=HOST).status == 200
        s.reload({}, "done")


def test_many_reloads_under_load(start, rig, wire, fresh):
    """Twenty reloads while requests are served: none fails."""
    s = start()
    path = f"/v2/docker.io/{fresh.repo}/manifests/{fresh.tag}"
    w = wire(s)
    for i in range(20):
        s.reload({"mirror docker.io": {"stale_for": f"{i + 1}d"}}, "done")
        for _ in range(5):
            assert w.ask("GET", path, host=HOST).status == 200
            assert wire(s).ask("GET", path, host=HOST).status == 200


def test_port_in_use(start):
    """An address that is taken: exit 1 and a line that names it."""
    s = start()
    other = start({"server": {"plain": f"127.0.0.1:{s.ports['plain']}"}}, start=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other.config["server"]["plain"] = "127.0.0.1:%d" % taken.getsockname()[1]
        with pytest.raises(RuntimeError, match="127.0.0.1:%d" % taken.getsockname()[1]):
            other.start()
        assert other.process.wait(5) == 1


def test_wrong_usage():
    """Unknown commands and missing arguments: usage, exit 100; --help and --version: exit 0."""
    for argv in ((), ("frobnicate",), ("serve", "-c"), ("check", "--nonsense")):
        done = run_sluice(*argv)
        assert done.returncode == 100 and "usage" in (done.stderr + done.stdout).lower(), argv
    assert run_sluice("--help").returncode == 0


def test_access_log(start, rig, wire, fresh):
    """One JSON line per request with every field: miss, hit, join, pass, local, errors."""
    s = start()
    digest, size = fresh.layers[0], fresh.blobs[fresh.layers[0]]
    path = blob_path(fresh, digest)
    w = wire(s)
    agent = "User-Agent: agent \"quoted\" \\ back\xff"
    assert w.ask("GET", path, agent).status == 200
    assert w.ask("GET", path, "Range: bytes=0-9").status == 206
    assert w.ask("GET", "/v2/").status == 200
    assert w.ask("GET", f"/v2/docker.io/{fresh.repo}/tags/list").status == 200
    assert w.ask("GET", f"/v2/unknown.test/{fresh.repo}/tags/list").status == 404
    lines = s.wait_access(lambda x: x["client"], 5)
    assert [x["status"] for x in lines] == [200, 206, 200, 200, 404]
    assert [x["cache"] for x in lines[:4]] == ["miss", "hit", "local", "pass"]
    assert [x["bytes"] for x in lines[:2]] == [size, 10]
    for x in lines:
        assert set(x) >= {"time", "client", "host", "mirror", "method", "path", "status", "bytes",
                          "ms", "cache", "upstream", "end", "ua", "tls"}
        assert x["client"].startswith("127.0.0.1") and x["host"] == HOST and x["ms"] >= 0
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", x["time"])
        assert "1.3" in x["tls"]
    first = lines[0]
    assert (first["mirror"], first["method"], first["path"]) == ("docker.io", "GET", path)
    assert 'agent "quoted" \\ back' in first["ua"]
    assert rig.front.host in first["upstream"] or rig.cdn.host in first["upstream"]
    assert lines[1]["upstream"] in ("", "-")
    assert first["end"] == lines[1]["end"]


def test_access_log_join_and_aborted(start, rig, wire, fresh):
    """A joined reader is logged as such, and one that left before the end with another end word."""
    s = start()
    digest = fresh.layers[0]
    with rig.cdn.fault(httpd.stall(1000), digest[7:]) as f:
        first, second = wire(s), wire(s)
        first.request("GET", blob_path(fresh, digest))
        assert first.head().status == 200 and f.held.wait(10)
        second.request("GET", blob_path(fresh, digest))
        s.wait_metric("cache_joins_total", 1)
        assert second.head().status == 200
        second.close()
        f.release()
        assert images.digest_of(first.take(fresh.blobs[digest])) == digest
    left = s.wait_access(lambda x: x["cache"] == "join")[0]
    whole = s.wait_access(lambda x: x["cache"] == "miss")[0]
    assert left["end"] != whole["end"] and left["bytes"] < whole["bytes"]


def test_access_log_hides_secrets(start, rig, wire, fresh):
    """No Authorization, no cookie, no query of the client's stands in a log."""
    s = start()
    a = wire(s).ask("GET", f"/v2/docker.io/{fresh.repo}/manifests/latest-none?token=sssecret", *ACCEPT,
                    "Authorization: Basic sssecret", "Cookie: x=sssecret")
    assert a.status == 404
    s.wait_access(lambda x: x["status"] == 404)
    assert "sssecret" not in s.process.log.read_text()
    text = s.access_path.read_text()
    assert "Basic" not in text and "x=sssecret" not in text


def test_combined_format(start, wire):
    """The combined format: the shape that log tools know, quotes in it escaped."""
    s = start({"server": {"access_format": "combined"}})
    wire(s).ask("GET", "/v2/", 'User-Agent: a"b')
    wait_for(lambda: s.access_path.exists() and s.access_path.read_text().endswith("\n"), 10, "a line")
    line = s.access_path.read_text()
    assert re.match(r'127\.0\.0\.1 - - \[\d+/\w+/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
                    r'"GET /v2/ HTTP/1\.1" 200 \d+ "-" "a(\\"|\\x22)b"', line), line


def test_access_log_to_stdout(start, wire):
    """access_log = stdout."""
    s = start({"server": {"access_log": "stdout"}})
    wire(s).ask("GET", "/v2/", "User-Agent: to-stdout")
    wait_for(lambda: "to-stdout" in s.process.log.read_text(), 10, "a line")


def test_metrics_format(sluice):
    """Every metric has HELP and TYPE once, before its values; counters end in _total."""
    typed = {name: kind for name, (kind, _, _) in prom.parse(sluice.admin("/metrics")[1]).items()}
    for name in ("requests", "cache_hits", "cache_misses", "cache_joins", "bytes_down", "bytes_up",
                 "fills", "fills_ok", "fills_failed", "connections", "handshakes", "tag_checks",
                 "token_requests", "redirects", "evictions"):
        assert typed[f"sluice_{name}_total"] == "counter"
    for name in ("cache_bytes", "cache_blobs"):
        assert typed[f"sluice_{name}"] == "gauge"


def test_metrics_count(start, rig, wire, fresh):
    """The counters say what happened: connections, handshakes, requests, bytes both ways."""
    s = start()
    size = fresh.blobs[fresh.layers[0]]
    path = blob_path(fresh, fresh.layers[0])
    delta = s.delta()
    for _ in range(2):
        assert len(wire(s).ask("GET", path).body) == size
    wire(s, port="plain").ask("GET", path)
    s.wait_access(lambda x: True, 3)
    d = delta()
    assert (d["connections_total"], d["handshakes_total"], d["requests_total"]) == (3, 2, 3)
    assert (d["bytes_down_total"], d["bytes_up_total"]) == (3 * size, size)
    assert (d["cache_misses_total"], d["cache_hits_total"]) == (1, 2)
    assert s.metrics()["cache_bytes"] == size and s.metrics()["cache_blobs"] == 1


def test_connections_come_back(start, wire, rig, fresh):
    """After 200 connections, half of them broken off: none is left open in Sluice, and its file
    descriptors are as many as before."""
    s = start()
    fds = pathlib.Path(f"/proc/{s.process.pid}/fd")
    path = blob_path(fresh, fresh.layers[0])
    assert wire(s).ask("GET", path, "Connection: close").status == 200
    for i in range(200):
        w = wire(s)
        w.request("GET", path)
        if i % 2:
            assert w.answer().status == 200
        w.close()
    wait_for(lambda: s.metrics()["connections"] <= 1, 20, lambda: str(s.metrics()["connections"]))
    wait_for(lambda: len(list(fds.iterdir())) < 120, 20, lambda: str(len(list(fds.iterdir()))))


def test_user_is_dropped(start, wire):
    """user = nobody: the process runs as it, and serves."""
    s = start(start=False)
    s.config["server"]["user"] = "nobody"
    for d in (s.dir, s.cache):
        d.chmod(0o777)
    for p in s.dir.parents:
        if str(p).startswith("/tmp/"):
            p.chmod(0o755)
    s.start()
    status = pathlib.Path(f"/proc/{s.process.pid}/status").read_text()
    uids = re.search(r"^Uid:\s+(.*)$", status, re.M)[1].split()
    assert set(uids) == {"65534"}
    assert wire(s).ask("GET", "/v2/").status == 200
