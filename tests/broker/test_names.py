"""Names of channels and users are only names, whatever they mean to NATS."""

from contextlib import ExitStack
from urllib.parse import quote

import pytest

from client import enter
from hub import ANYONE, is_idle
from tokens import token

CHANNELS = [
    "x", "X", "x.y", "x.Y", "x_y", "x-y", "x y", " x", "x_2Ey", "x%2Ey", ">", "x.>", "x.>.y", "$SYS.x", "$JS.API.INFO", "_INBOX.x", "x/y", "x\\y", "\"x\"",
    "é", "e\u0301", "日本", "\U0001f600", "_40all", "_h", "all", "a" * 255, "a" * 254, "€" * 85, "." .join("a" * 128), "x" + " " * 200,
]
USERS = ["al", "AL", "al.x", "al_2Ex", "al>", ">", "*", "al.*", "a l", "@all", "all", "@user/al", "user", "é", "u" * 255]


@pytest.mark.parametrize("history", [{}, {"history": {"messages": 10, "maxAge": "5m"}}], ids=["live", "kept"])
def test_channels_neither_mix_nor_leak(start, history):
    hub = start(channels=[{"match": "**", **ANYONE, **history}])

    with enter(hub.a) as one, enter(hub.b) as two:
        for channel in CHANNELS:
            assert one.ask("subscribe", channel=channel)["channel"] == channel
            if not history:
                hub.settle(channel, one)
        for channel in CHANNELS:
            assert two.ask("message", channel=channel, data=channel)["channel"] == channel
            hub.c.publish(channel, channel)
        found = [it["payload"] for it in [one.get() for _ in range(2 * len(CHANNELS))]]
        assert sorted((it["channel"], it["data"]) for it in found) == sorted((it, it) for it in CHANNELS * 2) and is_idle(one)
        if history:
            for channel in CHANNELS:
                page = hub.c.ask_api(f"channels/{quote(channel, safe='')}/history")
                assert [it["data"] for it in page["messages"]] == [channel] * 2, channel


def test_rooms_neither_mix_nor_leak(start):
    hub = start(channels=[{"match": "**", **ANYONE, "presence": "Enabled"}])

    with enter(hub.a, token()) as one:
        for channel in CHANNELS[:12]:
            one.ask("subscribe", channel=channel)
        for channel in CHANNELS[:12]:
            assert hub.b.members(quote(channel, safe=""))["total"] == 1, channel
        assert hub.b.members("y")["total"] == 0


def test_what_is_no_name_is_refused(start):
    hub = start()

    with enter(hub.a) as client:
        for name in ["", "a..b", ".a", "a.", "a*", "*", "a.*", "a\u0007", "a\r\nPUB x 1", "a" * 256, "@user/alice", "@other"]:
            for kind in ("subscribe", "message"):
                assert client.ask(kind, channel=name, **({"data": 1} if kind == "message" else {})) in ("channel_invalid", "forbidden", "bad_request"), name


def test_users_neither_mix_nor_leak(start):
    hub = start()

    with ExitStack() as stack:
        clients = {user: stack.enter_context(enter((hub.a, hub.b, hub.c)[number % 3], token(user))) for number, user in enumerate(USERS)}
        for user, client in clients.items():
            client.welcome["user"] = quote(user, safe="")
            hub.settle("@user", client)
        for number, user in enumerate(USERS):
            (hub.c, hub.a, hub.b)[number % 3].api(f"users/{quote(user, safe='')}/messages", {"data": user})
        for user, client in clients.items():
            assert client.messages(1) == [user] and is_idle(client)
        assert hub.b.api("users/*/disconnect", {})["connections"] == 1
        assert clients["*"].until_closed() == 4500 and all(is_idle(client) for user, client in clients.items() if user != "*")
