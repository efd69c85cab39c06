"""The rules of channels."""

import time

from client import enter
from tokens import granted

from .access import CHOICE, DURATION, WHOLE
from .row import Row

PATTERN = "must be parts between dots, at most 255 bytes, where * is one whole part and ** at the end is all that follow: room.*, public.**"
PERMISSIONS = "Anyone, Authenticated, Granted, Nobody"


def rule(**more):
    return {"channels": [{"match": "a", "subscribe": "Anyone", "publish": "Anyone", **more}]}


def asks(kind, channel="a", bearer=None, **payload):
    """The code of the error that a request meets, or `done`."""

    def see(gateway):
        with enter(gateway, bearer and bearer()) as client:
            answer = client.ask(kind, channel=channel, **payload)
            return answer if isinstance(answer, str) else "done"

    return see


def presence(gateway):
    """What somebody in a channel sees of one who joins, and whether it may ask."""
    with enter(gateway) as one, enter(gateway) as two:
        one.ask("subscribe", channel="a")
        two.ask("subscribe", channel="a")
        gateway.publish("a", "end")
        seen = []
        while (envelope := one.get())["type"] != "message":
            seen.append(envelope["payload"]["connection"])
        return two.welcome["connection"] in seen, isinstance(one.ask("presence", channel="a"), dict)


def kept(gateway):
    """How much of five publications more is in the history."""
    for data in range(5):
        gateway.publish("a", data)
    with enter(gateway) as client:
        client.ask("subscribe", channel="a")
        return len(client.ask("history", channel="a", limit=5)["messages"])


def kept_for_long(gateway):
    """Whether a publication is in the history half a second later."""
    offset = gateway.publish("a", 1)["offset"]
    time.sleep(0.5)
    with enter(gateway) as client:
        client.ask("subscribe", channel="a")
        return [it["offset"] for it in client.ask("history", channel="a")["messages"]][-1:] == [offset]


def has_history(gateway):
    with enter(gateway) as client:
        return "epoch" in client.ask("subscribe", channel="a")


GRANTED = {"channels": [{"match": "a"}]}
ROWS = [
    Row(
        "channels[].match", "must be there", asks("subscribe", "b"), "forbidden", {"channels[0].match": "*"}, "done", base=rule(),
        bad="room-*", says=f" is room-*: has a * that is not a whole part; {PATTERN}",
    ),
    Row("channels[].subscribe", "Granted", asks("subscribe"), "forbidden", {"channels[0].subscribe": "Anyone"}, "done", base=GRANTED, bad="anyone", says=f" is anyone{CHOICE} {PERMISSIONS} (did you mean Anyone?)"),
    Row(
        "channels[].subscribe", "Granted", asks("subscribe", bearer=lambda: granted(subscribe=["a"])), "done", {"channels[0].subscribe": "Nobody"}, "forbidden", base=GRANTED,
        variant="with a grant",
    ),
    Row("channels[].publish", "Granted", asks("message", data=1), "forbidden", {"channels[0].publish": "Anyone"}, "done", base=GRANTED, bad="All", says=f" is All{CHOICE} {PERMISSIONS}"),
    Row(
        "channels[].publish", "Granted", asks("message", data=1, bearer=lambda: granted(publish=["a"])), "done", {"channels[0].publish": "Nobody"}, "forbidden", base=GRANTED,
        variant="with a grant",
    ),
    Row("channels[].presence", "Disabled", presence, (False, False), {"channels[0].presence": "Enabled"}, (False, True), base=rule(), bad="On", says=f" is On{CHOICE} Disabled, Enabled, Announced"),
    Row("channels[].presence", "Disabled", presence, (False, False), {"channels[0].presence": "Announced"}, (True, True), base=rule(), variant="Announced"),
    Row(
        "channels[].history.messages", "100", kept, 5, {"channels[0].history.messages": 3}, 3, base=rule(history={}),
        bad=0, says=f" is 0: too small; {WHOLE} 1 to 100000",
    ),
    Row("channels[].history.messages", "100", has_history, False, {"channels[0].history": {"messages": 3}}, True, base=rule(), variant="at all"),
    Row(
        "channels[].history.maxAge", "5m", kept_for_long, True, {"channels[0].history.maxAge": "200ms"}, False, base=rule(history={}),
        bad="1000h", says=f" is 1000h: too long; must be a duration from 100ms to 720h, {DURATION}",
    ),
]
