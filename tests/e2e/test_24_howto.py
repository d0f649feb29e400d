"""What clients are to be told: `sluice clients`, and the page that a browser gets."""
import json
import re
import shutil
import subprocess
import zlib

import pytest

from rig import images
from rig.clients import Containerd, Docker, Mirror, Podman, Skopeo
from rig.mirror import sluice as run_sluice

NAME = "localhost"      # of every mirror
CHROMIUM = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync").split()
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def howto(sluice, client):
    """{path: text}, and the notes."""
    out = run_sluice("clients", "--json", "-c", sluice.file, client)
    assert out.returncode == 0, out.stderr
    told = json.loads(out.stdout)
    assert told["client"] == client
    return {f["path"]: f["text"] for f in told["files"]}, told["notes"]


@pytest.fixture
def named(start):
    """docker.io at a name that clients of this machine can resolve, the second one by path."""
    return start({"server": {"host": NAME}, "mirror docker.io": {"host": "127.0.0.1"},
                  "mirror second.test": {"host": None}})


def test_podman_and_skopeo(named, rig, home):
    """registries.conf as printed: skopeo pulls docker.io by its host, podman second.test by path."""
    image = images.small(rig.push, "library/howto")
    [(path, text)] = howto(named, "podman")[0].items()
    assert path == "/etc/containers/registries.conf.d/50-sluice.conf"
    for kind, registry in ((Skopeo, "docker.io"), (Podman, "second.test")):
        with kind(home / registry[:1], Mirror(registry, named.host, rig.ca.pem)) as client:
            client.conf.write_text(text)
            before = named.metrics()["requests_total"]
            assert client.pull(image.name) == image.digest
            assert named.metrics()["requests_total"] > before


@pytest.mark.parametrize("registry", ["docker.io", "second.test"])
def test_containerd(named, rig, home, registry):
    """hosts.toml as printed, for each registry."""
    image = images.small(rig.push, "library/howto")
    files = howto(named, "containerd")[0]
    assert len(files) == 2
    text = files[f"/etc/containerd/certs.d/{registry}/hosts.toml"]
    with Containerd(home, Mirror(registry, named.host, rig.ca.pem)) as client:
        text = text.replace('# ca = "/etc/containerd/mirror-ca.pem"',
                            f'ca = "{client.certs / "ca.crt"}"')
        assert "ca.crt" in text
        (client.dir / "hosts" / registry / "hosts.toml").write_text(text)
        assert client.pull(image.name) == image.digest


def test_docker(named, rig, home):
    """daemon.json as printed, whole on stdout, and the CA's folder that the notes name."""
    image = images.small(rig.push, "library/howto")
    out = run_sluice("clients", "-c", named.file, "docker")
    assert out.returncode == 0 and "/etc/docker/daemon.json" in out.stderr
    assert json.loads(out.stdout) == {"registry-mirrors": [named.url]}

    class Told(Docker):
        config = out.stdout

    assert any(f"/etc/docker/certs.d/{named.host}/ca.crt" in n for n in howto(named, "docker")[1])
    with Told(home, Mirror("docker.io", named.host, rig.ca.pem)) as client:
        assert client.pull("howto") == image.digest
    assert named.metrics()["requests_total"] > 0


def test_yaml_and_toml(named):
    """k3s' and BuildKit's files: well-formed, with every registry."""
    yaml = pytest.importorskip("yaml")
    port = named.ports["https"]
    text = howto(named, "k3s")[0]["/etc/rancher/k3s/registries.yaml"]
    assert yaml.safe_load(text) == {"mirrors": {
        "docker.io": {"endpoint": [named.url]},
        "second.test": {"endpoint": [f"https://{NAME}:{port}"]}}}
    tomllib = pytest.importorskip("tomllib")
    text = howto(named, "buildkit")[0]["/etc/buildkit/buildkitd.toml"]
    assert tomllib.loads(text) == {"registry": {
        "docker.io": {"mirrors": [named.host]},
        "second.test": {"mirrors": [f"{NAME}:{port}/second.test"]}}}
    for at, text in howto(named, "containerd")[0].items():
        assert tomllib.loads(text)["host"], at
    assert tomllib.loads(howto(named, "podman")[0].popitem()[1])["registry"]


