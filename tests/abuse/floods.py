"""Floods: far more of what is allowed than anybody needs."""

import time, zlib

from attack import MIB, attack
from frames import DEFLATE
from wire import CONTINUE, PING, PONG, TEXT, connect, ended, endings, envelope, frame, wait

NO_RATES = {"limits": {"messageRate": {"perSecond": 0, "burst": 0}, "byteRate": {"perSecond": "0", "burst": "0"}}}


def pour(peer, data, seconds):
    """Sends the same again and again, and reads nothing; how many bytes were taken."""
    peer.socket.settimeout(0.2)
    deadline, taken = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        try:
            taken += peer.socket.send(data)
        except TimeoutError:
            pass
        except ConnectionError:
            break
    return taken


@attack("ping flood", quick=True, grows_max=8 * MIB)
def ping_flood(gateway):
    """Control frames count for the message rate, whether they are read or not."""
    flood = frame(PING, b"p" * 125) * 20_000
    peers = [connect(gateway) for _ in range(20)]
    for peer in peers:
        peer.send(flood)
    return ended(endings(peers), {"close 4429"})


@attack("pong flood")
def pong_flood(gateway):
    peers = [connect(gateway) for _ in range(20)]
    for peer in peers:
        peer.send(frame(PONG, b"p" * 125) * 20_000)
    return ended(endings(peers), {"close 4429"})


@attack("ping flood without a rate", spec=NO_RATES, grows_max=8 * MIB)
def ping_flood_unlimited(gateway):
    """Pongs that nobody reads: one may wait, not 100 MiB of them."""
    peers = [connect(gateway, receive_buffer=4_096) for _ in range(4)]
    flood = frame(PING, b"p" * 125) * 2_000
    taken = [pour(peer, flood, 1.5) for peer in peers]
    ends = endings(peers, 1)
    return f"{sum(taken) // MIB} MiB of pings, then " + ended(ends, {"open", "close 4431"})


@attack("fragment flood", grows_max=16 * MIB)
def fragment_flood(gateway):
    """Messages of one byte a frame, from 50 at once; a fragment may come with each of them."""
    flood = frame(TEXT, b"a", fin=False) + frame(CONTINUE, b"a", fin=False) * 20_000
    peers = [connect(gateway) for _ in range(50)]
    for peer in peers:
        peer.send(flood)
    return ended(endings(peers), {"close 1008"})


@attack("a million empty fragments", quick=True, grows_max=8 * MIB)
def empty_fragments(gateway):
    flood = frame(TEXT, fin=False) + frame(CONTINUE, fin=False) * 1_000_000
    peers = [connect(gateway) for _ in range(3)]
    for peer in peers:
        peer.send(flood)
    return ended(endings(peers), {"close 1008"})


@attack("pings between fragments")
def pings_between(gateway):
    """A message that is never whole, whose fragments hide among control frames."""
    flood = frame(TEXT, b"a", fin=False) + (frame(CONTINUE, b"a", fin=False) + frame(PING)) * 50_000
    peers = [connect(gateway) for _ in range(10)]
    for peer in peers:
        peer.send(flood)
    return ended(endings(peers), {"close 1008", "close 4429"})


@attack("never-ending message", spec={"pingPeriod": "2s", "pongWait": "3s"})
def never_ending(gateway):
    """A byte now and then keeps the connection alive, not the message."""
    whole, parts = connect(gateway), connect(gateway)
    whole.send(frame(TEXT, b"{", declared=500_000))
    parts.send(frame(TEXT, b"{", fin=False))
    begun = time.monotonic()
    while not (whole.ended and parts.ended) and time.monotonic() < begun + 8:
        whole.send(b" ")
        parts.send(frame(CONTINUE, b" ", fin=False) + frame(PONG))
        wait([whole, parts], 0.1)
    took = time.monotonic() - begun
    assert 2.5 < took < 5, f"it took {took:.1f} s, pongWait is 3 s"
    return ended(endings([whole, parts]), {"close 1008"}) + f" after {took:.1f} s"


@attack("half messages", spec={"pingPeriod": "2s", "pongWait": "3s"}, grows_max=140 * MIB)
def half_messages(gateway):
    """200 x 500 KiB that are never whole: as much as was sent is kept, until pongWait, then nothing."""
    peers = [connect(gateway) for _ in range(200)]
    for peer in peers:
        peer.send(frame(TEXT, b" " * 512_000, declared=512_001))
    return ended(endings(peers), {"close 1008"})


def bomb(size, head=b""):
    """`size` spaces behind `head`, deflated as one message, about 1:1000."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflater.compress(head + b" " * size) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return frame(TEXT, data.removesuffix(b"\0\0\xff\xff"), rsv=4)


@attack("deflate bomb", quick=True, grows_max=16 * MIB)
def deflate_bomb(gateway):
    """100 KiB that would be 100 MiB, from 100 at once: no more than what was sent may be kept."""
    big = bomb(100 * MIB)
    peers = [connect(gateway, DEFLATE) for _ in range(100)]
    for peer in peers:
        peer.send(big)
    return ended(endings(peers), {"close 1009"})


@attack("many small bombs", quick=True, grows_max=16 * MIB)
def small_bombs(gateway):
    """Each one within all limits and 1:1000: the work counts, not the bytes of the wire."""
    legal = bomb(524_000, b'{"type":"ping"}')
    peers = [connect(gateway, DEFLATE) for _ in range(50)]
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline and not all(peer.ended for peer in peers):
        for peer in peers:
            if not peer.ended:
                peer.send(legal * 10)
        wait(peers, 0.05)
    return ended(endings(peers, 3), {"open", "close 4429"})


@attack("byte flood", grows_max=16 * MIB)
def byte_flood(gateway):
    """8 connections that send as much as they can: they are read more slowly, no more."""
    peers = [connect(gateway) for _ in range(8)]
    message = envelope("message", {"channel": "public.flood", "data": "x" * 250_000}) * 4
    taken = [pour(peer, message, 0.5) for peer in peers]
    return f"{sum(taken) // MIB} MiB taken, then " + ended(endings(peers, 1), {"open", "close 4429"})
