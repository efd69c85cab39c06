"""What a stock client sees of the protocol: Python `websockets` against the real binary."""

import json, socket, time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from conftest import SECRET, SPEC, token

V1 = ["headgate.v1"]


def get(socket, seconds=5):
    return json.loads(socket.recv(timeout=seconds))


def ask(socket, kind, payload=None, id=1):
    """Sends a request and returns the payload of its answer."""
    socket.send(json.dumps({"type": kind, "payload": payload, "id": id}))
    while True:
        answer = get(socket)
        if answer.get("id") == id:
            return answer["payload"] if answer["type"] != "error" else answer["payload"]["code"]


def until_closed(socket, seconds=10):
    """The close code, whatever comes before it."""
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            socket.recv(timeout=deadline - time.monotonic())
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
    except TimeoutError:
        pass
    raise AssertionError(f"not closed within {seconds} s")


def refused(url, status, code, **options):
    with pytest.raises(InvalidStatus) as error:
        connect(url, **options)
    response = error.value.response
    assert (response.status_code, json.loads(response.body)["error"]["code"]) == (status, code)
    return response.headers


def bearer(**claims):
    return {"Authorization": f"Bearer {token(**claims)}"}


def test_both_dialects_publish_and_receive(start):
    gateway = start()
    with connect(gateway.url, subprotocols=V1) as one, connect(gateway.url) as two:
        welcome = get(one)
        assert welcome["type"] == "welcome" and welcome["payload"]["maxMessageBytes"] == 524288
        assert ask(one, "subscribe", {"channel": "public.a"}) == {"channel": "public.a"}
        assert ask(two, "subscribe", {"channel": "public.a"}) == {"channel": "public.a"}
        two.send('{"type":"message","payload":{"channel":"public.a","data":{"text": "hi"}}}')
        expected = {"type": "message", "payload": {"channel": "public.a", "data": {"text": "hi"}}}
        assert get(one) == expected and get(two) == expected
        two.send('{"type":"message","payload":{"channel":"public.a","data":1,"echo":false}}\n{"type":"ping","id":"p"}')
        assert get(two) == {"type": "pong", "id": "p", "payload": None}
        assert get(one)["payload"]["data"] == 1


def test_a_token_is_taken_from_each_place(start):
    gateway = start(auth={**SPEC["auth"], "mode": "Required", "tokenInQuery": "Allow"})
    user = lambda socket: get(socket)["payload"]["user"]
    with connect(gateway.url, subprotocols=V1, additional_headers=bearer()) as socket:
        assert user(socket) == "alice"
    with connect(gateway.url, subprotocols=[*V1, f"headgate.token.{token()}"]) as socket:
        assert user(socket) == "alice"
    with connect(f"{gateway.url}?token={token()}", subprotocols=V1) as socket:
        assert user(socket) == "alice"
    refused(gateway.url, 401, "token")
    assert not any(token()[:40] in line for line in gateway.log)


def test_the_first_message_may_bring_the_token(start):
    auth = {**SPEC["auth"], "mode": "Required", "firstMessage": "Allow"}
    gateway = start(auth=auth, limits={"handshakeTimeout": "1s"})
    with connect(gateway.url, subprotocols=V1) as socket:
        assert ask(socket, "subscribe", {"channel": "public.a"}) == "forbidden"
        assert ask(socket, "authenticate", {"token": token()})["user"] == "alice"
        assert get(socket)["type"] == "welcome"
    with connect(gateway.url) as socket:
        assert until_closed(socket) == 4502
    with connect(gateway.url) as socket:
        socket.send('{"type":"authenticate","payload":{"token":"a.b.c"}}')
        assert until_closed(socket) == 4501


