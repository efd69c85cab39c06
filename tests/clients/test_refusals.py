"""Every row of the table of refusals: what is refused before the 101, and how that is told."""

import time

import pytest
from websockets.exceptions import InvalidStatus

from client import V1, enter, join, outcome, refused
from gateway import KEYS, SPEC, eventually
from raw import HEAD, KEY, VERSION, dial, exchange
from tokens import private_key, token

REQUIRED = {**SPEC["auth"], "mode": "Required"}

FORMS = {
    "method": (f"POST /ws HTTP/1.1\r\n{HEAD}{VERSION}\r\n", 405, "method"),
    "http_1_0": (f"GET /ws HTTP/1.0\r\n{HEAD}{VERSION}\r\n", 400, "bad_handshake"),
    "no_host": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}\r\n".replace("Host: a\r\n", ""), 400, "bad_handshake"),
    "two_hosts": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}Host: b\r\n\r\n", 400, "bad_handshake"),
    "absolute_form": (f"GET http://a/ws HTTP/1.1\r\n{HEAD}{VERSION}\r\n", 400, "bad_handshake"),
    "bare_line_feed": (f"GET /ws HTTP/1.1\n{HEAD}{VERSION}\r\n", 400, "bad_handshake"),
    "content_length": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}Content-Length: 0\r\n\r\n", 400, "bad_handshake"),
    "chunked": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}Transfer-Encoding: chunked\r\n\r\n", 400, "bad_handshake"),
    "no_upgrade": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}\r\n".replace("Upgrade: websocket\r\n", ""), 400, "bad_handshake"),
    "no_connection": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}\r\n".replace("Connection: Upgrade\r\n", ""), 400, "bad_handshake"),
    "no_key": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}\r\n".replace(KEY, ""), 400, "bad_handshake"),
    "short_key": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}\r\n".replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400, "bad_handshake"),
    "two_keys": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}{KEY}\r\n", 400, "bad_handshake"),
    "nonsense": ("nonsense\r\n\r\n", 400, "bad_handshake"),
    "old_version": (f"GET /ws HTTP/1.1\r\n{HEAD}Sec-WebSocket-Version: 8\r\n\r\n", 426, "version"),
    "no_version": (f"GET /ws HTTP/1.1\r\n{HEAD}\r\n", 426, "version"),
    "unknown_path": (f"GET /other HTTP/1.1\r\n{HEAD}{VERSION}\r\n", 404, "not_found"),
    "long_uri": (f"GET /ws?{'a' * 9000} HTTP/1.1\r\n{HEAD}{VERSION}\r\n", 414, "uri"),
    "101_headers": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}" + "A: b\r\n" * 101 + "\r\n", 431, "headers"),
    "long_headers": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}A: {'b' * 17000}\r\n\r\n", 431, "headers"),
    "endless_headers": (f"GET /ws HTTP/1.1\r\n{HEAD}A: {'b' * 80000}\r\n\r\n", 431, "headers"),
    "unknown_subprotocol": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}Sec-WebSocket-Protocol: mqtt\r\n\r\n", 400, "subprotocol"),
    "token_alone": (f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}Sec-WebSocket-Protocol: headgate.token.a.b.c\r\n\r\n", 400, "subprotocol"),
}


def test_requests_of_another_form_are_refused_with_a_body(start):
    gateway = start()

    for name, (request, status, code) in FORMS.items():
        found, headers, reason = exchange(gateway, request)
        assert (found, reason) == (status, code), name
        assert headers["connection"] == "close" and headers["content-type"].startswith("application/json"), name
        assert status != 426 or headers["sec-websocket-version"] == "13"
        assert status != 405 or headers["allow"] == "GET"
    codes = {code for _, _, code in FORMS.values()}
    for code in codes:
        count = sum(it[2] == code for it in FORMS.values())
        eventually(lambda: gateway.metric("connections_refused_total", reason=code) == count, f"{count} of {code}")


def test_exactly_100_headers_pass_the_limit(start):
    gateway = start()

    with dial(gateway) as tcp:
        tcp.sendall(f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}{'A: b' + chr(13) + chr(10)}".encode() + b"A: b\r\n" * 94 + b"\r\n")
        assert tcp.recv(100).startswith(b"HTTP/1.1 101 ")


def test_a_first_frame_in_the_segment_of_the_request_is_read(start):
    gateway = start()

    with dial(gateway) as tcp:
        ping = b"\x81\x8f\0\0\0\0" + b'{"type":"ping"}'
        tcp.sendall(f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}\r\n".encode() + ping)
        answer = b""
        while not answer.endswith(b'{"type":"pong","payload":null}'):
            assert (piece := tcp.recv(1000)), answer
            answer += piece


