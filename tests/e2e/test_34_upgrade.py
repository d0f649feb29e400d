"""New addresses, changed files and new programs, while clients go on."""
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from rig import httpd, images
from rig.images import blob_path
from rig.mirror import ini, merge
from rig.mirror import sluice as run_sluice
from rig.proc import free_ports, refused, wait_for

HOST = "mirror.test"


@pytest.fixture
def begin(start):
    """start(), whose heirs are ended with the test, too."""
    running = []

    def begun(*args, **kw):
        running.append(start(*args, **kw))
        return running[-1]
    yield begun
    for s in running:
        for pid in set(map(int, re.findall(r"upgrade program=\S+ pid=(\d+) starts", s.tail(4000)))):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
            wait_for(lambda p=pid: not alive(p), 40, f"the end of {pid}")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def upgrade(s):
    return run_sluice("upgrade", "-c", s.file, seconds=90)


def test_addresses_come_and_go(start, wire):
    """A reload opens new addresses and closes old ones; what was connected goes on."""
    s = start()
    old, new = s.ports["plain"], free_ports(1)[0]
    there = wire(s, port="plain")
    assert there.ask("GET", "/v2/").status == 200
    s.reload({"server": {"plain": f"127.0.0.1:{new}"}}, "done")
    s.ports["plain"] = new
    assert wire(s, port="plain").ask("GET", "/v2/").status == 200
    wait_for(lambda: refused(old), 10, "the old address is closed")
    assert there.ask("GET", "/v2/").status == 200
    s.reload({"server": {"plain": f"127.0.0.1:{old} 127.0.0.1:{new}"}}, "done")
    s.ports["plain"] = old
    assert wire(s, port="plain").ask("GET", "/v2/").status == 200


def test_address_that_is_taken(start, listen, wire):
    """The whole reload is refused and says which; the old addresses go on."""
    s, other = start(), start()
    other.stop()
    taken = free_ports(1)[0]
    import socket
    with socket.create_server(("127.0.0.1", taken)):
        s.file.write_text(ini(merge(s.config, {"server": {"plain": f"127.0.0.1:{taken}"}})))
        bad = run_sluice("reload", "-c", s.file)
        assert bad.returncode == 1 and f"127.0.0.1:{taken}" in bad.stderr
    assert wire(s, port="plain").ask("GET", "/v2/").status == 200


def test_changed_files_are_taken_up(start, rig, wire):
    """As an editor replaces the configuration, and acme.sh the chain and then the key."""
    names = ["127.0.0.1", "localhost", "mirror.test"]
    pairs = [rig.ca.issue(n, names) and n or n for n in ("watched-a", "watched-b")]
    s = start(start=False)
    chain, key = s.dir / "chain.pem", s.dir / "key.pem"
    for n, to in ((".pem", chain), (".key", key)):
        shutil.copy(rig.ca.dir / (pairs[0] + n), to)
    s.config["certificate main"] = {"chain": chain, "key": key}
    s.start()
    first = wire(s).tls.getpeercert(True)
    shutil.copy(rig.ca.dir / (pairs[1] + ".pem"), s.dir / "new")
    os.rename(s.dir / "new", chain)
    wait_for(lambda: "the old configuration goes on" in s.tail(), 20, s.tail)
    assert wire(s).tls.getpeercert(True) == first
    shutil.copy(rig.ca.dir / (pairs[1] + ".key"), s.dir / "new")
    os.rename(s.dir / "new", key)
    wait_for(lambda: " done" in s.tail(), 20, s.tail)
    assert wire(s).tls.getpeercert(True) != first
    before = s.tail().count(" done")
    (s.dir / "new").write_text(ini(merge(s.config, {"server": {"log_level": "debug"}})))
    os.rename(s.dir / "new", s.file)
    wait_for(lambda: s.tail().count(" done") > before, 20, s.tail)


