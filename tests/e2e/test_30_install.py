"""What is installed beside the binaries: units, pages of the manual, completion, certificates."""
import os
import re
import shutil
import socket
import subprocess

import pytest

from rig.mirror import BINARY, ROOT, sluice as run_sluice

BUILD = BINARY.parent if BINARY.parent != ROOT / "build" else ROOT / "build/release"
PAGES = BUILD / "pages"
REFERENCE = ROOT / "conf/sluice.ini"


def run(*argv, check=True, **kw):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, **kw)
    assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done


def make(what, dest, **kw):
    return run("make", "-C", ROOT, "--no-print-directory", f"BUILD={BUILD}", "NO_APT=1",
               f"DESTDIR={dest}", what, env={**os.environ, "MAKEFLAGS": ""}, **kw)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """`make install` below a folder.  Pages are made here when make has not made them."""
    dest = tmp_path_factory.mktemp("dest")
    if not PAGES.exists():
        pytest.fail(f"{PAGES} does not exist: run make pages", pytrace=False)
    make("install-files", dest)
    return dest


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_install_and_uninstall(tree, tmp_path):
    """A configuration that is there stays; what was installed goes again, the configuration not."""
    names = files(tree)
    for want in ("usr/local/sbin/sluice", "usr/local/sbin/sluice-tune", "etc/sluice/sluice.ini",
                 "usr/local/share/man/man8/sluice.8", "usr/local/share/man/man5/sluice.ini.5",
                 "usr/local/lib/systemd/system/sluice.service"):
        assert want in names
    for n in names:
        assert not re.search(rb"@[A-Z]+@", (tree / n).read_bytes()) or "/sbin/" in n, n
    (tmp_path / "etc/sluice").mkdir(parents=True)
    (tmp_path / "etc/sluice/sluice.ini").write_text("; mine\n")
    make("install-files", tmp_path)
    assert (tmp_path / "etc/sluice/sluice.ini").read_text() == "; mine\n"
    make("uninstall", tmp_path)
    assert files(tmp_path) == ["etc/sluice/sluice.ini"]


@pytest.mark.parametrize("name, most", [("sluice", 2.0), ("sluice-tune", 5.0)])
def test_units(tree, name, most, tmp_path):
    """systemd finds no mistake, and the service is shut in."""
    unit = tmp_path / f"{name}.service"
    text = (tree / f"usr/local/lib/systemd/system/{name}.service").read_text()
    unit.write_text(text.replace("/usr/local/sbin", str(tree / "usr/local/sbin")))
    done = run("systemd-analyze", "verify", "--man=no", unit)
    assert not done.stderr.strip(), done.stderr
    score = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit, check=False)
    found = re.search(rf"exposure level for {name}.service: ([\d.]+)", score.stdout)
    assert found and float(found[1]) <= most, score.stdout + score.stderr


def test_io_uring_is_permitted(tree):
    """The filter names what a systemd that is older or newer may not have in @system-service."""
    text = (tree / "usr/local/lib/systemd/system/sluice.service").read_text()
    for call in ("io_uring_setup", "io_uring_enter", "io_uring_register"):
        assert re.search(rf"^SystemCallFilter=@system-service .*\b{call}\b", text, re.M)


def keys_of_reference():
    """{(section, key): default or None}"""
    out, section = {}, None
    for line in REFERENCE.read_text().splitlines():
        if m := re.match(r";?\[(\w+)", line):
            section = m[1]
        elif m := re.match(r"(;?)(\w+) = (.*)", line):
            out[section, m[2]] = m[3]
    return out


def test_every_key_is_in_the_manual():
    """sluice.ini(5) is made of the table; the reference names the same keys."""
    page = (PAGES / "sluice.ini.5").read_text()
    found, section = {}, None
    for m in re.finditer(r'^\.SH "\[(\w+)|^\.TP\n\.B (\S+)\n(.+)\n\.br\n(.+)$', page, re.M):
        section = m[1] or section
        if m[2]:
            found[section, m[2]] = m[4]
            assert m[3][:-1].strip() and m[3].endswith("."), m[0]
    want = keys_of_reference()
    assert set(found) == set(want)
    for key, form in found.items():
        if m := re.search(r"default: (.*?)(; takes a restart)?$", form):
            assert m[1] in ("none", want[key].replace("-", r"\-")), (key, form)
        else:
            assert "; required" in form


def test_pages_are_laid_out_without_a_warning(tree):
    if not shutil.which("man"):
        pytest.skip("no man")
    for page in (tree / "usr/local/share/man").rglob("*.[58]"):
        done = run("man", "--warnings", "-l", page, env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"})
        assert not done.stderr and len(done.stdout) > 500, done.stderr


def commands():
    return dict(re.findall(r"^  sluice (\S+) (.*)$", run_sluice("help").stdout, re.M))


def test_manual_and_help_name_the_same_commands(tree):
    page = (tree / "usr/local/share/man/man8/sluice.8").read_text()
    assert set(re.findall(r"^\.B sluice ([a-z]+)", page, re.M)) == set(commands())


def complete(tree, program, *words):
    """What bash offers behind these words."""
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); ' \
             'f=$(complete -p "$1" | sed "s/.* -F \\([^ ]*\\) .*/\\1/"); $f; printf "%s\\n" "${COMPREPLY[@]}"'
    path = tree / f"usr/local/share/bash-completion/completions/{program}"
    return run("bash", "-euc", script, "bash", path, program, *words).stdout.split()


