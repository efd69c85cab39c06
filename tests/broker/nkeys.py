"""What `nsc` would make: an operator, an account with JetStream, and a user's credentials file, signed by keys of NATS (nkeys)."""

import base64, json, re, time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nats import EXAMPLE

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3
UNBOUNDED = {name: -1 for name in ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage")}


class Key:
    def __init__(self, kind):
        self.kind, self.key = kind, Ed25519PrivateKey.generate()
        self.public = encoded(bytes([kind]) + self.key.public_key().public_bytes_raw())
        self.seed = encoded(bytes([SEED | kind >> 5, (kind & 31) << 3]) + self.key.private_bytes_raw())

    def sign(self, subject, name, nats):
        """A JWT about another key, or about itself."""
        claims = {"jti": subject, "iat": int(time.time()), "iss": self.public, "name": name, "sub": subject, "nats": {"version": 2, **nats}}
        text = ".".join(base64url(json.dumps(it).encode()) for it in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims))
        return f"{text}.{base64url(self.key.sign(text.encode()))}"


def operated():
    """Lines of a server's configuration that trust an operator, and the credentials of a user with the rights of `chat` in examples/nats-server.conf."""
    operator, system, account, user = Key(OPERATOR), Key(ACCOUNT), Key(ACCOUNT), Key(USER)
    of_system = operator.sign(system.public, "system", {"type": "account", "limits": {**UNBOUNDED, "mem_storage": 0, "disk_storage": 0, "wildcards": True}})
    of_account = operator.sign(account.public, "chat", {"type": "account", "limits": {**UNBOUNDED, "wildcards": True}})
    rights = {verb[:3]: {"allow": allowed(verb)} for verb in ("publish", "subscribe")}
    of_user = account.sign(user.public, "chat", {"type": "user", "subs": -1, "data": -1, "payload": -1, **rights})
    of_operator = operator.sign(operator.public, "suites", {"type": "operator"})
    lines = f"operator: {of_operator}\nsystem_account: {system.public}\nresolver: MEMORY\n"
    lines += f"resolver_preload: {{\n{system.public}: {of_system}\n{account.public}: {of_account}\n}}"
    return lines, (
        f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )


def allowed(verb):
    return re.findall(r'"(.*?)"', re.search(rf"{verb}: \[(.*?)\]", EXAMPLE.read_text(), re.S)[1])


def base64url(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def encoded(content):
    """Base 32 with a checksum (CRC-16/XMODEM)."""
    sum = 0
    for byte in content:
        sum ^= byte << 8
        for _ in range(8):
            sum = (sum << 1 ^ (0x1021 if sum & 0x8000 else 0)) & 0xFFFF
    return base64.b32encode(content + sum.to_bytes(2, "little")).rstrip(b"=").decode()
