"""A TCP server of a few lines, for what is no HTTP or must not become one."""
import contextlib
import socket
import threading

HELD_MAX_S = 30


class Listener:
    """Takes connections and says nothing, or does with each what `serve` says, in a thread of its
    own, and then closes it.  seen: who came; errors: what serve raised."""
    def __init__(self, address="127.0.0.1", port=0, serve=None):
        self.sock = socket.create_server((address, port))
        self.host = "%s:%d" % self.sock.getsockname()
        self.seen, self.open, self.errors, self.serve = [], [], [], serve
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                c, peer = self.sock.accept()
            except OSError:
                return
            c.settimeout(HELD_MAX_S)
            self.open.append(c)
            self.seen.append(peer)
            if self.serve:
                threading.Thread(target=self.one, args=(c,), daemon=True).start()

    def one(self, c):
        try:
            self.serve(c)
        except Exception as e:          # noqa: BLE001 - looked at by the test
            self.errors.append(repr(e))
        finally:
            c.close()

    def stop(self):
        for s in [self.sock, *self.open]:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
