"""Pulls by clients that are daemons: one of each for each server, kept until the end."""
import shutil

from rig.clients import Containerd, Docker, Mirror

from .load import Skip

IMAGE = "bench/image:latest"


class Ctr(Containerd):
    def pull(self, name, creds=None, platform=None):
        """What goes over the network, and is not unpacked."""
        self.ctr("content", "fetch", "--hosts-dir", self.dir / "hosts", "--all-platforms",
                 f"{self.mirror.registry}/{name}")


KINDS = {"containerd": Ctr, "docker": Docker}


class Pullers:
    def __init__(self, world):
        self.world, self.made = world, {}

    def get(self, kind, server):
        key = (kind, server.label)
        for program in (kind, *(["dockerd"] if kind == "docker" else ["ctr"])):
            if not shutil.which(program):
                raise Skip(f"{program} is not installed")
        if key not in self.made:
            at = f"localhost:{server.tls}"
            self.made[key] = KINDS[kind](self.world.dir / f"{kind}-{server.label}",
                                         Mirror(at, at, self.world.ca.pem))
        return self.made[key]

    def pull(self, kind, server, count):
        client = self.get(kind, server)
        for _ in range(count):
            client.pull(IMAGE)
            client.forget()
        return {"requests": count, "bytes": 0, "seconds": 1}

    def close(self):
        for c in self.made.values():
            c.close()
        self.made = {}
