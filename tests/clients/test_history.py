"""History: pages, what is forgotten, keys, and that of `@user` and `@all`."""

from client import enter
from gateway import ENDLESS, SPEC, eventually
from tokens import token

KEPT = {"match": "kept.**", "subscribe": "Anyone", "publish": "Anyone"}


def position(answer):
    return {"epoch": answer["epoch"], "offset": answer["offset"]}


def test_history_is_read_in_pages(start):
    gateway = start(channels=[{**KEPT, "history": {"messages": 250}}])
    with enter(gateway) as client:
        at = position(client.ask("subscribe", channel="kept.a"))
        client.ask("unsubscribe", channel="kept.a")
    for data in range(150):
        gateway.publish("kept.a", data)

    with enter(gateway) as client:
        client.ask("subscribe", channel="kept.a")
        newest = client.ask("history", channel="kept.a", limit=2)
        assert [it["data"] for it in newest["messages"]] == [148, 149] and newest["more"] is False
        assert [it["offset"] for it in newest["messages"]][-1] == newest["offset"]
        assert len(client.ask("history", channel="kept.a", limit=1000)["messages"]) == 100
        found = []
        while True:
            page = client.ask("history", channel="kept.a", since=at, limit=60)
            found += [it["data"] for it in page["messages"]]
            if not page["more"]:
                break
            at = {**at, "offset": page["messages"][-1]["offset"]}
        assert found == list(range(150))
        assert client.ask("history", channel="kept.a", since={"epoch": "1", "offset": 0}) == "epoch_changed"
        client.ask("subscribe", channel="kept.b")
        assert client.ask("history", channel="public.a") == "forbidden"


def test_history_forgets_by_number_and_by_age(start):
    gateway = start(channels=[{**KEPT, "history": {"messages": 3, "maxAge": "400ms"}}], limits=ENDLESS)

    with enter(gateway) as client:
        client.ask("subscribe", channel="kept.a")
        for data in range(5):
            gateway.publish("kept.a", data)
        kept = lambda: [it["data"] for it in client.ask("history", channel="kept.a")["messages"]]
        assert kept() == [2, 3, 4]
        eventually(lambda: not kept(), "everything is too old")
        assert client.ask("history", channel="kept.a")["offset"] >= 5


def test_a_key_makes_a_retry_harmless(start):
    gateway = start()

    with enter(gateway, token()) as alice, enter(gateway, token("bob")) as bob:
        alice.ask("subscribe", channel="kept.a")
        first = alice.ask("message", channel="kept.a", data=1, key="k")
        assert alice.ask("message", channel="kept.a", data=2, key="k") == first
        assert bob.ask("message", channel="kept.a", data=3, key="k") != first
        by_api = gateway.publish("kept.a", 4, key="k")
        assert gateway.publish("kept.a", 5, key="k") == by_api and by_api["offset"] != first["offset"]
        assert alice.ask("message", channel="kept.b", data=6, key="k")["channel"] == "kept.b"
        assert [it["data"] for it in alice.ask("history", channel="kept.a")["messages"]] == [1, 3, 4]
        assert alice.ask("message", channel="kept.a", data=1, key="x" * 65) == "bad_request"
        assert alice.messages(3) == [1, 3, 4]


def test_messages_to_users_and_to_all_have_a_history_of_their_own(start):
    own = [{"match": "@user", "history": {"messages": 10}}, {"match": "@all", "history": {"messages": 10}}]
    gateway = start(channels=[*own, *SPEC["channels"]])
    with enter(gateway, token()) as client:
        at = {it["channel"]: position(it) for it in client.welcome["subscriptions"]}
    gateway.api("users/alice/messages", {"data": "for you"})
    gateway.api("users/bob/messages", {"data": "for bob"})
    gateway.api("broadcast", {"data": "for all"})

    with enter(gateway, token()) as client:
        for channel, data in [("@user", "for you"), ("@all", "for all")]:
            page = client.ask("history", channel=channel, since=at[channel])
            assert [it["data"] for it in page["messages"]] == [data]
            told = next(it for it in client.welcome["subscriptions"] if it["channel"] == channel)
            assert told["offset"] == page["offset"]


def test_history_that_is_switched_off_and_on_is_a_gap(start):
    gateway = start()

    with enter(gateway) as client:
        first = client.ask("subscribe", channel="kept.a")
        gateway.publish("kept.a", 1)
        client.messages(1)
        gateway.change(channels=[KEPT])
        assert client.get() == {"type": "gap", "payload": {"channel": "kept.a"}}
        gateway.publish("kept.a", 2)
        assert client.get()["payload"] == {"channel": "kept.a", "data": 2}
        gateway.change(channels=[{**KEPT, "history": {}}])
        gap = client.get()
        assert gap["type"] == "gap" and gap["payload"]["epoch"] != first["epoch"]
        gateway.publish("kept.a", 3)
        assert client.get()["payload"]["offset"] > gap["payload"].get("offset", 1) - 1
