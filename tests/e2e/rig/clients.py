"""Real clients, each with storage and configuration of its own under a temporary folder.

A Target says how a client reaches an image: straight at the registry, or by a mirror.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
from dataclasses import dataclass

from .proc import Process, wait_for

RUN_MAX_S = 150


def run(*argv, env=None, check=True, seconds=RUN_MAX_S, text=True, **kw):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=text, timeout=seconds,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, **kw)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {done.returncode}\n{done.stdout[-2000:]}"
                           f"\n{done.stderr[-3000:]}")
    return done


def curl(*argv, ca, check=True, seconds=60, text=True):
    return run("curl", "-sS", "--noproxy", "*", "-m", seconds, "--cacert", ca, *argv, check=check,
               seconds=seconds + 10, text=text)


@dataclass
class Mirror:
    """registry: the name in references; at: HOST:PORT; path: "" or the prefix under which the
    registry is found there; ca: what the mirror's certificate is checked with."""
    registry: str
    at: str
    ca: pathlib.Path
    path: str = ""


def registries_conf(mirror):
    """podman's and skopeo's file: pulls of the registry go to the mirror, and nowhere else."""
    at = "/".join(x for x in (mirror.at, mirror.path) if x)
    return (f'unqualified-search-registries = []\n[[registry]]\nprefix = "{mirror.registry}"\n'
            f'location = "unreachable.invalid"\n[[registry.mirror]]\nlocation = "{at}"\n')


class Client:
    """folder: its home.  pull() returns the digest that the client itself reports."""
    def __init__(self, folder, mirror):
        self.dir, self.mirror = pathlib.Path(folder), mirror
        self.dir.mkdir(parents=True, exist_ok=True)
        self.certs = self.dir / "certs"
        self.certs.mkdir(exist_ok=True)
        shutil.copy(mirror.ca, self.certs / "ca.crt")
        self.conf = self.dir / "registries.conf"
        straight = mirror.registry == mirror.at and not mirror.path
        self.conf.write_text("" if straight else registries_conf(mirror))

    def forget(self):
        """Remove what was pulled."""

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Skopeo(Client):
    def pull(self, name, to=None, creds=None, everything=False):
        out = pathlib.Path(to or self.dir / "image")
        shutil.rmtree(out, ignore_errors=True)
        more = (["--all"] if everything else []) + (["--src-creds", creds] if creds else [])
        run("skopeo", "--registries-conf", self.conf, "copy", "--quiet", "--src-cert-dir",
            self.certs, *more, f"docker://{self.mirror.registry}/{name}", f"dir:{out}")
        return digest_of_file(out / "manifest.json")

    def has(self, image):
        """Every blob of the image was written."""
        return set(d[7:] for d in image.blobs) <= {p.name for p in (self.dir / "image").iterdir()}

    def inspect_raw(self, name):
        return run("skopeo", "--registries-conf", self.conf, "inspect", "--raw", "--cert-dir",
                   self.certs, f"docker://{self.mirror.registry}/{name}").stdout


def digest_of_file(path):
    return "sha256:" + run("sha256sum", path).stdout.split()[0]


class Podman(Client):
    def podman(self, *argv, **kw):
        return run("podman", "--root", self.dir / "root", "--runroot", self.dir / "run",
                   "--tmpdir", self.dir / "tmp", "--storage-driver", "overlay",
                   "--events-backend", "none", "--cgroup-manager", "cgroupfs", *argv,
                   env={"CONTAINERS_REGISTRIES_CONF": str(self.conf)}, **kw)

    def pull(self, name, creds=None):
        more = ["--creds", creds] if creds else []
        ref = f"{self.mirror.registry}/{name}"
        self.podman("pull", "-q", "--cert-dir", self.certs, *more, ref)
        return self.podman("image", "inspect", "--format", "{{.Digest}}", ref).stdout.strip()

    def forget(self):
        self.podman("rmi", "--all", "--force")

    def close(self):
        with contextlib.suppress(RuntimeError):
            self.podman("system", "reset", "--force")


CONTAINERD = """version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{dir}/sock"
[ttrpc]
  address = "{dir}/sock.ttrpc"
"""


