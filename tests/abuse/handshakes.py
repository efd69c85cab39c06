"""Attacks before the upgrade: places for handshakes, odd requests, tokens."""

import shutil, subprocess
from collections import Counter

from attack import HANDSHAKES, MIB, attack, within
from wire import PING, Peer, connect, ended, endings, envelope, frame, request, wait

GONE = {"eof", "reset"}


@attack("nobody")
def nobody(gateway):
    """What this machine and the witness cost by themselves."""
    return "nothing"


def slow(*options, url):
    """Starts slowhttptest with 600 connections, which it opens in two seconds."""
    assert shutil.which("slowhttptest"), "slowhttptest is not installed (Debian package slowhttptest)"
    command = ["slowhttptest", "-c", "600", "-r", "300", "-l", "15", "-i", "1", "-p", "2", "-u", "http://%s:%d/ws" % url]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def all_closed(process):
    """All that slowhttptest opened must be closed before its time is over."""
    said = process.communicate(timeout=25)[0]
    status = [line.split(":", 1)[1].strip() for line in said.splitlines() if "Exit status" in line]
    assert status and "No open connections left" in status[-1], f"slowhttptest ended with {status or said[-300:]}"
    return "all places free again"


@attack("slow headers", keeps_max=HANDSHAKES)
def slow_headers(gateway):
    return all_closed(slow("-H", url=gateway.public))


@attack("slow body")
def slow_body(gateway):
    return all_closed(slow("-B", "-s", "8192", url=gateway.public))


@attack("slow read of the refusal", keeps_max=HANDSHAKES)
def slow_read(gateway):
    """The kernel may have to keep an answer that nobody reads; the gateway must not."""
    files = gateway.files()
    process = slow("-X", "-w", "1", "-y", "10", "-n", "1", "-z", "1", "-k", "3", url=gateway.public)
    assert within(lambda: gateway.metric("realtime_gateway_connections_refused_total") >= 600), "fewer than 600 refusals"
    is_free = within(lambda: gateway.files() <= files, 5)
    process.kill()
    process.communicate()
    assert is_free, f"{gateway.files() - files} places are still taken"
    return "600 refused, places free again"


def half_handshakes(gateway):
    """More than there are places for; each place is free again after the handshake timeout."""
    peers = [Peer(gateway.public) for _ in range(2_000)]
    for peer in peers[::2]:
        peer.send(request()[:60])
    return ended(endings(peers, 12), GONE)


# The first round builds what a thousand places need. A second one must find it enough.
attack("half handshakes", quick=True, spec={"limits": {"handshakeTimeout": "1s"}}, warm=half_handshakes, keeps_max=6 * MIB)(half_handshakes)


@attack("TLS never finished", tls=True, keeps_max=HANDSHAKES)
def tls_never_finished(gateway):
    hello = bytes.fromhex("16030102000100") + b"\x01\xfc\x03\x03" + bytes(200)
    peers = [Peer(gateway.public) for _ in range(600)]
    for peer in peers[::3]:
        peer.send(hello)
    for peer in peers[1::3]:
        # A record of the longest declared length, of which nothing comes.
        peer.send(b"\x16\x03\x01\xff\xff")
    peers += [Peer(gateway.public, tls=True) for _ in range(200)]
    return ended(endings(peers, 10), GONE)


@attack("TLS junk", tls=True, keeps_max=HANDSHAKES)
def tls_junk(gateway):
    peers = [Peer(gateway.public) for _ in range(600)]
    for peer in peers[::2]:
        peer.send(request())
    for peer in peers[1::2]:
        peer.send(bytes(range(256)) * 64)
    return ended(endings(peers, 10), GONE)


@attack("1,000 from one address", quick=True, keeps_max=HANDSHAKES, spec={"limits": {"perAddress": {"connections": 100}}})
def one_address(gateway):
    """The witness comes from 127.0.0.1, the attacker from elsewhere; a third one is let in."""
    peers = [Peer(gateway.public, source="127.0.0.9") for _ in range(1_000)]
    for peer in peers:
        peer.send(request())
    wait(peers, 5, lambda it: it.head())
    counted = Counter(peer.ending() for peer in peers)
    assert counted == {"open": 100, "429 address": 900}, f"ended with {dict(counted)}"
    refused = next(it for it in peers if it.ending() != "open")
    assert "retry-after:" in refused.head().lower(), "no Retry-After"
    connect(gateway, source="127.0.0.10").close()
    return "100 let in, 900 x 429 address"


