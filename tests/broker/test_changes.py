"""Live changes of the rules, on all pods."""

import pytest

from client import enter
from gateway import eventually
from hub import ANYONE, SPEC, apart, is_idle, position
from nats import Nats, account


def kept(**history):
    return [{"match": "kept.**", **ANYONE, **({"history": history} if history else {})}, *SPEC["channels"][1:]]


def stored(pod):
    return [it["data"] for it in pod.ask_api("channels/kept.a/history")["messages"]]


def until_message(client):
    """The payloads of the gaps before the next message, and its own."""
    gaps = []
    while (envelope := client.get())["type"] == "gap":
        gaps.append(envelope["payload"])
    assert envelope["type"] == "message", envelope
    return gaps, envelope["payload"]


def test_new_bounds_of_a_history_keep_its_epoch(start):
    hub = start(channels=kept(messages=10, maxAge="5m"))

    with enter(hub.a) as client:
        at = position(client.ask("subscribe", channel="kept.a"))
        for number in range(5):
            hub.b.publish("kept.a", number)
        client.messages(5)
        hub.change(channels=kept(messages=3, maxAge="4m"))
        for pod in hub.pods:
            eventually(lambda: stored(pod) == [2, 3, 4], "the three newest are kept")
        last = hub.c.publish("kept.a", 5)
        assert last["epoch"] == at["epoch"] and client.messages(1) == [5]
        hub.change(channels=kept(messages=20, maxAge="10m"))
        for number in range(6, 12):
            hub.b.publish("kept.a", number)
        assert client.messages(6) == list(range(6, 12)) and is_idle(client)
        assert [stored(pod) for pod in hub.pods] == [list(range(3, 12))] * len(hub.pods)
    with enter(hub.c) as client:
        assert client.ask("subscribe", channel="kept.a", recover=position(last))["recovered"] is True
        assert client.messages(6) == list(range(6, 12))


def test_what_smaller_bounds_removed_is_not_recovered_when_they_have_grown(start):
    hub = start(channels=kept(messages=3, maxAge="5m"))

    hub.a.publish("kept.oldest", "of the rule")
    places = [position(hub.a.publish("kept.a", number)) for number in range(10)]
    hub.change(channels=kept(messages=100, maxAge="5m"))
    eventually(lambda: hub.b.publish("kept.a", "more") and len(stored(hub.b)) > 5, "more is kept than before")

    with enter(hub.c) as client:
        assert client.ask("subscribe", channel="kept.a", recover=places[5])["recovered"] is False
    with enter(hub.c) as client:
        assert client.ask("subscribe", channel="kept.a", recover=places[8])["recovered"] is True
        assert client.messages(1) == [9]


def test_history_that_is_switched_off_and_on_is_a_gap(start):
    hub = start(channels=kept(messages=10))

    with enter(hub.a) as one, enter(hub.b) as two:
        first = [position(client.ask("subscribe", channel="kept.a")) for client in (one, two)][0]
        hub.c.publish("kept.a", 1)
        assert one.messages(1) == two.messages(1) == [1]
        hub.change(channels=kept())
        for client in (one, two):
            assert client.get() == {"type": "gap", "payload": {"channel": "kept.a"}}
        hub.settle("kept.a", one, two)
        hub.c.publish("kept.a", 2)
        assert [client.get()["payload"] for client in (one, two)] == [{"channel": "kept.a", "data": 2}] * 2
        hub.change(channels=kept(messages=10))
        hub.wait_for_history("kept.other")
        place = hub.c.publish("kept.a", 3)
        assert place["epoch"] != first["epoch"]
        for client in (one, two):
            gaps, message = until_message(client)
            assert gaps[-1]["epoch"] == place["epoch"] and (message["data"], message["offset"]) == (3, place["offset"])
        two.ask("unsubscribe", channel="kept.a")
        assert two.ask("subscribe", channel="kept.a", recover=first)["recovered"] is False


def test_a_right_that_is_taken_ends_subscriptions_on_all_pods(start):
    hub = start()

    with enter(hub.a) as one, enter(hub.b) as two, enter(hub.c) as three:
        for client in (one, two, three):
            client.ask("subscribe", channel="public.a")
        hub.change(channels=[{"match": "**"}])
        for client in (one, two, three):
            told = client.get()
            assert (told["type"], told["payload"]["channel"], told["payload"]["code"]) == ("unsubscribed", "public.a", "forbidden")


def test_a_rule_with_history_that_comes_later_is_there_for_all(start):
    hub = start()

    hub.change(channels=[{"match": "late.**", **ANYONE, "history": {"messages": 5}}, *SPEC["channels"]])
    hub.wait_for_history("late.other")

    with enter(hub.a) as client:
        at = position(client.ask("subscribe", channel="late.a"))
        places = [pod.publish("late.a", number) for number, pod in enumerate(hub.pods)]
        assert {it["epoch"] for it in places} == {at["epoch"]}
        assert client.messages(len(hub.pods)) == list(range(len(hub.pods)))


@pytest.mark.pods
def test_a_stream_that_cannot_be_removed_does_not_go_on_as_if_nothing_had_been_published(tmp_path):
    accounts = account("chat")
    right = '"$JS.API.STREAM.DELETE.*", '
    assert right in accounts
    nats = Nats(tmp_path / "nats", accounts=accounts.replace(right, ""))
    with apart(tmp_path, nats, 1) as hub:
        hub.a.publish("kept.a", 1)
        hub.change(channels=kept())

        def is_kept_no_more():
            status, answer = hub.a.http("POST", "/api/v1/publish", {"channel": "kept.a", "data": 2})
            assert status in (200, 503), answer
            return status == 200 and "epoch" not in answer["results"][0]

        eventually(is_kept_no_more, "nothing is kept any more", 10)
        mark = len(hub.a.log)
        hub.change(channels=SPEC["channels"])

        problem = hub.a.wait_for("streams_unavailable", mark, 20)["error"]
        assert "cannot remove the stream" in problem, problem
        assert hub.a.http("POST", "/api/v1/publish", {"channel": "kept.a", "data": 3})[0] == 503
