"""What one connection may send and subscribe."""

import time

from client import enter

from .access import BLOCKED, WHOLE, blocked
from .limits import NO_BURST, TOO_MANY
from .row import Row

SIZE = "must be a size from"


def pongs(gateway):
    """How many of 190 quick pings are answered, roughly: some are let in meanwhile."""
    with enter(gateway) as client:
        for i in range(190):
            client.say("ping", id=i)
        return sum(client.get()["type"] == "pong" for _ in range(190)) // 50 * 50


def subscriptions(gateway):
    """How many of 40 quick subscriptions and their ends are done, in tens."""
    with enter(gateway) as client:
        for i in range(20):
            client.say("subscribe", {"channel": "public.a"})
            client.say("unsubscribe", {"channel": "public.a"})
        kinds = [client.get()["type"] for _ in range(40)]
        return sum(kind in ("subscribed", "unsubscribed") for kind in kinds) // 10 * 10


def delay_behind(size):
    """Whether an answer waits because so many bytes came before it."""

    def see(gateway):
        with enter(gateway) as client:
            for _ in range(4):
                client.send('{"type":"ping"}'.ljust(size // 4))
            began = time.monotonic()
            client.ask("ping")
            return time.monotonic() - began > 0.6

    return see


def channels(gateway):
    """How many of five channels may be subscribed."""
    with enter(gateway) as client:
        return sum(isinstance(client.ask("subscribe", channel=f"public.{i}"), dict) for i in range(5))


ROWS = [
    Row("limits.messageRate.perSecond", "50", pongs, 100, {"limits.messageRate": {"perSecond": 0, "burst": 0}}, 150, **TOO_MANY),
    Row("limits.messageRate.burst", "100", pongs, 100, {"limits.messageRate": {"perSecond": 50, "burst": 160}}, 150, bad=0, says=NO_BURST),
    Row("limits.subscribeRate.perSecond", "64", subscriptions, 40, {"limits.subscribeRate": {"perSecond": 1, "burst": 10}}, 10, **TOO_MANY),
    Row("limits.subscribeRate.burst", "256", subscriptions, 40, {"limits.subscribeRate": {"perSecond": 1, "burst": 20}}, 20, bad=0, says=NO_BURST),
    Row(
        "limits.byteRate.perSecond", "1Mi", delay_behind(200_000), False, {"limits.byteRate": {"perSecond": "100Ki", "burst": "1Ki"}}, True,
        bad="1KB", says=f" is 1KB: not a size; {SIZE} 0 to 64Gi, such as 512Ki",
    ),
    Row("limits.byteRate.burst", "4Mi", delay_behind(400_000), False, {"limits.byteRate": {"perSecond": "200Ki", "burst": "50Ki"}}, True, bad="0", says=NO_BURST),
    Row("limits.channelsPerConnection", "128", channels, 5, {"limits.channelsPerConnection": 3}, 3, bad=0, says=f" is 0: too small; {WHOLE} 1 to 10000"),
    Row(
        "limits.sendQueueMessages", "256", blocked, "here", {"limits.sendQueueMessages": 5}, "gone", lasts=15,
        base={**BLOCKED, "limits": {"sendQueueBytes": "256Mi"}}, bad=70_000, says=f" is 70000: too large; {WHOLE} 1 to 65536",
    ),
    Row(
        "limits.sendQueueBytes", "1Mi", blocked, "gone", {"limits.sendQueueBytes": "64Mi"}, "here", lasts=15,
        base={"compression": {"mode": "Disabled"}},
        bad="1Ki", says=" is 1Ki: smaller than maxMessageSize (512Ki); limits.sendQueueBytes must be at least maxMessageSize, or a message of that size could not be delivered",
    ),
]
