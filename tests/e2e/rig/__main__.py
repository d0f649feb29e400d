"""python3 -m rig FOLDER: the rig alone, with one image, until SIGTERM; for tests/demo.

Writes FOLDER/env, variables for a shell, when everything is there.
"""
import pathlib
import signal
import sys

from . import Rig, images
from .proc import free_port

MB = 1 << 20


def image_files():
    """The layers of a small system that runs: busybox, if this machine has it, and some data."""
    busybox = pathlib.Path("/bin/busybox")
    tool = busybox.read_bytes() if busybox.exists() else images.noise("busybox", 2 * MB)
    return [{"bin/busybox": tool, "bin/sh": tool},
            {"etc/os-release": b"NAME=Demo\nID=demo\n", "etc/motd": b"pulled through Sluice\n"},
            *({f"srv/data{i}": images.noise(f"data{i}", 20 * MB)} for i in range(3))]


def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)   # asked again while it ends
    sys.exit(0)


def main():
    folder = pathlib.Path(sys.argv[1])
    signal.signal(signal.SIGTERM, end)
    rig = Rig(folder)
    try:
        image = images.plain(rig.push, "library/demo", "latest", image_files())
        chain, key = rig.ca.issue("mirror", ["localhost", "127.0.0.1"])
        rig.reset()
        env = {"CA": rig.ca.pem, "CHAIN": chain, "KEY": key, "UPSTREAM": rig.front.url,
               "DIGEST": image.digest, "BYTES": sum(image.blobs.values()),
               "LAYERS": len(image.layers), "PORT": free_port(), "ADMIN": free_port()}
        text = "".join(f"{k}='{v}'\n" for k, v in env.items())
        (folder / "env.new").write_text(text)
        (folder / "env.new").rename(folder / "env")
        signal.pause()
    finally:
        rig.stop()


main()
