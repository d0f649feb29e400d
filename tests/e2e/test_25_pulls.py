"""One line of the access log for each pull; the log opened again by SIGUSR1 and by logrotate."""
import json
import re
import signal
import socket
import subprocess
import threading

from rig import httpd, images
from rig.clients import CLIENTS, Mirror
from rig.proc import wait_for
from rig.wire import Wire

WAIT_S = 40         # a pull is over when it was idle for 10 s


def pulled(s, count=1):
    wait_for(lambda: len(s.pulls()) >= count, WAIT_S, lambda: f"lines of pulls: {s.pulls()}")
    return s.pulls()


def test_clients(start, rig, home):
    """skopeo and ctr, cold and warm: a line each, hit and miss bytes add up to the image."""
    s, made, clients = start(), {}, ("skopeo", "ctr")
    for name in clients:
        repo = f"library/pulls-{name}"
        image = made[repo] = images.small(rig.push, repo)
        with CLIENTS[name](home / name[:1], Mirror("docker.io", s.host, rig.ca.pem)) as c:
            assert c.pull(image.name) == image.digest
            c.forget()
            assert c.pull(image.name) == image.digest
    s.stop()
    lines = s.pulls()
    assert len(lines) == 2 * len(clients), lines
    for repo, image in made.items():
        # Each worker writes its own lines, so their order in the file is none.
        cold, warm = sorted((x for x in lines if repo in x["path"]), key=lambda x: x["hit_bytes"])
        for x in (cold, warm):
            assert x["image"] == f"docker.io/{image.name}" and x["path"] == "/" + x["image"]
            assert (x["mirror"], x["tenant"], x["client"]) == ("docker.io", "-", "127.0.0.1")
            assert (x["status"], x["bytes"], x["errors"]) == (200, 0, 0)
            assert x["ua"] and x["ms"] >= 0 and x["blobs"] == len(image.blobs)
        blobs = sum(image.blobs.values())
        assert cold["miss_bytes"] >= blobs and warm["hit_bytes"] >= blobs
        assert warm["miss_bytes"] == 0


def test_what_is_a_pull(start, rig, wire, fresh):
    """A look by HEAD is none, a refusal is one, a blob alone is one without a tag; and a transfer
    that runs keeps its pull open, longer than an idle one would be."""
    s = start()
    repo, digest = fresh.repo, fresh.layers[0]
    w = wire(s)
    other = images.small(rig.push, "library/pulls-looked-at")
    assert w.ask("HEAD", f"/v2/docker.io/{other.repo}/manifests/{other.tag}").status == 200
    assert w.ask("GET", f"/v2/docker.io/{repo}/manifests/none-such").status == 404
    with rig.cdn.fault(httpd.stall(1000), digest[7:]) as f:
        slow = wire(s)
        slow.request("GET", f"/v2/docker.io/{repo}/blobs/{digest}")
        assert slow.head().status == 200 and f.held.wait(10)
        second = images.small(rig.push, "library/pulls-second")
        assert w.ask("GET", f"/v2/docker.io/{second.repo}/blobs/{second.layers[0]}").status == 200
        assert pulled(s)[0]["path"] == f"/docker.io/{second.repo}"      # idle for ten seconds
        f.release()
        slow.take(fresh.blobs[digest])
    slow.close()
    s.stop()
    lines = s.pulls()
    assert len(lines) == 2 and lines[1]["path"] == f"/docker.io/{repo}:none-such"
    assert (lines[1]["status"], lines[1]["errors"], lines[1]["blobs"]) == (404, 1, 1)
    assert lines[1]["miss_bytes"] >= fresh.blobs[digest] and lines[1]["requests"] == 2


def test_stop_tells_of_the_rest(start, rig, wire, fresh):
    """SIGTERM: what was pulled a moment ago has its line, more of them than a buffer holds."""
    s, path = start(), f"/v2/docker.io/{fresh.repo}/manifests/{fresh.tag}"
    for n in range(300):                # each from an address of its own
        sock = socket.create_connection(("127.0.0.1", s.ports["plain"]), 10,
                                        (f"127.1.{n // 250}.{1 + n % 250}", 0))
        with Wire(sock) as w:
            assert w.ask("GET", path).status == 200
    s.stop()
    lines = s.pulls()
    assert len(lines) == len({x["client"] for x in lines}) == 300
    assert sum(x["miss_bytes"] > 0 for x in lines) == 1


