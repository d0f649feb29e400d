"""One folder of files as a registry's paths: every server serves these same bytes."""
import hashlib
import io
import json
import pathlib
import random
import tarfile

MB = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REPO = "v2/bench/blob"
IMAGE = "v2/bench/image"


class Files:
    """root/v2/...: a blob of 64 MiB, a manifest of 2 KiB, an image of 31 layers, cold blobs.  many():
    blobs for more than memory holds."""
    def __init__(self, root, cold_mb, cold_count, seed=1):
        self.root = pathlib.Path(root)
        self.random = random.Random(seed)
        self.big_bytes, self.lots = 64 * MB, []
        self.big = self.blob(REPO, self.big_bytes)
        self.manifest = self.add_manifest(REPO, [self.blob(REPO, 1000) for _ in range(11)])
        layers = [self.layer(n, self.random.randrange(10_000, 2 * MB)) for n in range(31)]
        self.image = self.add_manifest(IMAGE, layers, tag="latest")
        self.image_paths = [self.image, *layers]
        self.cold = [self.blob(REPO, cold_mb * MB) for _ in range(cold_count)]

    def write(self, path, data):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return f"/{path}"

    def many(self, mb, count):
        """Made when first asked for."""
        if not self.lots:
            self.lots = [self.blob(REPO, mb * MB) for _ in range(count)]
        return self.lots

    def layer(self, n, size):
        """One that dockerd can unpack."""
        out = io.BytesIO()
        entry = tarfile.TarInfo(f"file{n}")
        entry.size = size
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(entry, io.BytesIO(self.random.randbytes(size)))
        return self.put_blob(IMAGE, out.getvalue())

    def blob(self, repo, size):
        return self.put_blob(repo, self.random.randbytes(size))

    def put_blob(self, repo, data):
        return self.write(f"{repo}/blobs/sha256:{hashlib.sha256(data).hexdigest()}", data)

    def add_manifest(self, repo, layers, tag=None):
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                             "history": [{"created_by": "bench"} for _ in layers],
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
