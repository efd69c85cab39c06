"""Tokens, made without the code under test."""

import base64, hashlib, hmac, json, time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from started import SECRET  # conftest.py has put it in reach


def encode(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def token(user="alice", secret=SECRET, algorithm="HS256", header=None, **claims):
    """A token of a user who may do nothing by it, for an hour; `None` leaves a claim out."""
    payload = {"sub": user, "exp": int(time.time()) + 3600, **claims}
    payload = {name: value for name, value in payload.items() if value is not None}
    return signed(payload, secret, algorithm, header)


def granted(user="alice", **grants):
    """A token that grants patterns: `subscribe`, `publish`, `presence`, `history`, `channels`, and `info`."""
    return token(user, headgate=grants)


def signed(payload, key, algorithm, header=None):
    head = {"alg": algorithm, **(header or {})}
    text = f"{encode(json.dumps(head).encode())}.{encode(json.dumps(payload).encode())}"
    return f"{text}.{encode(sign(text.encode(), key, algorithm))}"


def sign(text, key, algorithm):
    if algorithm == "EdDSA":
        return key.sign(text)
    size = int(algorithm[2:])
    digest = {256: hashes.SHA256, 384: hashes.SHA384, 512: hashes.SHA512}[size]()
    match algorithm[:2]:
        case "HS":
            return hmac.new(key, text, getattr(hashlib, f"sha{size}")).digest()
        case "RS":
            return key.sign(text, padding.PKCS1v15(), digest)
        case "PS":
            return key.sign(text, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        case "ES":
            width = (key.key_size + 7) // 8
            return b"".join(it.to_bytes(width) for it in utils.decode_dss_signature(key.sign(text, ec.ECDSA(digest))))


def private_key(algorithm):
    """A fresh key that is good for an algorithm."""
    match algorithm:
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
