"""NATS that refuses subscriptions, for a limit or for want of a right: nobody is told `subscribed` who hears nothing."""

import pytest

from client import enter
from gateway import eventually
from hub import apart, connected
from nats import Nats, account
from tokens import token

pytestmark = pytest.mark.pods

CHANNELS = [f"{kind}.{i}" for i in range(25) for kind in ("kept", "public")]


def crowded(subscriptions):
    return account("chat").replace("jetstream: enabled", f"jetstream: enabled\n limits: {{max_subs: {subscriptions}}}", 1)


@pytest.fixture
def full(tmp_path):
    """Two pods at a server that takes 40 subscriptions of each."""
    with apart(tmp_path, Nats(tmp_path / "nats", accounts=crowded(40)), 2) as hub:
        yield hub


@pytest.fixture
def lonely(tmp_path):
    """Two pods at a server that nobody else is at."""
    nats = Nats(tmp_path / "nats", accounts=account("chat"))
    with apart(tmp_path, nats, 2) as hub:
        yield nats, hub


def subscribe(client, channels):
    """To as many as can be; which."""
    answers = {channel: client.ask("subscribe", channel=channel) for channel in channels}
    assert all(it == "unavailable" or it["channel"] for it in answers.values()), answers
    return {channel for channel, it in answers.items() if it != "unavailable"}


def hears(client, publisher, channels):
    """Whether what another pod publishes comes on every one of these; that it does not without a `gap` is wrong."""
    for channel in channels:
        answer = publisher.ask("message", channel=channel, data=channel)
        assert answer != "unavailable" and answer["channel"] == channel, answer
    missing, lost = set(channels), set()
    while missing - lost:
        told = client.get(5)
        if told["type"] == "gap":
            # What was subscribed of late may be: the server says late what it refuses.
            lost.add(told["payload"]["channel"])
        else:
            assert told["payload"]["data"] == told["payload"]["channel"]
            missing.discard(told["payload"]["data"])
    return not missing


def test_who_is_subscribed_hears_and_who_cannot_be_is_told(full):
    hub = full
    with enter(hub.a, token()) as alice, enter(hub.b, token("bob")) as bob:
        heard = subscribe(alice, CHANNELS)

        assert 5 <= len(heard) < len(CHANNELS)
        hears(alice, bob, heard)
        status = hub.a.status()["broker"]
        assert status["connected"] and "takes no more subscriptions" in status["problem"]

        for channel in sorted(heard)[:9]:
            alice.ask("unsubscribe", channel=channel)
        room = {"public.other", "kept.other"}
        eventually(lambda: subscribe(alice, room) == room, "there is room for others", 10)
        eventually(lambda: hears(alice, bob, {*sorted(heard)[9:], *room}), "all of them are heard", 10)


@pytest.mark.parametrize("comes_meanwhile", [False, True])
def test_a_right_that_is_gone_when_the_broker_is_back_is_missed_by_nobody_else(lonely, comes_meanwhile):
    nats, hub = lonely
    with enter(hub.a, token()) as alice, enter(hub.b, token("bob")) as bob:
        assert subscribe(alice, ["public.x", "public.y"]) == {"public.x", "public.y"}
        nats.kill()
        allowed = 'subscribe: ["headgate.default.chat.>"]'
        text = nats.configuration.read_text()
        assert allowed in text
        nats.configuration.write_text(text.replace(allowed, 'subscribe: {allow: ["headgate.default.chat.>"], deny: ["headgate.default.chat.live.public_2Ex"]}'))
        connected(hub.pods, False)
        if comes_meanwhile:
            assert subscribe(alice, ["public.z"]) == {"public.z"}
        nats.start().wait_until_ready()
        connected(hub.pods, True)

        with enter(hub.a, token("carol")) as carol:
            def is_refused():
                is_it = carol.ask("subscribe", channel="public.x") == "unavailable"
                return is_it or carol.ask("unsubscribe", channel="public.x") is False

            eventually(is_refused, "the channel without the right is refused", 15)
        others = {"public.y"} | ({"public.z"} if comes_meanwhile else set())
        eventually(lambda: hears(alice, bob, others), "the others are heard", 15)
