"""The rig: a real registry with tokens and a redirecting CDN before it, on loopback, over TLS.

    front    127.0.0.1   what Sluice and clients take for the registry
    auth     127.0.0.2   its token realm
    cdn      127.0.0.3   where its blobs are
    dns      127.0.0.1   registry.test, auth.test, cdn.test (UDP, for [resolver] nameservers)
"""
import pathlib

from .ca import CA
from .dns import Dns
from .front import Cdn, Front
from .images import Pusher
from .registry import Registry
from .tokens import TokenServer

LOOPBACK = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "::1", "localhost"]


class Rig:
    def __init__(self, folder):
        self.dir = pathlib.Path(folder)
        self.ca = CA(self.dir / "ca")
        self.cert = self.ca.issue("upstream", LOOPBACK + ["registry.test", "auth.test", "cdn.test"])
        self.auth = TokenServer("127.0.0.2", self.cert, self.ca.dir).start()
        self.registry = Registry(self.dir, self.auth)
        self.cdn = Cdn("127.0.0.3", self.cert, self.registry).start()
        self.front = self.another_front().start()
        self.push = Pusher(self.registry, self.auth)
        self.dns = Dns().start()
        self.dns.names = {"registry.test": ["127.0.0.1"], "auth.test": ["127.0.0.2"],
                          "cdn.test": ["127.0.0.3"]}
        self.servers = [self.front, self.auth, self.cdn]

    def another_front(self, address="127.0.0.1", cert=None, port=0):
        """One more front before the same registry, with a log and faults of its own."""
        return Front(address, cert or self.cert, self.registry, self.cdn, port)

    def reset(self):
        """Forget what was seen; settings as at the start."""
        for s in self.servers:
            s.log.clear()
        self.front.defaults()
        self.auth.defaults()
        self.cdn.link_s, self.cdn.public = 300, self.cdn.host
        self.dns.dead = False

    def stop(self):
        for s in self.servers:
            s.stop()
        self.dns.stop()
        self.registry.stop()
