"""What stands before a public registry: a TLS front that sends blobs to a signed CDN address."""
import contextlib
import hashlib
import hmac
import http.client
import re
import secrets
import time
import urllib.parse

from .httpd import CHUNK, Reply, Server

BLOB = re.compile(r"^/v2/(.+)/blobs/(sha256:[0-9a-f]{64})$")
HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}


class Cdn(Server):
    """Serves blobs by signed, expiring links only; refuses any Authorization as S3 does."""
    name = "cdn"

    def __init__(self, address, cert, registry):
        super().__init__(address, cert)
        self.registry, self.secret = registry, secrets.token_bytes(16)
        self.public = self.host         # what stands in the links
        self.link_s = 300               # how long they live

    def sign(self, path, expires):
        text = f"{path}?{expires}".encode()
        return hmac.new(self.secret, text, hashlib.sha256).hexdigest()

    def link(self, digest, host=None):
        path, expires = f"/store/{digest.replace(':', '/')}", int(time.time()) + self.link_s
        return f"https://{host or self.public}{path}?expires={expires}&sig={self.sign(path, expires)}"

    def answer(self, req):
        if req.get("Authorization"):
            return xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        path, _, query = req.target.partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        expires = query.get("expires", "0")
        good = hmac.compare_digest(query.get("sig", ""), self.sign(path, expires))
        if req.method != "GET" or not good or int(expires) <= time.time():
            return xml(403, "AccessDenied", "Request has expired or is not signed")
        digest = "sha256:" + path.rpartition("/")[2]
        return serve_file(self.registry.blob_path(digest), req.get("Range"))


def xml(code, name, text):
    return Reply(code, [("Content-Type", "application/xml")],
                 f"<Error><Code>{name}</Code><Message>{text}</Message></Error>")


def serve_file(path, wanted):
    """The file, or one range of it; several ranges get the whole, as with S3."""
    try:
        size = path.stat().st_size
    except OSError:
        return xml(404, "NoSuchKey", path.name)
    headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"),
               ("ETag", f'"{path.parent.name[:32]}"')]
    m = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if not m or not any(m.groups()):
        return Reply(200, headers, read(path, 0, size), size)
    first = int(m[1]) if m[1] else max(0, size - int(m[2]))
    last = min(int(m[2]), size - 1) if m[1] and m[2] else size - 1
    if first > last:
        return Reply(416, [("Content-Range", f"bytes */{size}")])
    headers.append(("Content-Range", f"bytes {first}-{last}/{size}"))
    return Reply(206, headers, read(path, first, last + 1 - first), last + 1 - first)


def read(path, offset, left):
    with path.open("rb") as f:
        f.seek(offset)
        while left and (c := f.read(min(CHUNK, left))):
            left -= len(c)
            yield c


class Front(Server):
    """Passes requests on to docker-registry; blob GETs that it allows go to the CDN by 307.

    What a test may set: redirect (False: blobs come through here), extra (paths answered from
    memory, as a newer registry has them: {path: Reply}), names ({from: to}, replaced in the
    Location and WWW-Authenticate that go out).
    """
    name = "front"

    def __init__(self, address, cert, registry, cdn, port=0):
        super().__init__(address, cert, port)
        self.registry, self.cdn = registry, cdn
        self.defaults()

    def defaults(self):
        self.redirect, self.extra, self.names = True, {}, {}

    def answer(self, req):
        r = self.extra.get(req.target) or self.extra.get(req.path)
        if r:
            return Reply(r.status, list(r.headers), r.body)
        blob = BLOB.match(req.path)
        if blob and req.method == "GET" and self.redirect:
            reply = self.ask(req, "HEAD")
            if reply.status in (200, 206):
                reply = Reply(307, [("Location", self.cdn.link(blob[2])),
                                    ("Docker-Distribution-Api-Version", "registry/2.0")])
            else:
                reply = self.ask(req, "GET")
        else:
            reply = self.ask(req, req.method)
        for name in ("Location", "WWW-Authenticate"):
            for k, v in list(reply.headers):
                if k.lower() == name.lower():
                    for old, new in self.names.items():
                        v = v.replace(old, new)
                    reply.set(name, v)
        return reply

    def ask(self, req, method):
        conn = http.client.HTTPConnection(self.registry.host, timeout=60)
        conn.putrequest(method, req.target, skip_host=True, skip_accept_encoding=True)
        for k, v in req.headers:
            if k.lower() not in HOP:
                conn.putheader(k, v)
        sized = req.get("Content-Length")
        chunks = sized is None and req.get("Transfer-Encoding")
        if chunks:
            conn.putheader("Transfer-Encoding", "chunked")
        conn.endheaders()
        for c in req.body:
            conn.send(b"%x\r\n%b\r\n" % (len(c), c) if chunks else c)
        if chunks:
            conn.send(b"0\r\n\r\n")
        r = conn.getresponse()
        headers = [(k, v) for k, v in r.getheaders()
                   if k.lower() not in HOP | {"content-length", "date"}]
        size = r.getheader("Content-Length")
        if method == "HEAD":
            conn.close()
            return Reply(r.status, headers, b"", int(size or 0))
        return Reply(r.status, headers, relay(conn, r), int(size) if size is not None else None)


def relay(conn, r):
    with contextlib.closing(conn):
        while c := r.read(CHUNK):
            yield c
