"""Envelopes: what is read, what is refused in which words, and how the two dialects differ."""

import json

from client import PLAIN, V1, enter, join
from gateway import ENDLESS

BAD = {"type": "error", "payload": {"code": "bad_request", "message": "Invalid message format"}}
PONG = {"type": "pong", "payload": None}


def test_a_welcome_says_what_a_client_needs(start):
    gateway = start()

    with enter(gateway) as client:
        welcome = client.welcome
        assert welcome.pop("connection")
        assert welcome == {"pingPeriodMs": 54000, "maxMessageBytes": 524288, "features": [], "subscriptions": [{"channel": "@all"}]}


def test_an_id_stands_verbatim_in_the_answer(start):
    gateway = start()

    with enter(gateway) as client:
        for id in ['"a"', "7", "1.50", "-0", '"\\u00fc"', f'"{"x" * 62}"']:
            client.send('{"type":"ping","id":%s}' % id)
            assert client.frame() == '{"type":"pong","id":%s,"payload":null}' % id
        client.send('{"type":"subscribe","id":"e","payload":{"channel":"closed"}}')
        answer = client.get()
        assert (answer["type"], answer["id"], answer["payload"]["code"]) == ("error", "e", "forbidden")
        for id in ["null", "{}", "[1]", "true", f'"{"x" * 63}"', '""']:
            client.send('{"type":"ping","id":%s}' % id)
            assert client.get()["type"] in ("pong", "error")


def test_a_frame_may_hold_many_envelopes(start):
    gateway = start(limits=ENDLESS)

    with enter(gateway) as client:
        client.send('{"type":"ping","id":1}{"type":"ping","id":2}\n{"type":"ping","id":3} \t\r\n {\n  "type": "ping",\n  "id": 4\n}\n')
        assert [client.get()["id"] for _ in range(4)] == [1, 2, 3, 4]
        client.send("\n".join('{"type":"ping","id":%d}' % i for i in range(256)))
        assert [client.get()["id"] for _ in range(256)] == list(range(256))
        client.send("\n".join('{"type":"ping","id":%d}' % i for i in range(300)))
        assert [client.get().get("id") for _ in range(257)] == [*range(256), None]
        client.send('{"type":"ping","id":1} nonsense {"type":"ping","id":2}')
        assert client.get()["id"] == 1 and client.get() == BAD
        client.send('{"type":"ping","id":9}')
        assert client.get()["id"] == 9


def test_what_is_no_envelope_is_refused_in_fixed_words(start):
    gateway = start()

    with enter(gateway) as client:
        for text in ["nonsense", "[]", "7", '{"type":7}', '{"payload":{}}', '{"type":"ping","type":"ping"}', '{"type":"ping"', '{"type":null}']:
            client.send(text)
            assert client.get() == BAD, text
        for type, told in [("nosuch", "nosuch"), ("call", "call"), ("x" * 100, "x" * 64), ("ü" * 40, "ü" * 32), ("", "")]:
            client.send(json.dumps({"type": type, "id": 1}, ensure_ascii=False))
            assert client.get() == {"type": "error", "id": 1, "payload": {"code": "unknown_type", "message": f"Unknown message type: {told}"}}


def test_unknown_fields_are_ignored_and_missing_ones_are_not(start):
    gateway = start()

    with enter(gateway) as client:
        client.send('{"type":"ping","id":1,"future":[{"a":1}]}')
        assert client.get() == {**PONG, "id": 1}
        assert client.ask("subscribe", channel="public.a", future=1) == {"channel": "public.a"}
        for kind, payload in [
            ("subscribe", {}), ("subscribe", {"channel": 7}), ("unsubscribe", {}), ("message", {"channel": "public.a"}),
            ("message", {"data": 1}), ("history", {}), ("presence", {}), ("authenticate", {}), ("subscribe", {"channel": "kept.a", "recover": 7}),
        ]:
            assert client.ask(kind, **payload) == "bad_request", (kind, payload)


