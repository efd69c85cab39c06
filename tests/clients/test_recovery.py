"""Recovery after a cut: exactly what was missed, or word that something is lost."""

import json
from contextlib import contextmanager

from client import enter
from gateway import ENDLESS, eventually
from raw import Raw

KEPT = {"match": "kept.**", "subscribe": "Anyone", "publish": "Anyone"}


def position(answer):
    return {"epoch": answer["epoch"], "offset": answer["offset"]}


def cut(client):
    """Ends a connection as a lost network does: without a close frame."""
    client.socket.shutdown(2)
    client.close_socket()


def test_a_client_that_comes_back_gets_exactly_what_it_missed(start):
    gateway = start()
    client = enter(gateway)
    at = position(client.ask("subscribe", channel="kept.a"))
    gateway.publish("kept.a", 0)
    assert (last := client.get()["payload"])["offset"] == at["offset"] + 1
    cut(client)
    for data in [1, 2, 3]:
        gateway.publish("kept.a", data)

    with enter(gateway) as client:
        answer = client.ask("subscribe", channel="kept.a", recover={"epoch": at["epoch"], "offset": last["offset"]})
        assert answer["recovered"] is True and answer["offset"] == last["offset"]
        gateway.publish("kept.a", 4)
        assert client.messages(4) == [1, 2, 3, 4]
        again = client.ask("subscribe", channel="kept.a", recover={"epoch": at["epoch"], "offset": 0})
        assert again["channel"] == "kept.a" and client.ask("ping") is None and not client.waiting


def test_offsets_rise_and_nothing_missed_is_recovered_too(start):
    gateway = start()

    with enter(gateway) as client:
        at = position(client.ask("subscribe", channel="kept.a"))
        offsets = [client.ask("message", channel="kept.a", data=i)["offset"] for i in range(3)]
        assert offsets == sorted(set(offsets)) and offsets[0] > at["offset"]
    with enter(gateway) as client:
        answer = client.ask("subscribe", channel="kept.a", recover={**at, "offset": offsets[-1]})
        assert answer["recovered"] is True and client.ask("ping") is None and not client.waiting


def test_what_is_no_longer_kept_is_not_recovered_in_part(start):
    gateway = start()
    with enter(gateway) as client:
        at = position(client.ask("subscribe", channel="kept.a"))
    for data in range(10):
        top = gateway.publish("kept.a", data)["offset"]

    with enter(gateway) as client:
        answer = client.ask("subscribe", channel="kept.a", recover=at)
        assert answer["recovered"] is False and answer["offset"] == top
        assert client.ask("ping") is None and not client.waiting
        client.ask("unsubscribe", channel="kept.a")
        for odd in [{"epoch": "1", "offset": 0}, {**at, "offset": top + 100}]:
            assert client.ask("subscribe", channel="kept.a", recover=odd)["recovered"] is False
            client.ask("unsubscribe", channel="kept.a")
        assert "recovered" not in client.ask("subscribe", channel="kept.a")


def test_a_channel_without_history_recovers_nothing(start):
    gateway = start()

    with enter(gateway) as client:
        answer = client.ask("subscribe", channel="public.a", recover={"epoch": "1", "offset": 1})
        assert answer == {"channel": "public.a", "recovered": False}


def test_a_long_recovery_has_an_exact_seam(start):
    history = {"messages": 3000, "maxAge": "5m"}
    gateway = start(channels=[{**KEPT, "history": history}], limits={**ENDLESS, "sendQueueMessages": 64})
    with enter(gateway) as publisher:
        at = position(publisher.ask("subscribe", channel="kept.a"))
        publisher.ask("unsubscribe", channel="kept.a")
        for data in range(2000):
            publisher.say("message", {"channel": "kept.a", "data": [data, "x" * 500]})
        publisher.ask("ping")
        with enter(gateway) as client:
            client.say("subscribe", {"channel": "kept.a", "recover": at})
            for data in range(2000, 2050):
                publisher.say("message", {"channel": "kept.a", "data": [data]})
            assert client.get()["payload"]["recovered"] is True
            offsets, found = [], []
            while len(found) < 2050:
                envelope = client.get()
                assert envelope["type"] == "message", envelope
                offsets.append(envelope["payload"]["offset"])
                found.append(envelope["payload"]["data"][0])
            assert found == list(range(2050)) and offsets == sorted(set(offsets))


@contextmanager
def standing_still(gateway):
    """A client that reads nothing while 20 publications of 1 MB are replayed to it, and the position they are behind."""
    with enter(gateway) as client:
        at = position(client.ask("subscribe", channel="kept.a"))
    for data in range(20):
        gateway.publish("kept.a", [data, "x" * 1_000_000])

    with Raw(gateway, receive_buffer=4096) as slow:
        slow.say("subscribe", channel="kept.a", recover=at)
        eventually(lambda: gateway.subscribers("kept.a"), "it is subscribed")
        slow.frame()  # the answer: from here on the replay runs, and stands still
        yield slow, at


def replay_that_stands_still(start, messages):
    """What a client gets that reads nothing while 40 more publications come: envelopes up to the last."""
    gateway = start(
        channels=[{**KEPT, "history": {"messages": messages, "maxAge": "5m"}}], maxMessageSize="2Mi", compression={"mode": "Disabled"},
        limits={"sendQueueMessages": 8, "sendQueueBytes": "64Mi"}, writeWait="1m",
    )
    with standing_still(gateway) as (slow, _):
        for data in range(20, 60):
            gateway.publish("kept.a", [data])
        envelopes = []
        while not envelopes or envelopes[-1]["payload"].get("data", [0])[0] != 59:
            envelopes.append(json.loads(slow.frame()[2]))
        return envelopes


def test_what_is_stored_is_replayed_however_slowly_it_is_read(start):
    envelopes = replay_that_stands_still(start, messages=100)

    assert [it["type"] for it in envelopes] == ["message"] * 60
    assert [it["payload"]["data"][0] for it in envelopes] == list(range(60))


def test_what_the_history_lets_go_during_a_replay_is_a_gap(start):
    envelopes = replay_that_stands_still(start, messages=25)

    offsets = [it["payload"]["offset"] for it in envelopes]
    assert [it["type"] for it in envelopes].count("gap") == 1
    at = [it["type"] for it in envelopes].index("gap")
    before, gap, behind = offsets[:at], offsets[at], offsets[at + 1 :]
    assert before == list(range(1, len(before) + 1)) and len(before) < 35
    assert behind == list(range(36, 61)) and gap == 36


def test_a_replay_ends_with_its_epoch(start):
    rules = lambda **history: [{**KEPT, **history}]
    kept = rules(history={"messages": 100, "maxAge": "5m"})
    gateway = start(channels=kept, maxMessageSize="2Mi", compression={"mode": "Disabled"}, limits={"sendQueueBytes": "64Mi"}, writeWait="1m")
    with standing_still(gateway) as (slow, at):
        gateway.change(channels=rules())
        gateway.change(channels=kept)
        top = gateway.publish("kept.a", ["new"])
        epoch, heard = at["epoch"], []
        while heard[-1:] != [(top["epoch"], top["offset"])]:
            envelope = json.loads(slow.frame()[2])
            if envelope["type"] == "gap":
                epoch = envelope["payload"].get("epoch")
            else:
                heard.append((epoch, envelope["payload"]["offset"]))
        old = [offset for epoch, offset in heard if epoch == at["epoch"]]
        assert heard == [(at["epoch"], offset) for offset in old] + heard[-1:] and len(old) < 20
