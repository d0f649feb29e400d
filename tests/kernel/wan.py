"""A wide-area network inside a guest: three hosts around a router that delays, loses and limits.

    up      10.9.1.2    a namespace: the registry
    mirror  10.9.2.2    the guest's first namespace, so that loopback is a client near the mirror
    far     10.9.3.2    a namespace: a client behind the same kind of line

Each line's netem is at the router's end, so a sender's queue (fq) is its own.  Packets are single
segments: netem would lose whole 64 KB of offloaded ones.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
sys.dont_write_bytecode = True

from rig.proc import Process, wait_for              # noqa: E402

HOSTS = {"up": "10.9.1", "mirror": "10.9.2", "far": "10.9.3"}
PORT = 8080                         # of the registry and of the mirror
UPSTREAM = f"http://10.9.1.2:{PORT}"


def at(host):
    """What has to stand before a command for it to run there."""
    return [] if host == "mirror" else ["ip", "netns", "exec", host]


def run(text, host="mirror", seconds=60, script=None):
    p = subprocess.run(at(host) + text.split(), capture_output=True, text=True, timeout=seconds,
                       input=script or "")
    if p.returncode:
        raise RuntimeError(f"{host}: {text}: {p.stderr.strip() or p.stdout.strip()}")
    return p.stdout


class Wan:
    def __init__(self, rtt_ms=200, loss=1.0, mbit=100):
        self.shape = f"delay {rtt_ms / 2:g}ms loss {loss:g}% rate {mbit}mbit limit 4000"
        for name in ("wan", "up", "far"):
            run(f"ip netns add {name}")
        for host, net in HOSTS.items():
            run("ip -batch -", host, script=self.line(host, net, 2) + f"""
                link set dev lo up
                route add default via {net}.1""")
            run("tc qdisc add dev wan0 root fq", host)
            run("sysctl -qw net.ipv4.tcp_no_metrics_save=1", host)
        run("ip -batch -", "wan", script="".join(self.line(h, net, 1) for h, net in HOSTS.items()))
        run("sysctl -qw net.ipv4.ip_forward=1", "wan")
        self.reshape(self.shape, "add")

    def line(self, host, net, end):
        """One end of a line: the host's makes it, the router's is 1."""
        name = host if end == 1 else "wan0"
        make = "" if end == 1 else f"link add name wan0 type veth peer name {host} netns wan"
        return f"""
            {make}
            address add {net}.{end}/24 dev {name}
            link set dev {name} gso_max_segs 1 up
            """

    @contextlib.contextmanager
    def calm(self):
        """While in force, no delay and no loss."""
        self.reshape("delay 0ms loss 0% rate 1gbit limit 4000")
        yield
        self.reshape(self.shape)

    def reshape(self, shape, how="change"):
        run("tc -batch -", "wan", script="".join(
            f"qdisc {how} dev {host} root netem {shape}\n" for host in HOSTS))


def congestion(host, name):
    """Of the sockets that are made there from now on."""
    run(f"sysctl -qw net.ipv4.tcp_congestion_control={name}", host)


def registry(folder):
    """Blobs as files of `folder`, named by digest, at UPSTREAM."""
    p = Process(at("up") + ["/usr/bin/python3", HERE / "wan.py", folder], folder / "registry.log")
    wait_for(lambda: p.check() or "listening" in p.tail(), 60, p.tail)
    return p


def serve(folder):
    from rig.front import serve_file
    from rig.httpd import Reply, Server

    class Blobs(Server):
        name = "blobs"

        def answer(self, req):
            if req.path == "/v2/":
                return Reply(200)
            return serve_file(folder / req.path.rpartition("sha256:")[2], req.get("Range"))

    server = Blobs("10.9.1.2", port=PORT)
    print("listening", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(pathlib.Path(sys.argv[1]))