def test_a_page_is_told_by_a_close_what_it_cannot_see_as_a_status(start):
    gateway = start(allowedOrigins=["https://app.example"], auth={**SPEC["auth"], "mode": "Required"}, limits={"connectionsPerUser": 1})
    page = {"origin": "https://app.example"}
    with connect(gateway.url, **page) as socket:
        assert until_closed(socket) == 4501
    with connect(gateway.url, **page, additional_headers=bearer(exp=1)) as socket:
        assert until_closed(socket) == 4401
    with connect(gateway.url, **page, additional_headers=bearer()), connect(gateway.url, **page, additional_headers=bearer()) as second:
        assert until_closed(second) == 4430
        refused(gateway.url, 429, "user_connections", additional_headers=bearer())
    refused(gateway.url, 403, "origin", origin="https://app.example.evil", additional_headers=bearer())


def test_requests_of_another_form_are_refused_with_a_body(start):
    gateway = start()
    refused(f"ws://{gateway.public}/other", 404, "not_found")
    refused(gateway.url, 400, "subprotocol", subprotocols=["mqtt"])
    host, port = gateway.public.split(":")
    head = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    version = "Sec-WebSocket-Version: 13\r\n"

    def raw(request):
        with socket.create_connection((host, int(port)), timeout=5) as tcp:
            tcp.sendall(request.encode("latin-1"))
            answer = b""
            while piece := tcp.recv(65536):
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)["error"]["code"]

    assert raw(f"GET /ws HTTP/1.1\r\n{head}Sec-WebSocket-Version: 8\r\n\r\n") == (426, "version")
    assert raw(f"POST /ws HTTP/1.1\r\n{head}{version}\r\n") == (405, "method")
    assert raw(f"GET /ws HTTP/1.0\r\n{head}{version}\r\n") == (400, "bad_handshake")
    assert raw(f"GET /ws HTTP/1.1\r\n{head}{version}Host: b\r\n\r\n") == (400, "bad_handshake")
    assert raw(f"GET /ws HTTP/1.1\r\n{head}{version}Content-Length: 0\r\n\r\n") == (400, "bad_handshake")
    assert raw(f"GET http://a/ws HTTP/1.1\r\n{head}{version}\r\n") == (400, "bad_handshake")
    assert raw(f"GET /ws HTTP/1.1\n{head}{version}\r\n") == (400, "bad_handshake")
    assert raw(f"GET /ws HTTP/1.1\r\n{head}{version}" + "A: b\r\n" * 101 + "\r\n") == (431, "headers")
    assert raw(f"GET /ws HTTP/1.1\r\n{head}{version}A: {'b' * 17000}\r\n\r\n") == (431, "headers")
    assert raw(f"GET /ws?{'a' * 9000} HTTP/1.1\r\n{head}{version}\r\n") == (414, "uri")
    assert raw("nonsense\r\n\r\n") == (400, "bad_handshake")


def test_limits_refuse_with_a_time_to_come_back(start):
    gateway = start(maxConnections=1)
    with connect(gateway.url):
        assert int(refused(gateway.url, 503, "full")["Retry-After"]) > 0
    gateway = start(limits={"connectRate": {"perSecond": 1, "burst": 1}})
    with connect(gateway.url):
        assert int(refused(gateway.url, 429, "connect_rate")["Retry-After"]) > 0
    gateway = start(limits={"perAddress": {"connections": 1}})
    with connect(gateway.url):
        refused(gateway.url, 429, "address")


def test_a_client_that_comes_back_gets_exactly_what_it_missed(start):
    gateway = start()
    publish = lambda data: gateway.api("publish", {"channel": "kept.a", "data": data})["results"][0]
    with connect(gateway.url) as socket:
        at = ask(socket, "subscribe", {"channel": "kept.a"})
    position = {"epoch": at["epoch"], "offset": at["offset"]}
    for data in [1, 2, 3]:
        publish(data)
    with connect(gateway.url) as socket:
        assert ask(socket, "subscribe", {"channel": "kept.a", "recover": position})["recovered"] is True
        publish(4)
        assert [get(socket)["payload"]["data"] for _ in range(4)] == [1, 2, 3, 4]
    for data in range(10):
        publish(data)
    with connect(gateway.url) as socket:
        answer = ask(socket, "subscribe", {"channel": "kept.a", "recover": position})
        assert answer["recovered"] is False and answer["offset"] == 14
        other = {"epoch": "1", "offset": 0}
        assert ask(socket, "history", {"channel": "kept.a", "since": other}) == "epoch_changed"
        page = ask(socket, "history", {"channel": "kept.a", "limit": 2})
        assert [it["offset"] for it in page["messages"]] == [13, 14]


