"""The server API: with the standard library, and with curl as a person would."""

import json, subprocess, time

from client import enter, refused
from gateway import API_KEY, eventually
from tokens import token


def curl(gateway, *arguments, key=API_KEY):
    """Status and JSON of what curl does."""
    command = ["curl", "--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}", *arguments[:-1]]
    command += ["--header", f"Authorization: Bearer {key}", f"http://{gateway.internal}/api/v1/{arguments[-1]}"]
    text, status = subprocess.run(command, check=True, capture_output=True, text=True).stdout.rsplit("\n", 1)
    return int(status), json.loads(text)


def test_curl_publishes_and_reads_back(start):
    gateway = start()

    with enter(gateway, token()) as client:
        client.ask("subscribe", channel="kept.a")
        status, answer = curl(gateway, "--json", '{"channel":"kept.a","data":{"text":"hi"}}', "publish")
        assert status == 200
        place = answer["results"][0]
        assert place["channel"] == "kept.a" and place["offset"] >= 1 and place["epoch"]
        assert client.get()["payload"] == {"channel": "kept.a", "data": {"text": "hi"}, "offset": place["offset"]}
        status, history = curl(gateway, "channels/kept.a/history")
        assert status == 200 and [(it["data"], it["offset"]) for it in history["messages"]] == [({"text": "hi"}, place["offset"])]
        eventually(lambda: curl(gateway, "stats")[1]["messagesDelivered"] == 1, "workers have told what they counted")
        status, stats = curl(gateway, "stats")
        assert (status, stats["activeConnections"], stats["totalConnections"]) == (200, 1, 1)
        assert stats["averageLatencyMs"] >= 0
        assert curl(gateway, "--request", "POST", "users/alice/disconnect")[1]["connections"] == 1
        assert client.until_closed() == 4500
    assert curl(gateway, "stats", key="wrong")[0] == 401


def test_what_is_refused_has_a_code(start):
    gateway = start()

    def expect(status, code, method, path, body=None, **options):
        found, answer = gateway.http(method, f"/api/v1/{path}", body, **options)
        assert (found, answer["error"]["code"]) == (status, code) and answer["error"]["message"], (path, body)

    for key in (None, "wrong", API_KEY + "x", API_KEY[:-1]):
        expect(401, "unauthorized", "GET", "stats", key=key)
    expect(404, "not_found", "GET", "nowhere")
    expect(405, "method", "PUT", "publish")
    expect(400, "bad_request", "POST", "publish", b"nonsense")
    expect(400, "bad_request", "POST", "publish", {"channel": "public.a", "dta": 1})
    expect(400, "bad_request", "POST", "publish", {"channel": "public.a", "channels": ["public.b"], "data": 1})
    expect(400, "bad_request", "POST", "publish", {"channels": [f"public.{i}" for i in range(101)], "data": 1})
    expect(400, "bad_request", "POST", "publish", {"channel": "public.a", "data": 1, "key": "x" * 65})
    expect(400, "channel_invalid", "POST", "publish", {"channel": "a..b", "data": 1})
    expect(413, "too_large", "POST", "publish", {"channel": "public.a", "data": "x" * 600_000})
    expect(400, "bad_request", "POST", "users/alice/disconnect", {"code": 4200})
    expect(404, "not_found", "POST", "connections/0000000000000000/disconnect", {})
    expect(400, "bad_request", "POST", "revocations", {"jti": "a", "user": "b", "expires": 1})


def test_one_publication_goes_to_many_channels_but_not_to_whom_it_excludes(start):
    gateway = start()

    with enter(gateway) as one, enter(gateway) as two:
        for client in (one, two):
            for channel in ("public.a", "public.b"):
                client.ask("subscribe", channel=channel)
        answer = gateway.api("publish", {"channels": ["public.a", "public.b"], "data": 1, "exclude": one.welcome["connection"]})
        assert [it["channel"] for it in answer["results"]] == ["public.a", "public.b"]
        assert two.messages(2) == [1, 1]
        assert one.ask("ping") is None and not one.waiting


