"""Where a client's address comes from, seen by the limit for each address."""

import pytest

from client import enter, outcome, refused
from raw import Raw, exchange

LIMITS = {"perAddress": {"connections": 1}}
LOCAL = ["127.0.0.0/8"]


def forwarded(value):
    return {"headers": {"X-Forwarded-For": value}}


def test_the_rightmost_hop_that_is_not_trusted_is_the_client(start):
    gateway = start(limits=LIMITS, clientAddress={"from": "XForwardedFor", "trustedProxies": [*LOCAL, "10.0.0.0/8"]})

    with enter(gateway, **forwarded("198.51.100.1")):
        for value in ["198.51.100.1", "203.0.113.9, 198.51.100.1", "198.51.100.1, 10.1.2.3", "::ffff:198.51.100.1"]:
            refused(gateway, 429, "address", **forwarded(value))
        for value in ["198.51.100.2", "198.51.100.1, 198.51.100.2", "198.51.100.2, 10.1.2.3, 10.9.9.9"]:
            assert outcome(gateway, **forwarded(value)) == "open", value


def test_an_ipv6_client_counts_by_its_network(start):
    gateway = start(limits=LIMITS, clientAddress={"from": "XForwardedFor", "trustedProxies": LOCAL})

    with enter(gateway, **forwarded("2001:db8:1:2::1")):
        refused(gateway, 429, "address", **forwarded("2001:db8:1:2:ffff::9"))
        assert outcome(gateway, **forwarded("2001:db8:1:3::1")) == "open"


def test_a_stranger_is_not_believed(start):
    gateway = start(limits=LIMITS, clientAddress={"from": "XForwardedFor", "trustedProxies": ["10.0.0.0/8"]})

    with enter(gateway, **forwarded("198.51.100.1")):
        refused(gateway, 429, "address", **forwarded("198.51.100.2"))


def test_by_default_no_header_is_believed(start):
    gateway = start(limits=LIMITS)

    with enter(gateway, **forwarded("198.51.100.1")):
        refused(gateway, 429, "address", **forwarded("198.51.100.2"))


def version_2(address, port=1234):
    body = bytes(map(int, address.split("."))) + bytes([127, 0, 0, 1]) + port.to_bytes(2) + (80).to_bytes(2)
    return (b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11" + len(body).to_bytes(2) + body).decode("latin-1")


HEADERS = {"1": lambda address: f"PROXY TCP4 {address} 127.0.0.1 1234 80\r\n", "2": version_2}


@pytest.mark.parametrize("version", HEADERS)
def test_a_proxy_header_says_who_the_client_is(start, version):
    gateway = start(limits=LIMITS, clientAddress={"from": "ProxyProtocol", "trustedProxies": LOCAL})
    header = HEADERS[version]

    with Raw(gateway, before=header("198.51.100.1")), Raw(gateway, before=header("198.51.100.2")):
        with pytest.raises(AssertionError, match="429"):
            Raw(gateway, before=header("198.51.100.1"))


def test_a_strangers_proxy_header_is_a_bad_request(start):
    gateway = start(clientAddress={"from": "ProxyProtocol", "trustedProxies": ["10.0.0.0/8"]})

    status, _, code = exchange(gateway, HEADERS["1"]("198.51.100.1") + "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (status, code) == (400, "bad_handshake")
