"""Clients that read slowly: each ends as it should, and nobody else notices."""

import json, time

from client import V1, enter
from gateway import ENDLESS, eventually
from raw import CLOSE, TEXT, Raw

BLOCK = "x" * 200_000


def subscribe(gateway, **options):
    """A connection with a small buffer that reads no more once it is subscribed."""
    slow = Raw(gateway, receive_buffer=4096, **options)
    slow.say("subscribe", channel="public.slow")
    eventually(lambda: gateway.subscribers("public.slow"), "it is subscribed")
    return slow


def test_a_slow_consumer_is_ended_with_4431_and_nobody_else_notices(start):
    gateway = start(limits={"sendQueueBytes": "512Ki", "sendQueueMessages": 100}, compression={"mode": "Disabled"})

    with enter(gateway) as healthy, subscribe(gateway) as slow:
        healthy.ask("subscribe", channel="public.slow")
        sent = 0
        while gateway.subscribers("public.slow") == 2:
            gateway.publish("public.slow", [sent, BLOCK])
            assert healthy.get()["payload"]["data"][0] == sent
            sent += 1
            assert sent < 500, "it was never too slow"
        # What was on its way is whole and in order, and the code comes behind it.
        received = []
        while (frame := slow.frame())[0] == TEXT:
            envelope = json.loads(frame[2])
            received += [envelope["payload"]["data"][0]] if envelope["type"] == "message" else []
        assert frame[0] == CLOSE and int.from_bytes(frame[2][:2]) == 4431
        assert received == list(range(len(received))) and 0 < len(received) < sent
        for more in range(sent, sent + 20):
            gateway.publish("public.slow", [more, BLOCK])
            assert healthy.get()["payload"]["data"][0] == more
        eventually(lambda: gateway.metric("connections_closed_total", reason="slow_consumer") == 1, "it is counted")
        eventually(lambda: gateway.metric("send_queue_bytes") == 0, "its memory is given back")


def test_too_many_messages_are_as_bad_as_too_many_bytes(start):
    gateway = start(limits={"sendQueueBytes": "256Mi", "sendQueueMessages": 10}, compression={"mode": "Disabled"})

    with subscribe(gateway) as slow:
        sent = 0
        while gateway.subscribers("public.slow"):
            gateway.publish("public.slow", BLOCK)
            assert (sent := sent + 1) < 500, "it was never too slow"
        assert slow.until_closed() == 4431


def test_who_catches_up_in_time_misses_nothing(start):
    gateway = start(limits={"sendQueueBytes": "64Mi", "sendQueueMessages": 200}, compression={"mode": "Disabled"}, writeWait="30s")

    with subscribe(gateway) as slow:
        for data in range(80):
            gateway.publish("public.slow", [data, BLOCK])
        assert gateway.metric("active_connections", state="serving") == 1
        slow.frame()
        assert [json.loads(slow.frame()[2])["payload"]["data"][0] for _ in range(80)] == list(range(80))


def test_a_write_that_does_not_finish_in_time_ends_the_connection(start):
    gateway = start(limits={"sendQueueBytes": "256Mi", "sendQueueMessages": 1000}, compression={"mode": "Disabled"}, writeWait="500ms")

    with subscribe(gateway) as slow, enter(gateway) as healthy:
        healthy.ask("subscribe", channel="public.other")
        for _ in range(60):
            gateway.publish("public.slow", BLOCK)
        eventually(lambda: not gateway.subscribers("public.slow"), "it is given up", 3)
        assert slow.until_closed() in (4431, None)
        gateway.publish("public.other", 1)
        assert healthy.messages(1) == [1]


def test_an_idle_gateway_delivers_without_delay_and_a_batch_waits(start):
    gateway = start()

    def delay(client):
        began = time.monotonic()
        gateway.publish("public.a", 1)
        client.messages(1)
        return time.monotonic() - began

    with enter(gateway, subprotocols=[V1]) as client:
        client.ask("subscribe", channel="public.a")
        assert min(delay(client) for _ in range(5)) < 0.1
        gateway.change(batching={"maxDelay": "400ms"})
        eventually(lambda: 0.35 < delay(client) < 2, "the delay counts")


def test_what_a_crowd_is_told_keeps_nobody_else_from_being_heard(start):
    """4,000 publications, each a walk of its own (`echo: false`), while another client asks and is answered."""
    limits = {**ENDLESS, "connectRate": {"perSecond": 0, "burst": 0}, "sendQueueMessages": 10_000, "byteRate": {"perSecond": "1Gi", "burst": "1Gi"}}
    gateway = start(limits=limits)
    crowd = [Raw(gateway) for _ in range(500)]
    for it in crowd:
        it.say("subscribe", channel="public.crowd")
    eventually(lambda: gateway.subscribers("public.crowd") == len(crowd), "all are subscribed")
    received = lambda: gateway.metric("messages_received_total", type="message")
    delivered = lambda: gateway.metric("messages_delivered_total")

    with Raw(gateway) as publisher, enter(gateway) as other:
        before = delivered()
        text = json.dumps({"type": "message", "payload": {"channel": "public.crowd", "data": 1, "echo": False}}).encode()
        for _ in range(4_000 // 250):
            publisher.send(b" ".join([text] * 250))
        eventually(lambda: received() == 4_000, "all is read")
        answers = 0
        while delivered() - before < 4_000 * len(crowd) / 2:
            for _ in range(20):
                assert other.ask("ping") is None
                answers += 1
    for it in crowd:
        it.tcp.close()
    # Half of the publications took thousands of walks; a turn is some of them.
    assert answers > 10, f"{answers} answers meanwhile"
