"""Pools: several servers for an upstream, those that are down, outgoing proxies, sockets."""
import contextlib
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from rig import httpd, images
from rig.proc import free_port, wait_for
from rig.wire import ACCEPT

NAME = "registry.test"


@pytest.fixture
def fronts(rig):
    """Two more fronts before the same registry: .2 is not taken by others at this port."""
    running = [rig.another_front(f"127.0.0.{n}").start() for n in (21, 22)]
    yield running
    for f in running:
        f.stop()


@pytest.fixture
def straight(fronts):
    """Blobs come from these two themselves."""
    for f in fronts:
        f.redirect = False


@pytest.fixture
def pooled(start, rig):
    """pooled(servers, **keys): docker.io is registry.test, where these servers are."""
    def begin(servers=None, mirror=None, **keys):
        keys = {**({"servers": servers} if servers else {}), **keys}
        return start({f"pool {NAME}": keys, "server": {"workers": 1},
                      "resolver": {"nameservers": rig.dns.host, "family": "v4"},
                      "mirror docker.io": {"upstream": f"https://{NAME}:{rig.front.port}",
                                           "connect_timeout": "5s", **(mirror or {})}})
    return begin


@pytest.fixture
def ask(wire):
    def get(to, path, **kw):
        w = wire(to)
        w.sock.settimeout(60)
        return w.ask("GET", "/v2/docker.io/" + path, *ACCEPT, **kw)
    return get


def tags(ask, to, image, times):
    """Requests that are never answered from the cache."""
    return [ask(to, f"{image.repo}/tags/list").status for _ in range(times)]


def lists(server):
    return sum("/tags/list" in r.target for r in server.log)


def member(s, metric, host):
    """The value of a member's metric, or None."""
    for line in s.admin("/metrics")[1].splitlines():
        if line.startswith(f"sluice_upstream_member_{metric}{{") and f'member="{host}"' in line:
            return int(line.split()[-1])
    return None


def test_servers_by_weight(pooled, fronts, ask, fresh):
    """Requests go to the servers by weight; Host stays the upstream's own name."""
    s = pooled([fronts[0].host, "weight=3", fronts[1].host])
    assert tags(ask, s, fresh, 1) == [200]              # (and a 401 before)
    for f in fronts:
        f.log.clear()
    assert tags(ask, s, fresh, 16) == [200] * 16
    assert lists(fronts[0]) == 12 and lists(fronts[1]) == 4
    assert {r.get("Host").partition(":")[0] for r in fronts[0].log + fronts[1].log} == {NAME}


def test_server_that_refuses(pooled, fronts, ask, fresh):
    """Every pull succeeds though one server refuses; it is left out, and the metrics say so."""
    dead = f"127.0.0.23:{free_port()}"
    s = pooled([dead, fronts[0].host, fronts[1].host])
    assert tags(ask, s, fresh, 8) == [200] * 8
    assert member(s, "ejections_total", dead) >= 1


def test_server_that_hangs(pooled, fronts, listen, ask, fresh):
    """One that accepts and says nothing costs the first request a moment, the next ones nothing."""
    dead = listen("127.0.0.24")
    s = pooled([dead.host, fronts[0].host])
    assert tags(ask, s, fresh, 6) == [200] * 6
    first = len(dead.seen)
    assert 1 <= first <= 3


def test_addresses_of_a_name(start, rig, ask, fresh, fronts):
    """Without a [pool], the addresses of a name are one: the dead one is passed over."""
    rig.dns.names[NAME] = ["127.0.0.29", "127.0.0.1"]
    try:
        s = start({"resolver": {"nameservers": rig.dns.host, "family": "v4"},
                   "mirror docker.io": {"upstream": f"https://{NAME}:{rig.front.port}"}})
        assert tags(ask, s, fresh, 4) == [200] * 4
    finally:
        rig.dns.names[NAME] = ["127.0.0.1"]


def test_5xx_moves_to_another(pooled, fronts, ask, fresh):
    """A server that answers 503 three times is left out."""
    s = pooled(fronts[0].host + " " + fronts[1].host)
    with fronts[0].fault(httpd.status(503), "/tags/list") as f:
        tags(ask, s, fresh, 12)
        assert 3 <= f.hits <= 5
    assert lists(fronts[1]) >= 7


