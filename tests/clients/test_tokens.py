"""What is in a token: algorithms, claims, and how it ends, is refreshed and revoked."""

import json, time
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from client import PLAIN, V1, enter, join, outcome, refused
from gateway import KEYS, SPEC, eventually
from tokens import SECRET, encode, granted, private_key, public_pem, sign, token

REQUIRED = {**SPEC["auth"], "mode": "Required"}

ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]


def test_every_algorithm_vouches_and_no_other_key_does(start):
    keys, pairs = [], {}
    for name in ALGORITHMS:
        pairs[name] = SECRET * 2 if name.startswith("HS") else private_key(name)
        keys.append({"algorithm": name, "key": name.lower(), "kid": name})
    gateway = start(wait=False, auth={"mode": "Required", "jwt": {"keysSecretName": "keys", "keys": keys}})
    gateway.secret("keys", **{name.lower(): pair if isinstance(pair, bytes) else public_pem(pair) for name, pair in pairs.items()})
    gateway.wait_until_listening()

    for name in ALGORITHMS:
        with enter(gateway, token(secret=pairs[name], algorithm=name, header={"kid": name})) as client:
            assert client.welcome["user"] == "alice"
    another = lambda name: b"x" * 64 if name.startswith("HS") else private_key(name)
    for name in ["HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA"]:
        refused(gateway, 401, "token", token(secret=another(name), algorithm=name, header={"kid": name}))
    refused(gateway, 401, "token", token(secret=pairs["HS256"], algorithm="HS256", header={"kid": "other"}))
    refused(gateway, 401, "token", token(secret=public_pem(pairs["RS256"]), algorithm="HS256", header={"kid": "RS256"}))
    refused(gateway, 401, "token", token(secret=pairs["RS256"], algorithm="RS256", header={"kid": "PS256"}))


NOW = lambda: int(time.time())
ALG_NONE, ALG_HS256 = b'{"alg":"none"}', b'{"alg":"HS256"}'
BAD = {
    "no_exp": lambda: token(exp=None),
    "exp_as_text": lambda: token(exp=str(NOW() + 100)),
    "exp_over": lambda: token(exp=NOW() - 62),
    "nbf_to_come": lambda: token(nbf=NOW() + 120),
    "nbf_as_text": lambda: token(nbf="0"),
    "no_sub": lambda: token(None),
    "empty_sub": lambda: token(""),
    "long_sub": lambda: token("a" * 256),
    "sub_as_number": lambda: token(7),
    "no_iss": lambda: token(aud="chat"),
    "other_iss": lambda: token(iss="https://evil.example", aud="chat"),
    "no_aud": lambda: token(iss="https://id.example"),
    "other_aud": lambda: token(iss="https://id.example", aud=["mail"]),
    "crit": lambda: token(header={"crit": ["exp"], "exp": 1}),
    "alg_none": lambda: f"{encode(ALG_NONE)}.{token().split('.')[1]}.",
    "65_patterns": lambda: granted(subscribe=[f"a{i}" for i in range(65)]),
    "bad_pattern": lambda: granted(subscribe=["a*"]),
    "grants_as_text": lambda: token(headgate="all"),
    "long": lambda: token(filler="x" * 8192),
    "claims_as_list": lambda: signed_text(b"[1]"),
    "two_parts": lambda: token().rsplit(".", 1)[0],
    "large_info": lambda: granted(info="x" * 1100),
}


def signed_text(claims):
    text = f"{encode(ALG_HS256)}.{encode(claims)}"
    return f"{text}.{encode(sign(text.encode(), SECRET, 'HS256'))}"


