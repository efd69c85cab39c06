"""Subscribing, publishing, rights, and what the gateway subscribes by itself."""

from client import PLAIN, enter, join
from gateway import ENDLESS
from tokens import granted, token


def test_publications_reach_subscribers_and_their_publisher(start):
    gateway = start()

    with enter(gateway) as one, join(gateway, dialect=PLAIN) as two, enter(gateway) as stranger:
        for client in (one, two):
            assert client.ask("subscribe", channel="public.a") == {"channel": "public.a"}
        assert one.ask("message", channel="public.a", data=1) == {"channel": "public.a"}
        assert two.ask("message", channel="public.a", data=2, echo=False) == {"channel": "public.a"}
        assert stranger.ask("message", channel="public.a", data=3) == {"channel": "public.a"}
        assert one.messages(3) == [1, 2, 3] and two.messages(2) == [1, 3]
        assert stranger.ask("ping") is None and not stranger.waiting


def test_the_order_of_a_publisher_is_kept(start):
    gateway = start(limits=ENDLESS, batching={"maxMessages": 7})

    with enter(gateway) as one, join(gateway, dialect=PLAIN) as two, enter(gateway) as publisher:
        for client in (one, two):
            client.ask("subscribe", channel="public.a")
        for data in range(2000):
            publisher.say("message", {"channel": "public.a", "data": data})
        assert one.messages(2000) == two.messages(2000) == list(range(2000))


def test_unsubscribing_ends_a_channel_and_no_other(start):
    gateway = start()

    with enter(gateway) as client:
        for channel in ("public.a", "public.b"):
            client.ask("subscribe", channel=channel)
        assert client.ask("unsubscribe", channel="public.a") == {"channel": "public.a"}
        assert client.ask("unsubscribe", channel="public.a") == "not_subscribed"
        gateway.publish("public.a", 1)
        gateway.publish("public.b", 2)
        assert client.messages(1) == [2]
        assert client.ask("subscribe", channel="public.b") == {"channel": "public.b"}
        gateway.publish("public.b", 3)
        assert client.messages(1) == [3] and client.ask("ping") is None and not client.waiting


def test_names_of_channels(start):
    gateway = start()

    with enter(gateway) as client:
        for name in ["", "a..b", ".a", "a.", "a*", "*", "a\nb", "a\x7fb", "public." + "x" * 249, "@nosuch"]:
            assert client.ask("subscribe", channel=name) in ("channel_invalid", "forbidden"), name
            assert client.ask("message", channel=name, data=1) in ("channel_invalid", "forbidden"), name
        for name in ["public.ü", "public. ", "public.>", "public.$SYS", "public." + "x" * 248, "public.a/b"]:
            assert client.ask("subscribe", channel=name) == {"channel": name}
            gateway.publish(name, name)
            assert client.messages(1) == [name]
        for name in ["@all", "@user"]:
            assert client.ask("message", channel=name, data=1) in ("channel_invalid", "forbidden")


def test_rights_come_from_the_rule_and_the_token(start):
    gateway = start(channels=[
        {"match": "anyone", "subscribe": "Anyone", "publish": "Anyone"},
        {"match": "users", "subscribe": "Authenticated", "publish": "Authenticated"},
        {"match": "nobody", "subscribe": "Nobody", "publish": "Nobody"},
        {"match": "**"},
    ])
    expected = {
        None: ["anyone"],
        token(): ["anyone", "users"],
        granted(subscribe=["granted", "nobody"], publish=["granted", "nobody"]): ["anyone", "users", "granted"],
        granted(subscribe=["*"], publish=["**"]): ["anyone", "users", "granted", "other"],
    }

    for bearer, may in expected.items():
        with enter(gateway, bearer) as client:
            for channel in ["anyone", "users", "granted", "other", "nobody"]:
                right = {"channel": channel} if channel in may else "forbidden"
                assert client.ask("subscribe", channel=channel) == right, (channel, bearer)
                assert client.ask("message", channel=channel, data=1, echo=False) == right, (channel, bearer)


def test_a_grant_to_publish_is_none_to_subscribe(start):
    gateway = start()

    with enter(gateway, granted(publish=["mine.*"])) as client:
        assert client.ask("message", channel="mine.1", data=1) == {"channel": "mine.1"}
        assert client.ask("message", channel="mine.1.2", data=1) == "forbidden"
        assert client.ask("subscribe", channel="mine.1") == "forbidden"


def test_presence_and_history_need_a_subscription_or_a_grant(start):
    gateway = start(channels=[{"match": "**", "subscribe": "Anyone", "publish": "Anyone", "presence": "Enabled", "history": {}}])

    with enter(gateway) as client:
        assert client.ask("history", channel="a") == client.ask("presence", channel="a") == "not_subscribed"
        client.ask("subscribe", channel="a")
        assert client.ask("history", channel="a")["messages"] == [] and client.ask("presence", channel="a")["total"] == 1
        client.ask("unsubscribe", channel="a")
        assert client.ask("history", channel="a") == client.ask("presence", channel="a") == "not_subscribed"
    with enter(gateway, granted(presence=["a"], history=["b"])) as client:
        assert client.ask("presence", channel="a")["total"] == 0 and client.ask("history", channel="a") == "not_subscribed"
        assert client.ask("history", channel="b")["messages"] == [] and client.ask("presence", channel="b") == "not_subscribed"


def test_a_token_names_what_is_subscribed_from_the_start(start):
    gateway = start()

    with enter(gateway, granted(subscribe=["mine.*"], channels=["mine.1", "kept.1", "public.1", "closed"])) as client:
        channels = [it["channel"] for it in client.welcome["subscriptions"]]
        assert sorted(channels) == ["@all", "@user", "kept.1", "mine.1", "public.1"]
        kept = next(it for it in client.welcome["subscriptions"] if it["channel"] == "kept.1")
        assert kept["offset"] == 0 and kept["epoch"]
        for channel in ["mine.1", "public.1", "kept.1"]:
            gateway.publish(channel, channel)
        assert client.messages(3) == ["mine.1", "public.1", "kept.1"]
        assert client.ask("unsubscribe", channel="mine.1") == {"channel": "mine.1"}


def test_the_user_of_a_publication_is_told(start):
    gateway = start()

    with enter(gateway, token()) as alice, enter(gateway) as nobody:
        for client in (alice, nobody):
            client.ask("subscribe", channel="public.a")
        alice.say("message", {"channel": "public.a", "data": 1})
        assert nobody.get()["payload"] == {"channel": "public.a", "data": 1, "user": "alice"}
        nobody.say("message", {"channel": "public.a", "data": 2})
        assert [nobody.get()["payload"], "user" in alice.get()["payload"]] == [{"channel": "public.a", "data": 2}, True]
        gateway.publish("public.a", 3)
        assert nobody.get()["payload"] == {"channel": "public.a", "data": 3}


def test_messages_to_a_user_reach_each_of_its_connections(start):
    gateway = start()

    with enter(gateway, token()) as one, join(gateway, token(), dialect=PLAIN) as two, enter(gateway, token("bob")) as bob:
        assert two.ask("ping") is None
        gateway.api("users/alice/messages", {"data": "you"})
        assert one.get()["payload"] == {"channel": "@user", "data": "you"} and two.get()["payload"] == {"data": "you"}
        gateway.api(f"connections/{one.welcome['connection']}/messages", {"data": "this"})
        assert one.get()["payload"]["data"] == "this"
        for client in (two, bob):
            assert client.ask("ping") is None and not client.waiting
