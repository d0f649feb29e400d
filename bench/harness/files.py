"""One folder of files as a registry's paths: every server serves these same bytes."""
import hashlib
import json
import pathlib
import random

MB = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REPO = "v2/bench/blob"
IMAGE = "v2/bench/image"


class Files:
    """root/v2/...: a blob of 64 MiB, a manifest of 2 KiB, an image of 31 layers, cold blobs."""
    def __init__(self, root, cold_mb, cold_count, seed=1):
        self.root = pathlib.Path(root)
        self.random = random.Random(seed)
        self.big_bytes = 64 * MB
        self.big = self.blob(REPO, self.big_bytes)
        self.manifest = self.add_manifest(REPO, [self.blob(REPO, 1000) for _ in range(11)])
        layers = [self.blob(IMAGE, self.random.randrange(10_000, 2 * MB)) for _ in range(31)]
        self.image = self.add_manifest(IMAGE, layers, tag="latest")
        self.image_paths = [self.image, *layers]
        self.cold = [self.blob(REPO, cold_mb * MB) for _ in range(cold_count)]

    def write(self, path, data):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return f"/{path}"

    def blob(self, repo, size):
        data = self.random.randbytes(size)
        return self.write(f"{repo}/blobs/sha256:{hashlib.sha256(data).hexdigest()}", data)

    def add_manifest(self, repo, layers, tag=None):
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                             "rootfs": {"type": "layers", "diff_ids": [
                                 x.rsplit("/", 1)[1] for x in layers]}}).encode()
        path = f"{repo}/blobs/sha256:{hashlib.sha256(config).hexdigest()}"
        self.write(path, config)
        text = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self.entry(f"/{path}", "application/vnd.oci.image.config.v1+json"),
            "layers": [self.entry(x, "application/vnd.oci.image.layer.v1.tar") for x in layers],
        }).encode()
        if tag:
            self.write(f"{repo}/manifests/{tag}", text)
        return self.write(f"{repo}/manifests/sha256:{hashlib.sha256(text).hexdigest()}", text)

    def entry(self, path, kind):
        return {"mediaType": kind, "size": (self.root / path[1:]).stat().st_size,
                "digest": path.rsplit("/", 1)[1]}
