"""Presence: who is in a channel, and how that is announced."""

import contextlib, time

import pytest

from client import enter
from gateway import ENDLESS, SPEC, eventually
from raw import Raw
from tokens import granted, token


def test_members_are_told_with_what_their_token_says(start):
    gateway = start()

    with enter(gateway, granted(info={"name": "Al"})) as one, enter(gateway, token("bob")) as two, enter(gateway) as nobody:
        for client in (one, two, nobody):
            client.ask("subscribe", channel="room.1")
        answer = one.ask("presence", channel="room.1")
        assert answer["total"] == 3 and answer["complete"] is True
        members = {it["connection"]: it for it in answer["members"]}
        assert members[one.welcome["connection"]] == {"user": "alice", "connection": one.welcome["connection"], "info": {"name": "Al"}}
        assert members[two.welcome["connection"]] == {"user": "bob", "connection": two.welcome["connection"]}
        assert nobody.welcome["connection"] in members


def test_who_says_later_who_it_is_is_known_by_that(start):
    gateway = start(auth={**SPEC["auth"], "firstMessage": "Allow"})

    with enter(gateway) as client:
        client.ask("subscribe", channel="room.1")
        for info in [1, 2]:
            client.ask("authenticate", token=granted(info={"n": info}))
            member = {"user": "alice", "connection": client.welcome["connection"], "info": {"n": info}}
            assert client.ask("presence", channel="room.1")["members"] == [member]


def notice(client, seconds=5):
    """The next notice about somebody else; who joins is told of itself too."""
    while (envelope := client.get(seconds))["payload"].get("connection") == client.welcome["connection"]:
        pass
    return envelope


@pytest.mark.long
def test_join_is_announced_at_once_and_leave_after_ten_seconds(start):
    gateway = start()

    with enter(gateway, token()) as one:
        one.ask("subscribe", channel="room.1")
        with enter(gateway, token("bob")) as two:
            two.ask("subscribe", channel="room.1")
            connection = two.welcome["connection"]
            assert notice(one) == {"type": "join", "payload": {"channel": "room.1", "user": "bob", "connection": connection}}
        began = time.monotonic()
        assert notice(one, 15) == {"type": "leave", "payload": {"channel": "room.1", "user": "bob", "connection": connection}}
        assert 9 < time.monotonic() - began < 12
        assert one.ask("presence", channel="room.1")["total"] == 1


@pytest.mark.long
def test_who_moves_is_seen_joining_before_leaving(start):
    gateway = start()

    with enter(gateway, token()) as one:
        one.ask("subscribe", channel="room.1")
        old = enter(gateway, token("bob"))
        old.ask("subscribe", channel="room.1")
        old.close()
        with enter(gateway, token("bob")) as new:
            new.ask("subscribe", channel="room.1")
            seen = [notice(one, 15) for _ in range(3)]
            assert [it["type"] for it in seen] == ["join", "join", "leave"]
            assert seen[2]["payload"]["connection"] == old.welcome["connection"]


def test_a_channel_that_is_enabled_announces_nothing(start):
    gateway = start(channels=[{"match": "**", "subscribe": "Anyone", "publish": "Anyone", "presence": "Enabled"}])

    with enter(gateway) as one, enter(gateway, token()) as two:
        one.ask("subscribe", channel="a")
        two.ask("subscribe", channel="a")
        gateway.publish("a", 1)
        assert one.messages(1) == [1] and one.ask("presence", channel="a")["total"] == 2


def test_a_channel_without_presence_tells_nobody(start):
    gateway = start(channels=[*SPEC["channels"]])

    with enter(gateway, granted(presence=["**"])) as client:
        client.ask("subscribe", channel="public.a")
        assert client.ask("presence", channel="public.a") == "forbidden"


@pytest.mark.long
def test_above_a_thousand_members_changes_are_summed_up(start):
    gateway = start(limits={**ENDLESS, "sendQueueMessages": 4096})
    with enter(gateway) as client, contextlib.ExitStack() as others:
        client.ask("subscribe", channel="room.1")
        for _ in range(1002):
            others.enter_context(Raw(gateway)).say("subscribe", channel="room.1")
        eventually(lambda: gateway.subscribers("room.1") == 1003, "all are subscribed", 20)

        answer = client.ask("presence", channel="room.1")
        assert answer["total"] == 1003 and len(answer["members"]) == 1000
        kinds = []
        while "presence_changed" not in kinds:
            kinds.append((envelope := client.get())["type"])
        assert 1000 < envelope["payload"]["total"] <= 1003 and kinds.count("join") <= 1001
