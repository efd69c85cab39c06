"""TLS on the public port: a certificate is served, renewed live, and a bad one changes nothing."""

import socket, ssl

import pytest
from cryptography import x509

from certificates import Authority
from client import enter
from gateway import eventually

DAY = 86_400


@pytest.fixture
def secured(start):
    """A gateway with a certificate for 10 days, and the authority behind it."""
    authority = Authority()
    gateway = start(wait=False, tls={"secretName": "tls"})
    gateway.secret("tls", **authority.pair(10))
    gateway.wait_until_listening()
    gateway.url = gateway.url.replace("ws:", "wss:")
    gateway.trust = ssl.create_default_context(cadata=authority.pem.decode())
    return gateway, authority


def serial(gateway):
    """The serial number of the certificate that a new connection is shown."""
    with socket.create_connection((gateway.host, gateway.port), timeout=5) as tcp:
        with gateway.trust.wrap_socket(tcp, server_hostname="localhost") as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)).serial_number


def test_a_client_connects_over_tls_and_a_stranger_does_not(secured):
    gateway, _ = secured

    with enter(gateway, ssl=gateway.trust) as client, enter(gateway, ssl=gateway.trust, compression="deflate") as other:
        for it in (client, other):
            it.ask("subscribe", channel="public.a")
        client.say("message", {"channel": "public.a", "data": "x" * 300_000})
        assert client.messages(1) == other.messages(1) == ["x" * 300_000]
    with pytest.raises(ssl.SSLCertVerificationError):
        enter(gateway, ssl=ssl.create_default_context())
    with pytest.raises(Exception):
        enter(gateway, url=gateway.url.replace("wss:", "ws:"), open_timeout=5)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_only_http_1_1_is_offered_and_old_versions_are_not(secured, version):
    gateway, _ = secured
    gateway.trust.minimum_version = gateway.trust.maximum_version = version
    gateway.trust.set_alpn_protocols(["h2", "http/1.1"])

    with socket.create_connection((gateway.host, gateway.port), timeout=5) as tcp:
        with gateway.trust.wrap_socket(tcp, server_hostname="localhost") as tls:
            assert tls.selected_alpn_protocol() == "http/1.1"
            assert tls.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]


def test_a_renewed_certificate_is_served_and_connections_stay(secured):
    gateway, authority = secured
    before = serial(gateway)
    assert 9 * DAY < gateway.metric("certificate_expiry_seconds") <= 10 * DAY

    with enter(gateway, ssl=gateway.trust) as client:
        gateway.secret("tls", **authority.pair(20))
        eventually(lambda: serial(gateway) != before, "the new certificate is shown")
        assert 19 * DAY < gateway.metric("certificate_expiry_seconds") <= 20 * DAY
        assert client.ask("ping") is None
        enter(gateway, ssl=gateway.trust).close()


def test_a_bad_pair_is_refused_and_the_old_one_kept(secured):
    gateway, authority = secured
    before = serial(gateway)
    good, other = authority.pair(20), authority.pair(20)

    for bad in [{**good, "tls.key": other["tls.key"]}, {**good, "tls.crt": b"nonsense"}, {**good, "tls.key": b""}]:
        mark = len(gateway.log)
        gateway.secret("tls", **bad)
        text = gateway.wait_for("config_refused", mark, 5)
        assert "tls" in (text.get("finding") or text["error"])
        assert serial(gateway) == before
        assert 9 * DAY < gateway.metric("certificate_expiry_seconds") <= 10 * DAY
        enter(gateway, ssl=gateway.trust).close()
        assert gateway.status()["config"]["error"]
    gateway.secret("tls", **good)
    eventually(lambda: serial(gateway) != before, "the good pair is shown")
    eventually(lambda: not gateway.status()["config"]["error"], "nothing is wrong any more")
