"""HTTP/1.1 towards clients: ranges, conditions, connections, and everything malformed."""
import re

import pytest

from rig import httpd, images
from rig.wire import ACCEPT, Ended

HOST = "mirror.test"


@pytest.fixture(scope="module")
def image(shared_rig):
    return images.one_blob(shared_rig.push, "library/http", 700_000)


@pytest.fixture(scope="module")
def blob(shared_rig, image):
    """The bytes of its layer."""
    return shared_rig.registry.blob_path(image.layers[0]).read_bytes()


@pytest.fixture(scope="module")
def path(image):
    return f"/v2/docker.io/{image.repo}/blobs/{image.layers[0]}"


@pytest.fixture(params=["cold", "warm"])
def ranged(request, rig, wire, image, blob, path):
    """(path, bytes) of a blob that is not in the cache, or is."""
    if request.param == "warm":
        assert wire().ask("GET", path).body == blob
        return path, blob
    tag = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    one = images.one_blob(rig.push, "library/http-cold", 300_000, tag)
    return (f"/v2/docker.io/{one.repo}/blobs/{one.layers[0]}",
            rig.registry.blob_path(one.layers[0]).read_bytes())


@pytest.mark.versions
@pytest.mark.parametrize("spec, first, last", [
    ("bytes=500-1499", 500, 1499), ("bytes=500-", 500, None), ("bytes=-500", -500, None),
    ("bytes=0-0", 0, 0), ("bytes=200000-9999999", 200000, None), ("bytes=-9999999", 0, None)])
def test_one_range(wire, ranged, spec, first, last):
    """One range, clipped to the blob: 206, its bytes, Content-Range; from cold and from warm."""
    where, blob = ranged
    first = first + len(blob) if first < 0 else first
    last = len(blob) - 1 if last is None else last
    a = wire().ask("GET", where, f"Range: {spec}")
    assert a.status == 206
    assert a.get("Content-Range") == f"bytes {first}-{last}/{len(blob)}"
    assert a.get("Content-Length") == str(last + 1 - first)
    assert a.body == blob[first:last + 1]


@pytest.mark.versions
def test_range_not_satisfiable(wire, ranged):
    """A range beyond the end: 416 and the length."""
    where, blob = ranged
    a = wire().ask("GET", where, f"Range: bytes={len(blob)}-")
    assert (a.status, a.get("Content-Range")) == (416, f"bytes */{len(blob)}")


@pytest.mark.versions
@pytest.mark.parametrize("spec", ["bytes=500-0", "bytes=abc-", "lines=1-2", "bytes=-", "bytes="])
def test_range_malformed(wire, path, blob, spec):
    """A malformed range or another unit is ignored (RFC 9110 14.2) or answered 400 or 416."""
    a = wire().ask("GET", path, f"Range: {spec}")
    assert a.status in (200, 400, 416)
    if a.status == 200:
        assert a.body == blob


def multipart(a):
    """[(first, last, bytes)] of a multipart/byteranges answer; checks its shape to the byte."""
    boundary = re.fullmatch(r'multipart/byteranges; ?boundary="?([^"]+)"?', a.get("Content-Type"))[1]
    mark = f"--{boundary}".encode()
    body, parts = a.body.removeprefix(b"\r\n"), []
    while not body.startswith(mark + b"--"):
        assert body.startswith(mark + b"\r\n"), body[:80]
        head, _, body = body[len(mark) + 2:].partition(b"\r\n\r\n")
        m = re.search(rb"(?i)content-range: bytes (\d+)-(\d+)/(\d+)", head)
        first, last = int(m[1]), int(m[2])
        parts.append((first, last, body[:last + 1 - first]))
        body = body[last + 1 - first:]
        assert body.startswith(b"\r\n")
        body = body[2:]
    assert body in (mark + b"--", mark + b"--\r\n")
    return parts


@pytest.mark.versions
def test_several_ranges(wire, ranged):
    """Several ranges: multipart/byteranges in the order asked for, length exact."""
    where, blob = ranged
    n = len(blob)
    w = wire()
    a = w.ask("GET", where, f"Range: bytes=0-9,1000-1999, {n - 5}-")
    assert a.status == 206
    assert multipart(a) == [(0, 9, blob[:10]), (1000, 1999, blob[1000:2000]), (n - 5, n - 1, blob[-5:])]
    assert w.ask("GET", "/v2/").status == 200


