"""A throw-away certificate authority: everything it makes lives in one folder and dies with it."""
import ipaddress
import pathlib
import subprocess


def openssl(*args, **kw):
    return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, **kw).stdout


class CA:
    def __init__(self, folder, name="Sluice test CA"):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.pem, self.key = self.dir / "ca.pem", self.dir / "ca.key"
        if not self.pem.exists():
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-days", 30, "-subj", f"/CN={name}", "-keyout", self.key,
                    "-out", self.pem, "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, label, names, rsa=False, days=20):
        """A server certificate for DNS names and addresses; returns (chain, key) paths."""
        chain, key = self.dir / f"{label}.pem", self.dir / f"{label}.key"
        csr, ext = self.dir / f"{label}.csr", self.dir / f"{label}.ext"
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        ext.write_text("basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
                       "subjectAltName=" + ",".join(map(san, names)) + "\n")
        openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", f"/CN={label}",
                "-keyout", key, "-out", csr)
        openssl("x509", "-req", "-in", csr, "-CA", self.pem, "-CAkey", self.key,
                "-CAcreateserial", "-days", days, "-extfile", ext, "-out", chain)
        return chain, key


def san(name):
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"