def test_a_batch_answers_each_line_in_order(start):
    gateway = start()
    lines = [
        {"publish": {"channel": "public.a", "data": 1}}, {"publish": {"channel": "a..b", "data": 2}}, {"nosuch": {}},
        {"broadcast": {"data": 3}}, {"publish": {"channel": "public.a", "data": 4}},
    ]

    with enter(gateway) as client:
        client.ask("subscribe", channel="public.a")
        status, text = gateway.http("POST", "/api/v1/batch", "\n".join(map(json.dumps, lines)).encode())
        assert status == 200
        answers = [json.loads(line) for line in text.splitlines()]
        assert ["error" in it for it in answers] == [False, True, True, False, False]
        assert client.messages(3) == [1, 3, 4]


def test_the_application_subscribes_and_unsubscribes_a_user(start):
    gateway = start()

    with enter(gateway, token()) as client:
        assert gateway.api("users/alice/subscribe", {"channel": "private.1"})["connections"] == 1
        assert client.get()["type"] == "subscribed"
        gateway.publish("private.1", 1)
        assert client.messages(1) == [1]
        assert gateway.api("users/alice/unsubscribe", {"channel": "private.1"})["connections"] == 1
        ended = client.get()
        assert ended["type"] == "unsubscribed" and ended["payload"]["channel"] == "private.1" and ended["payload"]["code"]
        assert gateway.api("users/nobody/subscribe", {"channel": "private.1"})["connections"] == 0


def test_lists_say_who_and_what_is_here(start):
    gateway = start()

    with enter(gateway, token()) as alice, enter(gateway):
        alice.ask("subscribe", channel="room.1")
        alice.ask("subscribe", channel="kept.1")
        offset = gateway.publish("kept.1", 1)["offset"]
        connections = gateway.http("GET", "/api/v1/connections")[1]
        assert connections["total"] == 2 and connections["pods"] == {"asked": 1, "answered": 1} and not connections.get("cursor")
        mine = next(it for it in connections["connections"] if it.get("user") == "alice")
        assert (mine["connection"], mine["subscriptions"]) == (alice.welcome["connection"], 2) and mine["ageMs"] >= 0
        channels = gateway.http("GET", "/api/v1/channels")[1]
        assert channels["total"] == 2
        assert [(it["channel"], it["subscribers"], it.get("offset")) for it in channels["channels"]] == [("kept.1", 1, offset), ("room.1", 1, None)]
        presence = gateway.http("GET", "/api/v1/channels/room.1/presence")[1]
        assert presence["total"] == 1 and presence["members"][0]["user"] == "alice" and presence["complete"] is True


def test_names_in_a_path_are_percent_encoded(start):
    gateway = start()

    with enter(gateway, token("a/b ü")) as client:
        gateway.api("users/a%2Fb%20%C3%BC/messages", {"data": 1})
        assert client.get()["payload"]["data"] == 1


def test_a_revocation_ends_with_its_time(start):
    gateway = start()

    gateway.api("revocations", {"jti": "j", "expires": int(time.time()) + 2})
    refused(gateway, 401, "token", token(jti="j"))
    deadline = time.time() + 6
    while True:
        try:
            enter(gateway, token(jti="j")).close()
            break
        except Exception:
            assert time.time() < deadline, "still revoked"
            time.sleep(0.1)


def test_health_and_openapi(start):
    gateway = start()

    assert gateway.http("GET", "/livez", key=None)[0] == 200
    status, answer = gateway.http("GET", "/readyz", key=None)
    assert status == 200 and answer["ready"] is True and answer["reasons"] == []
    status, document = gateway.http("GET", "/api/v1/openapi.json")
    assert status == 200 and "3.1" in (document["openapi"] if isinstance(document, dict) else document)
    assert gateway.http("GET", "/ws", key=None)[0] == 404
