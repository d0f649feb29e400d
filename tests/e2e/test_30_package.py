"""The .deb on a clean system: installs, serves, upgrades with a changed configuration, purges.

The system is a copy on write of this one; `make test-deb` gives PACKAGE_ROOT, a debootstrapped one,
and PACKAGE, built for its release.
"""
import configparser
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from rig.httpd import Reply, Server
from rig.mirror import ROOT
from rig.netns import Netns
from rig.proc import Process, wait_for
from rig.root import Root
from rig.wire import Wire

LOWER = os.environ.get("PACKAGE_ROOT", "/")
BODY = os.urandom(3 << 20)
DIGEST = "sha256:" + hashlib.sha256(BODY).hexdigest()
INI = "/etc/sluice/sluice.ini"
UNIT = "/usr/lib/systemd/system/sluice.service"


class Upstream(Server):
    """One blob, in any repository, for everybody."""
    def answer(self, req):
        blob = req.path.endswith(f"/blobs/{DIGEST}")
        return Reply(200 if blob or req.path == "/v2/" else 404, [], BODY if blob else b"{}")


def package():
    named = os.environ.get("PACKAGE")
    found = [pathlib.Path(named)] if named else sorted(ROOT.glob("build/deb/sluice_*.deb"))
    if not found and os.environ.get("SAN"):
        pytest.skip("no package is made of a build with sanitizers")
    assert len(found) == 1, "one package is wanted: make deb"
    return found[0]


@pytest.fixture
def net(tmp_path):
    n = Netns(tmp_path, [])
    yield n
    n.close()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    r = Root(folder, LOWER)
    r.path("/var/lib/man-db/auto-update").unlink(missing_ok=True)      # each time, of all pages here
    yield r
    r.close()


def put(root, deb):
    """Installs it: with what it depends on where the system is bare, which takes the network."""
    shutil.copyfile(deb, root.path("/tmp/sluice.deb"))
    if LOWER == "/":
        return root.run("dpkg", "--force-confold,unsafe-io", "-i", "/tmp/sluice.deb")
    return root.run("apt-get", "-y", "-q", "--no-install-recommends", "--allow-downgrades", "-o",
                    "Dpkg::Options::=--force-confold", "install", "/tmp/sluice.deb", seconds=600)


def repack(deb, out, version, ini=None):
    """The same package as a later version, perhaps with another configuration."""
    subprocess.run(["dpkg-deb", "-R", deb, out], check=True)
    control = out / "DEBIAN/control"
    control.write_text(re.sub("(?m)^Version: .*", f"Version: {version}", control.read_text()))
    if ini:
        (out / INI[1:]).write_text(ini)
    name = out.with_suffix(".deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", out, name], check=True,
                   stdout=subprocess.DEVNULL)
    return name


def shipped(deb):
    """The configuration in the package."""
    return subprocess.run(f'dpkg-deb --fsys-tarfile "{deb}" | tar -xO .{INI}', shell=True, check=True,
                          capture_output=True, text=True).stdout


def files_of(root):
    """All that a package might leave behind."""
    skip = r"\( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache/apt -o -path /var/log " \
           r"-o -path /usr/share -o -path /var/lib/systemd \) -prune -o"
    text = root.run("sh", "-c", f"find /etc /usr /var -xdev {skip} -print")
    return {x for x in text.splitlines() if not re.search(r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$", x)}


def unit_of(root):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(root.path(UNIT).read_text())
    return unit["Service"]


def serve(root, net, folder):
    """The service, as its unit starts it; there is no systemd in a chroot."""
    unit = unit_of(root)
    cap = unit["AmbientCapabilities"].lower().removeprefix("cap_")
    root.run("install", "-d", "-o", unit["User"], "-g", unit["Group"], "/run/sluice")
    rights = ["setpriv", f"--reuid={unit['User']}", f"--regid={unit['Group']}", "--init-groups",
              f"--inh-caps=-all,+{cap}", f"--ambient-caps=-all,+{cap}", f"--bounding-set=-all,+{cap}",
              "--no-new-privs", "--"]
    p = Process([*net.wrap, *root.wrap, *rights, *shlex.split(unit["ExecStart"])],
                folder / f"serve-{len(list(folder.iterdir()))}.log")

    def ready():
        p.check()
        return "ready" in p.tail()
    wait_for(ready, 30, p.tail)
    return p


def pull(root, net, **kw):
    """The blob by HTTPS from port 443, with the package's own certificate for a CA."""
    ca = root.path("/etc/sluice/tls/fullchain.pem")

    def ask():
        with Wire(("127.0.0.1", 443), ca=ca, **kw) as w:
            return w.ask("GET", f"/v2/docker.io/library/x/blobs/{DIGEST}", host="mirror.test")
    answer = net.inside(ask)
    assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, DIGEST[7:])


def owner(root, path):
    return root.run("stat", "-c", "%U:%G %a", path).strip()


def test_package(root, net, tmp_path):
    """From a clean system to a clean system."""
    deb = package()
    if LOWER != "/":        # what it depends on is not its own trace
        put(root, deb)
        root.run("dpkg", "--purge", "sluice")
    before = files_of(root)
    put(root, deb)
    assert "sluice" in root.run("id", "sluice")
    for path, who in ((INI, "root:root 644"), ("/etc/sluice", "root:sluice 750"),
                      ("/etc/sluice/tls/privkey.pem", "root:sluice 640"),
                      ("/var/cache/sluice", "sluice:sluice 750"), ("/var/lib/sluice/acme", "sluice:sluice 755"),
                      ("/var/log/sluice", "sluice:sluice 750")):
        assert owner(root, path) == who, path
    assert root.path("/etc/systemd/system/multi-user.target.wants/sluice.service").is_symlink()
    assert "is good" in root.run("setpriv", "--reuid=sluice", "--regid=sluice", "--clear-groups", "sluice", "check")
    assert root.path(INI).read_text() == shipped(deb)

    # It serves with the file as it came; then with a mirror of our own.
    upstream = net.inside(lambda: Upstream("127.0.0.1"))
    upstream.start()
    p = serve(root, net, tmp_path)
    changed = root.path(INI).read_text().replace("host = mirror.example.com", "host = mirror.test").replace(
        "[mirror docker.io]", f"[mirror docker.io]\nupstream = {upstream.url}\nprivate = yes")
    root.path(INI).write_text(changed)
    p.signal(1)
    wait_for(lambda: "done" in p.tail(), 20, p.tail)
    pull(root, net)

    # An upgrade leaves it running, and leaves the changed file alone, also when its own is new.
    put(root, repack(deb, tmp_path / "later", "9.1"))
    assert p.child.poll() is None
    put(root, repack(deb, tmp_path / "newer", "9.2", "; of the next version\n"))
    assert root.path(INI).read_text() == changed
    assert root.path(INI + ".dpkg-dist").read_text() == "; of the next version\n"
    assert p.stop() == 0
    p = serve(root, net, tmp_path)
    pull(root, net)
    assert len(upstream.seen(DIGEST)) == 1, "the cache lives through an upgrade"
    assert p.stop() == 0
    upstream.stop()

    # Removed, the configuration stays; purged, nothing does.
    root.run("dpkg", "--remove", "sluice")
    assert root.path(INI).read_text() == changed and not root.path("/usr/sbin/sluice").exists()
    put(root, deb)
    assert root.path(INI).read_text() == changed
    root.run("dpkg", "--purge", "sluice")
    assert files_of(root) - before == set()
    assert root.run("id", "sluice", check=False).returncode != 0
