"""Keys that an identity provider publishes, here a server of the test's own over https."""

import http.server, json, ssl, tempfile, threading
from pathlib import Path

from certificates import Authority
from client import outcome
from tokens import encode, private_key, token

from .access import DURATION
from .row import Row

AUTHORITY, STRANGER = Authority(), Authority()
KEYS = {name: private_key("ES256") for name in "ab"}


class Provider(http.server.BaseHTTPRequestHandler):
    """Publishes the keys that the path names, such as `/ab`, until some are withdrawn."""

    def do_GET(self):
        names = [name for name in self.path.strip("/") if name not in self.server.withdrawn]
        body = json.dumps({"keys": [public(name) for name in names]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def public(name):
    numbers = KEYS[name].public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": name, "x": encode(numbers.x.to_bytes(32)), "y": encode(numbers.y.to_bytes(32))}


def provider():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in AUTHORITY.pair(10).items():
            (Path(folder) / name).write_bytes(content)
        context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.withdrawn = set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"https://localhost:{server.server_port}"


SERVER, URL = provider()
signed_by = lambda name: token(secret=KEYS[name], algorithm="ES256", header={"kid": name})
each = lambda gateway: [outcome(gateway, signed_by(name)) for name in "ab"]


def authorities(gateway):
    gateway.secret("ca", **{"ca.crt": AUTHORITY.pem})
    gateway.secret("stranger", **{"ca.crt": STRANGER.pem})


def withdrawing(gateway):
    """Whether a key that the provider has withdrawn still vouches a moment later."""
    if not SERVER.withdrawn and each(gateway) != ["open", "open"]:
        return "not fetched yet"
    SERVER.withdrawn.add("b")
    return outcome(gateway, signed_by("b"))


def base(path):
    return {"auth": {"mode": "Required", "jwt": {"jwks": {"url": f"{URL}/{path}", "caSecretName": "ca"}}}}


NAME = "must be a name of lower-case letters, digits, - and ."
ROWS = [
    Row(
        "auth.jwt.jwks.url", "must be there", each, ["open", "token"], {"auth.jwt.jwks.url": f"{URL}/b"}, ["token", "open"], base=base("a"), prepare=authorities,
        bad="http://id.example.com/", says=" is http://id.example.com/: not an https URL; must be an https URL without user and fragment: https://id.example.com/jwks.json",
    ),
    Row(
        "auth.jwt.jwks.refreshPeriod", "10m", withdrawing, "open", {"auth.jwt.jwks.refreshPeriod": "1s"}, "token", base=base("ab"), prepare=authorities,
        bad="1ms", says=f" is 1ms: too short; must be a duration from 1s to 24h, {DURATION}",
    ),
    Row(
        "auth.jwt.jwks.caSecretName", "left out", lambda gateway: each(gateway)[0], "open", {"auth.jwt.jwks.caSecretName": "stranger"}, "keys", base=base("a"),
        prepare=authorities, at_start="spec.auth.jwt.jwks.caSecretName", bad="Ca", says=f" is Ca: not a name; {NAME}",
    ),
]
