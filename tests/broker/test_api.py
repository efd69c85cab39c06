"""The server API on any pod is about all."""

import json, signal, time

import pytest

from client import enter
from gateway import eventually
from hub import IS_NATS
from tokens import token


def everybody(hub):
    return {"asked": len(hub.pods), "answered": len(hub.pods)}


@pytest.fixture
def people(start):
    """A hub with alice, bob and carol on three pods, in `public.a` and each in a channel of their own."""
    hub = start()
    with enter(hub.a, token()) as alice, enter(hub.b, token("bob")) as bob, enter(hub.c, token("carol")) as carol:
        for client, own in [(alice, "x"), (bob, "y"), (carol, "z")]:
            client.ask("subscribe", channel="public.a")
            client.ask("subscribe", channel=f"public.{own}")
        yield hub, [alice, bob, carol]


def test_connections_of_all_pods_are_listed_in_pages(people):
    hub, clients = people
    expected = sorted(it.welcome["connection"] for it in clients)

    for pod in hub.pods:
        page = pod.connections()
        assert [it["connection"] for it in page["connections"]] == expected
        assert (page["total"], page["pods"], "cursor" in page) == (3, everybody(hub), False)
        assert sorted((it["user"], it["subscriptions"]) for it in page["connections"]) == [("alice", 2), ("bob", 2), ("carol", 2)]
        found, cursor = [], {}
        for _ in expected:
            page = pod.connections(limit=1, **cursor)
            found += [it["connection"] for it in page["connections"]]
            cursor = {"cursor": page["cursor"]} if "cursor" in page else {}
        assert found == expected and not cursor


def test_a_pod_alone_is_told_on_demand(people):
    hub, clients = people

    for client, pod in zip(clients, (hub.a, hub.b, hub.c)):
        page = pod.connections(scope="pod")
        mine = [it["connection"] for it in page["connections"]]
        assert client.welcome["connection"] in mine and page["total"] == len(mine) == (1 if IS_NATS else 3)
        assert page["pods"] == {"asked": 1, "answered": 1}
        assert pod.ask_api("stats?scope=pod")["activeConnections"] == len(mine)
        assert pod.ask_api("channels?scope=pod")["total"] == (2 if IS_NATS else 4)


def test_channels_of_all_pods_are_listed_with_all_subscribers(people):
    hub, clients = people
    for client in clients:
        client.ask("subscribe", channel="kept.a")
    place = hub.a.publish("kept.a", 1)

    for pod in hub.pods:
        page = pod.ask_api("channels")
        assert (page["total"], page["pods"]) == (5, everybody(hub))
        assert [(it["channel"], it["subscribers"]) for it in page["channels"]] == [("kept.a", 3), ("public.a", 3), ("public.x", 1), ("public.y", 1), ("public.z", 1)]
        assert (page["channels"][0]["epoch"], page["channels"][0]["offset"]) == (place["epoch"], place["offset"])
        first = pod.ask_api("channels?limit=2")
        assert len(first["channels"]) == 2 and [it["channel"] for it in pod.ask_api(f"channels?cursor={first['cursor']}")["channels"]][0] == "public.x"


def test_figures_are_of_all_pods(people):
    hub, clients = people

    for client in clients:
        client.ask("message", channel="public.a", data=1)

    # Each has subscribed twice and published once. A channel counts for each pod that has it.
    expected = {"activeConnections": 3, "totalConnections": 3, "subscriptions": 6, "channels": 6 if IS_NATS else 4, "messagesReceived": 9, "pods": everybody(hub)}
    for pod in hub.pods:
        eventually(lambda: expected.items() <= pod.ask_api("stats").items(), f"the figures of all pods: {pod.ask_api('stats')}")


def test_a_batch_reaches_all_pods(people):
    hub, clients = people
    hub.settle("public.a", *clients)
    lines = [
        {"publish": {"channel": "public.a", "data": 1}}, *({"message": {"connection": it.welcome["connection"], "data": 2}} for it in clients),
        {"publish": {"channel": "public.a", "data": 3}},
    ]
    ends = [{"disconnect": {"user": "bob"}}, {"disconnect": {"connection": clients[2].welcome["connection"], "code": 4100}}]

    def batch(lines):
        status, text = hub.a.http("POST", "/api/v1/batch", "\n".join(map(json.dumps, lines)).encode())
        assert status == 200 and all("result" in json.loads(line) for line in text.splitlines()), text

    batch(lines)
    assert [sorted(it.messages(3)) for it in clients] == [[1, 2, 3]] * 3
    # Between pods a publication and the end of a connection go different ways.
    batch(ends)
    assert [it.until_closed() for it in clients[1:]] == [4500, 4100] and clients[0].ask("ping") is None


@pytest.mark.pods
def test_a_pod_that_is_silent_is_said_so_within_a_deadline(people):
    hub, clients = people
    silent = clients[2].welcome["connection"]

    hub.c.freeze()
    try:
        # Within the time after which it is taken for lost.
        began = time.monotonic()
        assert hub.a.connections()["pods"] == {"asked": 3, "answered": 2}
        assert hub.a.api("users/alice/disconnect", {})["pods"] == {"asked": 3, "answered": 2}
        # Whether it is there is not known.
        assert hub.b.http("POST", f"/api/v1/connections/{silent}/disconnect", {})[0] == 503
        assert time.monotonic() - began < 4.5
    finally:
        hub.c.process.send_signal(signal.SIGCONT)
    eventually(lambda: hub.a.ask_api("stats")["pods"] == everybody(hub), "all answer again", 15)
