"""Debian's docker-registry (distribution 2.8) on loopback, behind token authentication."""
import pathlib
import subprocess

from .proc import Process, free_port, wait_for
from .tokens import ISSUER, SERVICE

CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}, maxthreads: 100}}
  delete: {{enabled: true}}
  cache: {{blobdescriptor: inmemory}}
http: {{addr: "127.0.0.1:{port}", relativeurls: true, secret: rig}}
auth:
  token: {{realm: "{realm}", service: {service}, issuer: {issuer}, rootcertbundle: {bundle}}}
"""


class Registry(Process):
    def __init__(self, folder, auth):
        self.root = pathlib.Path(folder) / "registry"
        self.root.mkdir(parents=True)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        conf = self.root / "config.yml"
        conf.write_text(CONFIG.format(root=self.root / "data", port=self.port, realm=auth.realm,
                                      service=SERVICE, issuer=ISSUER, bundle=auth.cert))
        super().__init__(["docker-registry", "serve", conf], self.root / "log",
                         env={"OTEL_TRACES_EXPORTER": "none"})
        wait_for(self.answers, 15, lambda: f"docker-registry: {self.tail()}")

    def answers(self):
        self.check()
        out = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "5",
                              f"http://{self.host}/v2/"], capture_output=True, text=True)
        return out.stdout == "401"

    def blob_path(self, digest):
        alg, _, hexa = digest.partition(":")
        return self.root / f"data/docker/registry/v2/blobs/{alg}/{hexa[:2]}/{hexa}/data"
