"""How a gateway that goes away lets its clients go."""

import signal, time

import pytest

from client import PLAIN, enter, join, refused
from raw import Raw


def test_everybody_is_told_and_closed_and_the_process_ends_cleanly(start):
    gateway = start()

    with enter(gateway) as one, join(gateway, dialect=PLAIN) as two:
        assert two.ask("ping") is None and gateway.http("GET", "/readyz")[0] == 200
        gateway.process.send_signal(signal.SIGTERM)
        for client in (one, two):
            told = client.get(10)
            assert told["type"] == "reconnect" and told["payload"]["reason"]
            assert 0 <= told["payload"]["closesInMs"] <= 5000 and told["payload"]["delayMs"] >= 0
        assert int(refused(gateway, 503, "draining")["Retry-After"]) >= 1
        status, answer = gateway.http("GET", "/readyz")
        assert status == 503 and answer["ready"] is False
        # The first may be closed by the time that the last is told.
        assert 1 <= gateway.metric("drain_remaining_connections") <= 2
        assert 1 <= gateway.metric("active_connections", state="draining") <= 2
        gateway.process.send_signal(signal.SIGTERM)  # once more changes nothing
        assert one.until_closed(15) == 1012 and two.until_closed(15) == 1012
    assert gateway.process.wait(timeout=20) == 0
    gateway.reader.join(timeout=5)
    assert [it["event"] for it in gateway.log if it.get("event", "").startswith("drain")] == ["drain_grace", "drain_started", "drain_done"]


def test_closes_are_spread_over_the_period(start):
    gateway = start(maxConnections=1000, drain={"period": "4s", "endpointGrace": "0s"})
    clients = [enter(gateway) for _ in range(8)]

    gateway.process.send_signal(signal.SIGTERM)
    began, ends = time.monotonic(), []
    deadlines = {}
    for client in clients:
        deadlines[client] = time.monotonic() + client.get()["payload"]["closesInMs"] / 1000
    for client in sorted(clients, key=deadlines.get):
        assert client.until_closed() == 1012
        assert abs(time.monotonic() - deadlines[client]) < 0.7
        ends.append(time.monotonic() - began)
    assert ends[0] < 1.5 and 2.5 < ends[-1] < 5, ends
    assert gateway.process.wait(timeout=10) == 0


def test_during_the_grace_everything_is_as_ever(start):
    gateway = start(maxConnections=1000, drain={"period": "1s", "endpointGrace": "2s"})

    with enter(gateway) as client:
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("drain_grace")
        assert gateway.http("GET", "/readyz")[0] == 200
        with enter(gateway) as late:
            late.ask("subscribe", channel="public.a")
            gateway.publish("public.a", 1)
            assert late.messages(1) == [1]
            assert client.get(5)["type"] == "reconnect"
            assert 1.5 < time.monotonic() - began < 3
            assert late.until_closed() == client.until_closed() == 1012
    assert gateway.process.wait(timeout=10) == 0


def test_a_gateway_without_connections_ends_at_once(start):
    gateway = start()

    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < 3


def test_status_tells_how_far_the_drain_is(start):
    gateway = start(maxConnections=1000, drain={"period": "2s", "endpointGrace": "1s"})

    with enter(gateway) as client:
        assert gateway.status()["drain"] == {"state": "none", "remaining": 0, "deadline": None}
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("drain_grace")
        assert gateway.status()["drain"]["state"] == "grace"
        gateway.wait_for("drain_started")
        drain = gateway.status()["drain"]
        assert (drain["state"], drain["remaining"]) == ("closing", 1)
        assert 0 <= drain["deadline"] - time.time() <= 5
        assert gateway.status()["state"] == "draining"
        assert client.until_closed() == 1012


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_client_that_does_not_read_cannot_hold_it_up(start, stop):
    gateway = start(maxConnections=1000, drain={"period": "1s", "endpointGrace": "0s"})

    with Raw(gateway) as silent:
        gateway.process.send_signal(stop)
        assert gateway.process.wait(timeout=8) == 0
        assert silent.until_closed() == 1012
    with pytest.raises(ConnectionRefusedError):
        enter(gateway)
