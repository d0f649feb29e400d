"""Several nodes behind conf/haproxy-fleet.cfg, each in a network of its own, and on one folder."""
import collections
import concurrent.futures
import hashlib
import os
import shutil
import socket
import subprocess

import pytest

from rig import httpd, images
from rig.clients import Mirror, Skopeo
from rig.front import Cdn
from rig.images import blob_path
from rig.mirror import ROOT, Sluice
from rig.netns import Netns
from rig.proc import Process, wait_for
from rig.wire import Wire

HUB, VISITOR, NODES = "10.77.0.1", "10.77.0.99", ("10.77.0.11", "10.77.0.12")
NAME = "mirror.example.com"


def line(hub, node, address, number):
    """A cable from the hub to a node."""
    mine, theirs = f"hub{number}", f"node{number}"
    pid = node.holder.pid
    for where, command in (
            (hub, ["link", "add", "name", mine, "type", "veth", "peer", "name", theirs, "netns", str(pid)]),
            (hub, ["link", "set", mine, "up"]),
            (hub, ["route", "add", f"{address}/32", "dev", mine, "src", HUB]),
            (node, ["addr", "add", f"{address}/32", "dev", theirs]), (node, ["link", "set", theirs, "up"]),
            (node, ["route", "add", f"{HUB}/32", "dev", theirs])):
        done = subprocess.run([*where.wrap, "ip", *command], capture_output=True, text=True)
        if done.returncode and "veth" in command:
            pytest.skip(f"no veth here: {done.stderr}")
        assert done.returncode == 0, (command, done.stderr)


class Tokens(httpd.Server):
    """The rig's token server at the hub."""
    def __init__(self, cert, auth):
        super().__init__(HUB, cert)
        self.auth = auth

    def answer(self, req):
        return self.auth.answer(req)


class Fleet:
    def __init__(self, rig, folder, shared=False):
        if not shutil.which("haproxy"):
            pytest.skip("no haproxy")
        self.rig, self.dir = rig, folder
        self.closing = []
        self.hub = self.keep(Netns(folder, [HUB, VISITOR]), "close")
        cert = rig.ca.issue("fleet", [HUB, NAME])
        self.cdn = self.server(lambda: Cdn(HUB, cert, rig.registry))
        self.cdn.secret = rig.cdn.secret
        auth = self.server(lambda: Tokens(cert, rig.auth))
        self.front = self.server(lambda: rig.another_front(HUB, cert))
        self.front.cdn, self.front.names = self.cdn, {rig.auth.host: auth.host}
        self.nodes = []
        for i, address in enumerate(NODES):
            (folder / f"net{i}").mkdir()
            net = self.keep(Netns(folder / f"net{i}", []), "close")
            line(self.hub, net, address, i)
            node = Sluice(rig, folder / f"node{i}", {
                "server": {"https": f"{address}:443", "http": None, "plain": f"{address}:8080",
                           "host": [NAME, HUB], "trusted": HUB},
                "certificate main": {"chain": cert[0], "key": cert[1]},
                "mirror docker.io": {"host": None, "upstream": self.front.url},
                "mirror second.test": None,
                **({"cache": {"path": folder / "shared"}} if shared else {})}, start=False)
            if shared:
                node.cache = folder / "shared"
                node.cache.mkdir(exist_ok=True)
            node.net = net
            self.nodes.append(self.keep(node, "__exit__"))
            node.start()
        pem = folder / "mirror.pem"
        pem.write_bytes(b"".join(open(x, "rb").read() for x in cert[:2]))
        self.file = folder / "haproxy.cfg"
        self.file.write_text((ROOT / "conf/haproxy-fleet.cfg").read_text().replace("/etc/haproxy/mirror.pem", str(pem)))
        self.haproxy = Process([*self.hub.wrap, "haproxy", "-db", "-f", self.file], folder / "haproxy.log")
        self.closing.append(self.haproxy.kill)
        wait_for(self.ready, 20, self.haproxy.tail)

    def keep(self, thing, end):
        self.closing.append(getattr(thing, end))
        return thing

    def server(self, make):
        made = self.hub.inside(make)
        made.start()
        return self.keep(made, "stop")

    def ready(self):
        self.haproxy.check()
        return all(self.hub.inside(lambda p=p: try_ask(self, p)) == 200 for p in (443, 8443))

    def wire(self, port=443, address=HUB):
        return Wire((address, port), ca=self.rig.ca.pem, name=NAME)

    def ask(self, path, port=443, address=HUB):
        def go():
            with self.wire(port, address) as w:
                return w.ask("GET", path, host=NAME)
        return self.hub.inside(go)

    def pull(self, home, image):
        """By skopeo, as a client that tries three times."""
        client = Skopeo(home, Mirror("docker.io", HUB, self.rig.ca.pem, "docker.io"))
        for left in (2, 1, 0):
            try:
                return self.hub.inside(lambda: client.pull(image.name)) == image.digest and client.has(image)
            except RuntimeError:
                if not left:
                    raise

    def fetched(self):
        """{digest: how often the CDN was asked for it}"""
        return collections.Counter("sha256:" + r.path.rpartition("/")[2] for r in self.cdn.log)

    def close(self):
        failed = []
        for end in reversed(self.closing):
            try:
                end()
            except Exception as e:      # noqa: BLE001 - all must end, then the first is told
                failed.append(e)
        if failed:
            raise failed[0]


