"""Who may come in: origins and the number of connections."""

import time

from client import enter, join, outcome
from gateway import eventually
from raw import CLOSE, PING, Raw

from .row import Row

PAGE = {"origin": "https://app.example"}
WHOLE = "must be a whole number from"
DURATION = "such as 54s, 1h30m or 250ms"
CHOICE = ": not one of the choices; must be"


def second(**options):
    """What becomes of a second connection while a first one is there."""

    def see(gateway):
        try:
            with join(gateway, **options):
                return outcome(gateway, **options)
        except Exception as error:
            return repr(error)

    return see


def welcome_and_end(gateway):
    """What `welcome` says of the longest message, and whether one of 2,000 bytes may pass."""
    with enter(gateway) as client:
        client.send('{"type":"ping"}'.ljust(2000))
        try:
            return client.welcome["maxMessageBytes"], client.get()["type"]
        except Exception:
            return client.welcome["maxMessageBytes"], client.close_code


def first_frame(gateway):
    """What `welcome` says of pings, and whether a silent client gets one within a second."""
    with enter(gateway) as client, Raw(gateway) as silent:
        try:
            opcode, _, _ = silent.frame(1)
        except TimeoutError:
            opcode = None
        return client.welcome["pingPeriodMs"], opcode == PING


def silent_end(gateway):
    """How a client ends that never answers, within 1.5 s."""
    with Raw(gateway) as silent:
        until = time.monotonic() + 1.5
        try:
            while (left := until - time.monotonic()) > 0:
                opcode, _, payload = silent.frame(left)
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2])
        except TimeoutError:
            pass
        return None


BLOCKED = {"limits": {"sendQueueBytes": "256Mi", "sendQueueMessages": 1000}, "compression": {"mode": "Disabled"}}


def blocked(gateway, size=200_000, count=60):
    """Whether a client that reads nothing is still here a second after more than its buffers hold."""
    with Raw(gateway, receive_buffer=4096) as slow:
        slow.say("subscribe", channel="public.slow")
        eventually(lambda: gateway.subscribers("public.slow"), "it is subscribed")
        for _ in range(count):
            gateway.publish("public.slow", "x" * size)
        until = time.monotonic() + 1
        while gateway.subscribers("public.slow"):
            if time.monotonic() > until:
                return "here"
            time.sleep(0.02)
        return "gone"


ROWS = [
    Row(
        "allowedOrigins", "[]", lambda gateway: outcome(gateway, **PAGE), "origin", {"allowedOrigins": ["https://app.example"]}, "open",
        bad=["*"], says="[0] is *: has no scheme; must be a scheme and a host, and a port if it is not the scheme's own, where * is one whole label: ",
    ),
    Row("missingOrigin", "Allow", outcome, "open", {"missingOrigin": "Deny"}, "origin", bad="Refuse", says=f" is Refuse{CHOICE} Allow or Deny"),
    Row("maxConnections", "10000", second(), "open", {"maxConnections": 1}, "full", bad=0, says=f" is 0: too small; {WHOLE} 1 to 600000"),
    Row(
        "maxMessageSize", "512Ki", welcome_and_end, (524_288, "pong"), {"maxMessageSize": "1000"}, (1000, 1009),
        bad="1KB", says=" is 1KB: not a size; must be a size from 125 to 64Mi, such as 512Ki",
    ),
    Row(
        "pingPeriod", "54s", first_frame, (54_000, False), {"pingPeriod": "200ms"}, (200, True),
        bad="10ms", says=f" is 10ms: too short; must be a duration from 100ms to 1h, {DURATION}",
    ),
    Row(
        "pongWait", "60s", silent_end, None, {"pongWait": "500ms"}, 4408, base={"pingPeriod": "400ms"},
        bad="3h", says=f" is 3h: too long; must be a duration from 100ms to 2h, {DURATION}",
    ),
    Row(
        "writeWait", "10s", blocked, "here", {"writeWait": "200ms"}, "gone", base=BLOCKED, lasts=15,
        bad="0s", says=f" is 0s: too short; must be a duration from 100ms to 10m, {DURATION}",
    ),
]
