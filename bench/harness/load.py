"""Load on a server, from the other core: each gives {requests, bytes, seconds, ...} or raises."""
import json
import pathlib
import re
import subprocess

from .servers import NAME


class LoadError(Exception):
    """The load came to no figures that could be used."""


class Skip(LoadError):
    """This machine cannot run it, whatever the server is."""


def pinned(world, argv):
    return ["taskset", "-c", world.load_cpu, *map(str, argv)]


def call(world, argv, seconds):
    p = subprocess.run(pinned(world, argv), capture_output=True, text=True, timeout=seconds,
                       stdin=subprocess.DEVNULL)
    if p.returncode:
        raise LoadError(f"{argv[0]} exits with {p.returncode}: {(p.stdout + p.stderr)[-600:]}")
    return p.stdout


def loader(world, server, how, targets, *options, name=NAME, file="targets"):
    """bench/load's command: HTTP/1.1, or over TLS 1.3; options as its head says."""
    file = world.dir / file
    file.write_text("".join(f"{t}\n" for t in targets))
    return [world.loader, *(["-t"] if how != "plain" else []), *options, "127.0.0.1", name,
            server.port(how), file]


def begin(world, *args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **kw):
    """The same, and it is not waited for."""
    return subprocess.Popen(pinned(world, loader(world, *args, **kw)), text=True, stdin=stdin,
                            stdout=stdout)


def bulk(world, *args, **kw):
    return json.loads(call(world, loader(world, *args, **kw), 300))


def h2load(world, server, target, conns, streams, requests, bits=128):
    hash_bits = {128: 256, 256: 384}[bits]
    out = call(world, ["h2load", "-t1", f"-c{conns}", f"-m{streams}", f"-n{requests}",
                       "-w", 24, "-W", 26, f"--ciphers=ECDHE-ECDSA-AES{bits}-GCM-SHA{hash_bits}",
                       f"--tls13-ciphers=TLS_AES_{bits}_GCM_SHA{hash_bits}", "--npn-list=h2",
                       "--connect-to", f"127.0.0.1:{server.tls}",
                       f"https://{NAME}:{server.tls}{target}"], 300)
    good = re.search(r"requests: \d+ total, .* (\d+) succeeded", out)
    size = re.search(r"\((\d+)\) data", out)
    took = re.search(r"finished in ([\d.]+)(ms|s|us)", out)
    if not good or int(good[1]) != requests or "Application protocol: h2" not in out:
        raise LoadError(f"h2load: {out[-600:]}")
    return {"requests": requests, "bytes": int(size[1]),
            "seconds": float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[took[2]]}


def wrk(world, server, how, target, conns, seconds):
    """Its server name is that of the address, so it comes to localhost."""
    scheme = "http" if how == "plain" else "https"
    out = call(world, ["wrk", "-t1", f"-c{conns}", f"-d{seconds}s", "--timeout", "30s",
                       f"{scheme}://localhost:{server.port(how)}{target}"], 120)
    got = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", out)
    if not got or "Non-2xx" in out or re.search(r"Socket errors: .*read [1-9]", out):
        raise LoadError(f"wrk: {out[-600:]}")
    return {"requests": int(got[1]), "bytes": 0,
            "seconds": float(got[2]) * {"ms": 1e-3, "s": 1, "m": 60}[got[3]]}


def skopeo(world, server, count):
    """Pulls of the image of 31 layers, each into a folder of its own."""
    total = 0
    for n in range(count):
        to = world.dir / "pull"
        call(world, ["skopeo", "--override-arch", "amd64", "copy", "--quiet", "--src-cert-dir",
                     world.cert_dir, f"docker://localhost:{server.tls}/bench/image:latest",
                     f"dir:{to}"], 120)
        total += sum(f.stat().st_size for f in pathlib.Path(to).iterdir())
        subprocess.run(["rm", "-rf", to], check=True)
    return {"requests": count, "bytes": total, "seconds": 1}