def test_upgrade_hands_over(begin, rig, wire, fresh):
    """The heir serves; a transfer of the old process ends as it should; then it is gone."""
    s = begin()
    digest = fresh.layers[0]
    with rig.cdn.fault(httpd.stall(1000), digest[7:]) as f:
        w = wire(s)
        w.request("GET", blob_path(fresh, digest))
        assert w.head().status == 200 and f.held.wait(10)
        done = upgrade(s)
        assert done.returncode == 0, (done, s.tail())
        assert wire(s).ask("GET", "/v2/").status == 200
        assert s.process.child.poll() is None
        f.release()
        assert images.digest_of(w.take(fresh.blobs[digest])) == digest
    assert s.process.wait(30) == 0
    said = run_sluice("status", "-c", s.file)
    assert f'"pid":{s.process.child.pid},' not in said.stdout and '"pid":' in said.stdout
    path = f"/v2/docker.io/{fresh.repo}/manifests/{fresh.tag}"
    assert wire(s).ask("GET", path, host=HOST).status == 200


@pytest.mark.parametrize("workers", [1, 3])
def test_upgrade_with_other_workers(begin, wire, workers):
    s = begin()
    s.file.write_text(ini(merge(s.config, {"server": {"workers": workers}})))
    assert upgrade(s).returncode == 0
    assert s.process.wait(30) == 0
    for _ in range(12):
        assert wire(s).ask("GET", "/v2/").status == 200


def test_upgrade_that_fails(begin, wire):
    """A mistake in the file: it is told, and the old process goes on, and can be upgraded later."""
    s = begin()
    s.file.write_text(ini(merge(s.config, {"mirror docker.io": {"tag_fresh": "soon"}})))
    bad = upgrade(s)
    assert bad.returncode == 1 and "tag_fresh" in bad.stdout and "goes on" in bad.stderr, bad
    assert s.process.child.poll() is None and wire(s).ask("GET", "/v2/").status == 200
    s.file.write_text(ini(s.config))
    s.process.signal(signal.SIGUSR2)
    assert s.process.wait(60) == 0
    assert wire(s).ask("GET", "/v2/").status == 200


def load(kind, s, seconds, path, ends):
    """The command, and a function that gives (requests, failed) from what it printed."""
    if kind == "wrk":
        return (["wrk", "-t1", "-c16", f"-d{seconds}s",
                 f"http://127.0.0.1:{s.ports['plain']}{path}"],
                lambda t: (int(re.search(r"(\d+) requests in", t)[1]),
                           sum(map(int, re.findall(r"(?:connect|read|write|Non-2xx or 3xx "
                                                   r"responses:) ?(\d+)", t)))))
    # After a GOAWAY h2load opens no new connection and counts what it did not send as failed, so
    # where the server's end of a connection is near it speaks HTTP/1.1.
    return (["h2load", *(["--h1"] if ends else []), "-t1", "-c8", *([] if ends else ["-m4"]), f"-D{seconds}",
             f"https://127.0.0.1:{s.ports['https']}{path}"],
            lambda t: tuple(int(x) for x in re.search(
                r"(\d+) done, \d+ succeeded, (\d+) failed", t).groups()))


def drive(kind, s, seconds, path, act, ends=False):
    argv, count = load(kind, s, seconds, path, ends)
    out = []
    runner = threading.Thread(target=lambda: out.append(subprocess.run(
        argv, capture_output=True, text=True, timeout=seconds + 60, check=False)))
    runner.start()
    time.sleep(0.5)
    act()
    runner.join()
    return (*count(out[0].stdout), out[0].stdout)


@pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk")
@pytest.mark.parametrize("kind", ["wrk", "h2load"])
def test_no_request_fails(begin, fresh, wire, kind):
    """Reloads, with an address that comes and goes, and upgrades, under load."""
    s = begin()
    path = f"/v2/{fresh.repo}/manifests/{fresh.digest}"
    assert wire(s, port="plain").ask("GET", path, host="127.0.0.1").status == 200
    other = free_ports(1)[0]

    def reloads():
        for i in range(20):
            more = f" 127.0.0.1:{other}" if i % 2 else ""
            s.file.write_text(ini(merge(s.config, {"server": {
                "plain": f"127.0.0.1:{s.ports['plain']}{more}"}})))
            wait_for(lambda: run_sluice("reload", "-c", s.file).returncode == 0, 20, "a reload")
    requests, failed, text = drive(kind, s, 5, path, reloads)
    assert requests > 100 and failed == 0, text

    def upgrades():
        for _ in range(5):
            done = upgrade(s)
            assert done.returncode == 0, done
    requests, failed, text = drive(kind, s, 10, path, upgrades, True)
    assert requests > 100 and failed == 0, text
