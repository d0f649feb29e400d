"""The servers that are compared, each in a folder of its own, on one core, with what they cost."""
import os
import pathlib
import pwd
import re
import shutil
import socket
import ssl
import http.client
import time

from rig import mirror
from rig.proc import Process, free_ports, wait_for

PEERS = pathlib.Path(__file__).resolve().parents[1] / "peers"
NAME = "mirror.test"
PASS = "pass.test"          # its connections are passed on to the origin
TICK = os.sysconf("SC_CLK_TCK")


def tree(pid):
    """The process and all that it started."""
    parent = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parent[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found, todo = set(), [pid]
    while todo:
        p = todo.pop()
        found.add(p)
        todo += [c for c, q in parent.items() if q == p and c not in found]
    return found


def cpu_of(pid):
    """Seconds of all threads, the kernel's workers for io_uring among them, and of ended children."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    clock = ~pid << 3 | 2       # clock_getcpuclockid(3): in ns, where stat has ticks of 10 ms
    return time.clock_gettime(clock) + sum(map(int, fields[13:15])) / TICK


class Server:
    """name: in tables; talks: which of plain, tls, rsa, h2 it speaks; serves: files or a cache."""
    name, talks = "", ("plain", "tls")

    def __init__(self, world, label=None):
        self.world = world
        self.label = label or self.name
        self.dir = world.dir / self.label
        self.dir.mkdir(parents=True, exist_ok=True)
        self.plain, self.tls, self.rsa, self.admin = free_ports(4)
        self.processes = []
        self.group = None       # memory.Group that it is in

    def fill_in(self, template, **more):
        """A peer's configuration with what depends on this run in it."""
        w = self.world
        text = (PEERS / template).read_text()
        values = {"DIR": self.dir, "PLAIN": self.plain, "TLS": self.tls, "RSA": self.rsa,
                  "CHAIN": w.chain, "KEY": w.key, "RSA_CHAIN": w.rsa_chain, "RSA_KEY": w.rsa_key,
                  "CA": w.ca.pem, "FILES": w.files.root, "USER": pwd.getpwuid(os.getuid())[0],
                  **w.origin_ports(), **more}
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        file = self.dir / template
        file.write_text(text)
        return file

    def run(self, *argv, env=None, cpu=None):
        p = Process(["taskset", "-c", self.world.server_cpu if cpu is None else cpu, *argv],
                    self.dir / f"{len(self.processes)}.log", env=env)
        self.processes.append(p)
        return p

    def start(self):
        self.launch()
        wait_for(self.answers, 30, self.trouble)
        return self

    def answers(self):
        for p in self.processes:
            p.check()
        try:
            return self.speaks()
        except OSError:
            return False

    def speaks(self):
        return self.get("/v2/")[0] > 0

    def trouble(self):
        return "\n".join(p.tail() for p in self.processes)

    def get(self, path):
        """(status, body) over the first protocol that it talks."""
        if "plain" in self.talks:
            c = http.client.HTTPConnection("127.0.0.1", self.plain, timeout=60)
        else:
            c = http.client.HTTPSConnection("127.0.0.1", self.tls, timeout=60,
                                            context=ssl._create_unverified_context())
        try:
            c.request("GET", path, headers={"Host": NAME})
            r = c.getresponse()
            return r.status, r.read()
        finally:
            c.close()

    def stop(self):
        for p in self.processes:
            try:
                p.stop(10)
            except Exception:           # it was killed after the bound
                pass
        self.processes = []
        if self.group:
            self.group.close()
        self.group = None

    def restart_empty(self):
        self.stop()
        shutil.rmtree(self.dir)
        self.dir.mkdir()
        self.start()

    def pids(self):
        return set().union(*(tree(p.pid) for p in self.processes))

    def cpu(self):
        return sum(cpu_of(p) for p in self.pids())

    def rss(self):
        """Bytes."""
        total = 0
        for p in self.pids():
            for line in pathlib.Path(f"/proc/{p}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * 1024
        return total

    def port(self, how):
        return {"plain": self.plain, "rsa": self.rsa}.get(how, self.tls)


class Sluice(Server):
    name, talks = "sluice", ("plain", "tls", "rsa", "h2")

    def launch(self):
        w = self.world
        config = {
            "server": {"ktls": "on" if "ktls" in self.label else "off", "https": f"127.0.0.1:{self.tls}", "plain": f"127.0.0.1:{self.plain}",
                       "admin": f"127.0.0.1:{self.admin}", "host": "paths.test", "workers": 1,
                       "access_log": "off", "conns_max": 20000, "idle_timeout": "600s"},
            "certificate bench": {"chain": self.chain(), "key": self.key()},
            "cache": {"path": self.dir / "cache", "size": "20G", "free": "1M",
                      "scrub": "0s"},
            "mirror bench.test": {"host": f"{NAME} localhost", "ca": w.ca.pem, "private": "yes",
                                  "upstream": f"https://localhost:{w.origin.tls}"},
            "passthrough bench": {"sni": PASS, "upstream": f"127.0.0.1:{w.origin.tls}"},
        }
        file = self.dir / "sluice.ini"
        file.write_text(mirror.ini(config))
        self.rsa = self.tls
        self.run(mirror.BINARY, "serve", "-c", file)

    def chain(self):
        return self.world.rsa_chain if self.label.endswith("rsa") else self.world.chain

    def key(self):
        return self.world.rsa_key if self.label.endswith("rsa") else self.world.key

    def engine(self):
        """What it says of it at the start."""
        lines = [x for x in self.trouble().splitlines() if "engine=" in x]
        return "; ".join(" ".join(x.split()[2:]) for x in lines) or "its log does not say"

    def carried(self):
        """{engine: bytes to clients by TLS that it carried}, up to now."""
        c = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            c.request("GET", "/metrics")
            text = c.getresponse().read().decode()
        finally:
            c.close()
        found = dict(re.findall(r"^sluice_tls_(user|kernel)_bytes_total (\d+)", text, re.M))
        return {k: int(v) for k, v in found.items()}


class Nginx(Server):
    name, talks = "nginx", ("plain", "tls", "rsa", "h2")

    def launch(self):
        self.run("nginx", "-c", self.fill_in("nginx.conf"), "-e", self.dir / "error.log")


class Origin(Nginx):
    """The registry behind all caches: nginx, on the load's core."""
    name = "origin"

    def run(self, *argv, **kw):
        return super().run(*argv, cpu=self.world.load_cpu)


class NginxCache(Server):
    name = "nginx proxy_cache"

    def launch(self):
        self.run("nginx", "-c", self.fill_in("nginx-cache.conf"), "-e", self.dir / "error.log")


class H2o(Server):
    name, talks = "h2o", ("plain", "tls", "h2")

    def launch(self):
        self.run("h2o", "-c", self.fill_in("h2o.conf"))


class Varnish(Server):
    name, talks = "varnish+hitch", ("plain", "tls")

    def launch(self):
        w = self.world
        pem = self.dir / "bench.pem"
        pem.write_text(w.key.read_text() + w.chain.read_text())
        self.run("varnishd", "-F", "-j", "none", "-n", self.dir / "work", "-a", f"127.0.0.1:{self.plain}",
                 "-f", self.fill_in("varnish.vcl"), "-s", "malloc,1G", "-p", "timeout_idle=600",
                 "-p", "thread_pools=1")
        self.run("hitch", f"--config={self.fill_in('hitch.conf', PEM=pem)}")


class Registry(Server):
    name, talks = "docker-registry", ("tls",)

    def launch(self):
        self.run("docker-registry", "serve", self.fill_in("registry.yml"),
                 env={"SSL_CERT_FILE": str(self.world.ca.pem), "GOMAXPROCS": "1",
                      "OTEL_TRACES_EXPORTER": "none"})


class Haproxy(Server):
    name, talks = "haproxy", ("pass",)

    def launch(self):
        self.run("haproxy", "-db", "-f", self.fill_in("haproxy.cfg"))

    def speaks(self):
        socket.create_connection(("127.0.0.1", self.tls), 5).close()
        return True


KINDS = {k.name: k for k in (Sluice, Nginx, H2o, Varnish, Registry, NginxCache, Haproxy)}