def test_combined(start, wire, fresh):
    """The combined format: what its requests have told of is not counted twice."""
    s = start({"server": {"access_format": "combined"}})
    assert wire(s).ask("GET", f"/v2/docker.io/{fresh.repo}/manifests/{fresh.tag}").status == 200
    s.stop()
    [line] = [x for x in s.access_path.read_text().splitlines() if '"PULL ' in x]
    assert re.match(rf'127\.0\.0\.1 - - \[[^]]+\] "PULL /docker\.io/{fresh.name} HTTP/1\.1" 200 - '
                    r'"-" "[^"]*" hit=0 miss=\d+ blobs=0 requests=1 errors=0 ms=\d+ '
                    r'mirror="docker\.io" tenant=-$', line), line


class Asking:
    """Somebody who asks without end, to see whether a line is lost."""
    def __init__(self, s, wire):
        self.wire, self.count, self.over = wire(s), 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.is_set() and self.count < 100000:
            assert self.wire.ask("GET", "/v2/").status == 200
            self.count += 1

    def stop(self):
        self.over.set()
        self.thread.join(20)
        return self.count


def lines_of(*files):
    return [json.loads(x) for f in files for x in f.read_text().splitlines()]


def test_sigusr1(start, wire):
    """Renamed under load, ten times: every request has its line, in one of the files."""
    s = start()
    asking, files = Asking(s, wire), []
    for n in range(10):
        before = asking.count
        wait_for(lambda: asking.count > before + 20, 20, "requests")
        files.append(s.access_path.rename(s.dir / f"access.{n}"))
        s.process.signal(signal.SIGUSR1)
        wait_for(s.access_path.exists, 20, "the new file")
    count = asking.stop()
    s.stop()
    found = [x for x in lines_of(*files, s.access_path) if x["path"] == "/v2/"]
    assert len(found) == count and s.access_path.stat().st_size > 0


def test_sigusr1_refused(start, wire, rig):
    """A folder that is not there any more: the old file goes on, and the log says why."""
    s = start()
    s.stop()
    logs = s.dir / "logs"
    logs.mkdir()
    s.config["server"]["access_log"] = s.access_path = logs / "access.log"
    s.start()
    gone = logs.rename(s.dir / "gone")
    s.process.signal(signal.SIGUSR1)
    wait_for(lambda: "cannot be opened again" in s.tail(), 20, "the refusal")
    s.access_path = gone / "access.log"
    assert wire(s).ask("GET", "/v2/").status == 200
    s.wait_access(lambda x: x["path"] == "/v2/")


def test_logrotate(start, wire):
    """Debian's logrotate, without copytruncate: rotated, compressed, and not a line is lost."""
    s = start()
    conf = s.dir / "logrotate.conf"
    conf.write_text(f"""{s.access_path} {{
    rotate 4
    missingok
    notifempty
    compress
    delaycompress
    create
    postrotate
        kill -USR1 {s.process.child.pid}
    endscript
}}
""")
    conf.chmod(0o644)
    s.dir.chmod(0o755)
    asking = Asking(s, wire)
    for n in range(2):
        wait_for(lambda: s.access_path.exists() and s.access_path.stat().st_size > 0, 20, "lines")
        done = subprocess.run(["/usr/sbin/logrotate", "--force", "--state", s.dir / "state", conf],
                              capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        wait_for(lambda: s.tail(200).count("opened again") == n + 1, 20, "the reopening")
    count = asking.stop()
    s.stop()
    old = subprocess.run(["zcat", s.dir / "access.log.2.gz"], capture_output=True, check=True,
                         timeout=20).stdout.splitlines()
    new = lines_of(s.dir / "access.log.1", s.access_path)
    assert len(old) > 0 and len(new) > 0
    assert len([x for x in [*map(json.loads, old), *new] if x["path"] == "/v2/"]) == count
