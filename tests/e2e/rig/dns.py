"""A tiny name server over UDP: A and AAAA from a table, NXDOMAIN, silence on demand."""
import collections
import ipaddress
import socket
import struct
import threading

A, AAAA = 1, 28


class Dns:
    """names: {"registry.test": ["127.0.0.1", "::1"]}; a name with [] exists without addresses."""
    def __init__(self, address="127.0.0.1", port=0):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((address, port))
        self.host = "%s:%d" % self.sock.getsockname()
        self.names, self.ttl = {}, 1
        self.dead = False                               # ask in vain
        self.log = collections.deque(maxlen=10000)      # (name, type)

    def start(self):
        threading.Thread(target=self.run, name="dns", daemon=True).start()
        return self

    def stop(self):
        self.sock.close()

    def run(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(4096)
                answer = self.answer(query)
                if answer:
                    self.sock.sendto(answer, peer)
            except OSError:
                return
            except (IndexError, struct.error, UnicodeDecodeError):
                continue

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        name, end = ".".join(labels), at + 5
        kind = struct.unpack_from("!H", query, at + 1)[0]
        self.log.append((name, kind))
        if self.dead:
            return None
        found = [ipaddress.ip_address(x) for x in self.names.get(name, ())]
        found = [x.packed for x in found if {4: A, 6: AAAA}[x.version] == kind]
        code = 0 if name in self.names else 3
        head = query[:2] + struct.pack("!5H", 0x8580 | code, 1, len(found), 0, 0)
        return head + query[12:end] + b"".join(
            struct.pack("!3HIH", 0xC00C, kind, 1, self.ttl, len(x)) + x for x in found)
