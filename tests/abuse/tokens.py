"""Tokens that are too long, forged, stale or nonsense, in each place where a token may be."""

import time

from attack import UNHURRIED, attack
from gateway import signed, token
from wire import Peer, connect, ended, endings, envelope, request

REQUIRED = {"auth": {"mode": "Required", "tokenInQuery": "Allow", "firstMessage": "Allow"}}


def refused(gateway, *requests):
    """Sends each request on a connection of its own; how they ended."""
    peers = []
    for it in requests:
        peers.append(Peer(gateway.public))
        peers[-1].send(it)
    return endings(peers)


@attack("tokens of 9 KiB", spec=REQUIRED)
def long_tokens(gateway):
    """Signed well, so that only the length is wrong."""
    long = token(padding="x" * 7_000)
    assert len(long) > 9_000, f"{len(long)} bytes are not 9 KiB"
    for _ in range(50):
        ended(refused(gateway, request("/ws", f"Authorization: Bearer {long}")), {"401 token"})
        ended(refused(gateway, request(protocol=f"headgate.v1, headgate.token.{long}")), {"401 token"})
        ended(refused(gateway, request(f"/ws?token={long}")), {"414 uri"})
        ended(endings([connect(gateway, first=envelope("authenticate", {"token": long}))]), {"close 4501"})
        ended(endings([connect(gateway, first=envelope("authenticate", {"token": "x" * 17_000}))]), {"close 1009"})
    return "401, 414, 4501, 1009"


def bad_tokens():
    """Token and close code for a page."""
    now = int(time.time())
    good, claims = token(), {"sub": "mallory", "exp": now + 3_600}
    head, body, signature = good.split(".")
    return [
        (signed({"alg": "HS256"}, claims, b"another secret of thirty-two bytes"), 4501), (f"{head}.{body}.", 4501), (f"{head}.{body}", 4501),
        (signed({"alg": "none"}, claims).rsplit(".", 1)[0] + ".", 4501), (signed({"alg": "none"}, claims), 4501), (signed({"alg": "RS256"}, claims), 4501),
        (signed({"alg": "HS512"}, claims), 4501), (signed({"alg": "HS256", "crit": ["exp"]}, claims), 4501), (signed({"alg": "HS256"}, {"sub": "m"}), 4501),
        (signed({"alg": "HS256"}, {**claims, "exp": now - 3_600}), 4401), (signed({"alg": "HS256"}, {**claims, "exp": "soon"}), 4501), (signed({"alg": "HS256"}, {**claims, "exp": [now + 9]}), 4501),
        (signed({"alg": "HS256"}, {**claims, "nbf": now + 3_600}), 4501), (signed({"alg": "HS256"}, {**claims, "nbf": "x"}), 4501), (signed({"alg": "HS256"}, {**claims, "sub": 7}), 4501),
        (signed({"alg": "HS256"}, {"exp": now + 3_600}), 4501), (signed({"alg": "HS256"}, {**claims, "sub": ""}), 4501), (signed({"alg": "HS256"}, {**claims, "sub": "s" * 256}), 4501),
        (signed({"alg": "HS256"}, []), 4501), (signed([], claims), 4501), ("a.b.c", 4501), ("..", 4501), ("A" * 8_000, 4501), (good[:-4] + "AAAA", 4501), (good + "=", 4501),
        (signed({"alg": "HS256"}, {**claims, "headgate": {"subscribe": ["*" * 300]}}), 4501), (signed({"alg": "HS256"}, {**claims, "headgate": {"subscribe": ["a"] * 65}}), 4501),
    ]


@attack("1,000 bad tokens", quick=True, spec={**REQUIRED, "allowedOrigins": ["https://page.example"], **UNHURRIED})
def forged(gateway):
    """Without an Origin by a status, with one by a close, and never let in. The token is in no log line."""
    cases = bad_tokens()
    for _ in range(1_000 // len(cases) // 3 + 1):
        for bad, code in cases:
            got = refused(gateway, request("/ws", f"Authorization: Bearer {bad}"))
            ended(got, {"401 token"}, about=bad[:80])
            got = refused(gateway, request("/ws", "Origin: https://page.example", protocol=f"headgate.v1, headgate.token.{bad}"))
            # What is no token of HTTP cannot be a subprotocol at all.
            ended(got, {f"close {code}", "400 subprotocol", "400 bad_handshake"}, about=f"{bad[:80]} of a page")
            got = endings([connect(gateway, first=envelope("authenticate", {"token": bad}))])
            ended(got, {f"close {code}"}, about=f"{bad[:80]} in a message")
    leaked = [line for line in gateway.lines if any(bad in line for bad, _ in cases if len(bad) > 10)]
    assert not leaked, f"a token in the log: {leaked[0]}"
    return f"{len(cases)} kinds: 401, 4501, 4401"