def test_command_line(named, start):
    """No client named: all; a wrong one: what it must be; a mirror without a name: left out."""
    out = run_sluice("clients", "-c", named.file)
    assert out.returncode == 0 and not out.stderr
    assert all(x in out.stdout for x in ("daemon.json", "hosts.toml", "registries.yaml",
                                         "buildkitd.toml", "50-sluice.conf"))
    out = run_sluice("clients", "-c", named.file, "dockr")
    assert out.returncode == 100 and "docker, containerd" in out.stderr
    out = run_sluice("clients", "-c", "/nowhere.ini")
    assert out.returncode == 1 and "/nowhere.ini" in out.stderr
    s = start({"server": {"host": None}, "mirror second.test": {"host": None}})
    out = run_sluice("clients", "-c", s.file, "podman")
    assert out.returncode == 0 and "second.test" not in out.stdout
    assert "[mirror second.test] is left out" in out.stderr


@pytest.mark.versions
def test_page_only_for_browsers(sluice, rig, wire):
    """GET / with text/html in Accept, at one of our names; all else is as it was."""
    def ask(*headers, path="/", method="GET", host=NAME):
        return wire(name=host).ask(method, path, *headers, host=host)
    page = ask(BROWSER)
    assert page.status == 200 and page.get("Content-Type") == "text/html; charset=utf-8"
    policy = page.get("Content-Security-Policy")
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "script" not in policy and b"<script" not in page.body
    assert not re.search(rb"(src|href)=.?(https?:)?//", page.body)
    assert b"registry-mirrors" in page.body and b"second.test" in page.body
    head = ask(BROWSER, method="HEAD")
    assert int(head.get("Content-Length")) == len(page.body) and not head.body
    for answer in (ask("Accept: */*"), ask(), ask(BROWSER, path="/x"),
                   ask(BROWSER, host="other.test"), ask(BROWSER, method="POST")):
        assert answer.status in (404, 405) and answer.code == "UNSUPPORTED"
    assert ask(BROWSER, path="/v2/").body == b"{}"


def test_page_can_be_off(start, wire):
    """page = no."""
    s = start({"server": {"page": "no"}})
    assert wire(to=s, name=NAME).ask("GET", "/", BROWSER, host=NAME).code == "UNSUPPORTED"


def png_colours(path):
    """Width, height, and the corner's colour, of an 8-bit PNG without interlacing."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    w, h, bits, kind = (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"),
                        data[24], data[25])
    assert bits == 8 and kind in (2, 6)
    at, packed = 8, b""
    while at < len(data):
        n = int.from_bytes(data[at:at + 4], "big")
        if data[at + 4:at + 8] == b"IDAT":
            packed += data[at + 8:at + 8 + n]
        at += 12 + n
    first = zlib.decompressobj().decompress(packed, 4)      # the filter of row 0, its first pixel
    return w, h, tuple(first[1:4])


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium")
def test_page_in_chromium(sluice, home):
    """Screenshots in light and in dark; nothing is blocked by the page's own policy."""
    seen = {}
    for scheme, setting in (("light", 1), ("dark", 0)):
        shot = home / f"{scheme}.png"
        done = subprocess.run(
            ["chromium", *CHROMIUM, f"--user-data-dir={home / scheme}", "--enable-logging=stderr",
             "--ignore-certificate-errors", "--window-size=1000,1400",
             f"--blink-settings=preferredColorScheme={setting}", f"--screenshot={shot}",
             f"https://{NAME}:{sluice.ports['https']}/"],
            capture_output=True, text=True, timeout=90, cwd=home)
        assert shot.exists(), done.stderr[-2000:]
        assert "Content Security Policy" not in done.stderr
        w, h, seen[scheme] = png_colours(shot)
        assert (w, h) == (1000, 1400)
    assert min(seen["light"]) > 200 and max(seen["dark"]) < 60, seen
