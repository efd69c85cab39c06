"""The broker is lost and comes back, as clients, publishers and probes see it."""

import pytest

from client import enter
from hub import apart, connected, eventually, is_idle, position
from nats import Cluster, Nats, account
from tokens import token

pytestmark = pytest.mark.pods


@pytest.fixture
def lonely(tmp_path):
    """A NATS server of its own, and three pods at it."""
    nats = Nats(tmp_path / "nats", accounts=account("chat"))
    with apart(tmp_path, nats) as hub:
        yield nats, hub


def gaps(client, count, seconds=20):
    told = [client.get(seconds) for _ in range(count)]
    assert {it["type"] for it in told} == {"gap"}, told
    return {it["payload"]["channel"]: it["payload"] for it in told}


def test_clients_stay_while_the_broker_is_lost_and_miss_nothing_that_is_stored(lonely):
    nats, hub = lonely
    with enter(hub.a, token()) as alice, enter(hub.b, token("bob")) as bob:
        for client in (alice, bob):
            at = position(client.ask("subscribe", channel="kept.a"))
            client.ask("subscribe", channel="public.a")
        hub.settle("public.a", alice, bob)
        nats.kill()
        connected(hub.pods, False)

        for channel in ("kept.a", "public.a"):
            assert alice.ask("message", channel=channel, data=1) == "unavailable"
            assert hub.c.http("POST", "/api/v1/publish", {"channel": channel, "data": 1})[0] == 503
        assert [pod.http("GET", "/readyz")[0] for pod in hub.pods] == [200] * 3
        assert alice.ask("subscribe", channel="kept.other") == "unavailable"
        assert alice.ask("subscribe", channel="public.other") == {"channel": "public.other"}
        with enter(hub.a) as newcomer:
            assert newcomer.ask("subscribe", channel="kept.a") == {"channel": "kept.a", **at}

        nats.start().wait_until_ready()
        # What has no history may have been missed; what has history was compared with its stream.
        # Where nobody listened before, there is another one when somebody does.
        assert set(gaps(alice, 5)) == {"@all", "@user", "public.a", "public.other"}
        assert set(gaps(bob, 3)) == {"@all", "@user", "public.a"}
        connected(hub.pods, True)
        assert hub.c.publish("kept.a", 2)["epoch"] == at["epoch"]
        for client in (alice, bob):
            assert client.messages(1) == [2] and is_idle(client)


def test_an_empty_broker_is_a_new_life_of_every_history(lonely):
    nats, hub = lonely
    with enter(hub.a) as client:
        client.ask("subscribe", channel="kept.a")
        place = hub.b.publish("kept.a", 1)
        assert client.messages(1) == [1]

        nats.restart(empty=True)

        told = gaps(client, 2)
        assert set(told) == {"@all", "kept.a"} and told["kept.a"]["epoch"] != place["epoch"]
        connected(hub.pods, True)
        again = hub.c.publish("kept.a", 2)
        assert again["epoch"] == told["kept.a"]["epoch"] and client.messages(1) == [2]
        client.ask("unsubscribe", channel="kept.a")
        assert client.ask("subscribe", channel="kept.a", recover=position(place))["recovered"] is False


def test_a_pod_goes_to_the_next_server_of_its_list(tmp_path):
    cluster = Cluster(tmp_path / "nats", accounts=account("chat"))
    with apart(tmp_path, cluster) as hub, enter(hub.a) as client:
        client.ask("subscribe", channel="kept.a")
        cluster.nodes[0].kill()
        cluster.nodes[1].kill()
        cluster.nodes[1].start().wait_until_ready(60)
        connected(hub.pods, True)

        stored = lambda: hub.b.http("POST", "/api/v1/publish", {"channel": "kept.a", "data": 1, "key": "once"})[0] == 200
        eventually(stored, "two of three servers store again", 60)

        while (told := client.get(20))["type"] == "gap":
            pass
        assert told["payload"]["data"] == 1