class Containerd(Client):
    """A private containerd, driven by ctr with hosts.toml."""
    def __init__(self, folder, mirror):
        super().__init__(folder, mirror)
        hosts = self.dir / "hosts" / mirror.registry
        hosts.mkdir(parents=True)
        path = f"/v2/{mirror.path}" if mirror.path else ""
        here = f"https://{mirror.at}{path}"
        (hosts / "hosts.toml").write_text(
            f'server = "{here}"\nca = "{self.certs / "ca.crt"}"\n'
            f'{"override_path = true" if path else ""}\n'
            f'[host."{here}"]\n  capabilities = ["pull", "resolve"]\n'
            f'  ca = "{self.certs / "ca.crt"}"\n'
            f'  {"override_path = true" if path else ""}\n')
        (self.dir / "config.toml").write_text(CONTAINERD.format(dir=self.dir))
        self.daemon = Process(["containerd", "-c", self.dir / "config.toml"], self.dir / "log")
        wait_for(self.ready, 20, self.daemon.tail, pause=0.1)

    def ready(self):
        self.daemon.check()
        return self.ctr("version", check=False, seconds=10).returncode == 0

    def ctr(self, *argv, **kw):
        return run("ctr", "--address", self.dir / "sock", *argv, **kw)

    def pull(self, name, creds=None, platform=None):
        ref = f"{self.mirror.registry}/{name}"
        more = ["--user", creds] if creds else []
        more += ["--platform", platform] if platform else ["--all-platforms"]
        self.ctr("images", "pull", "--hosts-dir", self.dir / "hosts", *more, ref)
        for line in self.ctr("images", "ls").stdout.splitlines():
            if line.startswith(ref + " "):
                return re.search(r"sha256:[0-9a-f]{64}", line)[0]
        raise RuntimeError(f"ctr has no {ref}")

    def has(self, image):
        return set(image.blobs) <= set(self.ctr("content", "ls", "-q").stdout.split())

    def forget(self):
        for name in self.ctr("images", "ls", "-q").stdout.split():
            self.ctr("images", "rm", "--sync", name)

    def close(self):
        self.daemon.stop()
        unmount_below(self.dir)


class Docker(Client):
    """A private dockerd without firewall and bridge.

    Its mirror is for docker.io only; a mirror.registry of HOST:PORT is pulled from straight.
    """
    config = "{}"       # daemon.json; if it is another, it has the mirror
    def __init__(self, folder, mirror):
        super().__init__(folder, mirror)
        self.ca_dir = pathlib.Path("/etc/docker/certs.d") / mirror.at
        self.ca_dir.mkdir(parents=True)             # ours alone: fails if it is there
        self.daemons = []
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        shutil.copy(self.certs / "ca.crt", self.ca_dir)
        (self.dir / "daemon.json").write_text(self.config)
        (self.dir / "containerd.toml").write_text(CONTAINERD.format(dir=self.dir / "ctd"))
        (self.dir / "ctd").mkdir()
        self.daemons.append(Process(["containerd", "-c", self.dir / "containerd.toml"],
                                    self.dir / "containerd.log"))
        argv = ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none",
                "--config-file", self.dir / "daemon.json", "--data-root", self.dir / "root",
                "--exec-root", self.dir / "exec", "--pidfile", self.dir / "pid",
                "--containerd", self.dir / "ctd/sock", "--host", self.socket]
        if self.mirror.registry == "docker.io" and self.config == "{}":
            argv += ["--registry-mirror", f"https://{self.mirror.at}"]
        self.daemons.append(Process(argv, self.dir / "log"))
        wait_for(self.ready, 40, self.daemons[-1].tail, pause=0.2)

    @property
    def socket(self):
        return f"unix://{self.dir}/sock"

    def ready(self):
        self.daemons[-1].check()
        return self.docker("version", check=False, seconds=10).returncode == 0

    def docker(self, *argv, **kw):
        return run("/usr/bin/docker", "--host", self.socket, "--config", self.dir / "cli", *argv,
                   **kw)

    def log(self):
        return (self.dir / "log").read_text()

    def version(self):
        text = self.docker("version", "--format", "{{.Server.Version}}").stdout
        return tuple(int(x) for x in re.findall(r"\d+", text)[:2])

    def pull(self, name):
        ref = name if self.mirror.registry == "docker.io" else f"{self.mirror.registry}/{name}"
        self.docker("pull", "-q", ref)
        found = json.loads(self.docker("image", "inspect", ref).stdout)[0]["RepoDigests"][0]
        return found.partition("@")[2]

    def forget(self):
        if ids := self.docker("images", "-q").stdout.split():
            self.docker("rmi", "-f", *set(ids))

    def close(self):
        for d in reversed(self.daemons):
            d.stop()
        unmount_below(self.dir)
        shutil.rmtree(self.ca_dir)


def unmount_below(folder):
    for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
        at = line.split()[1]
        if at.startswith(f"{folder}/"):
            run("umount", "-l", at, check=False)


CLIENTS = {"skopeo": Skopeo, "podman": Podman, "ctr": Containerd, "docker": Docker}