@pytest.mark.versions
def test_podmans_thousand_ranges(wire, ranged):
    """A Range header of 32 KB, as podman's zstd:chunked may send."""
    where, blob = ranged
    wanted = [(i * 200, i * 200 + 20 + i % 7) for i in range(1400)]
    text = "bytes=" + ",".join(f"{a:011d}-{b:011d}" for a, b in wanted)
    assert len(text) > 32 * 1024
    a = wire().ask("GET", where, f"Range: {text}")
    assert a.status == 206
    assert multipart(a) == [(x, y, blob[x:y + 1]) for x, y in wanted]


@pytest.mark.versions
def test_too_many_ranges(wire, path):
    """More ranges than Sluice takes: 400, which podman understands, not 416 nor 431."""
    spec = "bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(3000))
    assert wire().ask("GET", path, f"Range: {spec}").status == 400


@pytest.mark.versions
def test_overlapping_ranges(wire, path, blob):
    """Overlapping ranges cannot make an answer much larger than the blob (RFC 9110 17.15)."""
    spec = "bytes=" + ",".join(["0-"] * 1000)
    a = wire().ask("GET", path, f"Range: {spec}")
    assert a.status in (200, 206, 400, 416)
    assert len(a.body) < 3 * len(blob)


@pytest.mark.versions
def test_range_of_head_and_if_range(wire, path, blob, image):
    """If-Range with our ETag keeps the range; with another one the whole comes."""
    tag = f'"{image.layers[0]}"'
    a = wire().ask("GET", path, "Range: bytes=1-3", f"If-Range: {tag}")
    assert (a.status, a.body) == (206, blob[1:4])
    a = wire().ask("GET", path, "Range: bytes=1-3", 'If-Range: "another"')
    assert (a.status, a.body) == (200, blob)


@pytest.mark.versions
def test_conditional(wire, path, image, blob):
    """If-None-Match with the digest, in a list, weak, or *: 304 without a body; else the blob."""
    tag = f'"{image.layers[0]}"'
    w = wire()
    for value in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        a = w.ask("GET", path, f"If-None-Match: {value}")
        assert (a.status, a.get("ETag")) == (304, tag), value
    assert w.ask("GET", path, 'If-None-Match: "x"').body == blob
    ref = f"/v2/docker.io/{image.repo}/manifests/latest"
    etag = w.ask("GET", ref, *ACCEPT).get("ETag")
    assert w.ask("GET", ref, *ACCEPT, f"If-None-Match: {etag}").status == 304


@pytest.mark.versions
def test_head(wire, path, image, blob, rig):
    """HEAD of blob and manifest: the head of GET, no body, the connection goes on.  A cold blob's
    HEAD fetches nothing from the CDN."""
    w = wire()
    one = images.small(rig.push, "library/head")
    a = w.ask("HEAD", f"/v2/docker.io/{one.repo}/blobs/{one.layers[0]}")
    assert (a.status, a.get("Content-Length")) == (200, str(one.blobs[one.layers[0]]))
    assert a.get("Docker-Content-Digest") == one.layers[0]
    assert not rig.cdn.log
    a = w.ask("HEAD", path)
    assert (a.status, a.get("Content-Length")) == (200, str(len(blob)))
    a = w.ask("HEAD", f"/v2/docker.io/{image.repo}/manifests/latest", *ACCEPT)
    assert (a.status, a.get("Content-Length")) == (200, str(len(image.raw)))
    assert a.get("Docker-Content-Digest") == image.digest
    assert a.get("Content-Type") == image.media
    assert w.ask("GET", path).body == blob


def test_keep_alive(wire, path, blob, sluice):
    """Many requests on one connection; Connection: close ends it after the answer."""
    delta = sluice.delta()
    w = wire()
    for _ in range(20):
        assert w.ask("GET", path, "Range: bytes=0-99").body == blob[:100]
    a = w.ask("GET", path, "Connection: close")
    assert a.body == blob and a.get("Connection", "").lower() == "close"
    assert w.closed() == "close_notify"
    assert delta()["connections_total"] == 1


