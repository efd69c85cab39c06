"""Presence over all pods: who is there, and how that is announced."""

import signal, time

import pytest

from client import enter
from gateway import eventually
from hub import is_idle
from tokens import granted, token


def about(client, other, seconds=5):
    """The next notice about another connection."""
    while (envelope := client.get(seconds))["payload"].get("connection") != other.welcome["connection"]:
        pass
    return envelope


def test_members_of_all_pods_are_told_on_any(start):
    hub = start()

    with enter(hub.a, granted(info={"name": "Al"})) as one, enter(hub.b, token("bob")) as two, enter(hub.c) as nobody:
        clients = [one, two, nobody]
        for client in clients:
            client.ask("subscribe", channel="room.1")
        names = [it.welcome["connection"] for it in clients]
        expected = sorted(
            [{"user": "alice", "connection": names[0], "info": {"name": "Al"}}, {"user": "bob", "connection": names[1]}, {"connection": names[2]}],
            key=lambda it: it["connection"],
        )
        for ask in [lambda it=it: it.ask("presence", channel="room.1") for it in clients] + [lambda it=it: it.members("room.1") for it in hub.pods]:
            answer = ask()
            members = sorted(answer["members"], key=lambda it: it["connection"])
            assert [{key: value for key, value in it.items() if value is not None} for it in members] == expected
            assert (answer["total"], answer["complete"]) == (3, True)


def test_an_empty_room_is_empty_on_every_pod(start):
    hub = start()

    for pod in hub.pods:
        answer = pod.members("room.1")
        assert (answer["members"], answer["total"], answer["complete"]) == ([], 0, True)
        assert answer["pods"] == {"asked": len(hub.pods), "answered": len(hub.pods)}


def test_who_unsubscribes_is_no_member(start):
    hub = start()

    with enter(hub.a, token()) as one, enter(hub.b, token("bob")) as two:
        for client in (one, two):
            client.ask("subscribe", channel="room.1")
        two.ask("unsubscribe", channel="room.1")
        eventually(lambda: hub.c.members("room.1")["total"] == 1, "one member is left")


@pytest.mark.long
def test_join_is_announced_at_once_and_leave_after_ten_seconds(start):
    hub = start()

    with enter(hub.a, token()) as one:
        one.ask("subscribe", channel="room.1")
        payload = lambda client: {"channel": "room.1", "user": "bob", "connection": client.welcome["connection"]}
        with enter(hub.b, token("bob")) as two:
            two.ask("subscribe", channel="room.1")
            assert about(one, two) == {"type": "join", "payload": payload(two)}
        began = time.monotonic()
        assert about(one, two, 15) == {"type": "leave", "payload": payload(two)}
        assert 9 < time.monotonic() - began < 13
        assert hub.c.members("room.1")["total"] == 1


@pytest.mark.long
def test_who_moves_to_another_pod_is_seen_joining_before_leaving(start):
    hub = start()

    with enter(hub.a, token()) as one:
        one.ask("subscribe", channel="room.1")
        old = enter(hub.b, token("bob"))
        old.ask("subscribe", channel="room.1")
        assert about(one, old)["type"] == "join"
        old.close()
        with enter(hub.c, token("bob")) as new:
            new.ask("subscribe", channel="room.1")
            assert about(one, new)["type"] == "join"
            leave = about(one, old, 15)
            assert leave["type"] == "leave"


@pytest.mark.pods
@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
def test_members_of_a_pod_that_is_gone_are_gone(start, how):
    hub = start()

    with enter(hub.a, token()) as one, enter(hub.c, token("bob")) as two:
        for client in (one, two):
            client.ask("subscribe", channel="room.1")
        about(one, two)
        hub.c.process.send_signal(how)
        hub.c.process.wait(timeout=30)
        seen = one.get(15)
        while seen["type"] not in ("presence_changed", "leave"):
            seen = one.get(15)
        assert how == signal.SIGTERM or seen["type"] == "presence_changed"
        eventually(lambda: (it := one.ask("presence", channel="room.1"))["total"] == 1 and it["complete"], "only one is there", 10)


@pytest.mark.pods
def test_a_pod_that_is_silent_makes_presence_incomplete_within_a_deadline(start):
    hub = start()

    with enter(hub.a, token()) as one:
        one.ask("subscribe", channel="room.1")
        assert one.get()["type"] == "join"
        hub.c.freeze()
        try:
            began = time.monotonic()
            answer = one.ask("presence", channel="room.1")
            assert (answer["total"], answer["complete"]) == (1, False) and time.monotonic() - began < 3
            assert is_idle(one)
        finally:
            hub.c.process.send_signal(signal.SIGCONT)
        eventually(lambda: one.ask("presence", channel="room.1")["complete"], "all pods answer again", 15)
