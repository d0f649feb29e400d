"""A token server as registries have it: anonymous pull, Basic for what is private, JWT (RS256)."""
import base64
import json
import secrets
import time
import urllib.parse

from .ca import openssl
from .httpd import Reply, Server

ISSUER, SERVICE = "rig-issuer", "rig-registry"
USERS = {"alice": "correct horse"}


def credentials(file, text):
    """The file of an account, as Sluice wants it."""
    file.write_text(text + "\n")
    file.chmod(0o600)
    return file


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer(Server):
    """GET /token?service=S&scope=repository:NAME:pull[&scope=..]

    POST /token with a form (OAuth2), if oauth is set; then a refresh token is given, too, to who
    asks for it.

    Repositories under private/ and every push are for USERS only.  What a test may set:
    spelling ("token", "access_token" or "both"), expires_in (None: not said), lifetime_s.
    """
    name = "auth"

    def __init__(self, address, cert, folder):
        super().__init__(address, cert)
        self.key, self.cert = folder / "jwt.key", folder / "jwt.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 30,
                "-subj", "/CN=rig token signer", "-keyout", self.key, "-out", self.cert)
        self.x5c = base64.b64encode(openssl("x509", "-in", self.cert, "-outform", "DER")).decode()
        self.defaults()

    def defaults(self):
        self.spelling, self.expires_in, self.lifetime_s = "token", 300, 300
        self.oauth, self.refresh, self.forms = False, {}, []

    @property
    def realm(self):
        return f"{self.url}/token"

    def issue(self, access, subject=""):
        """A signed token for a list of {type, name, actions}."""
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [self.x5c]}
        claims = {"iss": ISSUER, "sub": subject, "aud": SERVICE, "iat": now, "nbf": now - 10,
                  "exp": now + self.lifetime_s, "jti": secrets.token_hex(8), "access": access}
        text = ".".join(b64(json.dumps(x).encode()) for x in (head, claims))
        return f"{text}.{b64(openssl('dgst', '-sha256', '-sign', self.key, input=text.encode()))}"

    def push_token(self, repo):
        return self.issue([{"type": "repository", "name": repo, "actions": ["pull", "push"]}])

    def user(self, req):
        """The user's name, "" for nobody, None for a wrong password."""
        value = req.get("Authorization")
        if value is None:
            return ""
        kind, _, rest = value.partition(" ")
        try:
            name, _, password = base64.b64decode(rest).decode().partition(":")
        except ValueError:
            return None
        return known(name, password) if kind == "Basic" else None

    def answer(self, req):
        path, _, query = req.target.partition("?")
        if path != "/token":
            return Reply(404)
        if req.method == "POST" and self.oauth:
            return self.post(b"".join(req.body).decode())
        if req.method != "GET":
            return Reply(405)
        user, query = self.user(req), urllib.parse.parse_qs(query)
        if user is None or query.get("service") != [SERVICE]:
            return answer_json(401, {"details": "who are you"})
        token = self.issue(list(grants(" ".join(query.get("scope", [])), user)), user)
        keys = ("token", "access_token") if self.spelling == "both" else (self.spelling,)
        body = dict.fromkeys(keys, token)
        if self.expires_in is not None:
            body["expires_in"] = self.expires_in
        if self.oauth and user and query.get("offline_token") == ["true"]:
            body["refresh_token"] = self.remember(user)
        return answer_json(200, body)

    def remember(self, user):
        token = "refresh-" + secrets.token_urlsafe(24)
        self.refresh[token] = user
        return token

    def post(self, text):
        form = dict(urllib.parse.parse_qsl(text, strict_parsing=True))
        self.forms.append(form)
        if form.get("grant_type") == "password":
            user = known(form.get("username"), form.get("password"))
        else:
            user = self.refresh.get(form.get("refresh_token"))
        if not user or form.get("service") != SERVICE or not form.get("client_id"):
            return answer_json(401, {"details": "who are you"})
        body = {"access_token": self.issue(list(grants(form.get("scope", ""), user)), user),
                "expires_in": self.expires_in, "scope": form.get("scope", "")}
        if form.get("access_type") == "offline":
            body["refresh_token"] = self.remember(user)
        return answer_json(200, body)


def known(name, password):
    return name if USERS.get(name) == password else None


def answer_json(status, body):
    return Reply(status, [("Content-Type", "application/json")], json.dumps(body))


def grants(scopes, user):
    for scope in scopes.split():
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed = {"pull", "push"} if user else set() if name.startswith("private/") else {"pull"}
        given = sorted(allowed & set(actions.split(",")))
        if kind == "repository" and given:
            yield {"type": kind, "name": name, "actions": given}
