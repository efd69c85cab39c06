"""What one client, one address and one replica may use."""

import time

import pytest

from client import enter, outcome, refused
from gateway import ENDLESS, eventually
from raw import HEAD, PING, Raw, dial


def test_what_is_over_the_message_rate_is_not_executed(start):
    gateway = start(limits={"messageRate": {"perSecond": 1, "burst": 5}})

    with enter(gateway) as client:
        client.ask("subscribe", channel="public.a")
        answers = [client.ask("message", channel="public.a", data=i) for i in range(10)]
        done = [i for i, answer in enumerate(answers) if answer == {"channel": "public.a"}]
        assert done[:5] == [0, 1, 2, 3, 4] and len(done) <= 6 and answers.count("rate_limited") == 10 - len(done)
        assert client.messages(len(done)) == done
        assert client.ask("subscribe", channel="public.b") == {"channel": "public.b"}


def test_subscribing_has_a_rate_of_its_own(start):
    gateway = start(limits={"subscribeRate": {"perSecond": 1, "burst": 4}})

    with enter(gateway) as client:
        answers = [client.ask("subscribe", channel=f"public.{i}") for i in range(8)]
        assert answers[3] == {"channel": "public.3"} and answers[7] == "rate_limited"
        assert client.ask("ping") is None


def test_channels_of_a_connection_are_bounded(start):
    gateway = start(limits={"channelsPerConnection": 2})

    with enter(gateway) as client:
        assert [client.ask("subscribe", channel=f"public.{i}") for i in range(3)][1:] == [{"channel": "public.1"}, "too_many_channels"]
        client.ask("unsubscribe", channel="public.0")
        assert client.ask("subscribe", channel="public.2") == {"channel": "public.2"}


def test_a_client_that_sends_too_many_bytes_is_read_more_slowly(start):
    gateway = start(limits={**ENDLESS, "byteRate": {"perSecond": "200Ki", "burst": "10Ki"}})

    with enter(gateway) as client, enter(gateway) as other:
        began = time.monotonic()
        for _ in range(40):
            client.send('{"type":"ping"}'.ljust(10_240))
        assert other.ask("ping") is None and time.monotonic() - began < 1
        client.ask("ping")
        assert 1.5 < time.monotonic() - began < 4  # 390 KiB are over the burst; one read may be ahead


def test_pings_do_not_keep_an_idle_connection_but_messages_do(start):
    gateway = start(limits={"idleTimeout": "1s"}, pingPeriod="200ms", pongWait="30s")

    with Raw(gateway) as pinging, enter(gateway) as asking, enter(gateway) as listening:
        listening.ask("subscribe", channel="public.a")
        for _ in range(8):
            time.sleep(0.2)  # longer together than `idleTimeout`
            pinging.send(b"", PING)
            asking.ask("ping")
            gateway.publish("public.a", 1)
        assert pinging.until_closed(0.3) == 4503, "it went while it was pinging"
        assert listening.messages(8) == [1] * 8 and asking.ask("ping") is None


def test_a_ping_comes_when_a_client_is_silent_and_an_answer_keeps_it(start):
    gateway = start(pingPeriod="300ms", pongWait="600ms")

    with Raw(gateway) as silent, enter(gateway) as healthy:
        assert silent.frame(2)[0] == PING
        assert silent.until_closed(3) == 4408
        assert healthy.quiet(1) and healthy.ask("ping") is None


def test_half_handshakes_hold_up_only_what_they_may(start):
    gateway = start(limits={"pendingHandshakes": 4, "handshakeTimeout": "1s"})
    halves = [dial(gateway) for _ in range(12)]
    for half in halves:
        half.sendall(f"GET /ws HTTP/1.1\r\n{HEAD}".encode())

    began = time.monotonic()
    with enter(gateway, open_timeout=20) as client:
        assert time.monotonic() - began > 0.5, "it should have had to wait for the half ones to end"
        assert client.ask("ping") is None
    for half in halves:
        half.close()


@pytest.mark.parametrize("sent", ["", "GET /ws HTTP/1.1\r\nHost: a\r\n"])
def test_a_handshake_has_to_be_whole_in_time(start, sent):
    gateway = start(limits={"handshakeTimeout": "300ms"})

    with dial(gateway, seconds=3) as tcp:
        tcp.sendall(sent.encode())
        while tcp.recv(1000):
            pass


def test_limits_that_are_lowered_send_nobody_away(start):
    gateway = start()

    with enter(gateway) as one, enter(gateway) as two:
        gateway.change(maxConnections=1, limits={"perAddress": {"connections": 1}, "channelsPerConnection": 1})
        eventually(lambda: outcome(gateway) == "address" or outcome(gateway) == "full", "the new limit counts")
        assert one.ask("ping") is None and two.ask("ping") is None


@pytest.mark.long
def test_when_full_the_longest_idle_makes_room(start):
    gateway = start(maxConnections=3)
    with enter(gateway) as busy, enter(gateway) as first:
        time.sleep(1.5)  # so that it is known who is idle for longest
        with enter(gateway) as second:
            until = time.monotonic() + 62
            while time.monotonic() < until:
                time.sleep(2)
                busy.ask("ping")
            refused(gateway, 503, "full")
            assert first.quiet() and second.quiet(), "without maxIdleConnections nobody makes room"

            gateway.change(limits={"maxIdleConnections": 1})
            eventually(lambda: outcome(gateway) == "open", "somebody made room", 10)
            assert first.until_closed() == 1013
            assert busy.ask("ping") is None and second.ask("ping") is None