def test_a_token_that_is_missing_or_bad_is_401(start):
    gateway = start(auth=REQUIRED)

    headers = refused(gateway, 401, "token")
    assert headers["WWW-Authenticate"].startswith("Bearer")
    refused(gateway, 401, "token", "not.a.token")
    refused(gateway, 401, "token", token(exp=int(time.time()) - 61))
    refused(gateway, 401, "token", token(secret=b"another secret of 32 bytes length"))
    enter(gateway, token()).close()


def test_an_origin_that_is_not_allowed_is_403(start):
    gateway = start(allowedOrigins=["https://app.example", "https://*.example.com", "http://localhost:8000"])

    for origin in ["https://app.example", "https://a.example.com", "http://localhost:8000"]:
        enter(gateway, origin=origin).close()
    for origin in [
        "http://app.example", "https://app.example.evil", "https://app.example:8443", "https://example.com",
        "https://a.b.example.com", "http://localhost:8001", "null", "https://aXexample.com",
    ]:
        refused(gateway, 403, "origin", origin=origin)


def test_without_origins_no_page_gets_in(start):
    gateway = start()

    refused(gateway, 403, "origin", origin="https://app.example")
    refused(gateway, 403, "origin", origin="null")


def test_too_many_of_one_kind_are_429_with_a_time_to_come_back(start):
    def seconds(headers):
        return int(headers["Retry-After"])

    gateway = start(limits={"connectRate": {"perSecond": 1, "burst": 1}})
    with enter(gateway):
        assert 1 <= seconds(refused(gateway, 429, "connect_rate")) <= 60
    gateway = start(limits={"perAddress": {"connections": 1}})
    with enter(gateway):
        assert 1 <= seconds(refused(gateway, 429, "address")) <= 60
    gateway = start(limits={"perAddress": {"connectRate": {"perSecond": 1, "burst": 1}}})
    with enter(gateway):
        assert 1 <= seconds(refused(gateway, 429, "address")) <= 60
    gateway = start(limits={"connectionsPerUser": 1})
    with enter(gateway, token()):
        assert 1 <= seconds(refused(gateway, 429, "user_connections", token())) <= 60
        enter(gateway, token("bob")).close()


def test_a_full_gateway_is_503_with_jitter_and_stays_ready(start):
    gateway = start(maxConnections=1)

    with enter(gateway):
        waits = {int(refused(gateway, 503, "full")["Retry-After"]) for _ in range(30)}
        assert min(waits) >= 1 and len(waits) > 1, waits
        assert gateway.http("GET", "/readyz")[0] == 200
        eventually(lambda: gateway.metric("connections_refused_total", reason="full") == 30, "they are counted")


def test_a_place_is_free_again_when_its_connection_has_ended(start):
    gateway = start(maxConnections=1, limits={"connectionsPerUser": 1, "perAddress": {"connections": 1}})

    for _ in range(5):
        eventually(lambda: outcome(gateway, token()) == "open", "the place is given back")
    eventually(lambda: gateway.metric("active_connections", state="serving") == 0, "everybody is gone")
    with enter(gateway, token()):
        assert outcome(gateway, token()) != "open"


def test_without_a_key_set_it_cannot_be_decided_yet(start):
    jwks = {"url": "https://127.0.0.1:1/jwks.json"}
    gateway = start(auth={"mode": "Required", "jwt": {"jwks": jwks}}, allowedOrigins=["https://app.example"])
    undecided = token(secret=private_key("ES256"), algorithm="ES256", header={"kid": "a"})

    assert int(refused(gateway, 503, "keys", undecided)["Retry-After"]) >= 1
    with join(gateway, undecided, origin="https://app.example") as page:
        assert page.until_closed() == 1013
    refused(gateway, 401, "token")


def test_what_is_cheapest_to_find_is_told_first(start):
    gateway = start(auth=REQUIRED, maxConnections=1, allowedOrigins=["https://app.example"])
    with enter(gateway, token()):
        refused(gateway, 503, "full", "bad", origin="https://evil.example")
        refused(gateway, 404, "not_found", "bad", url=f"ws://{gateway.public}/other")
    gateway = start(auth=REQUIRED)
    refused(gateway, 403, "origin", "bad", origin="https://evil.example")


@pytest.mark.parametrize("offer, answer", [
    ([V1, "headgate.plain"], V1), (["headgate.plain", V1], "headgate.plain"), (["mqtt", V1], V1), (None, None),
])
def test_the_first_known_subprotocol_is_echoed(start, offer, answer):
    gateway = start()

    with join(gateway, dialect=None, subprotocols=offer) as client:
        assert client.subprotocol == answer


def test_the_metric_knows_every_reason(start):
    gateway = start(auth={"mode": "Required", "jwt": KEYS})
    with pytest.raises(InvalidStatus):
        join(gateway)

    eventually(lambda: gateway.metric("connections_refused_total", reason="token") == 1, "it is counted")
    for reason in ["origin", "connect_rate", "address", "user_connections", "full", "draining", "keys"]:
        assert gateway.metric("connections_refused_total", reason=reason) == 0
