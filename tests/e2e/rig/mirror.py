"""Sluice under test: writes an INI, starts the binary, reads its metrics and its access log."""
import copy
import http.client
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess

from .proc import Process, free_ports, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("SLUICE", ROOT / "build/sluice")).absolute()
START_MAX_S = 20
# Sanitizers end the process with this code, which no test expects of Sluice.
SAN = {k: ":".join(filter(None, (os.environ.get(k), v))) for k, v in {
    "ASAN_OPTIONS": "exitcode=99:abort_on_error=0", "UBSAN_OPTIONS": "exitcode=99",
    "TSAN_OPTIONS": f"exitcode=99:halt_on_error=0:suppressions={ROOT}/tests/tsan.supp"}.items()}


def is_sanitized():
    """Such a binary has memory of its own."""
    out = subprocess.run(["nm", "-D", BINARY], capture_output=True, text=True).stdout
    return "__asan_init" in out or "__tsan_init" in out


def ini(config):
    """{"section name": {key: value or [values]}} as text; a value None leaves the key out."""
    lines = []
    for section, keys in config.items():
        lines.append(f"[{section}]")
        for k, v in keys.items():
            if v is not None:
                lines.append(f"{k} = {' '.join(map(str, v)) if isinstance(v, list) else v}")
    return "\n".join(lines) + "\n"


def merge(base, more):
    """base with the sections and keys of more over it; a section None is left out."""
    out = copy.deepcopy(base)
    for section, keys in more.items():
        if keys is None:
            out.pop(section, None)
        else:
            out.setdefault(section, {}).update(keys)
    return out


def sluice(*argv, seconds=20):
    """Run the binary to its end."""
    return subprocess.run([BINARY, *map(str, argv)], capture_output=True, text=True,
                          timeout=seconds, stdin=subprocess.DEVNULL, env={**os.environ, **SAN})


def asked():
    """What the environment asks of every Sluice: SLUICE_SET="server.ktls=on cache.free=1M"."""
    out = {}
    for word in os.environ.get("SLUICE_SET", "").split():
        place, _, value = word.partition("=")
        section, _, key = place.rpartition(".")
        out.setdefault(section, {})[key] = value
    return out