def test_claims_are_checked_strictly(start):
    jwt = {**KEYS, "issuer": "https://id.example", "audience": "chat"}
    gateway = start(auth={"mode": "Required", "jwt": jwt})
    loose = start(auth=REQUIRED)

    for name, make in BAD.items():
        chosen = gateway if "iss" in name or "aud" in name else loose
        try:
            refused(chosen, 401, "token", make())
        except BaseException as error:
            raise AssertionError(f"{name}: {error}") from error
    for aud in ["chat", ["mail", "chat"]]:
        enter(gateway, token(iss="https://id.example", aud=aud)).close()
    enter(loose, token(nbf=NOW() + 50)).close()
    enter(loose, granted(subscribe=[f"a{i}" for i in range(64)])).close()
    enter(loose, token("ü" * 127)).close()


def test_no_level_logs_a_token(start):
    gateway = start(auth={**REQUIRED, "tokenInQuery": "Allow", "firstMessage": "Allow"}, telemetry={"logLevel": "trace"})
    bad = token(secret=b"another secret of 32 bytes length")
    for it in (token(), bad):
        for options in [{"bearer": it}, {"subprotocols": [V1, f"headgate.token.{it}"]}, {"url": f"{gateway.url}?token={it}"}]:
            outcome(gateway, **options)
        # With the bad one it may be closed by the time of the ping.
        with join(gateway, dialect=PLAIN) as client, suppress(ConnectionClosed):
            client.say("authenticate", {"token": it})
            client.say("ping")
            client.say("message", {"channel": it})
    eventually(lambda: gateway.metric("active_connections", state="serving") == 0, "everybody is gone")
    gateway.stop()
    gateway.reader.join(timeout=5)

    text = json.dumps(gateway.log)
    assert '"closed"' in text and '"refused"' in text
    for part in [*token().split("."), *bad.split(".")]:
        assert part in token() + bad and (len(part) < 30 or part not in text)


def test_a_live_connection_ends_within_a_second_of_its_expiry(start):
    gateway = start()

    expires = int(time.time()) + 2
    with enter(gateway, token(exp=expires)) as client:
        assert client.until_closed(5) == 4401
        assert expires <= time.time() + 0.1 and time.time() <= expires + 1.1


def test_authenticate_refreshes_a_token_in_place(start):
    gateway = start()

    with enter(gateway, token(exp=int(time.time()) + 2, headgate={"subscribe": ["a", "b"]})) as client:
        assert client.ask("subscribe", channel="a") == {"channel": "a"}
        assert client.ask("subscribe", channel="b") == {"channel": "b"}
        for refused_one in [token("mallory"), "a.b.c", token(exp=1), token(None)]:
            assert client.ask("authenticate", token=refused_one) == "token_invalid"
        answer = client.ask("authenticate", token=granted(subscribe=["b", "c"]))
        assert answer["user"] == "alice" and answer["expires"] > time.time() + 3000
        assert client.get()["payload"] == {"channel": "a", "code": "forbidden", "reason": "no longer allowed"}
        assert client.ask("subscribe", channel="c") == {"channel": "c"}
        time.sleep(2.5)  # past the end of the first token
        gateway.publish("b", 1)
        assert client.messages(1) == [1]


def test_an_anonymous_client_may_become_a_user(start):
    gateway = start(auth={**SPEC["auth"], "firstMessage": "Allow"})

    with enter(gateway) as client:
        assert client.ask("subscribe", channel="mine") == "forbidden"
        assert client.ask("authenticate", token=granted(subscribe=["mine"]))["user"] == "alice"


@pytest.mark.parametrize("revoked", [{"jti": "j"}, {"user": "alice"}])
def test_a_revocation_ends_live_connections_and_refuses_new_ones(start, revoked):
    gateway = start()

    with enter(gateway, token(jti="j")) as client, enter(gateway, token("bob", jti="k")) as other:
        answer = gateway.api("revocations", {**revoked, "expires": int(time.time()) + 60})
        assert answer["connections"] == 1
        assert client.until_closed() == 4504
        assert other.ask("ping") is None
    refused(gateway, 401, "token", token(jti="j"))
    with enter(gateway, token("bob", jti="k")) as other:
        answer = other.ask("authenticate", token=token("bob", jti="j"))
        assert answer == "token_invalid" if "jti" in revoked else answer["user"] == "bob"
