"""Real clients through Sluice, cold and warm, digests equal to the upstream's."""
import pytest

from rig import images
from rig.clients import CLIENTS, Docker, Mirror

# How each client is told of the mirror: by its host, or by a path under a host of all mirrors.
WAYS = {"skopeo": ["host", "path"], "podman": ["host", "path"], "ctr": ["host", "path"],
        "docker": ["host"]}


def mirror(sluice, rig, way):
    if way == "host":
        return Mirror("docker.io", sluice.host, rig.ca.pem)
    return Mirror("docker.io", f"localhost:{sluice.ports['https']}", rig.ca.pem, "docker.io")


@pytest.fixture(scope="module", params=[(n, w) for n in CLIENTS for w in WAYS[n]],
                ids=lambda p: "-".join(p))
def client(request, shared_sluice, shared_rig, folder):
    """A client with daemons of its own, used by all tests of the module that follow."""
    name, way = request.param
    home = folder / f"{name[:3]}{way[0]}"           # podman wants short paths
    with CLIENTS[name](home, mirror(shared_sluice, shared_rig, way)) as c:
        c.name = f"{name}-{way}"
        yield c


def name_for(client, image):
    """dockerd knows library/ images of docker.io by their short names."""
    return image.name.removeprefix("library/") if isinstance(client, Docker) else image.name


def cold_and_warm(client, rig, sluice, image):
    """Two pulls: both right; the first takes each blob once, the second asks the upstream nothing."""
    rig.reset()
    assert client.pull(name_for(client, image)) == image.digest
    asked = [r.path[-64:] for r in rig.cdn.log]
    assert len(asked) == len(set(asked)) and set(asked) == {d[7:] for d in image.blobs}
    client.forget()
    rig.reset()
    assert client.pull(name_for(client, image)) == image.digest
    assert not rig.cdn.log and not rig.front.log
    assert sluice.process.child.poll() is None


def test_small(client, rig, sluice):
    """A small image of the client's own."""
    cold_and_warm(client, rig, sluice, images.small(rig.push, f"library/{client.name}-small"))


def test_multi_arch(client, rig, sluice):
    """An index: the digest reported is the index's, blobs those of the architectures pulled."""
    image = images.multi(rig.push, f"library/{client.name}-multi", archs=("amd64", "arm64"))
    rig.reset()
    assert client.pull(name_for(client, image)) in (image.digest, *image.manifests)
    rig.reset()
    client.forget()
    client.pull(name_for(client, image))
    assert not rig.cdn.log and not rig.front.log


def test_zstd(client, rig, sluice):
    """zstd layers, but for docker 20.10, which cannot unpack them from any registry."""
    image = images.zstd(rig.push, f"library/{client.name}-zstd")
    if isinstance(client, Docker) and client.version() < (23,):
        with pytest.raises(RuntimeError):           # then it tries docker.io itself, in vain
            client.pull(name_for(client, image))
        assert "invalid tar header" in client.log()
        return
    cold_and_warm(client, rig, sluice, image)


def test_31_layers(client, rig, sluice):
    """31 layers: many connections at once."""
    cold_and_warm(client, rig, sluice, images.many_layers(rig.push, f"library/{client.name}-many"))


def test_400_mb_layer(client, rig, sluice, big):
    """A 400 MB layer; the first client of the session finds it cold."""
    if client.name.endswith("path"):
        pytest.skip("once for each client is enough")
    assert client.pull(name_for(client, big)) == big.digest
    first = rig.cdn.seen(big.largest[7:])
    client.forget()
    assert client.pull(name_for(client, big)) == big.digest
    seen = rig.cdn.seen(big.largest[7:])
    assert len(seen) == len(first)
    # One transfer.  On a slow machine lanes join it: ranges, which are no second one.
    assert len([r for r in seen if r.status != 206]) <= 1
    assert sum(r.sent for r in seen) <= 1.25 * sluice.blob_file(big.largest).stat().st_size
    assert images.digest_of(sluice.blob_file(big.largest).read_bytes()) == big.largest


def test_unknown_image(client, rig):
    """No such image: the client says so, and does not hang."""
    with pytest.raises(RuntimeError):
        client.pull("library/no-such-image:latest" if not isinstance(client, Docker)
                    else "no-such-image:latest")
