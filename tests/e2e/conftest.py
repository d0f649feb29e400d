"""One rig and one Sluice for the whole session; a test that changes settings starts its own."""
import os
import re
import zlib
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from rig import Rig, images                         # noqa: E402
from rig.listener import Listener               # noqa: E402
from rig.mirror import BINARY, Sluice               # noqa: E402
from rig.netns import leave_network                 # noqa: E402
from rig.wire import Wire                           # noqa: E402
from rig.wire2 import Wire2                         # noqa: E402

NEEDED = "docker-registry skopeo podman containerd ctr dockerd openssl curl zstd h2load".split()
OURS = f"sluice-e2e.{os.getpid()}."
started = []            # every Sluice of the running test, for the report of a failure


def on_sigterm(*_):
    raise KeyboardInterrupt("SIGTERM")


def pytest_configure(config):
    config.addinivalue_line("markers", "versions: run by HTTP/1.1 and by HTTP/2")
    signal.signal(signal.SIGTERM, on_sigterm)       # fixtures end what they started
    if "PYTEST_XDIST_WORKER" in os.environ:
        leave_network()                             # no other lane has a port of ours
    missing = [c for c in NEEDED if not shutil.which(c)]
    if missing:
        raise pytest.UsageError(f"missing: {' '.join(missing)}; `make test` installs them")


@pytest.fixture(scope="session")
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix=OURS))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def home():
    """A folder with a short path: podman's may have 50 characters, a socket's 107."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=OURS))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_rig(folder):
    rig = Rig(folder)
    yield rig
    rig.stop()


@pytest.fixture
def rig(shared_rig):
    """The session's rig with empty logs and its settings as at the start."""
    shared_rig.reset()
    return shared_rig


@pytest.fixture(scope="session")
def big(shared_rig):
    """An image with a 400 MB layer, made once."""
    return images.one_blob(shared_rig.push, "library/big", 400 << 20)


@pytest.fixture
def fresh(rig, request):
    """A small image of this test's own, in no cache yet."""
    return images.small(rig.push, "library/fresh", tag_of(request))


@pytest.fixture
def alone(rig, request):
    """The same in a repository of its own, for which no worker has a token yet."""
    return images.small(rig.push, "library/" + tag_of(request))


@pytest.fixture
def blob(rig, request):
    """(image, digest) of an 8 MB layer of the test's own."""
    image = images.one_blob(rig.push, "library/" + tag_of(request), 8 << 20)
    return image, image.largest


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("versions"):
        metafunc.parametrize("wire", ["1.1", "2"], indirect=True)


def tag_of(request):
    """Of this test and these parameters alone, and a legal tag and repository name."""
    name = request.node.name.lower()
    plain = re.sub("[^a-z0-9]+", "-", name)[:100].strip("-")
    return f"{plain}-{zlib.crc32(name.encode()):08x}"


def need_binary():
    if not BINARY.exists():
        pytest.fail(f"{BINARY} does not exist: run make", pytrace=False)


@pytest.fixture(scope="session")
def shared_sluice(shared_rig, folder):
    need_binary()
    with Sluice(shared_rig, folder / "sluice") as s:
        yield s


@pytest.fixture
def sluice(shared_sluice, rig):
    """The session's Sluice, for tests that leave it as it is."""
    started.append(shared_sluice)
    if shared_sluice.process.child.poll() is not None:
        shared_sluice.start()           # a test before this one brought it down
    return shared_sluice


@pytest.fixture
def start(rig, tmp_path_factory):
    """start({section: {key: value}}): a Sluice of the test's own, stopped at its end."""
    need_binary()
    running = []

    def begin(config=None, **kw):
        running.append(Sluice(rig, tmp_path_factory.mktemp("own"), config, start=False))
        started.append(running[-1])
        return running[-1].start() if kw.get("start", True) else running[-1]
    yield begin
    for s in running:
        s.__exit__()
        shutil.rmtree(s.dir, ignore_errors=True)


@pytest.fixture
def wire(sluice, rig, request):
    """wire(): a raw TLS connection to the session's Sluice; wire(to=other, name=SNI, ..).  Where
    `versions` is set, the test's ask() is by HTTP/1.1 and then by HTTP/2."""
    opened, by_2 = [], getattr(request, "param", "1.1") == "2"

    def connect(to=None, port="https", kind=None, **kw):
        kw.setdefault("ca", rig.ca.pem if port == "https" else None)
        kind = kind or (Wire2 if by_2 and port == "https" else Wire)
        opened.append(kind(("127.0.0.1", (to or sluice).ports[port]), **kw))
        return opened[-1]
    yield connect
    for w in opened:
        w.close()


@pytest.fixture
def listen():
    """listen(address, serve=..): a Listener, ended with the test."""
    running = []

    def begin(*args, **kw):
        running.append(Listener(*args, **kw))
        return running[-1]
    yield begin
    for x in running:
        x.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for s in started:
            if s.process:
                report.sections.append((f"log of {s.file}", s.tail()))
                last = s.access_path.read_text().splitlines()[-8:] if s.access_path.exists() else []
                report.sections.append(("access log", "\n".join(last)))
    if call.when == "teardown":
        started.clear()


def pytest_sessionfinish(session):
    """What the session mounted (containers' storage) must not stay behind."""
    for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
        at = line.split()[1]
        if f"/{OURS}" in at:
            subprocess.run(["umount", "-l", at], check=False)


# What takes long and is near to what another test shows; SLUICE_LONG=1 runs it.
LONG = ("test_18_loss.py::test_whole_blob_over_loss",
        "test_20_faults.py::test_wrong_body[length-too-large]",
        "test_20_faults.py::test_upstream_gone[silent]",
        "test_08_clients.py::test_400_mb_layer[ctr-host]",
        "test_08_clients.py::test_400_mb_layer[podman-host]")


def pytest_collection_modifyitems(items):
    if os.environ.get("SLUICE_LONG"):
        return
    for item in items:
        if item.nodeid.endswith(LONG):
            item.add_marker(pytest.mark.skip(reason="takes long: SLUICE_LONG=1 runs it"))
