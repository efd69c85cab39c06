"""What goes between pods, seen and forged past the gateway."""

import json, os, re

import pytest

from client import enter
from hub import SPEC, eventually, is_idle, position
from nats_wire import Wire

pytestmark = pytest.mark.pods


@pytest.fixture
def tapped(start):
    """A hub, a client of it that hears `kept.a` and `public.a`, and a connection to NATS with the hub's own rights."""
    hub = start()
    nats = json.loads(os.environ["BROKER_NATS"])
    prefix = f"headgate.default.{hub.name}"
    with enter(hub.b) as client, Wire(nats["ports"][0], hub.name, nats["password"], inbox=f"{prefix}.inbox.test") as wire:
        at = position(client.ask("subscribe", channel="kept.a"))
        client.ask("subscribe", channel="public.a")
        hub.settle("public.a", client)
        yield hub, client, wire, prefix, at


def dropped(hub):
    """What the pods have dropped, by reason."""
    counts = {}
    for pod in hub.pods:
        for reason, count in re.findall(r'broker_dropped_total\{reason="(\w+)"\} (\d+)', pod.http("GET", "/metrics")[1]):
            counts[reason] = counts.get(reason, 0) + int(count)
    return counts


def test_what_is_stored_is_republished_with_its_place_and_the_one_before(tapped):
    hub, client, wire, prefix, _ = tapped
    wire.subscribe(f"{prefix}.live.>")
    wire.flush()

    places = [hub.c.publish("kept.a", number)["offset"] for number in range(2)]

    heads = [dict(re.findall(r"([\w-]+): (.*)\r\n", wire.get().headers)) for _ in places]
    assert [int(it["Nats-Sequence"]) for it in heads] == places and client.messages(2) == [0, 1]
    assert [int(it["Nats-Last-Sequence"]) for it in heads] == [0, places[0]]
    assert {it["Nats-Stream"] for it in heads} == {f"headgate_default_{hub.name}_kept_2E_2A_2A"}


def test_what_is_of_no_gateway_is_dropped_and_counted(tapped):
    hub, client, wire, prefix, _ = tapped
    before = dropped(hub)
    live = f"{prefix}.live.public_2Ea"

    for payload in (b"", b"hello", b'{"v":1}', b'{"v":1}\n{', b'{"v":1}\n[1,\n2]', b"\xff\n1"):
        wire.publish(live, payload)
    wire.publish(live, b'{"v":3}\n"of a later version"')
    wire.publish_with(live, {"Nats-Stream": "another", "Nats-Sequence": "1"}, b'{"v":1}\n"of another stream"')
    wire.publish(live, b'{"v":1}\n"' + b"x" * 600_000 + b'"')
    wire.publish(live, b'{"v":2,"new":true}\n"of the next version"')
    wire.flush()

    assert client.messages(1) == ["of the next version"] and is_idle(client)
    expected = {"malformed": 6, "version": 1, "foreign": 1, "oversized": 1}
    eventually(lambda: {it: dropped(hub)[it] - before[it] for it in expected} == expected, "what was dropped is counted")


def test_a_hole_is_filled_or_told(tapped):
    hub, client, wire, prefix, at = tapped
    first = hub.a.publish("kept.a", 1)["offset"]
    assert client.messages(1) == [1]
    forged = {"Nats-Stream": f"headgate_default_{hub.name}_kept_2E_2A_2A", "Nats-Sequence": first + 5, "Nats-Last-Sequence": first + 4, "Nats-Time-Stamp": "2099-01-01T00:00:00Z"}

    # It came live, with something before it, and the stream has neither.
    wire.publish_with(f"{prefix}.live.kept_2Ea", forged, b'{"v":1}\n"nowhere stored"')
    wire.flush()

    told = client.get()
    assert told["type"] == "gap" and told["payload"]["epoch"] == at["epoch"] and told["payload"]["offset"] > first + 5


def test_a_stream_that_is_removed_by_hand_begins_anew_and_clients_are_told(tapped):
    hub, client, wire, prefix, at = tapped
    place = hub.a.publish("kept.a", 1)
    assert client.messages(1) == [1]

    assert wire.ask(f"$JS.API.STREAM.DELETE.headgate_default_{hub.name}_kept_2E_2A_2A")["success"]

    told = client.get(15)
    assert told["type"] == "gap" and told["payload"]["epoch"] != at["epoch"]
    eventually(lambda: hub.a.http("POST", "/api/v1/publish", {"channel": "kept.a", "data": 2})[0] == 200, "publications are stored again", 15)
    assert client.messages(1) == [2]
    with enter(hub.c) as late:
        # A pod that has not seen the new stream yet says to try again.
        answers = lambda: [it] if (it := late.ask("subscribe", channel="kept.a", recover=position(place))) != "unavailable" else []
        assert eventually(answers, "pod c knows the new stream", 15)[0]["recovered"] is False


def test_what_did_not_come_while_a_stream_did_not_republish_comes_whoever_mends_it(tapped):
    hub, client, wire, _, _ = tapped
    hub.a.publish("kept.a", 1)
    assert client.messages(1) == [1]
    stream = f"headgate_default_{hub.name}_kept_2E_2A_2A"
    config = wire.ask(f"$JS.API.STREAM.INFO.{stream}")["config"]
    del config["republish"]
    assert "error" not in wire.ask(f"$JS.API.STREAM.UPDATE.{stream}", **config)

    hub.a.publish("kept.a", 2)
    # Each pod looks at its streams now, before it would have by itself.
    rules = [{**rule, "history": {"messages": 999, "maxAge": "5m"}} if rule["match"] == "kept.**" else rule for rule in SPEC["channels"]]
    hub.change(channels=rules)

    assert [client.get(10)["payload"]["data"]] == [2]


def test_nothing_is_removed_from_a_stream_by_hand(tapped):
    hub, client, wire, prefix, _ = tapped
    hub.a.publish("kept.a", 1)
    stream = f"headgate_default_{hub.name}_kept_2E_2A_2A"

    # The gateway's rights do not reach so far, and the stream would refuse it.
    assert wire.ask(f"$JS.API.STREAM.PURGE.{stream}") is None
    config = wire.ask(f"$JS.API.STREAM.INFO.{stream}")["config"]
    assert (config["deny_delete"], config["deny_purge"], config["allow_direct"]) == (True, True, True)