def test_http_1_0(wire, path, blob):
    """HTTP/1.0: answered, then closed."""
    w = wire()
    w.send(f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n")
    assert w.answer().body == blob
    assert w.closed() == "close_notify"


def test_pipelining(wire, path, blob):
    """Requests sent at once, blobs, errors and HEAD among them, are answered in their order."""
    w = wire()
    kinds = [("GET", path, 200), ("GET", "/none", 404), ("HEAD", path, 200), ("GET", "/v2/", 200),
             ("GET", "/v2/docker.io/library/none/manifests/x", 404)] * 8
    w.send("".join(f"{m} {p} HTTP/1.1\r\nHost: {HOST}\r\n\r\n" for m, p, _ in kinds))
    for method, p, status in kinds:
        a = w.answer(method)
        assert a.status == status
        assert method == "HEAD" or p != path or a.body == blob


def test_request_in_pieces(wire, path, blob):
    """A request that comes byte by byte, each in a record of its own."""
    w = wire()
    for c in f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nRange: bytes=5-9\r\n\r\n":
        w.send(c)
    assert w.answer().body == blob[5:10]


def test_expect_continue(wire):
    """Expect: 100-continue on a push is answered at once, without waiting for the body."""
    w = wire()
    a = w.ask("POST", "/v2/docker.io/library/x/blobs/uploads/", "Content-Length: 100000",
              "Expect: 100-continue")
    assert a.status == 405


def test_get_with_a_body(wire, path, blob):
    """A body on GET, by length and chunked, is read over; the next request is understood."""
    w = wire()
    a = w.ask("GET", path, "Content-Length: 11", "Range: bytes=0-1", body="GET / HTTP/")
    assert a.status in (206, 400, 413)
    if a.status == 206 and a.get("Connection", "").lower() != "close":
        a = w.ask("GET", path, "Transfer-Encoding: chunked", body="3\r\nabc\r\n0\r\n\r\n")
        assert a.status in (200, 400, 413, 501)


REST = f"Host: {HOST}\r\n\r\n"
BAD = {
    "both length and chunked": "GET /v2/ HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n" + REST + "0\r\n\r\n",
    "two lengths": "GET /v2/ HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n" + REST + "abcde",
    "list of lengths": "GET /v2/ HTTP/1.1\r\nContent-Length: 4, 5\r\n" + REST + "abcde",
    "length with sign": "GET /v2/ HTTP/1.1\r\nContent-Length: +4\r\n" + REST + "abcd",
    "length too long": "GET /v2/ HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n" + REST,
    "length in hex": "GET /v2/ HTTP/1.1\r\nContent-Length: 0x4\r\n" + REST + "abcd",
    "unknown coding": "GET /v2/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n" + REST + "0\r\n\r\n",
    "chunked twice": "GET /v2/ HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n" + REST + "0\r\n\r\n",
    "chunked not last": "GET /v2/ HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n" + REST + "0\r\n\r\n",
    "chunked in 1.0": "GET /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" + REST + "0\r\n\r\n",
    "space before colon": "GET /v2/ HTTP/1.1\r\nX-A : b\r\n" + REST,
    "space before name": "GET /v2/ HTTP/1.1\r\n X-A: b\r\n" + REST,
    "obs-fold": "GET /v2/ HTTP/1.1\r\nX-A: b\r\n\tc\r\n" + REST,
    "bare LF": "GET /v2/ HTTP/1.1\nHost: mirror.test\n\n",
    "bare LF after a header": "GET /v2/ HTTP/1.1\r\nX-A: b\nX-C: d\r\n" + REST,
    "bare CR in a header": "GET /v2/ HTTP/1.1\r\nX-A: b\rX-C: d\r\n" + REST,
    "NUL in a header": "GET /v2/ HTTP/1.1\r\nX-A: b\0c\r\n" + REST,
    "no colon": "GET /v2/ HTTP/1.1\r\nnonsense\r\n" + REST,
    "empty name": "GET /v2/ HTTP/1.1\r\n: b\r\n" + REST,
    "no Host": "GET /v2/ HTTP/1.1\r\n\r\n",
    "two Hosts": "GET /v2/ HTTP/1.1\r\nHost: mirror.test\r\n" + REST,
    "Host with a path": "GET /v2/ HTTP/1.1\r\nHost: mirror.test/x\r\n\r\n",
    "version 2.0": "GET /v2/ HTTP/2.0\r\n" + REST,
    "version 1.2x": "GET /v2/ HTTP/1.1x\r\n" + REST,
    "no version": "GET /v2/\r\n" + REST,
    "two spaces": "GET  /v2/ HTTP/1.1\r\n" + REST,
    "tab": "GET\t/v2/ HTTP/1.1\r\n" + REST,
    "control character in the target": "GET /v2/\x01 HTTP/1.1\r\n" + REST,
    "method with braces": "G(T /v2/ HTTP/1.1\r\n" + REST,
    "TLS inside": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 20 + "\r\n\r\n",
    "h2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("what", BAD)
def test_malformed(wire, what):
    """Every shape that two parsers could read differently: an error, the end of the connection, and
    no answer to what follows it."""
    w = wire()
    w.send(BAD[what] + f"GET /v2/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
    a = w.answer()
    assert a.status in (400, 501, 505), a
    assert w.closed() in ("close_notify", "fin")
    assert not w.rest


BAD_CHUNKS = {"no hex": "x\r\n", "too long": "1" * 17 + "\r\n", "sign": "+3\r\nabc\r\n0\r\n\r\n",
              "0x": "0x3\r\nabc\r\n0\r\n\r\n", "bare LF": "3\nabc\n0\n\n", "space": " 3\r\nabc\r\n0\r\n\r\n",
              "no CRLF after data": "3\r\nabcd\r\n0\r\n\r\n", "negative": "-1\r\n\r\n"}


@pytest.mark.parametrize("what", BAD_CHUNKS)
def test_malformed_chunks(wire, what):
    """A chunked request body with a bad size: nothing after it is taken for a request."""
    w = wire()
    w.send(f"POST /v2/docker.io/library/x/blobs/uploads/ HTTP/1.1\r\nHost: {HOST}\r\n"
           f"Transfer-Encoding: chunked\r\n\r\n{BAD_CHUNKS[what]}"
           f"GET /v2/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
    assert w.answer().status in (400, 405, 413, 501)
    assert w.closed() in ("close_notify", "fin")
    assert not w.rest


@pytest.mark.parametrize("what, head", [
    ("one long header", "X-Long: " + "a" * 100_000 + "\r\n"),
    ("many headers", "".join(f"X-{i}: y\r\n" for i in range(3000))),
    ("long name", "X" * 100_000 + ": y\r\n")], ids=lambda x: x if len(x) < 20 else "")
def test_oversize_head(wire, what, head):
    """A head that is too large: 400 or 431, and the end."""
    w = wire()
    w.send(f"GET /v2/ HTTP/1.1\r\nHost: {HOST}\r\n{head}\r\n")
    assert w.answer().status in (400, 431)
    assert w.closed() in ("close_notify", "fin", "reset")


def test_oversize_target(wire):
    """A target that is too long: 400, 414 or 431, and the end."""
    w = wire()
    w.request("GET", f"/v2/{'a' * 100_000}")
    assert w.answer().status in (400, 404, 414, 431)


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods(wire, method):
    """Methods that a registry does not have."""
    target = "mirror.test:443" if method == "CONNECT" else "/v2/"
    assert wire().ask(method, target).status in (400, 405, 501)


def test_slow_clients_hold_nobody(start, rig, wire, fresh):
    """One worker, 100 clients in the middle of a request and 20 that do not read their blob:
    everybody else is served."""
    s = start({"server": {"workers": 1}})
    one = images.one_blob(rig.push, "library/slow", 12 << 20)
    path = f"/v2/docker.io/{one.repo}/blobs/{one.layers[0]}"
    for _ in range(100):
        wire(s, port="plain").send(f"GET /v2/ HTTP/1.1\r\nHost: {HOST}\r\nX-Slow")
    for _ in range(20):
        w = wire(s)
        w.request("GET", path)
        assert w.head().status == 200
    a = wire(s).ask("GET", path)
    assert images.digest_of(a.body) == one.layers[0]
    a = wire(s).ask("GET", f"/v2/docker.io/{fresh.repo}/blobs/{fresh.layers[0]}")
    assert images.digest_of(a.body) == fresh.layers[0]


def test_client_that_leaves(rig, wire, sluice, fresh):
    """A client that goes away in the middle cancels nothing: the fill ends and is published."""
    path = f"/v2/docker.io/{fresh.repo}/blobs/{fresh.layers[0]}"
    with rig.cdn.fault(httpd.stall(1000), fresh.layers[0][7:]) as f:
        w = wire()
        w.request("GET", path)
        assert w.head().status == 200 and f.held.wait(10)
        w.close()
        done = sluice.metrics()["fills_ok_total"]
        f.release()
        sluice.wait_metric("fills_ok_total", done + 1)
    rig.cdn.log.clear()
    assert images.digest_of(wire().ask("GET", path).body) == fresh.layers[0]
    assert not rig.cdn.log


def test_half_close(wire, path, blob):
    """A client that ends its sending side after the request still gets the answer."""
    w = wire(port="plain")
    w.request("GET", path)
    w.sock.shutdown(1)
    assert w.answer().body == blob


def test_nothing_sent(wire):
    """Connections that send nothing and leave are nobody's error."""
    for port in ("https", "plain", "http"):
        w = wire(port=port)
        w.close()
    with pytest.raises((Ended, OSError)):
        w.line()