def test_a_key_makes_a_retry_harmless(start):
    gateway = start()
    with connect(gateway.url) as socket:
        ask(socket, "subscribe", {"channel": "kept.a"})
        message = {"channel": "kept.a", "data": 1, "key": "k"}
        assert ask(socket, "message", message)["offset"] == 1
        assert ask(socket, "message", message)["offset"] == 1
        assert len(ask(socket, "history", {"channel": "kept.a"})["messages"]) == 1


def test_presence_is_told_and_announced(start):
    gateway = start()
    with connect(gateway.url, additional_headers=bearer(headgate={"info": {"name": "Al"}})) as one:
        ask(one, "subscribe", {"channel": "room.1"})
        with connect(gateway.url, additional_headers=bearer(user="bob")) as two:
            ask(two, "subscribe", {"channel": "room.1"})
            joined = get(one)
            assert (joined["type"], joined["payload"]["user"]) == ("join", "bob")
            answer = ask(one, "presence", {"channel": "room.1"})
            assert answer["total"] == 2 and answer["complete"] is True
            assert {it["user"] for it in answer["members"]} == {"alice", "bob"}
        assert get(one, 15)["type"] == "leave"


def test_rights_come_from_the_rule_and_the_token(start):
    gateway = start()
    grants = {"subscribe": ["**"], "publish": ["mine.*"], "channels": ["mine.1"]}
    with connect(gateway.url, subprotocols=V1, additional_headers=bearer(headgate=grants)) as socket:
        assert "mine.1" in [it["channel"] for it in get(socket)["payload"]["subscriptions"]]
        assert ask(socket, "subscribe", {"channel": "closed"}) == "forbidden"
        assert ask(socket, "subscribe", {"channel": "other"}) == {"channel": "other"}
        assert ask(socket, "message", {"channel": "other", "data": 1}) == "forbidden"
        assert ask(socket, "message", {"channel": "mine.1", "data": 1}) == {"channel": "mine.1"}
        assert ask(socket, "subscribe", {"channel": "a..b"}) == "channel_invalid"
        assert ask(socket, "unsubscribe", {"channel": "nowhere"}) == "not_subscribed"
    with connect(gateway.url) as socket:
        assert ask(socket, "subscribe", {"channel": "other"}) == "forbidden"


def test_limits_of_a_connection(start):
    gateway = start(maxMessageSize=1000, limits={"channelsPerConnection": 2, "messageRate": {"perSecond": 1, "burst": 5}})
    with connect(gateway.url) as socket:
        codes = [ask(socket, "subscribe", {"channel": f"public.{i}"}) for i in range(3)]
        assert codes[2] == "too_many_channels" or codes[1] == "too_many_channels"
        answers = [ask(socket, "ping", id=i) for i in range(10)]
        assert answers[0] is None and answers[9] == "rate_limited"
        for i in range(200):
            socket.send('{"type":"ping"}')
        assert until_closed(socket) == 4429
    with connect(gateway.url) as socket:
        socket.send("x" * 1001)
        assert until_closed(socket) == 1009


def test_every_violation_has_its_close_code(start):
    gateway = start()
    with connect(gateway.url, subprotocols=V1) as socket:
        socket.send(b"binary")
        assert until_closed(socket) == 1003
    with connect(gateway.url) as socket:
        socket.send(b"\xff")
        assert until_closed(socket) == 1007
    with connect(gateway.url) as socket:
        for _ in range(30):
            socket.send("nonsense")
        assert until_closed(socket) == 1008