def test_all_down_serves_what_is_cached(pooled, rig, ask, fresh):
    """Servers and name servers are down at the start: cached content is served all the same."""
    s = pooled(rig.front.host)
    assert ask(s, f"{fresh.repo}/blobs/{fresh.layers[0]}").status == 200
    s.stop()
    rig.dns.dead = True
    s.config[f"pool {NAME}"]["servers"] = f"127.0.0.25:{free_port()} gone.test:1"
    s.start()
    assert ask(s, f"{fresh.repo}/blobs/{fresh.layers[0]}").status == 200
    assert ask(s, f"{fresh.repo}/tags/list").status in (502, 504)


def test_dns_fails_after_an_answer(pooled, rig, ask, fresh):
    """Name servers that fall silent take no upstream with them."""
    s = pooled(keepalive=0)
    assert tags(ask, s, fresh, 1) == [200]
    rig.dns.dead = True
    before = len(rig.dns.log)
    wait_for(lambda: tags(ask, s, fresh, 1) == [200] and len(rig.dns.log) > before, 30,
             "a question in vain, and an answer", 0.5)
    assert tags(ask, s, fresh, 3) == [200] * 3


def test_private_literal_needs_no_more(pooled, rig, ask, fresh):
    """An address that stands in servers is what the configuration names; redirects are not."""
    s = pooled(rig.front.host, mirror={"private": "no"})
    rig.front.names = {rig.auth.host: rig.front.host}
    r = ask(s, f"{fresh.repo}/tags/list")
    assert rig.front.log and r.status in (401, 502)     # the realm's address is private
    assert not rig.auth.log


@pytest.mark.usefixtures("straight")
def test_wrong_bytes_move_to_another(pooled, rig, fronts, ask, fresh):
    """A server that sent a blob of another digest is not asked for it again."""
    s = pooled(fronts[0].host + " " + fronts[1].host)
    path = f"{fresh.repo}/blobs/{fresh.layers[0]}"
    with fronts[0].fault(httpd.corrupt(5), "/blobs/") as f:
        for _ in range(4):
            a = None
            try:
                a = ask(s, path)
            except (OSError, EOFError, AssertionError):
                continue                        # cut before its end, as a wrong body must be
            if a.status == 200 and images.digest_of(a.body) == fresh.layers[0]:
                break
        assert a and images.digest_of(a.body) == fresh.layers[0]
        assert f.hits <= 1


def config(image):
    return next(d for d in image.blobs if d not in image.layers)


def short_chunked(at):
    """A clean answer without a length, of which the end is missing."""
    fault = httpd.truncate(at)
    cut = fault.change

    def change(req, reply):
        cut(req, reply)
        reply.length = None
    fault.change = change
    return fault