class Sluice:
    """By default a mirror of the rig's front, under three names, with all four listeners.

    docker.io     hosts 127.0.0.1 (what dockerd speaks to) and docker.mirror.test
    second.test   host second.mirror.test; the same registry by the same front
    every mirror  by ns or path at mirror.test and localhost
    """
    def __init__(self, rig, folder, config=None, start=True):
        self.rig, self.dir = rig, pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.ports = dict(zip(("https", "http", "plain", "admin"), free_ports(4)))
        self.acme = self.dir / "acme"
        self.cache = self.dir / "cache"
        self.access_path = self.dir / "access.log"
        self.access_from = 0
        self.process = None
        self.net = None                 # a Netns to run in
        names = ["127.0.0.1", "localhost", "mirror.test", "docker.mirror.test",
                 "second.mirror.test"]
        chain, key = rig.ca.dir / "mirror.pem", rig.ca.dir / "mirror.key"
        if not chain.exists():
            rig.ca.issue("mirror", names)
        up = {"upstream": rig.front.url, "ca": rig.ca.pem, "private": "yes", "tag_fresh": "60s",
              "retry_after_max": "0"}     # tests share the upstream, and some limit it
        self.config = merge({
            "server": {**{k: f"127.0.0.1:{p}" for k, p in self.ports.items()},
                       "host": ["mirror.test", "localhost"], "workers": 2,
                       "hsts": "max-age=15552000", "acme_webroot": self.acme,
                       "access_log": self.access_path, "access_format": "json",
                       "control": self.dir / "control.sock"},
            "certificate main": {"chain": chain, "key": key},
            "cache": {"path": self.cache, "size": "4G", "free": "100M"},
            "mirror docker.io": {"host": ["127.0.0.1", "docker.mirror.test"], **up},
            "mirror second.test": {"host": "second.mirror.test", **up},
        }, merge(asked(), config or {}))
        for d in (self.acme, self.cache):
            d.mkdir(exist_ok=True)
        self.file = self.dir / "sluice.ini"
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.child.poll() is None:
            code = self.process.stop(40)
            assert code == 0, f"exit {code} after SIGTERM:\n{self.tail()}"

    @property
    def host(self):
        return f"127.0.0.1:{self.ports['https']}"

    @property
    def url(self):
        return f"https://{self.host}"

    def start(self):
        self.file.write_text(ini(self.config))
        argv = [*(self.net.wrap if self.net else []),
                *shlex.split(os.environ.get("SLUICE_WRAP", "")), BINARY, "serve", "-c", self.file]
        self.process = Process(argv, self.dir / "log", env=SAN)
        wait_for(self.healthy, START_MAX_S, lambda: f"/healthz of Sluice:\n{self.tail()}")
        return self

    def healthy(self):
        self.process.check()
        try:
            return self.admin("/healthz")[0] == 200
        except OSError:
            return False

    def stop(self, seconds=40):
        """SIGTERM; the exit code must be 0."""
        code = self.process.stop(seconds)
        assert code == 0, f"exit {code} after SIGTERM:\n{self.tail()}"

    def term(self):
        self.process.signal(signal.SIGTERM)

    def kill(self):
        self.process.kill()

    def restart(self, config=None):
        self.stop()
        self.config = merge(self.config, config or {})
        return self.start()

    def reload(self, config, want="done"):
        """The file with these changes, SIGHUP, and the log line that must come."""
        self.config = merge(self.config, config)
        self.file.write_text(ini(self.config))
        before = self.tail(4000).count(want)
        self.process.signal(signal.SIGHUP)
        wait_for(lambda: self.tail(4000).count(want) > before, 20,
                 lambda: f"{want}:\n{self.tail()}")

    def tail(self, lines=40):
        return self.process.tail(lines) if self.process else ""

    def admin(self, path):
        if self.net:
            return self.net.inside(lambda: self.ask_admin(path))
        return self.ask_admin(path)

    def ask_admin(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.ports["admin"], timeout=10)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def metrics(self):
        """{name without the prefix: value}; label sets are added up."""
        out = {}
        for line in self.admin("/metrics")[1].splitlines():
            if m := re.match(r"sluice_(\w+)(\{.*\})? ([0-9.e+-]+)$", line):
                out[m[1]] = out.get(m[1], 0) + float(m[3])
        return out

    def delta(self):
        """A function that gives what the metrics grew by since now."""
        before = self.metrics()
        return lambda: {k: v - before.get(k, 0) for k, v in self.metrics().items()}

    def wait_metric(self, name, least, seconds=20):
        return wait_for(lambda: self.metrics().get(name, 0) >= least, seconds,
                        lambda: f"{name} >= {least}; it is {self.metrics().get(name)}")

    def access(self):
        """The access log's lines of requests as a list of dicts."""
        return [x for x in self.access_all() if x["method"] != "PULL"]

    def pulls(self):
        """Its lines of pulls, which come some seconds later."""
        return [x for x in self.access_all() if x["method"] == "PULL"]

    def access_all(self):
        if not self.access_path.exists():
            return []
        return [json.loads(x) for x in self.access_path.read_text().splitlines() if x]

    def wait_access(self, match, count=1, seconds=10):
        """The lines for which match(line) holds, once there are `count` of them."""
        found = []

        def ready():
            found[:] = [x for x in self.access() if match(x)]
            return len(found) >= count
        wait_for(ready, seconds, lambda: f"access log lines; last: {self.access()[-5:]}")
        return found

    def blob_file(self, digest):
        alg, _, hexa = digest.partition(":")
        return self.cache / "blobs" / alg / hexa[:2] / hexa
