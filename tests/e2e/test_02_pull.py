"""The main job: an image by skopeo through Sluice, from the registry and then from the cache."""
import hashlib
import os

import pytest

from rig import images
from rig.clients import Mirror, Skopeo
from rig.proc import wait_for
from rig.wire import ACCEPT


@pytest.fixture
def skopeo(sluice, rig, home):
    with Skopeo(home, Mirror("docker.io", sluice.host, rig.ca.pem)) as c:
        yield c


def test_cold_and_warm(sluice, rig, skopeo, alone):
    """Cold: digests are the upstream's, every blob came once by token and CDN, and each is a file
    of the cache.  Warm, within tag_fresh: the same image, and the upstream hears nothing."""
    delta = sluice.delta()
    assert skopeo.pull(alone.name) == alone.digest
    assert skopeo.has(alone)
    assert sorted(r.path[-64:] for r in rig.cdn.log) == sorted(d[7:] for d in alone.blobs)
    assert 1 <= len(rig.auth.log) <= len(os.sched_getaffinity(0))       # each worker has its tokens
    # Clients have a blob when it is verified; its file has its name when it was synced.
    wait_for(lambda: delta()["fills_ok_total"] >= len(alone.blobs) + 1, 10, lambda: str(delta()))
    for d in alone.blobs:
        assert images.digest_of(sluice.blob_file(d).read_bytes()) == d
    cold = delta()
    assert cold["fills_ok_total"] >= len(alone.blobs) and cold["fills_failed_total"] == 0
    assert cold["bytes_up_total"] >= sum(alone.blobs.values())

    rig.reset()
    delta = sluice.delta()
    assert skopeo.pull(alone.name) == alone.digest
    assert skopeo.has(alone)
    assert not rig.cdn.log and not rig.front.log and not rig.auth.log
    warm = delta()
    assert warm["bytes_up_total"] == 0 and warm["fills_total"] == 0
    assert warm["cache_hits_total"] >= len(alone.blobs)


@pytest.mark.versions
def test_manifest_as_upstream_has_it(wire, fresh):
    """A manifest by tag and by digest: bytes, type, digest and length are the upstream's."""
    w = wire(name="docker.mirror.test")
    for ref in (fresh.tag, fresh.digest):
        a = w.ask("GET", f"/v2/{fresh.repo}/manifests/{ref}", *ACCEPT, host="docker.mirror.test")
        assert (a.status, a.body) == (200, fresh.raw)
        assert a.get("Content-Type") == fresh.media
        assert a.get("Docker-Content-Digest") == fresh.digest
        assert a.get("Content-Length") == str(len(fresh.raw))


def test_accept_lines(wire, rig):
    """Several Accept lines, one line, none, */*: all get the index; upstream sees the full list."""
    m = images.multi(rig.push, "library/accepts")
    for i, accept in enumerate((ACCEPT, ["Accept: */*"], [],
                                ["Accept: application/vnd.oci.image.index.v1+json, */*"])):
        a = wire().ask("GET", f"/v2/docker.io/{m.repo}/manifests/latest", *accept)
        assert (a.status, a.body) == (200, m.raw), accept
    asked = ",".join(rig.front.seen("/manifests/latest")[-1].all("Accept"))
    for kind in ("oci.image.index", "oci.image.manifest", "manifest.list.v2", "manifest.v2"):
        assert kind in asked


@pytest.mark.versions
def test_digest_with_narrow_accept(wire, rig):
    """By digest the stored bytes and type come whatever Accept says, cold and warm."""
    m = images.multi(rig.push, "library/narrow")
    for _ in range(2):
        a = wire().ask("GET", f"/v2/docker.io/{m.repo}/manifests/{m.manifests[0]}",
                       "Accept: application/vnd.oci.image.config.v1+json")
        assert (a.status, a.get("Content-Type")) == (200, images.MANIFEST)
        assert images.digest_of(a.body) == m.manifests[0]


def test_multi_arch(sluice, rig, skopeo):
    """All of an index: both architectures, digests equal, each blob once."""
    m = images.multi(rig.push, "library/both")
    assert skopeo.pull(m.name, everything=True) == m.digest
    assert sorted(r.path[-64:] for r in rig.cdn.log) == sorted(d[7:] for d in m.blobs)


def test_many_layers(sluice, rig, skopeo):
    """31 layers, cold and warm."""
    m = images.many_layers(rig.push, "library/many")
    for _ in range(2):
        assert skopeo.pull(m.name) == m.digest and skopeo.has(m)
    assert len(rig.cdn.log) == len(m.blobs)


@pytest.mark.versions
def test_blob_headers(wire, fresh):
    """A blob says its length, digest, type, ranges, and that it never changes; cold as warm."""
    path = f"/v2/docker.io/{fresh.repo}/blobs/{fresh.layers[0]}"
    for _ in range(2):
        a = wire().ask("GET", path)
        assert hashlib.sha256(a.body).hexdigest() == fresh.layers[0][7:]
        assert a.get("Content-Length") == str(fresh.blobs[fresh.layers[0]])
        assert a.get("Docker-Content-Digest") == fresh.layers[0]
        assert a.get("Content-Type") == "application/octet-stream"
        assert a.get("Accept-Ranges") == "bytes"
        assert a.get("ETag") == f'"{fresh.layers[0]}"'
        assert a.get("Content-Encoding") is None


def test_shared_blob_is_fetched_once(rig, wire):
    """One blob in two repositories: one transfer."""
    one, two = (images.small(rig.push, f"library/shared{i}") for i in (1, 2))
    layer = one.layers[0]
    rig.push.blob(two.repo, rig.registry.blob_path(layer).read_bytes(), two)
    for repo in (one.repo, two.repo):
        a = wire().ask("GET", f"/v2/docker.io/{repo}/blobs/{layer}")
        assert images.digest_of(a.body) == layer
    assert len(rig.cdn.seen(layer[7:])) == 1