def test_data_passes_as_it_came_but_for_white_space(start):
    gateway = start()

    with enter(gateway) as client:
        client.ask("subscribe", channel="public.a")
        for data, passed in [
            ('{ "b" : 1, "a" : 2, "b" : 3 }', '{"b":1,"a":2,"b":3}'), ("1.0e2", "1.0e2"), ("-0", "-0"), ("12345678901234567890123", "12345678901234567890123"),
            ('" a \\u00fc\\/ "', '" a \\u00fc\\/ "'), ("[ 1 , [ ] , { } , null ]", "[1,[],{},null]"), ("null", "null"), ("true", "true"), ('"\U0001f600"', '"\U0001f600"'),
        ]:
            client.send('{"type":"message","payload":{"channel":"public.a","data":%s}}' % data)
            assert client.frame() == '{"type":"message","payload":{"channel":"public.a","data":%s}}' % passed


def test_the_plain_dialect_differs_where_it_says_so_and_nowhere_else(start):
    gateway = start()

    with join(gateway, dialect=None) as plain, enter(gateway) as v1:
        assert plain.subprotocol is None
        assert plain.ask("ping") is None  # the first thing that comes: there is no welcome
        for client in (plain, v1):
            assert client.ask("subscribe", channel="public.a") == {"channel": "public.a"}
        gateway.publish("public.a", {"text": "hi"})
        expected = {"type": "message", "payload": {"channel": "public.a", "data": {"text": "hi"}}}
        assert plain.get() == expected and v1.get() == expected
        gateway.api("broadcast", {"data": "all"})
        assert plain.get()["payload"] == {"data": "all"} and v1.get()["payload"] == {"channel": "@all", "data": "all"}
        v1.send(b'{"type":"ping"}')
        assert v1.until_closed() == 1003
        plain.send(b'{"type":"ping"}')
        assert plain.get() == PONG
        plain.send(b"\xff")
        assert plain.until_closed() == 1007


def test_what_waits_is_joined_in_v1_and_one_frame_each_in_plain(start):
    gateway = start(batching={"maxDelay": "300ms"})

    with enter(gateway) as v1, join(gateway, dialect=PLAIN) as plain:
        for client in (v1, plain):
            client.ask("subscribe", channel="public.a")
        for data in range(5):
            gateway.publish("public.a", data)
        assert [json.loads(it)["payload"]["data"] for it in v1.frame().split("\n")] == [0, 1, 2, 3, 4]
        assert [json.loads(plain.frame())["payload"]["data"] for _ in range(5)] == [0, 1, 2, 3, 4]


def test_messages_are_compressed_where_both_want_it(start):
    gateway = start()
    text = "abc" * 2000

    with enter(gateway, compression="deflate") as client, enter(gateway) as other:
        extensions = client.response.headers["Sec-WebSocket-Extensions"]
        assert "server_no_context_takeover" in extensions and "client_no_context_takeover" in extensions
        assert "Sec-WebSocket-Extensions" not in other.response.headers
        for it in (client, other):
            it.ask("subscribe", channel="public.a")
        gateway.publish("public.a", text)
        client.say("message", {"channel": "public.a", "data": text})
        assert client.messages(2) == other.messages(2) == [text, text]
        client.say("message", {"channel": "public.a", "data": "z" * 524_300})
        assert client.until_closed() == 1009


def test_a_message_as_long_as_may_be_passes(start):
    gateway = start(maxMessageSize="1000")

    with enter(gateway) as client:
        assert client.welcome["maxMessageBytes"] == 1000
        client.send('{"type":"ping"}'.ljust(1000))
        assert client.get() == PONG
        client.send('{"type":"ping"}'.ljust(1001))
        assert client.until_closed() == 1009


def test_dialects_have_names(start):
    gateway = start()

    with join(gateway, dialect=PLAIN) as plain, join(gateway, dialect=V1) as v1:
        assert (plain.subprotocol, v1.subprotocol) == (PLAIN, V1)