def test_a_silent_client_is_given_up(start):
    gateway = start(pingPeriod="1s", pongWait="2s")
    host, port = gateway.public.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as tcp:
        tcp.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        received = b""
        while not received.endswith(b"\x88\x15\x11\x38no answer to a ping"):
            piece = tcp.recv(4096)
            assert piece, received
            received += piece
        assert b"\x89\x00" in received
    with connect(gateway.url) as healthy:
        with pytest.raises(TimeoutError):
            healthy.recv(timeout=4)


def test_idle_connections_and_expired_tokens_end(start):
    gateway = start(limits={"idleTimeout": "1s"})
    with connect(gateway.url) as socket:
        assert until_closed(socket) == 4503
    gateway = start()
    with connect(gateway.url, additional_headers=bearer(exp=int(time.time()) + 2)) as socket:
        assert until_closed(socket, 5) == 4401


def test_a_token_is_refreshed_in_place(start):
    gateway = start()
    with connect(gateway.url, additional_headers=bearer(headgate={"subscribe": ["a"]})) as socket:
        assert ask(socket, "subscribe", {"channel": "a"}) == {"channel": "a"}
        assert ask(socket, "authenticate", {"token": token(user="mallory")}) == "token_invalid"
        socket.send(json.dumps({"type": "authenticate", "payload": {"token": token()}}))
        assert get(socket)["type"] == "authenticated"
        assert get(socket)["payload"] == {"channel": "a", "code": "forbidden", "reason": "no longer allowed"}


def test_a_slow_consumer_is_ended_and_nobody_else_notices(start):
    gateway = start(limits={"sendQueueBytes": "512Ki", "sendQueueMessages": 100}, compression={"mode": "Disabled"})
    with connect(gateway.url) as healthy:
        ask(healthy, "subscribe", {"channel": "public.a"})
        host, port = gateway.public.split(":")
        slow = socket.create_connection((host, int(port)), timeout=10)
        slow.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        text = b'{"type":"subscribe","payload":{"channel":"public.a"}}'
        slow.sendall(b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text)
        while True:
            _, answer = gateway.http("GET", "/api/v1/channels")
            if answer["channels"] == [{"channel": "public.a", "subscribers": 2}]:
                break
        data = "x" * 100_000
        for i in range(200):
            gateway.api("publish", {"channel": "public.a", "data": [i, data]})
            assert get(healthy)["payload"]["data"][0] == i
        _, metrics = gateway.http("GET", "/metrics")
        assert 'connections_closed_total{reason="slow_consumer"} 1' in metrics or 'realtime_gateway_active_connections{state="serving"} 2' in metrics
        slow.close()


def test_the_server_api(start):
    gateway = start()
    assert gateway.http("GET", "/api/v1/stats", key=None)[0] == 401
    assert gateway.http("GET", "/api/v1/stats", key="wrong")[0] == 401
    assert gateway.http("GET", "/api/v1/nowhere")[0] == 404
    assert gateway.http("PUT", "/api/v1/publish")[0] == 405
    assert gateway.http("POST", "/api/v1/publish", {"channel": "public.a", "dta": 1})[0] == 400
    assert gateway.http("POST", "/api/v1/publish", {"channel": "a..b", "data": 1})[0] == 400
    assert gateway.http("POST", "/api/v1/publish", {"channel": "public.a", "data": "x" * 600_000})[0] == 413
    with connect(gateway.url, subprotocols=V1, additional_headers=bearer()) as socket:
        connection = get(socket)["payload"]["connection"]
        gateway.api("broadcast", {"data": "all"})
        assert get(socket)["payload"] == {"channel": "@all", "data": "all"}
        gateway.api("users/alice/messages", {"data": "you"})
        assert get(socket)["payload"] == {"channel": "@user", "data": "you"}
        gateway.api(f"connections/{connection}/messages", {"data": "this"})
        assert get(socket)["payload"]["data"] == "this"
        assert gateway.api("users/alice/subscribe", {"channel": "public.b"}) == {"connections": 1}
        assert get(socket)["type"] == "subscribed"
        assert gateway.http("GET", "/api/v1/channels")[1]["channels"] == [{"channel": "public.b", "subscribers": 1}]
        assert gateway.http("GET", "/api/v1/connections")[1]["connections"][0]["user"] == "alice"
        assert gateway.http("GET", "/api/v1/stats")[1]["activeConnections"] == 1
        assert gateway.api("users/alice/disconnect", {"code": 4900}) == {"connections": 1}
        assert until_closed(socket) == 4900
    with connect(gateway.url, additional_headers=bearer(jti="j")) as socket:
        assert ask(socket, "ping") is None
        gateway.api("revocations", {"jti": "j", "expires": int(time.time()) + 60})
        assert until_closed(socket) == 4504
    refused(gateway.url, 401, "token", additional_headers=bearer(jti="j"))
    with connect(gateway.url, additional_headers=bearer(user="bob")) as socket:
        assert ask(socket, "ping") is None
        gateway.api("users/bob/disconnect", {})
        assert until_closed(socket) == 4500


