"""Keys: a retry is harmless, on whichever pod it comes."""

from client import enter
from hub import is_idle
from tokens import token


def test_a_retry_on_another_pod_is_stored_and_delivered_once(start):
    hub = start()

    with enter(hub.a, token()) as one, enter(hub.b, token()) as two, enter(hub.c, token("bob")) as reader:
        reader.ask("subscribe", channel="kept.a")
        first = one.ask("message", channel="kept.a", data=1, key="k")
        assert first["offset"] > 0
        assert two.ask("message", channel="kept.a", data=2, key="k") == first
        assert one.ask("message", channel="kept.a", data=3, key="k") == first
        last = two.ask("message", channel="kept.a", data=4, key="other")
        assert last["offset"] > first["offset"]
        assert [reader.get()["payload"]["offset"] for _ in range(2)] == [first["offset"], last["offset"]] and is_idle(reader)
        assert [it["data"] for it in reader.ask("history", channel="kept.a")["messages"]] == [1, 4]


def test_a_retry_over_the_api_is_harmless_on_any_pod(start):
    hub = start()

    first = hub.a.publish("kept.a", 1, key="k")

    assert [pod.publish("kept.a", 2, key="k") for pod in hub.pods] == [first] * len(hub.pods)
    assert [it["data"] for it in hub.b.ask_api("channels/kept.a/history")["messages"]] == [1]


def test_keys_of_others_and_of_other_channels_are_apart(start):
    hub = start()

    with enter(hub.a, token()) as alice, enter(hub.b, token("bob")) as bob, enter(hub.c) as nobody:
        places = [client.ask("message", channel="kept.a", data=number, key="k")["offset"] for number, client in enumerate([alice, bob, nobody])]
        places.append(hub.c.publish("kept.a", 3, key="k")["offset"])
        assert len(set(places)) == 4
        assert alice.ask("message", channel="kept.b", data=4, key="k")["channel"] == "kept.b"
        # The same letters, cut elsewhere.
        for channel, key in [("kept.ab", "c"), ("kept.a", "bc"), ("kept.a", "b.c"), ("kept.a.b", "c")]:
            alice.ask("message", channel=channel, data=[channel, key], key=key)
    stored = {channel: [it["data"] for it in hub.a.ask_api(f"channels/{channel}/history")["messages"]] for channel in ("kept.a", "kept.ab", "kept.a.b")}
    assert stored == {"kept.a": [0, 1, 2, 3, ["kept.a", "bc"], ["kept.a", "b.c"]], "kept.ab": [["kept.ab", "c"]], "kept.a.b": [["kept.a.b", "c"]]}


def test_retries_at_once_on_all_pods_are_one(start):
    hub = start()

    with enter(hub.a, token()) as one, enter(hub.b, token()) as two, enter(hub.c, token()) as three:
        clients = [one, two, three]
        for round in range(20):
            for client in clients:
                client.say("message", {"channel": "kept.a", "data": round, "key": f"k{round}"}, id=round)
            places = {place(client, round) for client in clients}
            assert len(places) == 1, places
        assert [it["data"] for it in hub.c.ask_api("channels/kept.a/history")["messages"]] == list(range(20))


def place(client, round):
    """The offset that a publication has got; where its outcome was not known, that of a retry."""
    answer = client.get()
    assert answer["id"] == round and (answer["type"] == "published" or answer["payload"]["code"] == "unavailable"), answer
    while answer["type"] == "error":
        client.say("message", {"channel": "kept.a", "data": round, "key": f"k{round}"}, id=round)
        answer = client.get()
    return answer["payload"]["offset"]
