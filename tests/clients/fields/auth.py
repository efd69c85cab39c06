"""Who is who: the mode, the places of a token, and the keys that vouch for it."""

from client import join, outcome
from tokens import SECRET, token

from .access import CHOICE
from .row import Row

REQUIRED = {"auth": {"jwt": {"keysSecretName": "jwt", "keys": [{"algorithm": "HS256", "key": "hmac"}]}}}
OTHER = b"another secret, also of 32 bytes"
TEXT = "must be text on one line"
FILE = "must be the name of a file in the Secret: letters, digits, -, _ and ."


def with_token(**options):
    return lambda gateway: outcome(gateway, token(**options))


def which(*bearers):
    """What becomes of each token."""
    return lambda gateway: [outcome(gateway, bearer()) for bearer in bearers]


def in_query(gateway):
    return outcome(gateway, url=f"{gateway.url}?token={token()}")


def first_message(gateway):
    try:
        with join(gateway) as client:
            return client.ask("authenticate", token=token())["user"]
    except Exception as error:
        return getattr(getattr(error, "response", None), "status_code", repr(error))


def other_key(gateway):
    gateway.secret("jwt", other=OTHER)
    gateway.secret("other", hmac=OTHER)


FIRST, SECOND = {"algorithm": "HS256", "key": "hmac"}, {"algorithm": "HS256", "key": "other", "kid": "b"}
by_first, by_second = token, lambda: token(secret=OTHER)
kid = lambda name: lambda: token(header={"kid": name})
ROWS = [
    Row("auth.mode", "Required", outcome, "token", {"auth.mode": "Optional"}, "open", base=REQUIRED, bad="None", says=f" is None{CHOICE} Disabled, Optional, Required"),
    Row("auth.tokenInQuery", "Deny", in_query, "token", {"auth.tokenInQuery": "Allow"}, "open", base=REQUIRED, bad="Yes", says=f" is Yes{CHOICE} Allow or Deny"),
    Row("auth.firstMessage", "Deny", first_message, 401, {"auth.firstMessage": "Allow"}, "alice", base=REQUIRED, bad=True, says=" is true: not text; must be Allow or Deny"),
    Row("auth.jwt.issuer", "left out", with_token(iss="a"), "open", {"auth.jwt.issuer": "b"}, "token", base=REQUIRED, bad="a\nb", says=f" is a\\nb: not a text; {TEXT}"),
    Row("auth.jwt.audience", "left out", with_token(aud="a"), "open", {"auth.jwt.audience": "b"}, "token", base=REQUIRED, bad=7, says=f" is 7: not text; {TEXT}"),
    Row(
        "auth.jwt.keysSecretName", "left out", which(by_first, by_second), ["open", "token"], {"auth.jwt.keysSecretName": "other"}, ["token", "open"], base=REQUIRED,
        prepare=other_key, at_start="spec.auth.jwt.keysSecretName", bad="Jwt", says=" is Jwt: not a name; must be a name of lower-case letters, digits, - and .",
    ),
    Row(
        "auth.jwt.keys", "[]", which(by_first, by_second), ["open", "token"], {"auth.jwt.keys": [FIRST, SECOND]}, ["open", "open"], base=REQUIRED, prepare=other_key,
        bad=[], at="auth.jwt", says=": no key and no `auth.mode: Disabled`",
    ),
    Row(
        "auth.jwt.keys[].algorithm", "must be there", which(by_first, lambda: token(algorithm="HS512", secret=SECRET * 2)), ["open", "token"],
        {"auth.jwt.keys[0].algorithm": "HS512", "auth.jwt.keys[0].key": "long"}, ["token", "open"], base=REQUIRED,
        prepare=lambda gateway: gateway.secret("jwt", long=SECRET * 2), bad="none", says=f" is none{CHOICE} HS256, HS384, HS512, RS256,",
    ),
    Row(
        "auth.jwt.keys[].key", "must be there", which(by_first, by_second), ["open", "token"], {"auth.jwt.keys[0].key": "other"}, ["token", "open"], base=REQUIRED, prepare=other_key,
        bad="../hmac", says=f": not a file name; {FILE}",
    ),
    Row(
        "auth.jwt.keys[].kid", "left out", which(kid("a"), kid("b")), ["open", "open"], {"auth.jwt.keys[0].kid": "a"}, ["open", "token"], base=REQUIRED,
        bad="", says=f" is \"\": not a text; {TEXT}",
    ),
]