def try_ask(fleet, port):
    try:
        with fleet.wire(port) as w:
            return w.ask("GET", "/v2/", host=NAME).status
    except OSError:
        return 0
    except Exception:                   # noqa: BLE001 - HAProxy closes while no node is known to be up
        return 0


@pytest.fixture(scope="module")
def fleet(shared_rig, tmp_path_factory):
    f = Fleet(shared_rig, tmp_path_factory.mktemp("fleet"))
    yield f
    f.close()


@pytest.fixture
def shared(rig, tmp_path):
    f = Fleet(rig, tmp_path, shared=True)
    yield f
    f.close()


def blobs_of(node):
    return {p.name for p in node.cache.glob("blobs/*/*/*")}


def test_one_transfer_for_each_digest(fleet, rig, tmp_path):
    """Two clients at once pull three images: each blob comes once for the whole fleet, and lies on
    one node; both nodes have some."""
    pushed = [images.small(rig.push, f"library/fleet{i}") for i in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(fleet.pull, tmp_path / f"c{i}-{k}", x) for i, x in enumerate(pushed) for k in range(2)]
        assert all(j.result() for j in jobs)
    fetched = fleet.fetched()
    assert set(fetched) == {d for x in pushed for d in x.blobs} and set(fetched.values()) == {1}, fetched
    one, two = map(blobs_of, fleet.nodes)
    assert one and two and not one & two and len(one | two) == len(fetched)


def test_nodes_know_the_client(fleet):
    """HAProxy tells who asks; what the client says of itself counts for nothing."""
    def go():
        sock = socket.create_connection((HUB, 443), 20, source_address=(VISITOR, 0))
        with Wire(sock, ca=fleet.rig.ca.pem, name=NAME) as w:
            return w.ask("GET", "/v2/visited/", "X-Forwarded-For: 192.0.2.1", host=NAME)
    assert fleet.hub.inside(go).status == 200
    wait_for(lambda: [x for n in fleet.nodes for x in n.access() if x["path"] == "/v2/visited/"], 10, "its line")
    assert [x["client"] for n in fleet.nodes for x in n.access() if x["path"] == "/v2/visited/"] == [VISITOR]


def test_a_killed_node_loses_no_pull(fleet, rig, tmp_path):
    """The node that has half of a blob is killed: its client goes on by the other node.  What lay on
    the dead one is fetched again; when it is back, it serves what it had."""
    image = images.one_blob(rig.push, "library/killed", 12 << 20)
    other = images.many_layers(rig.push, "library/beside", count=12)

    def all_come():
        for d in other.layers:
            got = fleet.ask(blob_path(other, d))
            assert (got.status, images.digest_of(got.body)) == (200, d)

    def filling():
        return next((n for n in fleet.nodes if list((n.cache / "partial").glob("sha256-*"))), None)
    all_come()
    with fleet.cdn.fault(httpd.stall(6 << 20), image.largest[7:], times=1) as fault, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(fleet.pull, tmp_path / "big", image)
        assert fault.held.wait(30)
        dead = wait_for(filling, 20, "a beginning of the blob")
        dead.kill()
        fault.release()
        all_come()
        assert job.result(90)
    alive = next(n for n in fleet.nodes if n is not dead)
    assert {image.largest[7:], *(d[7:] for d in other.layers)} <= blobs_of(alive)
    # So soon HAProxy may have met with refused connections alone, and have called it dead or not.
    wait_for(lambda: "is DOWN" in fleet.haproxy.tail(), 20, fleet.haproxy.tail)
    dead.start()
    wait_for(lambda: "is UP" in fleet.haproxy.tail(), 20, fleet.haproxy.tail)
    before = fleet.fetched()
    all_come()
    assert fleet.fetched() == before


def test_nodes_on_one_folder(shared, rig):
    """What one node fetched the other finds in the folder, also what it did not have at its start; a
    fill of the one goes on while the other starts.  By TLS that HAProxy does not open."""
    f = shared
    image = images.one_blob(rig.push, "library/shared", 9 << 20)
    small = images.small(rig.push, "library/shared-small")
    paths = [blob_path(image, image.largest)] + [blob_path(small, d) for d in small.blobs]
    f.nodes[1].stop()
    with f.cdn.fault(httpd.stall(5 << 20), image.largest[7:], times=1) as fault, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(f.ask, paths[0], 443, NODES[0])
        assert fault.held.wait(30)
        f.nodes[1].start()
        fault.release()
        assert hashlib.sha256(job.result(60).body).hexdigest() == image.largest[7:]
    for path in paths:
        for where in NODES:
            got = f.ask(path, 443, where)
            assert (got.status, hashlib.sha256(got.body).hexdigest()) == (200, path[-64:])
            # A client may have it all a moment before it is in the folder.
            wait_for(f.nodes[0].blob_file(path.rpartition("/")[2]).exists, 20, "the file")
    assert set(f.fetched().values()) == {1}, f.fetched()
    assert f.ask(paths[0], 8443).status == 200
    # Both go on when the other has evicted or removed a file.
    os.unlink(f.nodes[0].blob_file(paths[0].rpartition("/")[2]))
    for where in NODES:
        got = f.ask(paths[0], 443, where)
        assert hashlib.sha256(got.body).hexdigest() == paths[0][-64:]