# Of each: what of the image is wrong once, and how.
WRONG_ONCE = {
    "last byte of a layer": (lambda i: i.layers[0], lambda n: httpd.corrupt(n - 1)),
    "a layer without length, cut off cleanly": (lambda i: i.layers[0],
                                                lambda n: short_chunked(n // 2)),
    "a byte of what is small": (config, lambda n: httpd.corrupt(5)),
    "small, cut off cleanly": (config, lambda n: httpd.truncate(n - 1)),
    "a manifest": (lambda i: i.digest, lambda n: httpd.corrupt(20)),
}


@contextlib.contextmanager
def faulty(fronts, fault, match, **kw):
    """One fault for both of them."""
    with fronts[0].fault(fault, match, **kw), fronts[1].fault(fault, match, **kw):
        yield fault


@pytest.mark.usefixtures("straight")
@pytest.mark.parametrize("name", WRONG_ONCE)
def test_wrong_once_is_fetched_elsewhere(pooled, fronts, ask, fresh, name):
    """One answer of one server is wrong: the other one is asked, and the client, who has nothing
    of it that differs, gets the right bytes by his one request."""
    s = pooled(fronts[0].host + " " + fronts[1].host)
    of, fault = WRONG_ONCE[name]
    digest = of(fresh)
    kind = "manifests" if digest == fresh.digest else "blobs"
    assert tags(ask, s, fresh, 1) == [200]              # the token is there
    with faulty(fronts, fault(fresh.blobs.get(digest, 0)), digest, times=1) as f:
        a = ask(s, f"{fresh.repo}/{kind}/{digest}")
        assert (a.status, images.digest_of(a.body)) == (200, digest)
        assert f.hits == 1
    assert [len(x.seen(digest)) for x in fronts] == [1, 1]
    assert s.metrics()["fills_corrupt_total"] == 1


@pytest.mark.usefixtures("straight")
def test_wrong_bytes_that_were_sent(pooled, fronts, ask, fresh):
    """A reader who may have the wrong byte is cut before the end, or has nothing wrong; the second
    fill is kept all the same."""
    s = pooled(fronts[0].host + " " + fronts[1].host)
    digest = fresh.layers[0]
    path = f"{fresh.repo}/blobs/{digest}"
    assert tags(ask, s, fresh, 1) == [200]
    with faulty(fronts, httpd.corrupt(5), digest, times=1) as f:
        a = ask(s, path)
        assert a.cut or images.digest_of(a.body) == digest
        wait_for(s.blob_file(digest).exists, 20, "the layer's file")
        assert images.digest_of(ask(s, path).body) == digest
        assert f.hits == 1
    assert [len(x.seen(digest)) for x in fronts] == [1, 1]


@pytest.mark.usefixtures("straight")
def test_wrong_everywhere(pooled, fronts, ask, fresh):
    """Both servers are wrong: each is asked once and left out, the error says why, nothing is
    kept."""
    s = pooled(fronts[0].host + " " + fronts[1].host)
    path = f"{fresh.repo}/blobs/{config(fresh)}"
    assert tags(ask, s, fresh, 1) == [200]
    with faulty(fronts, httpd.corrupt(5), config(fresh)) as f:
        a = ask(s, path)
        assert (a.status, a.code, b"digest differs" in a.body) == (502, "UNAVAILABLE", True)
        assert f.hits == 2
    assert [len(x.seen(config(fresh))) for x in fronts] == [1, 1]
    assert not s.blob_file(config(fresh)).exists()
    assert s.metrics()["fills_corrupt_total"] == 2
    for f in fronts:
        assert member(s, "ejections_total", f.host) == 1
    wait_for(lambda: ask(s, path).status == 200, 20, "the end of it", 0.2)


# Outgoing proxies.

def splice(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def both_ways(a, b):
    t = threading.Thread(target=splice, args=(a, b), daemon=True)
    t.start()
    splice(b, a)
    t.join(30)
    a.close()
    b.close()


def take(c, n):
    out = b""
    while len(out) < n:
        more = c.recv(n - len(out))
        if not more:
            raise OSError("closed")
        out += more
    return out


HOSTS = {NAME: "127.0.0.1", "auth.test": "127.0.0.2", "cdn.test": "127.0.0.3"}


def socks5(c, asked):
    _, n = take(c, 2)
    methods = take(c, n)
    if 2 not in methods:
        return c.sendall(b"\5\xff")
    c.sendall(b"\5\2")
    _, n = take(c, 2)
    user = take(c, n)
    secret = take(c, take(c, 1)[0])
    c.sendall(b"\1" + bytes([(user, secret) != (b"me", b"s3:cr@t")]))
    _, _, _, kind = take(c, 4)
    host = take(c, take(c, 1)[0]).decode() if kind == 3 else socket.inet_ntoa(take(c, 4))
    port, = struct.unpack("!H", take(c, 2))
    asked.append(host)
    if host not in HOSTS and kind == 3:
        return c.sendall(b"\5\4\0\1\0\0\0\0\0\0")
    up = socket.create_connection((HOSTS.get(host, host), port))
    c.sendall(b"\5\0\0\1\0\0\0\0\0\0")
    both_ways(c, up)


def connect(c, asked):
    head = b""
    while b"\r\n\r\n" not in head:
        head += take(c, 1)
    first, *fields = head.decode().split("\r\n")
    host, _, port = first.split()[1].rpartition(":")
    asked.append(host)
    if "Proxy-Authorization: Basic bWU6czM6Y3JAdA==" not in fields:
        return c.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
    up = socket.create_connection((HOSTS.get(host, host), int(port)))
    c.sendall(b"HTTP/1.1 200 Established\r\n\r\n")
    both_ways(c, up)


@pytest.mark.parametrize("scheme,serve", [("socks5", socks5), ("http", connect)])
def test_via(pooled, listen, rig, ask, fresh, scheme, serve):
    """Registry, token server and CDN are reached through the proxy, by names never asked of DNS."""
    asked = []
    proxy = listen("127.0.0.26", serve=lambda c: serve(c, asked))
    rig.dns.log.clear()
    rig.front.names = {rig.auth.host: f"auth.test:{rig.auth.port}",
                       rig.cdn.host: f"cdn.test:{rig.cdn.port}"}
    s = pooled(via=f"{scheme}://me:s3:cr%40t@{proxy.host}", mirror={"private": "no"})
    a = ask(s, f"{fresh.repo}/blobs/{fresh.layers[0]}")
    assert a.status == 200 and images.digest_of(a.body) == fresh.layers[0]
    assert set(asked) == set(HOSTS)
    assert not rig.dns.log
    assert "s3:cr" not in s.tail(1000) and "s3%3" not in s.tail(1000)


@pytest.mark.parametrize("scheme,serve", [("socks5", socks5), ("http", connect)])
def test_via_refuses(pooled, listen, ask, fresh, scheme, serve):
    """A wrong password is a clear line in the log, without it, and a 502."""
    asked = []
    proxy = listen("127.0.0.26", serve=lambda c: serve(c, asked))
    s = pooled(via=f"{scheme}://me:wr0ng@{proxy.host}")
    assert ask(s, f"{fresh.repo}/tags/list").status == 502
    assert "refused user and password" in s.tail(1000)
    assert "wr0ng" not in s.tail(1000)


def test_via_checks_addresses(pooled, listen, rig, ask, fresh):
    """The proxy is not asked for a private address that a redirect names."""
    asked = []
    proxy = listen("127.0.0.26", serve=lambda c: socks5(c, asked))
    rig.front.names = {rig.auth.host: f"auth.test:{rig.auth.port}"}
    s = pooled(via=f"socks5://me:s3:cr%40t@{proxy.host}", mirror={"private": "no"})
    assert ask(s, f"{fresh.repo}/blobs/{fresh.layers[0]}").status in (502, 504)
    assert "127.0.0.3" not in asked and NAME in asked


# Sockets.

def test_bind(pooled, rig, ask, fresh, listen):
    """Connections come from the addresses of bind, in turn."""
    def relay(c):
        both_ways(c, socket.create_connection(("127.0.0.1", rig.front.port)))
    front = listen("127.0.0.27", serve=relay)
    s = pooled(front.host, bind="127.0.0.31 127.0.0.32", keepalive=0)
    for image in fresh, images.small(rig.push, fresh.repo, fresh.tag + "-2"):
        assert ask(s, f"{image.repo}/manifests/{image.digest}").status == 200
    assert {a for a, _ in front.seen} == {"127.0.0.31", "127.0.0.32"}


def test_congestion(pooled, rig, listen, ask, fresh):
    """The congestion control of bind's sockets is what the pool says; a wrong one is said once."""
    known = open("/proc/sys/net/ipv4/tcp_available_congestion_control").read().split()
    used = open("/proc/sys/net/ipv4/tcp_congestion_control").read().strip()
    other = next((x for x in known if x != used), None)
    if not other:
        pytest.skip("the kernel knows one only")
    silent = listen("127.0.0.28")
    s = pooled(silent.host, congestion=other, sndbuf="64K", rcvbuf="64K")
    t = threading.Thread(target=lambda: ask(s, f"{fresh.repo}/tags/list"), daemon=True)
    t.start()

    def seen():
        out = subprocess.run(["ss", "-tniH", "dst", silent.host], capture_output=True, text=True)
        return f" {other} " in out.stdout.replace("\t", " ") + " "
    wait_for(seen, 5, f"{other} in ss -ti")
    t.join(30)
    s = pooled(rig.front.host, congestion="nonesuch", keepalive=0)
    assert tags(ask, s, fresh, 3) == [200] * 3
    assert s.tail(1000).count("congestion refused by the kernel") == 1


def test_max_conns(pooled, rig, ask, fresh):
    """One connection for many requests: they wait for it, and one that waits too long is told."""
    s = pooled(rig.front.host, max_conns=1, queue_timeout="300ms")
    rig.front.redirect = False
    with rig.front.fault(httpd.slow_first_byte(), "/tags/list", times=1) as f:
        t = threading.Thread(target=lambda: tags(ask, s, fresh, 1), daemon=True)
        t.start()
        assert f.held.wait(10)
        a = ask(s, f"{fresh.repo}/tags/list")
        assert (a.status, a.code, b"max_conns" in a.body) == (503, "UNAVAILABLE", True)
        assert int(a.get("Retry-After")) >= 1
        f.release()
        t.join(30)
    assert tags(ask, s, fresh, 3) == [200] * 3


# Checks.

@pytest.mark.parametrize("ill", ["refuses", "answers 500"])
def test_check(pooled, rig, fronts, ask, fresh, ill):
    """A member that is not well is found without any request of a client, and left out as long as
    it is; well again, it returns."""
    host, port = fronts[0].host, fronts[0].port
    again = None
    s = pooled(host + " " + fronts[1].host, check="1s", connect_timeout="2s")
    wait_for(lambda: [member(s, "ejected", f.host) for f in fronts] == [0, 0], 10, "both are known")
    assert all(r.target == "/v2/" and not r.get("Authorization") for r in fronts[0].log)
    with contextlib.ExitStack() as stack:
        if ill == "refuses":
            fronts[0].stop()
        else:
            stack.enter_context(fronts[0].fault(httpd.status(500), "^/v2/$"))
        wait_for(lambda: member(s, "ejected", host) == 1, 10, "it is out")
        before = member(s, "ejections_total", host)
        assert tags(ask, s, fresh, 4) == [200] * 4
        assert lists(fronts[0]) == 0 and lists(fronts[1]) >= 4
        wait_for(lambda: s.metrics()["upstream_checks_failed_total"] >= 3, 10, "it is asked again")
        assert member(s, "ejected", host) == 1
        assert member(s, "ejections_total", host) == before
        if ill == "refuses":
            again = rig.another_front(fronts[0].address, port=port).start()
    try:
        wait_for(lambda: member(s, "ejected", host) == 0, 15, "it is back")
        assert "is back by its check" in s.tail(1000)
    finally:
        if again:
            again.stop()


def test_check_ends_with_its_pool(pooled, fronts, rig):
    """A reload without the key, or with another pool, ends the checks of the old one."""
    s = pooled(fronts[0].host, check="1s")
    wait_for(lambda: fronts[0].log, 10, "a check")
    s.reload({f"pool {NAME}": {"servers": fronts[1].host}})
    wait_for(lambda: fronts[1].log, 10, "a check of the other one")
    s.reload({f"pool {NAME}": {"check": None}})
    before = [len(f.log) for f in fronts]
    time.sleep(2.5)
    assert [len(f.log) for f in fronts] == before


# Reloads.

@pytest.mark.usefixtures("straight")
def test_reload_changes_members(pooled, fronts, ask, fresh):
    """A member comes, one goes while a body comes from it, the pool goes: nobody notices, and who
    has gone is not asked again."""
    s = pooled(fronts[0].host)
    digest = fresh.layers[0]
    assert tags(ask, s, fresh, 2) == [200] * 2
    got = []
    with fronts[0].fault(httpd.stall(100000), digest) as f:
        t = threading.Thread(target=lambda: got.append(
            ask(s, f"{fresh.repo}/blobs/{digest}")), daemon=True)
        t.start()
        assert f.held.wait(10)
        s.reload({f"pool {NAME}": {"servers": fronts[0].host + " " + fronts[1].host}})
        assert tags(ask, s, fresh, 4) == [200] * 4
        assert lists(fronts[1]) >= 1
        s.reload({f"pool {NAME}": {"servers": fronts[1].host}})
        before = lists(fronts[0])
        assert tags(ask, s, fresh, 4) == [200] * 4
        assert lists(fronts[0]) == before
        f.release()
    t.join(30)
    assert images.digest_of(got[0].body) == digest
    s.reload({f"pool {NAME}": None})
    before = lists(fronts[1])
    assert tags(ask, s, fresh, 2) == [200] * 2
    assert lists(fronts[1]) == before


def test_reload_keeps_what_is_known(pooled, fronts, rig, ask, fresh):
    """After a reload: who was left out still is, the token is still used, a Retry-After is waited
    for."""
    dead = f"127.0.0.23:{free_port()}"
    s = pooled([dead, fronts[0].host], mirror={"retry_after_max": "1h"})
    assert tags(ask, s, fresh, 3) == [200] * 3
    with fronts[0].fault(httpd.status(429, [("Retry-After", "600")]), "/manifests/", times=1):
        assert ask(s, f"{fresh.repo}/manifests/{fresh.digest}").status == 429
    ejections = member(s, "ejections_total", dead)
    assert ejections >= 1
    asked = len(rig.auth.log), len(fronts[0].log)
    s.reload({"mirror docker.io": {"stale_for": "1d"}})
    a = ask(s, f"{fresh.repo}/manifests/{fresh.digest}")
    assert a.status == 429 and 500 < int(a.get("Retry-After")) <= 600
    assert len(fronts[0].log) == asked[1]
    assert ask(s, f"{fresh.repo}/blobs/{fresh.layers[0]}").status == 200
    assert len(rig.auth.log) == asked[0]                # the same token
    assert not [r for r in list(fronts[0].log)[asked[1]:] if r.status == 401]
    assert member(s, "ejections_total", dead) >= ejections


# Source addresses.

def test_quota_of_each_source(pooled, rig, ask, fresh, fronts):
    """Nobody's quota is told for each source address; a 429 to one lets the other go on, and is
    shown with its address."""
    one, two = "127.0.0.31", "127.0.0.32"
    front = fronts[0]
    s = pooled(front.host, bind=f"{one} {two}", mirror={"retry_after_max": "1h"})

    def limit(req, reply):
        if "/manifests/" in req.target and req.method == "GET" and reply.status == 200:
            left = 5 if req.peer[0] == one else 3
            reply.set("ratelimit-limit", "100;w=21600")
            reply.set("ratelimit-remaining", f"{left};w=21600")
    with front.fault(httpd.Fault(change=limit)):
        others = [images.small(rig.push, fresh.repo, f"{fresh.tag}-{i}") for i in range(3)]
        for i in [fresh, others[0]]:
            assert ask(s, f"{i.repo}/manifests/{i.digest}").status == 200
        assert {r.peer[0] for r in front.seen("/manifests/", "GET")} == {one, two}
    text = s.admin("/metrics")[1]
    for source, left in (one, 5), (two, 3):
        assert re.search(f'quota_remaining{{.*source="{source}"}} {left}\n', text), text

    def refuse(req, reply):
        if req.peer[0] == one:
            reply.status = 429
            reply.set("Retry-After", "600")
    with front.fault(httpd.Fault(change=refuse), "/manifests/"):
        for i in others[1:]:
            assert ask(s, f"{i.repo}/manifests/{i.digest}").status == 200
    assert re.search(f'rest_seconds{{.*source="{one}"}} [56]', s.admin("/metrics")[1])
    assert not re.search(f'rest_seconds{{.*source="{two}"}} [1-9]', s.admin("/metrics")[1])


# Who is next.

def test_leastconn(pooled, fronts, ask, fresh):
    """A member that holds a request is passed over while it does."""
    s = pooled(fronts[0].host + " " + fronts[1].host, balance="leastconn")
    assert tags(ask, s, fresh, 1) == [200]
    slow = httpd.slow_first_byte()
    with faulty(fronts, slow, "/tags/list", times=1):
        t = threading.Thread(target=lambda: tags(ask, s, fresh, 1), daemon=True)
        t.start()
        assert slow.held.wait(10)
        before = [lists(f) for f in fronts]
        assert tags(ask, s, fresh, 6) == [200] * 6
        grew = [lists(f) - n for f, n in zip(fronts, before)]
        assert sorted(grew) == [0, 6]
        slow.release()
    t.join(30)


def test_latency(pooled, fronts, ask, fresh):
    """A member that is slow to answer gets little more than its probes."""
    s = pooled(fronts[0].host + " " + fronts[1].host, balance="latency")
    with fronts[0].fault(httpd.slow_first_byte(0.3), "/tags/list"):
        assert tags(ask, s, fresh, 16) == [200] * 16
        assert lists(fronts[0]) * 2 < lists(fronts[1])