def test_completion(tree):
    """Every command and each of its options; the words to choose from; files are left to bash."""
    assert set(complete(tree, "sluice", "")) == set(commands()) | {"help"}
    assert complete(tree, "sluice", "ver") == ["verify", "version"]
    for name, rest in commands().items():
        usage = re.split(r"  +", rest.strip())[0] if rest.strip().startswith("[") else ""
        assert set(complete(tree, "sluice", name, "-")) == set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", usage)), name
    if "clients" in commands():
        assert "podman" in complete(tree, "sluice", "clients", "po")
    assert complete(tree, "sluice", "check", "-c", "") == []
    tune = run(BUILD / "sluice-tune", "--help").stdout
    assert set(re.findall(r"--[a-z-]+", tune)) == set(complete(tree, "sluice-tune", "check", "--"))
    assert set(re.findall(r"sluice-tune \[?([a-z]+)", tune)) == set(complete(tree, "sluice-tune", "")) - {"--help"}


def test_logrotate(tree, tmp_path):
    """logrotate takes the file."""
    log = tmp_path / "access.log"
    log.write_text("x\n")
    conf = tmp_path / "conf"
    conf.write_text((tree / "etc/logrotate.d/sluice").read_text().replace("/var/log/sluice/*.log", str(log)))
    done = run("/usr/sbin/logrotate", "-d", "-f", "-s", tmp_path / "state", conf)
    assert "error" not in done.stderr and f"rotating log {log}" in done.stderr


# The certificate.

@pytest.fixture
def certificate(tree, tmp_path):
    def call(*argv, check=True, **env):
        return run(tree / "usr/local/share/sluice/certificate", *argv, check=check, env={
            **os.environ, "TLS_DIR": str(tmp_path / "tls"), "TLS_GROUP": "root", **env})
    return call


def test_self_made_certificate(certificate, tmp_path):
    """For the names that are given; one that is there is never replaced."""
    certificate("self", "mirror.example.com", "docker.example.com")
    chain, key = (tmp_path / "tls" / x for x in ("fullchain.pem", "privkey.pem"))
    text = run("openssl", "x509", "-in", chain, "-noout", "-text").stdout
    assert "DNS:mirror.example.com, DNS:docker.example.com" in text
    assert key.stat().st_mode & 0o777 == 0o640
    before = chain.read_bytes()
    certificate("self")
    assert chain.read_bytes() == before
    assert sorted(os.listdir(tmp_path / "tls")) == ["fullchain.pem", "privkey.pem"]


def test_certificate_is_taken_up(certificate, shared_rig, tmp_path):
    """As certbot hands it over, and by name; a key of another certificate changes nothing."""
    ca = shared_rig.ca
    certificate("self")
    chain, key = ca.issue("lineage", ["mirror.example.com"])[:2]
    lineage = tmp_path / "live"
    lineage.mkdir()
    shutil.copy(chain, lineage / "fullchain.pem")
    shutil.copy(key, lineage / "privkey.pem")
    certificate(RENEWED_LINEAGE=str(lineage))
    ours = tmp_path / "tls/fullchain.pem"
    assert ours.read_bytes() == (lineage / "fullchain.pem").read_bytes()
    other = ca.issue("other", ["other.example.com"])[1]
    for argv, why in ((("install", chain, other), "is not the key of"), (("install", chain), "two files"),
                      (("install", key, key), "no certificate"), (("install", tmp_path / "none", key), "readable"),
                      ((), "say self"), (("renew",), "'renew' must be")):
        done = certificate(*argv, check=False)
        assert done.returncode == 1 and why in done.stderr, (argv, done.stderr)
    assert ours.read_bytes() == (lineage / "fullchain.pem").read_bytes()


# The service manager.

def test_the_service_manager_is_told(start, tmp_path):
    """READY when it serves, RELOADING and READY around a reload, good or bad, STOPPING at the end."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    s = start({"server": {"drain_timeout": "5s"}}, start=False)
    os.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    try:
        s.start()
    finally:
        del os.environ["NOTIFY_SOCKET"]

    def told():
        return dict(x.split("=", 1) for x in manager.recv(4096).decode().splitlines())
    assert told() == {"READY": "1", "STATUS": "serving"}
    s.reload({"cache": {"size": "3G"}})
    first = told()
    assert first["RELOADING"] == "1" and int(first["MONOTONIC_USEC"]) > 0
    assert told() == {"READY": "1", "STATUS": "serving"}
    s.reload({"cache": {"size": "none"}}, "refused")
    assert told()["RELOADING"] == "1"
    assert "refused" in told()["STATUS"]
    s.stop()
    last = told()
    assert last["STOPPING"] == "1" and int(last["EXTEND_TIMEOUT_USEC"]) >= 5_000_000
    manager.close()


def test_starter_file_is_good(certificate, tmp_path):
    """The file that comes with Sluice starts where the package or `certificate self` made a
    certificate: no more than the paths differ here."""
    certificate("self")
    ini = tmp_path / "sluice.ini"
    (tmp_path / "acme").mkdir()
    ini.write_text(REFERENCE.read_text().replace("/etc/sluice/tls", str(tmp_path / "tls")).replace(
        "/var/lib/sluice/acme", str(tmp_path / "acme")))
    done = run_sluice("check", "-c", ini)
    assert done.returncode == 0 and not done.stderr, done.stderr