def test_configuration_is_live_and_a_bad_one_changes_nothing(start):
    gateway = start()
    with connect(gateway.url) as socket:
        ask(socket, "subscribe", {"channel": "public.a"})
        gateway.write({**SPEC, "maxConnections": 0})
        assert "spec.maxConnections is 0" in gateway.wait_for("config_refused", 2)["error"]
        assert "spec.maxConnections" in gateway.http("GET", "/status")[1]["config"]["error"]
        gateway.write({**SPEC, "channels": [{"match": "**", "subscribe": "Nobody"}], "path": "/other"})
        assert gateway.wait_for("restart_required", 2)["field"] == "spec.path"
        assert get(socket)["payload"]["code"] == "forbidden"
        assert gateway.http("GET", "/status")[1]["config"]["restartRequired"] == ["spec.path"]


def test_history_that_is_switched_off_is_a_gap(start):
    gateway = start()
    with connect(gateway.url) as socket:
        ask(socket, "subscribe", {"channel": "kept.a"})
        gateway.write({**SPEC, "channels": [{"match": "**", "subscribe": "Anyone"}]})
        assert get(socket) == {"type": "gap", "payload": {"channel": "kept.a"}}


def test_a_drain_tells_and_closes_everybody_and_exits_cleanly(start):
    gateway = start()
    with connect(gateway.url) as one, connect(gateway.url) as two:
        assert gateway.http("GET", "/readyz")[0] == 200
        gateway.process.terminate()
        for socket in (one, two):
            told = get(socket, 10)
            assert told["type"] == "reconnect" and 0 <= told["payload"]["closesInMs"] <= 5000
        refused(gateway.url, 503, "draining")
        assert gateway.http("GET", "/readyz")[0] == 503
        assert until_closed(one, 15) == 1012 and until_closed(two, 15) == 1012
    assert gateway.process.wait(timeout=20) == 0


def test_a_missing_secret_keeps_the_gateway_waiting(tmp_path):
    import subprocess, urllib.error, urllib.request
    from conftest import BINARY

    manifest = tmp_path / "gateway.yaml"
    manifest.write_text(json.dumps({"apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": "a"}, "spec": SPEC}))
    command = [BINARY, "serve", str(manifest), "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0", "--secrets", str(tmp_path), "--log-format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert "waiting for the Secret" in json.loads(process.stdout.readline())["error"]
        for name, key, content in [("jwt", "hmac", SECRET), ("api", "api-key", b"0123456789abcdef")]:
            (tmp_path / name).mkdir()
            (tmp_path / name / key).write_bytes(content)
        events = []
        while "listening" not in events:
            events.append(json.loads(process.stdout.readline())["event"])
    finally:
        process.kill()
        process.wait(timeout=10)


def test_compressed_publications_arrive(start):
    gateway = start()
    with connect(gateway.url, compression="deflate") as socket:
        ask(socket, "subscribe", {"channel": "public.a"})
        gateway.api("publish", {"channel": "public.a", "data": "abc" * 2000})
        assert get(socket)["payload"]["data"] == "abc" * 2000
        assert ask(socket, "message", {"channel": "public.a", "data": "def" * 2000}) is not None