V2 = b"\r\n\r\n\0\r\nQUIT\n"
PROXY_JUNK = [
    b"PROXY TCP4 1.2.3.4\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 70000 1\r\n", b"PROXY TCP9 a b c d\r\n", b"PROXY " + b"9" * 300 + b"\r\n",
    V2 + b"\x21\x11\0\x04" + bytes(4), V2 + b"\x3f\x11\0\x0c" + bytes(12), V2 + b"\x2f\xff\xff\xff" + bytes(100), V2[:-1] + b"?" + bytes(16),
]


@attack("PROXY header of a stranger")
def proxy_stranger(gateway):
    """Sound or not: it is no HTTP."""
    heads = [*PROXY_JUNK, b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", b"PROXY UNKNOWN\r\n", V2 + b"\x21\x11\0\x0c" + bytes(12)]
    peers = []
    for head in heads * 30:
        peers.append(Peer(gateway.public))
        peers[-1].send(head + request())
    return ended(endings(peers, 8), {"400 bad_handshake"})


BEHIND_PROXY = {"clientAddress": {"from": "ProxyProtocol", "trustedProxies": ["127.0.0.9/32"]}, "limits": {"perAddress": {"connections": 100}}}


@attack("PROXY junk of a trusted proxy", spec=BEHIND_PROXY)
def proxy_junk(gateway):
    """A proxy that is believed must send a sound header; and the client it names is the one that counts."""
    peers = []
    for head in [*PROXY_JUNK, b""] * 30:
        peers.append(Peer(gateway.public, source="127.0.0.9"))
        peers[-1].send(head + request())
    seen = ended(endings(peers, 8), GONE | {"400 bad_handshake"})
    stranger = Peer(gateway.public, source="127.0.0.10")
    stranger.send(b"PROXY TCP4 198.18.0.1 127.0.0.1 9 80\r\n" + request())
    ended(endings([stranger]), {"400 bad_handshake"}, about="a stranger")
    named = [Peer(gateway.public, source="127.0.0.9") for _ in range(150)]
    for peer in named:
        peer.send(b"PROXY TCP4 198.18.0.1 127.0.0.1 9 80\r\n" + request())
    wait(named, 5, lambda it: it.head())
    counted = Counter(peer.ending() for peer in named)
    assert counted == {"open": 100, "429 address": 50}, f"150 of one client behind the proxy ended with {dict(counted)}"
    return seen


@attack("odd requests", quick=True)
def odd_requests(gateway):
    """What hyper lets through and PROTOCOL does not, and far too much of everything."""
    cases = [
        (request("/ws", "Content-Length: 5") + b"hello", "400 bad_handshake"),
        (request("/ws", "Transfer-Encoding: chunked") + b"0\r\n\r\n", "400 bad_handshake"),
        (request("/ws", "Content-Length: 0", "Transfer-Encoding: chunked"), "400 bad_handshake"),
        (request("/ws", "Host: twice"), "400 bad_handshake"),
        (request("http://localhost/ws"), "400 bad_handshake"),
        (request(version="HTTP/1.0"), "400 bad_handshake"),
        (request().replace(b"\r\n", b"\n"), "400 bad_handshake"),
        (request("/ws", "Sec-WebSocket-Protocol: \x80\xff", protocol=None), "400 subprotocol or bad_handshake"),
        (request("/ws", "X: a\0b"), "400 bad_handshake"),
        (request("/" + "a" * 9_000), "414 uri"),
        (request("/ws", *[f"X-{n}: y" for n in range(2_000)]), "431 headers"),
        (request("/ws", "X: " + "y" * 17_000), "431 headers"),
        (request("/ws", "X: " + "y" * 1_000_000), "431 headers"),
        (request(method="POST"), "405 method"),
        (b"\x16\x03\x01\x02\0" + bytes(512), "400 bad_handshake"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 bad_handshake"),
    ]
    for round in range(20):
        for data, expected in cases:
            peer = Peer(gateway.public)
            peer.send(data)
            status, *codes = expected.replace(" or ", " ").split()
            ended(endings([peer]), {f"{status} {code}" for code in codes}, about=data[:60])
    return f"{len(cases)} kinds refused as they should be"


@attack("junk behind the request", quick=True)
def pipelined_junk(gateway):
    """Frames in the segment of the request are read; anything else is a protocol violation."""
    good = connect(gateway, first=envelope("ping", id="early") + frame(PING, b"x"))
    assert wait([good], 5, lambda it: b"early" in it.heard), "a frame behind the request was not answered"
    assert good.envelopes()[0]["type"] == "welcome", f"the first envelope is {good.envelopes()[0]}"
    peers = []
    for round in range(100):
        for junk in [request(), b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4_096, b"\xff" * 65_536]:
            peers.append(Peer(gateway.public))
            peers[-1].send(request() + junk)
    return ended(endings(peers, 8), {"close 1002"})
