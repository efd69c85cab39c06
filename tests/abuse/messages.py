"""Envelopes: broken, deep, oddly named, far too many."""

import time

from attack import MIB, attack
from wire import TEXT, connect, ended, endings, envelope, frame, wait

BAD = [
    "{", "}", "nonsense", "null", "[]", "17", '"text"', "{}", '{"type":7}', '{"type":null}', '{"type":"nonsense"}', '{"type":"ping","type":"ping"}',
    '{"type":"subscribe"}', '{"type":"subscribe","payload":[]}', '{"type":"subscribe","payload":{"channel":7}}', '{"type":"message","payload":{"channel":"a"}}',
    '{"type":"ping","id":{}}', '{"type":"ping","id":"%s"}' % ("i" * 100), '{"type":"history","payload":{"channel":"a","limit":-1}}', '{"type":"' + "t" * 9_000 + '"}',
    "\ufeff{}", "{'type':'ping'}", '{"type":"ping",}', "\\u0000", '{"type":"\\ud800"}', "1e999999", "-", "tru", " " * 1_000 + "?",
]


@attack("20,000 bad envelopes", quick=True, grows_max=16 * MIB)
def bad_envelopes(gateway):
    """20 at once are borne, and then the connection ends, in one frame or in many."""
    frames = b"".join(frame(TEXT, it) for it in BAD * 9)
    peers = [connect(gateway, first=frames) for _ in range(70)]
    one = connect(gateway)
    one.send(frame(TEXT, "{}") * 20_000)
    many = connect(gateway)
    many.send(frame(TEXT, "\n".join(["{}"] * 250)) * 80)
    seen = ended(endings([*peers, one, many]), {"close 1008"})
    codes = {it["payload"]["code"] for peer in peers for it in peer.envelopes() if it["type"] == "error"}
    assert codes == {"bad_request", "unknown_type"}, f"errors were {codes}"
    return seen


def answers(gateway, text):
    """What one frame is answered with: a type, or the code of an error. Never an ending."""
    peer = connect(gateway)
    peer.send(frame(TEXT, text) + envelope("ping", id="after"))
    own = lambda it: [e for e in it.envelopes() if e["type"] not in ("welcome", "message") and e.get("id") != "after"]
    assert wait([peer], 5, lambda it: b'"after"' in it.heard and own(it)), f"no answer to {text[:60]!r} but {peer.ending()}"
    got = [it["payload"]["code"] if it["type"] == "error" else it["type"] for it in own(peer)]
    peer.close()
    assert len(got) == 1, f"{text[:60]!r} was answered with {got}"
    return got[0]


@attack("JSON 10,000 deep", quick=True, grows_max=16 * MIB)
def deep(gateway):
    """Depth is no reason to fall: what passes unread may be deep, what is read may not."""
    for open, close, depth in (("[", "]", 10_000), ("[", "]", 250_000), ('{"a":', "}", 10_000), ('{"a":', "}", 80_000)):
        deep = open * depth + "0" + close * depth
        allowed = [
            ('{"type":"ping","payload":%s}' % deep, ("pong", "bad_request")),
            ('{"type":"ping","more":%s}' % deep, ("pong", "bad_request")),
            ('{"type":"ping","id":%s}' % deep, ("bad_request",)),
            ('{"type":%s}' % deep, ("bad_request",)),
            ('{"type":"message","id":1,"payload":{"channel":"public.deep","data":%s}}' % deep, ("published", "bad_request")),
            ('{"type":"subscribe","payload":{"channel":%s}}' % deep, ("bad_request",)),
            ('{"type":"subscribe","payload":%s}' % deep, ("bad_request",)),
            (deep, ("bad_request",)),
            (open * depth, ("bad_request",)),
            ('{"type":"ping","payload":' + open * depth, ("bad_request",)),
        ]
        for text, good in allowed:
            got = answers(gateway, text)
            assert got in good, f"{text[:60]!r} was answered with {got}, expected {good}"
    return "answered, none fell"


# Names and what a subscription to them is answered with (PROTOCOL, Channels).
NAMES = [
    ("*", 0), ("**", 0), ("public.*", 0), ("public.**", 0), ("", 0), (".", 0), ("..", 0), ("public..a", 0), (".public", 0), ("public.", 0),
    ("public.a\0b", 0), ("public.a\nb", 0), ("public.a\x7fb", 0), ("public.a\u0085b", 0), ("public." + "x" * 249, 0), ("public." + "é" * 125, 0),
    ("@all", 0), ("@user", 0), ("@user/alice", 0), ("@anything", 0), ("public.@all", 1), ("public.a b", 1), ("public.>", 1), ("public.$SYS", 1),
    ("public." + "x" * 248, 1), ("public." + "é" * 124, 1), ("public.😀", 1), ("public.../../etc/passwd", 0), ("public./../../etc/passwd", 0), ("public./%2e%2e/passwd", 1),
    ("public.\u202eabc", 1), ("public.\ufeff", 1), ("public.é", 1), ("public.e\u0301", 1), ("public.'\";--", 1), ("public.<script>", 1), ("public.\\", 1), ("public.{}%s\r", 0),
]


