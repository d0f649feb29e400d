"""Real images made without a network, and pushed straight into the rig's docker-registry."""
import gzip
import hashlib
import http.client
import io
import json
import random
import subprocess
import tarfile
from dataclasses import dataclass, field

OCI = "application/vnd.oci.image."
INDEX, MANIFEST, CONFIG = (OCI + x for x in ("index.v1+json", "manifest.v1+json", "config.v1+json"))
LAYER = {"gzip": OCI + "layer.v1.tar+gzip", "zstd": OCI + "layer.v1.tar+zstd"}
MB = 1 << 20


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Image:
    """What a test compares with; manifests: one per architecture, the digest that a tag names."""
    repo: str
    tag: str
    digest: str = ""
    raw: bytes = b""
    media: str = MANIFEST
    blobs: dict = field(default_factory=dict)           # digest: size, configs included
    layers: list = field(default_factory=list)          # digests of the first architecture
    manifests: list = field(default_factory=list)       # digests of those below an index

    @property
    def name(self):
        return f"{self.repo}:{self.tag}"

    @property
    def largest(self):
        return max(self.blobs, key=self.blobs.get)


def blob_path(image, digest):
    """Where a mirror has it, by the registry's name."""
    return f"/v2/docker.io/{image.repo}/blobs/{digest}"


class Pusher:
    """The registry's own push interface, on its plain port, with tokens of our own."""
    def __init__(self, registry, auth):
        self.registry, self.auth = registry, auth
        self.token = {}

    def call(self, method, repo, path, body=b"", kind="application/octet-stream"):
        for fresh in (False, True):         # a token lives for five minutes, the session longer
            if fresh or repo not in self.token:
                self.token[repo] = self.auth.push_token(repo)
            conn = http.client.HTTPConnection(self.registry.host, timeout=120)
            conn.request(method, path, body, {"Authorization": f"Bearer {self.token[repo]}",
                                              "Content-Type": kind})
            r = conn.getresponse()
            text = r.read()
            conn.close()
            if r.status != 401:
                break
        assert r.status < 300, f"{method} {path}: {r.status} {text[:300]}"
        return r

    def blob(self, repo, data, image):
        digest = digest_of(data)
        at = self.call("POST", repo, f"/v2/{repo}/blobs/uploads/").getheader("Location")
        mark = "&" if "?" in at else "?"
        self.call("PUT", repo, f"{at}{mark}digest={digest}", data)
        image.blobs[digest] = len(data)
        return digest

    def manifest(self, repo, ref, document, kind):
        raw = json.dumps(document, indent=3).encode()
        self.call("PUT", repo, f"/v2/{repo}/manifests/{ref}", raw, kind)
        return raw


def noise(seed, size):
    """Incompressible bytes, the same for the same seed."""
    source = random.Random(seed)
    return b"".join(source.randbytes(min(MB, size - at)) for at in range(0, size, MB))


def tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        folders = set()
        for name, data in files.items():
            parts = name.split("/")[:-1]
            for i in range(1, len(parts) + 1):
                if (d := "/".join(parts[:i])) not in folders:
                    folders.add(d)
                    info = tarfile.TarInfo(d)
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    t.addfile(info)
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pack(data, how):
    if how == "zstd":
        return subprocess.run(["zstd", "-q", "-3", "-c"], input=data, stdout=subprocess.PIPE,
                              check=True).stdout
    return gzip.compress(data, 0 if len(data) > 4 * MB else 6, mtime=0)


def push_one(push, image, ref, layers, arch="amd64", how="gzip"):
    """One architecture; layers: a list of {file: bytes}.  Returns its descriptor."""
    tars = [tar(files) for files in layers]
    config = {"architecture": arch, "os": "linux", "config": {"Cmd": ["/bin/sh"]},
              "created": "2024-01-01T00:00:00Z",
              "rootfs": {"type": "layers", "diff_ids": [digest_of(t) for t in tars]},
              "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "rig"}] * len(tars)}
    found = []
    for t in tars:
        data = pack(t, how)
        found.append({"mediaType": LAYER[how], "digest": push.blob(image.repo, data, image),
                      "size": len(data)})
    raw = json.dumps(config).encode()
    image.layers = image.layers or [x["digest"] for x in found]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": found,
                "config": {"mediaType": CONFIG, "digest": push.blob(image.repo, raw, image),
                           "size": len(raw)}}
    image.raw = push.manifest(image.repo, ref or digest_of(json.dumps(document, indent=3).encode()),
                              document, MANIFEST)
    image.digest = digest_of(image.raw)
    return {"mediaType": MANIFEST, "digest": image.digest, "size": len(image.raw),
            "platform": {"architecture": arch, "os": "linux"}}


def plain(push, repo, tag, layers, how="gzip"):
    image = Image(repo, tag)
    push_one(push, image, tag, layers, how=how)
    return image


def multi(push, repo, tag="latest", archs=("amd64", "arm64")):
    image = Image(repo, tag, media=INDEX)
    below = [push_one(push, image, "", [{f"etc/{arch}": f"{repo} {arch}".encode() * 50,
                                         "data": noise(repo + arch, 50000)}], arch) for arch in archs]
    image.manifests = [d["digest"] for d in below]
    image.raw = push.manifest(repo, tag, {"schemaVersion": 2, "mediaType": INDEX,
                                          "manifests": below}, INDEX)
    image.digest = digest_of(image.raw)
    return image


def small(push, repo, tag="latest", salt=""):
    """Three layers, about 300 kB; another salt gives other digests."""
    seed = f"{repo}:{tag}:{salt}"
    return plain(push, repo, tag, [
        {"etc/os-release": b"ID=rig\n", "bin/sh": noise(seed, 200000)},
        {"usr/share/doc/readme": f"{seed}\n".encode() * 2000},
        {"opt/data": noise(seed + "2", 90000)}])


def one_blob(push, repo, size, tag="latest"):
    """One layer of `size` incompressible bytes and a bit."""
    return plain(push, repo, tag, [{"data": noise(f"{repo}:{tag}", size)}])


def many_layers(push, repo, tag="latest", count=31):
    return plain(push, repo, tag, [{f"layer/{i}": noise(f"{repo}{i}", 1000 + 23456 * (i % 16))}
                                   for i in range(count)])


def zstd(push, repo, tag="latest"):
    return plain(push, repo, tag, [{"usr/data": noise(repo, 300000)},
                                   {"etc/text": f"{repo} ".encode() * 9000}], how="zstd")
