"""Recovery on another pod: exactly what was missed, once and in order, or word that something is lost."""

import pytest

from client import enter
from gateway import eventually
from hub import ANYONE, SPEC, cut, is_idle, position

KEPT = SPEC["channels"][0]


@pytest.fixture
def left(start):
    """A hub, and the position at which a client of its first pod was cut off from `kept.a`: after the message 0."""
    hub = start()
    client = enter(hub.a)
    at = position(client.ask("subscribe", channel="kept.a"))
    hub.b.publish("kept.a", 0)
    at["offset"] = client.get()["payload"]["offset"]
    cut(client)
    return hub, at


def back(client, at, channel="kept.a"):
    return client.ask("subscribe", channel=channel, recover=at)


def test_a_client_gets_exactly_what_it_missed_and_goes_on(left):
    hub, at = left
    for number, pod in enumerate([hub.a, hub.b, hub.c], 1):
        pod.publish("kept.a", number)

    with enter(hub.c) as client:
        assert back(client, at) == {"channel": "kept.a", **at, "recovered": True}
        hub.a.publish("kept.a", 4)
        assert client.messages(4) == [1, 2, 3, 4] and is_idle(client)


def test_nothing_missed_is_recovered_too(left):
    hub, at = left

    for pod in hub.pods:
        with enter(pod) as client:
            assert back(client, at) == {"channel": "kept.a", **at, "recovered": True} and is_idle(client)
            # Once more, on a channel that it has.
            assert back(client, at)["recovered"] is True and is_idle(client)


def test_three_hundred_missed_come_whole(left):
    hub, at = left
    for number in range(1, 301):
        (hub.a, hub.b, hub.c)[number % 3].publish("kept.a", number)

    with enter(hub.b) as client:
        assert back(client, at)["recovered"] is True
        found = [client.get()["payload"] for _ in range(300)]
        assert [it["data"] for it in found] == list(range(1, 301)) and is_idle(client)
        offsets = [it["offset"] for it in found]
        assert offsets == sorted(set(offsets)) and offsets[0] > at["offset"]


def test_the_seam_between_replay_and_live_is_exact(left):
    hub, at = left
    for number in range(1, 601):
        hub.a.publish("kept.a", number)

    with enter(hub.b) as publisher, enter(hub.c) as client:
        client.say("subscribe", {"channel": "kept.a", "recover": at})
        for number in range(601, 701):
            publisher.say("message", {"channel": "kept.a", "data": number})
        assert client.get()["payload"]["recovered"] is True
        assert client.messages(700) == list(range(1, 701)) and is_idle(client)


def test_other_channels_of_the_rule_do_not_matter(left):
    hub, at = left
    for number in range(1, 30):
        hub.a.publish("kept.b", -number)
        if number % 10 == 0:
            hub.b.publish("kept.a", number)

    with enter(hub.b) as client:
        assert back(client, at)["recovered"] is True
        assert client.messages(2) == [10, 20]
        hub.a.publish("kept.b", "other")
        hub.a.publish("kept.a", 30)
        assert client.messages(1) == [30] and is_idle(client)


def test_what_is_no_longer_kept_is_not_recovered_in_part(start):
    hub = start()
    with enter(hub.a) as client:
        at = position(client.ask("subscribe", channel="few.a"))
    for number in range(10):
        top = hub.b.publish("few.a", number)

    with enter(hub.c) as client:
        answer = back(client, at, "few.a")
        assert (answer["recovered"], answer["offset"], answer["epoch"]) == (False, top["offset"], top["epoch"]) and is_idle(client)


def test_what_is_still_kept_is_recovered_while_older_went(start):
    hub = start()
    places = [hub.a.publish("few.a", number) for number in range(10)]

    with enter(hub.b) as client:
        assert back(client, position(places[7]), "few.a")["recovered"] is True
        assert client.messages(2) == [8, 9] and is_idle(client)
    with enter(hub.c) as client:
        assert back(client, position(places[5]), "few.a")["recovered"] is False and is_idle(client)


def test_positions_that_never_were_are_not_recovered(left):
    hub, at = left

    with enter(hub.b) as client:
        for odd in [{"epoch": "1", "offset": 0}, {**at, "epoch": at["epoch"][::-1]}, {**at, "offset": at["offset"] + 100}]:
            answer = back(client, odd)
            assert answer["recovered"] is False and position(answer) == at
            client.ask("unsubscribe", channel="kept.a")
        assert "recovered" not in client.ask("subscribe", channel="kept.a")


def test_a_channel_that_was_empty_recovers_all(start):
    hub = start()
    with enter(hub.a) as client:
        at = position(client.ask("subscribe", channel="kept.new"))

    for number in range(2):
        hub.c.publish("kept.new", number)

    with enter(hub.b) as client:
        assert back(client, at, "kept.new")["recovered"] is True
        assert client.messages(2) == [0, 1] and is_idle(client)


def test_what_became_too_old_is_told(start):
    hub = start(channels=[{"match": "**", **ANYONE, "history": {"messages": 10, "maxAge": "400ms"}}])

    with enter(hub.a) as stays, enter(hub.b) as client:
        stays.ask("subscribe", channel="kept.a")
        places = [position(hub.a.publish("kept.a", number)) for number in range(3)]
        eventually(lambda: not stays.ask("history", channel="kept.a")["messages"], "everything is too old")
        assert back(client, places[0])["recovered"] is False and is_idle(client)
        client.ask("unsubscribe", channel="kept.a")
        assert back(client, places[2])["recovered"] is True and is_idle(client)


def test_a_channel_without_history_recovers_nothing(start):
    hub = start()

    with enter(hub.b) as client:
        assert client.ask("subscribe", channel="public.a", recover={"epoch": "1", "offset": 1}) == {"channel": "public.a", "recovered": False}


def test_nothing_that_comes_after_subscribed_is_lost(start):
    hub = start()

    with enter(hub.a) as client:
        for number in range(20):
            channel = f"kept.{number}"
            client.ask("subscribe", channel=channel)
            hub.b.publish(channel, number)
            assert client.messages(1) == [number]
