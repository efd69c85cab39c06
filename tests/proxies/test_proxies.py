"""nginx and HAProxy in front of the gateway, with the very files that docs/proxies.md shows."""

import base64, hashlib, hmac, json, time
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from processes import HERE, SECRET, TOKENS, wait_until

PROXIES = ["nginx.conf", "haproxy.cfg"]
ALL = [*PROXIES, "haproxy-proxy-protocol.cfg"]
V1 = ["headgate.v1"]
FORWARDED = {"from": "XForwardedFor", "trustedProxies": ["127.0.0.1/32"]}
PROXY_PROTOCOL = {"from": "ProxyProtocol", "trustedProxies": ["127.0.0.1/32"]}


def address(file):
    """What tells the gateway who the client is behind this proxy."""
    return PROXY_PROTOCOL if "proxy-protocol" in file else FORWARDED


def token(pad=0):
    claims = {"sub": "alice", "exp": int(time.time()) + 600, "pad": "x" * pad}
    encode = lambda it: base64.urlsafe_b64encode(it).rstrip(b"=")
    signed = encode(b'{"alg":"HS256"}') + b"." + encode(json.dumps(claims).encode())
    return (signed + b"." + encode(hmac.new(SECRET, signed, hashlib.sha256).digest())).decode()


def long_token():
    """As long as a token may be, but for a few bytes."""
    pad = next(pad for pad in range(6_200, 5_000, -1) if len(token(pad)) <= 8_192)
    return token(pad)


def get(socket, seconds=5):
    return json.loads(socket.recv(timeout=seconds))


def refused(url, status, code, **options):
    with pytest.raises(InvalidStatus) as error:
        connect(url, **options)
    response = error.value.response
    assert (response.status_code, json.loads(response.body)["error"]["code"]) == (status, code)
    return response.headers


@pytest.mark.parametrize("file", ALL)
def test_messages_pass_both_ways_and_silence_does_not_end_it(behind, file):
    _, proxy = behind(file, clientAddress=address(file), pingPeriod="500ms", pongWait="5s", replace={"120s": "2s"})
    with connect(proxy.url(), subprotocols=V1) as socket:
        assert get(socket)["type"] == "welcome"
        with pytest.raises(TimeoutError):
            socket.recv(timeout=5)  # more than twice the proxy's timeout: pings keep it open
        socket.send('{"type":"subscribe","payload":{"channel":"a"},"id":1}')
        assert get(socket)["type"] == "subscribed"
        data = "x" * 200_000
        socket.send(json.dumps({"type": "message", "payload": {"channel": "a", "data": data}}))
        assert get(socket)["payload"]["data"] == data


@pytest.mark.parametrize("file", ALL)
def test_a_timeout_below_the_ping_period_cuts_silent_clients(behind, file):
    _, proxy = behind(file, clientAddress=address(file), pingPeriod="20s", pongWait="30s", replace={"120s": "1s"})
    with connect(proxy.url(), ping_interval=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd is None  # no close frame: a client sees 1006


@pytest.mark.parametrize("file", ALL)
def test_the_clients_address_counts_and_cannot_be_forged(behind, file):
    _, proxy = behind(file, clientAddress=address(file), limits={"perAddress": {"connections": 1}})
    one, two = {"source_address": ("127.0.0.2", 0)}, {"source_address": ("127.0.0.3", 0)}
    forged = {"additional_headers": {"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7"}}
    with connect(proxy.url(), **one), connect(proxy.url(), **two):
        refused(proxy.url(), 429, "address", **one)
        assert int(refused(proxy.url(), 429, "address", **two, **forged)["Retry-After"]) > 0


@pytest.mark.parametrize("file", PROXIES)
def test_a_proxy_that_is_not_trusted_is_the_client(behind, file):
    strangers = {"from": "XForwardedFor", "trustedProxies": ["198.18.0.0/15"]}
    _, proxy = behind(file, clientAddress=strangers, limits={"perAddress": {"connections": 1}})
    with connect(proxy.url(), source_address=("127.0.0.2", 0)):
        refused(proxy.url(), 429, "address", source_address=("127.0.0.3", 0))


@pytest.mark.parametrize("file", ALL)
def test_refusals_come_through_as_they_are(behind, file):
    _, proxy = behind(file, clientAddress=address(file), maxConnections=1)
    refused(proxy.url(), 403, "origin", origin="https://app.example")
    refused(proxy.url(), 400, "subprotocol", subprotocols=["mqtt"])
    with connect(proxy.url()):
        assert int(refused(proxy.url(), 503, "full")["Retry-After"]) > 0


@pytest.mark.parametrize("file", PROXIES)
def test_who_is_refused_by_a_full_pod_is_sent_to_the_next(behind, file):
    full = behind.gateway(maxConnections=1)
    line = next(line for line in (HERE / file).read_text().splitlines() if "127.0.0.1:8080" in line)
    other = line.replace("8080", str(full.port)).replace("server gateway", "server full").replace("9090", str(full.internal))
    _, proxy = behind(file, clientAddress=FORWARDED, replace={line: f"{other}\n{line}"})
    with connect(f"ws://127.0.0.1:{full.port}/ws"), ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(connect(proxy.url()))


@pytest.mark.parametrize("file", ALL)
def test_a_token_of_8_kib_comes_through_and_is_not_logged(behind, file):
    auth = {**TOKENS, "tokenInQuery": "Allow"}
    _, proxy = behind(file, clientAddress=address(file), auth=auth)
    with connect(proxy.url(), subprotocols=[*V1, f"headgate.token.{long_token()}"]) as socket:
        assert get(socket)["payload"]["user"] == "alice"
    in_url = token()
    with connect(proxy.url(f"/ws?token={in_url}"), subprotocols=V1) as socket:
        assert get(socket)["payload"]["user"] == "alice"
    if file in PROXIES:
        wait_until(lambda: sum(" 101 " in line for line in proxy.lines) == 2, "both requests in the proxy's log")
    assert not any(in_url[-40:] in line for line in proxy.lines)


@pytest.mark.parametrize("file", ALL)
def test_a_drain_reaches_clients_and_takes_the_pod_out(behind, file):
    gateway, proxy = behind(file, clientAddress=address(file))
    with ExitStack() as stack:
        # Ten, so that the drain takes longer than HAProxy's checks.
        sockets = [stack.enter_context(connect(proxy.url())) for _ in range(10)]
        gateway.terminate()
        if "haproxy" in file:
            assert "Layer7 wrong status, code: 503" in proxy.wait_for_text("DOWN")
        for socket in sockets:
            assert get(socket, 15)["type"] == "reconnect"
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=15)
            assert closed.value.rcvd.code == 1012
    assert gateway.process.wait(timeout=20) == 0
