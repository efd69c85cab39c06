"""Live publications: who gets them, in which order, and who does not."""

import pytest

from client import enter
from hub import is_idle
from tokens import token


@pytest.fixture
def three(start):
    """A hub, and alice, bob and an anonymous client on three pods of it, who all hear `public.a`."""
    hub = start()
    with enter(hub.a, token()) as alice, enter(hub.b, token("bob")) as bob, enter(hub.c) as nobody:
        for client in (alice, bob, nobody):
            client.ask("subscribe", channel="public.a")
        hub.settle("public.a", alice, bob, nobody)
        yield hub, alice, bob, nobody


def test_what_a_client_publishes_reaches_all_and_itself(three):
    _, *clients = three
    users = ["alice", "bob", None]

    for client, user in zip(clients, users):
        assert client.ask("message", channel="public.a", data={"of": user}) == {"channel": "public.a"}
        for reader in clients:
            envelope = reader.get()
            expected = {"channel": "public.a", "data": {"of": user}, **({"user": user} if user else {})}
            assert (envelope["type"], envelope["payload"]) == ("message", expected)


def test_a_publisher_that_wants_no_echo_gets_none(three):
    _, alice, bob, nobody = three

    alice.ask("message", channel="public.a", data=1, echo=False)
    alice.ask("message", channel="public.a", data=2)

    assert (alice.messages(1), bob.messages(2), nobody.messages(2)) == ([2], [1, 2], [1, 2])


def test_the_api_excludes_a_connection_of_any_pod(three):
    hub, alice, bob, nobody = three

    for pod in (hub.a, hub.b, hub.c):
        pod.publish("public.a", 1, exclude=bob.welcome["connection"])
        pod.publish("public.a", 2)
        assert (alice.messages(2), bob.messages(1), nobody.messages(2)) == ([1, 2], [2], [1, 2])


def test_the_order_of_each_publisher_is_kept(three):
    _, *clients = three
    count = 200

    for number in range(count):
        for name, client in enumerate(clients):
            client.say("message", {"channel": "public.a", "data": [name, number]})

    for client in clients:
        found = client.messages(count * len(clients))
        for name in range(len(clients)):
            assert [number for by, number in found if by == name] == list(range(count))


def test_who_unsubscribes_hears_no_more(three):
    hub, alice, bob, nobody = three
    for client in (bob, nobody):
        client.ask("subscribe", channel="public.end")
    hub.settle("public.end", bob, nobody)

    assert bob.ask("unsubscribe", channel="public.a") == {"channel": "public.a"}
    for channel in ("public.a", "public.end"):
        alice.ask("message", channel=channel, data=channel)

    # There is no order between channels.
    assert sorted(nobody.messages(2)) == ["public.a", "public.end"] and bob.messages(1) == ["public.end"] and is_idle(bob)


def test_one_of_two_subscribers_of_a_pod_may_go(three):
    hub, alice, bob, _ = three

    with enter(hub.b) as other:
        other.ask("subscribe", channel="public.a")
        hub.settle("public.a", other)
        bob.ask("unsubscribe", channel="public.a")
        alice.ask("message", channel="public.a", data="on")
        assert other.messages(1) == ["on"]


def test_who_comes_back_to_a_channel_hears_it_again(start):
    hub = start()

    with enter(hub.a) as one:
        for round in range(5):
            one.ask("subscribe", channel="public.a")
            hub.settle("public.a", one)
            hub.c.publish("public.a", round)
            assert one.messages(1) == [round]
            one.ask("unsubscribe", channel="public.a")


def test_data_arrives_as_it_was_sent(three):
    _, alice, *readers = three
    texts = [
        '{"a":[1,2.50,-0,1e3,123456789012345678901234567890],"b":null}', '"line\\nbreak \\u0000 \\ud83d\\ude00 ü"', "true", "0", '""', "[]", "{}",
        '{"v":9,"user":"mallory","exclude":"x"}', '{"a":1,"a":2}',
    ]

    for text in texts:
        alice.send(f'{{"type":"message","payload":{{"channel":"public.a","echo":false,"data":{text}}}}}')
        for client in readers:
            frame = client.frame()
            assert f'"data":{text}' in frame and '"user":"alice"' in frame


def test_white_space_in_data_does_not_matter(three):
    _, alice, bob, _ = three

    alice.send('{"type":"message","payload":{"channel":"public.a","data":{"a" :\n[1,\n\n 2]}\n}}')

    assert bob.messages(1) == [{"a": [1, 2]}]


def test_a_large_message_passes_and_larger_ones_do_not(three):
    hub, alice, bob, _ = three
    room = alice.welcome["maxMessageBytes"] - 200

    alice.say("message", {"channel": "public.a", "data": "x" * room})

    assert bob.messages(1) == ["x" * room]
    assert hub.a.http("POST", "/api/v1/publish", {"channel": "public.a", "data": "x" * (room + 300)})[0] == 413


def test_a_channel_that_nobody_hears_may_be_published_to(start):
    hub = start()

    with enter(hub.a) as one:
        assert one.ask("message", channel="public.nobody", data=1) == {"channel": "public.nobody"}
        assert hub.b.publish("public.nobody", 1) == {"channel": "public.nobody"} and is_idle(one)