@attack("odd names", quick=True)
def odd_names(gateway):
    """A name is a channel or it is refused; two names are one channel only if their bytes are the same."""
    peer, publisher = connect(gateway), connect(gateway)
    for number, (name, is_good) in enumerate(NAMES):
        if number % 20 == 0:
            publisher = connect(gateway)
        peer.send(envelope("subscribe", {"channel": name}, id=f"s{number}"))
        assert wait([peer], 5, lambda it: b'"s%d"' % number in it.heard), f"no answer for {name!r} but {peer.ending()}"
        answer = next(it for it in peer.envelopes() if it.get("id") == f"s{number}")
        got = answer["payload"].get("code", answer["type"])
        assert got == ("subscribed" if is_good else "channel_invalid"), f"{name!r} was answered with {got}"
        assert not is_good or answer["payload"]["channel"] == name, f"{name!r} came back as {answer}"
        publisher.send(envelope("message", {"channel": name, "data": number}))
    expected = [(name, number) for number, (name, is_good) in enumerate(NAMES) if is_good]
    heard = lambda it: [(m["payload"]["channel"], m["payload"]["data"]) for m in it.envelopes() if m["type"] == "message"]
    wait([peer], 5, lambda it: len(heard(it)) >= len(expected))
    got = heard(peer)
    assert sorted(got) == sorted(expected), f"heard {got}, expected {expected}"
    for text in ('"public.\\ud800"', '"public.\\u0000"', '"public.\\udc00\\ud800"'):
        got = answers(gateway, '{"type":"subscribe","payload":{"channel":%s}}' % text)
        assert got in ("bad_request", "channel_invalid"), f"{text} was answered with {got}"
    return f"{len(expected)} channels, the rest channel_invalid"


@attack("subscription storm")
def subscriptions(gateway):
    """200 connections that come and go in channels of their own, as fast as they may and then faster."""
    peers = [connect(gateway) for _ in range(200)]
    for number, peer in enumerate(peers):
        names = [f"public.storm.{number}.{it}" for it in range(120)]
        peer.send(b"".join(envelope("subscribe", {"channel": it}) for it in names) + b"".join(envelope("unsubscribe", {"channel": it}) for it in names))
        peer.send(envelope("subscribe", {"channel": "public.storm"}) * 400)
    return ended(endings(peers), {"close 4429"})


@attack("subscription storm without a rate", spec={"limits": {"subscribeRate": {"perSecond": 0, "burst": 0}, "byteRate": {"perSecond": "0", "burst": "0"}}})
def subscriptions_unlimited(gateway):
    """In and out of one channel, 20 connections, 2 s."""
    peers = [connect(gateway) for _ in range(20)]
    pair = (envelope("subscribe", {"channel": "public.storm"}) + envelope("unsubscribe", {"channel": "public.storm"})) * 20
    deadline, sent = time.monotonic() + 2, 0
    while time.monotonic() < deadline:
        for peer in peers:
            assert peer.send(pair), f"ended with {peer.ending()}"
            sent += 40
        wait(peers, 0.01)
        for peer in peers:
            peer.heard.clear()
    ended(endings(peers, 1), {"open"})
    return f"{sent} envelopes"


def keep(gateway, channel):
    """Fills a channel's history with 100 messages of 100 KiB; returns its epoch."""
    publisher = connect(gateway, first=envelope("subscribe", {"channel": channel}, id="s"))
    for number in range(100):
        assert publisher.send(envelope("message", {"channel": channel, "data": "x" * 100_000}, id=number)), publisher.ending()
        assert wait([publisher], 5, lambda it: it.heard.count(b'"published"') > number), f"not published but {publisher.ending()}"
    return next(it for it in publisher.envelopes() if it["type"] == "subscribed")["payload"]["epoch"]


@attack("history, over and over", quick=True, grows_max=64 * MIB, keeps_max=24 * MIB)
def history(gateway):
    """A small request for 10 MiB, from 10 clients as fast as they may."""
    keep(gateway, "kept.big")
    peers = [connect(gateway, first=envelope("subscribe", {"channel": "kept.big"})) for _ in range(10)]
    for peer in peers:
        peer.send(envelope("history", {"channel": "kept.big"}, id=1) * 90)
    return ended(endings(peers, 8), {"close 4431", "close 4429", "open"})


@attack("history that nobody reads", grows_max=128 * MIB, keeps_max=24 * MIB)
def history_unread(gateway):
    """One request each from 100: what waits for a client is bounded, answers too."""
    keep(gateway, "kept.big")
    first = envelope("subscribe", {"channel": "kept.big"}) + envelope("history", {"channel": "kept.big"}, id=1)
    peers = [connect(gateway, first=first, receive_buffer=4_096) for _ in range(100)]
    time.sleep(2)
    return ended(endings(peers, 0), {"open", "close 4431", "eof", "reset"})


@attack("replay, over and over", grows_max=64 * MIB, keeps_max=24 * MIB)
def replay(gateway):
    """Recovers from the beginning, leaves, recovers again, and never reads."""
    position = {"epoch": keep(gateway, "kept.big"), "offset": 0}
    again = envelope("subscribe", {"channel": "kept.big", "recover": position}) + envelope("unsubscribe", {"channel": "kept.big"})
    peers = [connect(gateway, receive_buffer=4_096) for _ in range(50)]
    for peer in peers:
        peer.send(again * 100)
    time.sleep(2)
    return ended(endings(peers, 5), {"close 4431", "close 4429", "open"})
