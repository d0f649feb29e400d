"""python3 -m rig.crowd PORT CA COUNT: that many TLS connections that made one request and are idle.

Prints "ready" and holds them until its input ends.  Several processes of this make thousands."""
import resource
import sys

from .wire import Wire, tls_context


def main():
    port, ca, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context, held = tls_context(ca), []
    for _ in range(count):
        w = Wire(("127.0.0.1", port), ca=True, context=context)
        assert w.ask("GET", "/v2/").status == 200
        w.tls = w.inward = w.outward = None     # the TLS object is 60 KB; the socket is enough
        held.append(w)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
