"""History: positions, pages, bounds, and that of `@user` and `@all`, the same from every pod."""

from client import enter
from gateway import eventually
from hub import ANYONE, SPEC, position
from tokens import token


def data(page):
    return [it["data"] for it in page["messages"]]


def test_offsets_rise_strictly_whoever_publishes(start):
    hub = start()

    with enter(hub.a, token()) as alice, enter(hub.b, token("bob")) as bob:
        at = alice.ask("subscribe", channel="kept.a")
        bob.ask("subscribe", channel="kept.a")
        told = []
        for number in range(10):
            told.append(alice.ask("message", channel="kept.a", data=number)["offset"])
            told.append(bob.ask("message", channel="kept.a", data=number)["offset"])
            told.append((place := hub.c.publish("kept.a", number))["offset"])
            assert place["epoch"] == at["epoch"]
        assert told[0] > at["offset"] and told == sorted(set(told))
        for client in (alice, bob):
            assert [client.get()["payload"]["offset"] for _ in told] == told


def test_history_is_read_in_pages_from_any_pod(start):
    hub = start()
    with enter(hub.a) as client:
        at = position(client.ask("subscribe", channel="kept.a"))
    for number in range(150):
        (hub.a, hub.b, hub.c)[number % 3].publish("kept.a", number)

    for pod in hub.pods:
        with enter(pod) as client:
            client.ask("subscribe", channel="kept.a")
            newest = client.ask("history", channel="kept.a", limit=2)
            assert data(newest) == [148, 149] and newest["more"] is False and newest["epoch"] == at["epoch"]
            assert newest["messages"][-1]["offset"] == newest["offset"]
            assert data(client.ask("history", channel="kept.a", limit=1000)) == list(range(50, 150))
            found, since = [], at
            while (page := client.ask("history", channel="kept.a", since=since, limit=60))["more"]:
                assert len(page["messages"]) <= 60
                found += data(page)
                since = {**at, "offset": page["messages"][-1]["offset"]}
            assert found + data(page) == list(range(150))
            assert client.ask("history", channel="kept.a", since={**at, "offset": newest["offset"]})["messages"] == []
            assert client.ask("history", channel="kept.a", since={"epoch": "1", "offset": 0}) == "epoch_changed"


def test_the_api_reads_history_from_any_pod(start):
    hub = start()
    first = hub.a.publish("kept.a", 0)
    for number in range(1, 5):
        hub.b.publish("kept.a", number)

    for pod in hub.pods:
        assert data(pod.ask_api("channels/kept.a/history")) == [0, 1, 2, 3, 4]
        page = pod.ask_api(f"channels/kept.a/history?since={first['epoch']}:{first['offset']}&limit=2")
        assert data(page) == [1, 2] and page["more"] is True
        assert pod.http("GET", "/api/v1/channels/kept.a/history?since=1:0")[0] == 409


def test_history_has_who_published(start):
    hub = start()

    with enter(hub.a, token()) as alice:
        alice.ask("message", channel="kept.a", data={"x": "ü"})
    hub.a.publish("kept.a", 2)

    found = hub.c.ask_api("channels/kept.a/history")["messages"]
    assert [(it["data"], it.get("user")) for it in found] == [({"x": "ü"}, "alice"), (2, None)]


def test_history_keeps_so_many(start):
    hub = start()
    for number in range(10):
        hub.a.publish("few.a", number)
        hub.b.publish("few.b", -number)

    for pod in hub.pods:
        assert data(pod.ask_api("channels/few.a/history")) == [7, 8, 9]
        assert data(pod.ask_api("channels/few.b/history")) == [-7, -8, -9]


def test_history_keeps_for_so_long(start):
    hub = start(channels=[{"match": "**", **ANYONE, "history": {"messages": 10, "maxAge": "400ms"}}])

    with enter(hub.a) as client:
        client.ask("subscribe", channel="kept.a")
        for number in range(5):
            last = hub.b.publish("kept.a", number)
        eventually(lambda: not client.ask("history", channel="kept.a")["messages"], "everything is too old")
        assert client.ask("history", channel="kept.a")["offset"] == last["offset"]
        assert hub.b.publish("kept.a", 5)["offset"] > last["offset"]


def test_history_keeps_so_many_bytes(start):
    hub = start(channels=[{"match": "**", **ANYONE, "history": {"messages": 1000, "maxAge": "5m"}}], broker={"historyBytes": "64Ki"})

    for number in range(100):
        hub.a.publish("kept.a", [number, "x" * 2000])

    found = [number for number, _ in data(hub.c.ask_api("channels/kept.a/history"))]
    assert 5 <= len(found) <= 32 and found == list(range(100 - len(found), 100))


def test_messages_to_users_and_to_all_have_a_history_of_their_own(start):
    own = [{"match": "@user", "history": {"messages": 10}}, {"match": "@all", "history": {"messages": 10}}]
    hub = start(channels=[*own, *SPEC["channels"]])
    with enter(hub.a, token()) as client:
        at = {it["channel"]: position(it) for it in client.welcome["subscriptions"]}
    hub.a.api("users/alice/messages", {"data": "for you"})
    hub.b.api("users/bob/messages", {"data": "for bob"})
    hub.c.api("broadcast", {"data": "for all"})

    for pod in hub.pods:
        with enter(pod, token()) as client:
            for channel, expected in [("@user", "for you"), ("@all", "for all")]:
                page = client.ask("history", channel=channel, since=at[channel])
                assert data(page) == [expected]
                told = next(it for it in client.welcome["subscriptions"] if it["channel"] == channel)
                assert position(told) == position(page)


def test_what_comes_to_a_user_with_history_has_its_place(start):
    own = [{"match": "@user", "history": {"messages": 10}}]
    hub = start(channels=[*own, *SPEC["channels"]])

    with enter(hub.a, token()) as one, enter(hub.b, token()) as two:
        places = [pod.api("users/alice/messages", {"data": number}) for number, pod in enumerate([hub.a, hub.b, hub.c])]
        for client in (one, two):
            assert [client.get()["payload"] for _ in places] == [
                {"channel": "@user", "data": number, "offset": place["offset"]} for number, place in enumerate(places)
            ]
