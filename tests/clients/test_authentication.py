"""Who a client is: each place of the token, and what a browser sees of a refusal."""

import json, time

import pytest

from client import V1, enter, join, refused
from gateway import SPEC
from tokens import granted, token

REQUIRED = {**SPEC["auth"], "mode": "Required"}
PAGE = {"origin": "https://app.example"}


def test_a_token_is_taken_from_each_place(start):
    gateway = start(auth={**REQUIRED, "tokenInQuery": "Allow"})

    with enter(gateway, token()) as client:
        assert client.welcome["user"] == "alice" and client.welcome["expires"] > time.time()
    with enter(gateway, subprotocols=[V1, f"headgate.token.{token()}"]) as client:
        assert client.welcome["user"] == "alice" and client.subprotocol == V1
    with enter(gateway, url=f"{gateway.url}?token={token()}") as client:
        assert client.welcome["user"] == "alice"
    with enter(gateway, url=f"{gateway.url}?a=b&token={token()}&c=d") as client:
        assert client.welcome["user"] == "alice"


def test_the_first_place_that_has_a_token_counts(start):
    gateway = start(auth={**REQUIRED, "tokenInQuery": "Allow"})

    both = [V1, f"headgate.token.{token('bob')}"]
    with enter(gateway, token(), subprotocols=both, url=f"{gateway.url}?token={token('carol')}") as client:
        assert client.welcome["user"] == "alice"
    with enter(gateway, subprotocols=both, url=f"{gateway.url}?token={token('carol')}") as client:
        assert client.welcome["user"] == "bob"
    refused(gateway, 401, "token", "bad", subprotocols=both)
    with enter(gateway, headers={"Authorization": "Basic YTpi"}, subprotocols=both) as client:
        assert client.welcome["user"] == "bob"


def test_a_token_in_the_url_counts_only_where_it_may(start):
    gateway = start(auth=REQUIRED)

    refused(gateway, 401, "token", url=f"{gateway.url}?token={token()}")


def test_the_first_message_may_bring_the_token(start):
    gateway = start(auth={**REQUIRED, "firstMessage": "Allow"}, limits={"handshakeTimeout": "1s"})

    with join(gateway) as client:
        assert client.ask("subscribe", channel="public.a") == "forbidden"
        assert client.ask("ping") is None
        answer = client.ask("authenticate", token=token())
        assert answer["user"] == "alice" and answer["expires"] > time.time()
        assert client.get()["type"] == "welcome"
        assert client.ask("subscribe", channel="public.a") == {"channel": "public.a"}
        time.sleep(1.2)  # past the time that it had for a token
        assert client.ask("ping") is None
    with join(gateway) as client:
        assert client.until_closed() == 4502
    with join(gateway) as client:
        client.say("authenticate", {"token": "a.b.c"})
        assert client.until_closed() == 4501
    with join(gateway) as client:
        client.say("authenticate", {"token": token(exp=int(time.time()) - 100)})
        assert client.until_closed() == 4401
    with join(gateway) as client:
        client.send(" " * 17_000)
        assert client.until_closed() == 1009


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe", "message"])
@pytest.mark.parametrize("channel", ["room.1", "public.a"])
def test_what_stands_behind_a_first_token_waits_for_the_welcome(start, kind, channel):
    """In one frame, and about a channel that the token subscribes by itself, too."""
    gateway = start(auth={**REQUIRED, "firstMessage": "Allow"})
    first = {"type": "authenticate", "payload": {"token": granted(channels=["room.1"], subscribe=["room.1"])}, "id": 1}
    second = {"type": kind, "payload": {"channel": channel, "data": 1}, "id": 2}

    with join(gateway) as client:
        client.send(f"{json.dumps(first)}\n{json.dumps(second)}")
        answers = [client.get() for _ in range(2)]
        assert [it["type"] for it in answers] == ["authenticated", "welcome"]
        while (answer := client.get()).get("id") != 2:
            assert answer["type"] in ("join", "message"), answer
        assert client.ask("ping") is None


def test_a_page_is_told_by_a_close_what_it_cannot_see_as_a_status(start):
    gateway = start(allowedOrigins=["https://app.example"], auth=REQUIRED, limits={"connectionsPerUser": 1})

    with join(gateway, **PAGE) as client:
        assert client.until_closed() == 4501
    with join(gateway, token(secret=b"another secret of 32 bytes length"), **PAGE) as client:
        assert client.until_closed() == 4501
    with join(gateway, token(exp=1), **PAGE) as client:
        assert client.until_closed() == 4401
    with enter(gateway, token(), **PAGE), join(gateway, token(), **PAGE) as second:
        assert second.until_closed() == 4430
        refused(gateway, 429, "user_connections", token())


def test_a_bad_token_never_makes_an_anonymous_user(start):
    gateway = start(allowedOrigins=["https://app.example"])

    with enter(gateway) as client:
        assert "user" not in client.welcome
    refused(gateway, 401, "token", "a.b.c")
    with join(gateway, "a.b.c", **PAGE) as client:
        assert client.until_closed() == 4501


def test_without_authentication_tokens_are_not_read(start):
    gateway = start(auth={"mode": "Disabled"}, channels=[{"match": "**", "subscribe": "Anyone"}])

    with enter(gateway, "a.b.c") as client:
        assert "user" not in client.welcome
