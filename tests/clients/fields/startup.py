"""What is read once at start: a live change is said to need a restart, and counts after one."""

import ssl

from certificates import Authority
from client import join, outcome
from gateway import SPEC

from .access import CHOICE
from .row import Row

AUTHORITY = Authority()
NAME = "must be a name of lower-case letters, digits, - and . that begins and ends with a letter or a digit"


def path(gateway):
    return [outcome(gateway, url=f"ws://{gateway.public}{path}") for path in ("/ws", "/live")]


def speaks_tls(gateway):
    trust = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    try:
        join(gateway, url=gateway.url.replace("ws:", "wss:"), ssl=trust, open_timeout=2).close()
        return True
    except (ssl.SSLError, OSError):
        return False


def kept(gateway):
    """Whether twenty publications of 5 KB are all in the history."""
    for data in range(20):
        gateway.publish("kept.a", [data, "x" * 5_000])
    messages = gateway.http("GET", "/api/v1/channels/kept.a/history")[1]["messages"]
    return len(messages) == 20


def api(gateway):
    return gateway.http("GET", "/api/v1/stats")[0] == 200


KEPT = [{"match": "kept.**", "history": {"messages": 20}}, *SPEC["channels"]]
ROWS = [
    Row(
        "path", "/ws", path, ["open", "not_found"], {"path": "/live"}, ["not_found", "open"], at_start="spec.path",
        bad="ws", says=" is ws: not a path; must be a path of a URL that begins with /, without ? and #: /ws",
    ),
    Row(
        "tls.secretName", "must be there", speaks_tls, False, {"tls": {"secretName": "tls"}}, True, at_start="spec.tls",
        prepare=lambda gateway: gateway.secret("tls", **AUTHORITY.pair(10)), bad="Tls", says=f" is Tls: not a name; {NAME}",
    ),
    Row("broker.type", "Memory", bad="Nats", says=f" is Nats{CHOICE} Memory or NATS (did you mean NATS?)"),
    Row(
        "broker.historyBytes", "64Mi", kept, True, {"broker": {"historyBytes": "64Ki"}}, False, base={"channels": KEPT}, at_start="spec.broker",
        bad="1Ki", says=" is 1Ki: too small; must be a size from 64Ki to 1Ti, such as 512Ki",
    ),
    Row("broker.nats.url", "must be there", base={"broker": {"type": "NATS"}}, bad="nats", says=" is nats: not a NATS URL; must be nats:// or tls:// with host and port"),
    Row(
        "broker.nats.credentialsSecretName", "left out", base={"broker": {"type": "NATS", "nats": {"url": "nats://nats:4222"}}},
        bad="Nats", says=f" is Nats: not a name; {NAME}",
    ),
    Row(
        "api.keySecretName", "left out", api, False, {"api": {"keySecretName": "api"}}, True, base={"api": {}}, at_start="spec.api",
        bad="a/b", says=f" is a/b: not a name; {NAME}",
    ),
]
