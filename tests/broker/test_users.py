"""Messages, disconnects and subscriptions by user and by connection, wherever the connections are."""

from contextlib import ExitStack

import pytest

from client import enter
from hub import is_idle
from tokens import token


@pytest.fixture
def people(start):
    """A hub, three connections of alice on three pods, and one of bob."""
    hub = start()
    with ExitStack() as stack:
        alices = [stack.enter_context(enter(pod, token())) for pod in (hub.a, hub.b, hub.c)]
        bob = stack.enter_context(enter(hub.b, token("bob")))
        hub.settle("@user", *alices)
        hub.settle("@user", bob)
        yield hub, alices, bob


def everybody(hub, connections):
    return {"connections": connections, "pods": {"asked": len(hub.pods), "answered": len(hub.pods)}}


def test_a_message_to_a_user_reaches_all_connections_and_nobody_else(people):
    hub, alices, bob = people

    for number, pod in enumerate(hub.pods):
        assert pod.api("users/alice/messages", {"data": number}) == {}
        for client in alices:
            assert client.get()["payload"] == {"channel": "@user", "data": number}
    hub.a.api("users/bob/messages", {"data": "for bob"})
    assert bob.messages(1) == ["for bob"]
    hub.b.api("users/nobody/messages", {"data": "for nobody"})
    assert all(is_idle(client) for client in [*alices, bob])


def test_a_broadcast_reaches_everybody(people):
    hub, alices, bob = people

    with enter(hub.c) as nobody:
        hub.settle("@all", *alices, bob, nobody)
        for number, pod in enumerate(hub.pods):
            pod.api("broadcast", {"data": number})
            for client in [*alices, bob, nobody]:
                assert client.get()["payload"] == {"channel": "@all", "data": number}


def test_a_user_is_disconnected_on_all_pods(people):
    hub, alices, bob = people

    assert hub.b.api("users/alice/disconnect", {"code": 4901, "reason": "moved out"}) == everybody(hub, 3)

    assert [client.until_closed() for client in alices] == [4901] * 3
    assert {client.protocol.close_rcvd.reason for client in alices} == {"moved out"}
    assert hub.c.api("users/alice/disconnect", {}) == everybody(hub, 0) and is_idle(bob)


def test_a_user_is_subscribed_and_unsubscribed_on_all_pods(people):
    hub, alices, bob = people

    assert hub.a.api("users/alice/subscribe", {"channel": "private.1"}) == everybody(hub, 3)
    for client in alices:
        told = client.get()
        assert (told["type"], told["payload"]["channel"]) == ("subscribed", "private.1")
    hub.settle("private.1", *alices)
    hub.c.publish("private.1", 1)
    assert [client.messages(1) for client in alices] == [[1]] * 3
    assert hub.b.api("users/alice/unsubscribe", {"channel": "private.1"}) == everybody(hub, 3)
    for client in alices:
        told = client.get()
        assert (told["type"], told["payload"]["channel"]) == ("unsubscribed", "private.1")
    hub.a.publish("private.1", 2)
    hub.a.api("users/alice/messages", {"data": "end"})
    assert [client.messages(1) for client in alices] == [["end"]] * 3 and is_idle(bob)


def test_a_connection_of_any_pod_gets_a_message_and_is_disconnected(people):
    hub, alices, bob = people

    for number, client in enumerate(alices):
        name = client.welcome["connection"]
        for pod in hub.pods:
            assert pod.api(f"connections/{name}/messages", {"data": number}) == {}
        assert client.messages(len(hub.pods)) == [number] * len(hub.pods)
        assert hub.b.api(f"connections/{name}/disconnect", {"code": 4100})["connections"] == 1
        assert client.until_closed() == 4100
    assert is_idle(bob)


def test_a_connection_that_is_nowhere_is_not_found(start):
    hub = start()

    with enter(hub.a) as client:
        gone = client.welcome["connection"]
        near = gone[:-1] + ("0" if gone[-1] != "0" else "1")
        for pod in hub.pods:
            for name in ("0" * 24, near, "unknown"):
                assert pod.http("POST", f"/api/v1/connections/{name}/messages", {"data": 1})[0] == 404
                assert pod.http("POST", f"/api/v1/connections/{name}/disconnect", {})[0] == 404
        assert is_idle(client)
