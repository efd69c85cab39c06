"""Every row of the table of close codes, met by a client. What only our own fault could cause is left out."""

import re, signal, time

import pytest

from client import enter, join
from gateway import ENDLESS, ROOT, SPEC, eventually
from raw import PING, TEXT, Raw
from tokens import private_key, token

REQUIRED = {"auth": {**SPEC["auth"], "mode": "Required"}, "allowedOrigins": ["https://app.example"]}
PAGE = {"origin": "https://app.example"}


def of_a_frame(start, *frames, **changes):
    """How a connection ends after frames, each a payload, an opcode and a first byte."""
    with Raw(start(**changes)) as client:
        for frame in frames:
            client.send(*frame)
        return client.until_closed()


def after(start, *envelopes, **changes):
    with join(start(**changes), dialect=None) as client:
        for envelope in envelopes:
            client.send(envelope)
        return client.until_closed()


def refused_page(start, bearer=None, **changes):
    with join(start(**{**REQUIRED, **changes}), bearer, **PAGE) as client:
        return client.until_closed()


def by_api(start, call, body):
    gateway = start()
    with enter(gateway, token(jti="j")) as client:
        gateway.api(call.format(connection=client.welcome["connection"]), body)
        return client.until_closed()


def by_signal(start, *signals):
    gateway = start(drain={"period": "10s", "endpointGrace": "30s" if len(signals) > 1 else "0s"})
    with enter(gateway) as client:
        gateway.process.send_signal(signals[0])
        for one in signals[1:]:
            gateway.wait_for("drain_grace")
            gateway.process.send_signal(one)
        return client.until_closed(15)


def by_a_second_connection(start):
    gateway = start(**REQUIRED, limits={"connectionsPerUser": 1})
    with enter(gateway, token()), join(gateway, token(), **PAGE) as second:
        return second.until_closed()


def by_the_client(start):
    with enter(start()) as client:
        client.close(1000)
        return client.close_code


def by_slowness(start):
    gateway = start(limits={"sendQueueBytes": "512Ki"}, compression={"mode": "Disabled"})
    with Raw(gateway, receive_buffer=4096) as slow:
        slow.say("subscribe", channel="public.a")
        eventually(lambda: gateway.subscribers("public.a"), "it is subscribed")
        for _ in range(200):
            gateway.publish("public.a", "x" * 200_000)
            if not gateway.subscribers("public.a"):
                break
        return slow.until_closed()


PING_ENVELOPE = '{"type":"ping"}'
UNDECIDED = token(secret=private_key("ES256"), algorithm="ES256")
REVOKED = {"jti": "j", "expires": int(time.time()) + 60}
PROVOKE = {
    "the client closes": (1000, by_the_client),
    "a second Ctrl-C": (1001, lambda start: by_signal(start, signal.SIGINT, signal.SIGINT)),
    "a reserved bit": (1002, lambda start: of_a_frame(start, (b"a", TEXT, 0xC0))),
    "a reserved opcode": (1002, lambda start: of_a_frame(start, (b"a", 3))),
    "a continuation of nothing": (1002, lambda start: of_a_frame(start, (b"a", 0))),
    "a long ping": (1002, lambda start: of_a_frame(start, (b"a" * 126, PING))),
    "a binary frame in v1": (1003, lambda start: of_v1(start, b"{}")),
    "text that is not UTF-8": (1007, lambda start: of_a_frame(start, (b"\xff",))),
    "30 that are no envelopes": (1008, lambda start: after(start, *["nonsense"] * 30)),
    "30 of unknown types": (1008, lambda start: after(start, *['{"type":"nosuch"}'] * 30)),
    "too many fragments": (1008, lambda start: of_a_frame(start, (b"", TEXT, 0), *[(b"", 0, 0)] * 5000)),
    "a message that stays incomplete": (1008, lambda start: of_a_frame(start, (b"a", TEXT, 0), pingPeriod="500ms", pongWait="800ms")),
    "a message that is too long": (1009, lambda start: after(start, " " * 1001, maxMessageSize="1000")),
    "a drain": (1012, lambda start: by_signal(start, signal.SIGTERM)),
    "no key set yet": (1013, lambda start: refused_page(start, UNDECIDED, auth={"jwt": {"jwks": {"url": "https://127.0.0.1:1/"}}})),
    "a token that has expired": (4401, lambda start: refused_page(start, token(exp=1))),
    "a token that expires": (4401, lambda start: of_a_token(start, exp=int(time.time()) + 2)),
    "no answer to a ping": (4408, lambda start: of_a_frame(start, pingPeriod="300ms", pongWait="600ms")),
    "too many envelopes": (4429, lambda start: after(start, *[PING_ENVELOPE] * 250)),
    "too many control frames": (4429, lambda start: of_a_frame(start, *[(b"", PING)] * 250)),
    "a second connection of a user": (4430, by_a_second_connection),
    "a slow consumer": (4431, by_slowness),
    "a disconnect of a user": (4500, lambda start: by_api(start, "users/alice/disconnect", {})),
    "a disconnect of a connection": (4500, lambda start: by_api(start, "connections/{connection}/disconnect", {})),
    "a disconnect with a code to come back": (4100, lambda start: by_api(start, "users/alice/disconnect", {"code": 4100})),
    "a disconnect with a code to stay away": (4999, lambda start: by_api(start, "users/alice/disconnect", {"code": 4999})),
    "a bad token": (4501, lambda start: refused_page(start, "a.b.c")),
    "no token": (4501, refused_page),
    "no first message": (4502, lambda start: after(start, auth={**REQUIRED["auth"], "firstMessage": "Allow"}, limits={"handshakeTimeout": "500ms"})),
    "idleness": (4503, lambda start: after(start, limits={"idleTimeout": "500ms"})),
    "a revoked token": (4504, lambda start: by_api(start, "revocations", REVOKED)),
}


def of_v1(start, payload):
    with enter(start()) as client:
        client.send(payload)
        return client.until_closed()


def of_a_token(start, **claims):
    with enter(start(), token(**claims)) as client:
        return client.until_closed()


@pytest.mark.parametrize("what", PROVOKE)
def test_each_end_has_its_code(start, what):
    code, provoke = PROVOKE[what]

    assert provoke(start) == code


def test_every_code_of_the_documentation_is_met():
    rows = re.findall(r"^\| (\d{4}(?:, \d{4})*) \|", (ROOT / "docs/protocol.md").read_text(), re.MULTILINE)
    documented = {int(code) for row in rows for code in row.split(", ")}

    met = {code for code, _ in PROVOKE.values() if not 4100 <= code <= 4199 and not 4900 <= code <= 4999}
    assert documented - met == {1011} and met <= documented


def test_the_code_arrives_although_the_client_sends_and_sends(start):
    gateway = start(maxMessageSize="1000", limits=ENDLESS)

    for _ in range(20):
        with Raw(gateway) as client:
            client.send(b" " * 1001)
            try:
                for _ in range(200):
                    client.send(b" " * 900)
            except ConnectionError:
                pass
            assert client.until_closed() == 1009
