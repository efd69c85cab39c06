"""Clients that do not read, and clients that only come and go."""

import multiprocessing, time

from attack import HANDSHAKES, MIB, UNHURRIED, attack, within
from wire import CLOSE, Peer, connect, ended, endings, envelope, frame, request, wait


@attack("200 that never read", quick=True, grows_max=24 * MIB)
def never_read(gateway):
    """1 MiB/s for everybody: who does not take it is closed with 4431, and nothing is kept for it."""
    first = envelope("subscribe", {"channel": "public.fast"}, id=1)
    peers = [connect(gateway, first=first, receive_buffer=4_096) for _ in range(200)]
    wait(peers, 5, lambda it: b'"subscribed"' in it.heard)
    slow = lambda: gateway.metric("realtime_gateway_connections_closed_total", reason="slow_consumer")
    begun, sent, data = time.monotonic(), 0, "x" * 16_384
    while slow() < 200 and time.monotonic() < begun + 15:
        gateway.http("/api/v1/publish", {"channel": "public.fast", "data": data})
        sent += 1
        time.sleep(max(0, begun + sent / 64 - time.monotonic()))
    took = time.monotonic() - begun
    assert slow() == 200, f"{slow():.0f} of 200 were closed as slow consumers within {took:.0f} s"
    return f"200 x slow consumer after {took:.1f} s"


@attack("slow reader hears 4431", keeps_max=16 * MIB)
def hears_why(gateway):
    """Whoever reads again within two seconds of the close finds the code."""
    first = envelope("subscribe", {"channel": "public.fast"}, id=1)
    peers = [connect(gateway, first=first, receive_buffer=4_096) for _ in range(8)]
    wait(peers, 5, lambda it: b'"subscribed"' in it.heard)
    # 8 MB at once: more than a queue and a socket hold.
    for publisher in [connect(gateway), connect(gateway)]:
        publisher.send(envelope("message", {"channel": "public.fast", "data": "x" * 400_000}) * 10)
    # Whoever is being closed is subscribed no longer.
    is_closed = within(lambda: "public.fast" not in gateway.http("/api/v1/channels"))
    assert is_closed, "8 that do not read were not closed"
    return ended(endings(peers), {"close 4431"})


def cycles(address, count, source):
    """Connects, is upgraded, closes politely, goes; `count` times."""
    for _ in range(count):
        peer = Peer(address, source=source)
        peer.send(request() + frame(CLOSE, b"\x03\xe8"))
        wait([peer], 10)
        assert peer.ending() == "close 1000", f"ended with {peer.ending()}"
        peer.close()


def storm(gateway, count):
    """`count` cycles from four processes."""
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=cycles, args=(gateway.public, count // 4, f"127.0.1.{it + 1}")) for it in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers), "a cycle did not end with 1000"
    return f"{count} x close 1000"


@attack("20,000 connects and closes", spec=UNHURRIED, warm=lambda gateway: storm(gateway, 2_000), keeps_share_max=0.1)
def connect_storm(gateway):
    return storm(gateway, 20_000)


@attack("connects cut off", spec=UNHURRIED, keeps_max=8 * MIB, warm=lambda gateway: cut_off(gateway, 500))
def cut_storm(gateway):
    return cut_off(gateway, 3_000)


def cut_off(gateway, count):
    """Resets at every point: before the request, in it, after it, in a frame, with answers unread."""
    ways = [b"", request()[:40], request(), request() + b"\x81", request() + envelope("subscribe", {"channel": "public.cut"}) * 50]
    for number in range(count):
        peer = Peer(gateway.public, source=f"127.0.2.{number % 8 + 1}")
        peer.send(ways[number % len(ways)])
        peer.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of 0 s: close is a reset
        peer.close()
    is_empty = within(lambda: gateway.metric("realtime_gateway_subscriptions") <= 40)
    assert is_empty, f"{gateway.metric('realtime_gateway_subscriptions'):.0f} subscriptions are still counted"
    return f"{count} resets"


@attack("more connects than the rate", keeps_max=HANDSHAKES)
def connect_rate(gateway):
    """1,500 at once where 1,000 may burst: the rest are told when to come back."""
    peers = []
    for number in range(1_500):
        peers.append(Peer(gateway.public, source=f"127.0.3.{number % 8 + 1}"))
        peers[-1].send(request())
    wait(peers, 5, lambda it: it.head())
    seen = [peer.ending() for peer in peers]
    assert set(seen) <= {"open", "429 connect_rate"} and "429 connect_rate" in seen, f"ended with {set(seen)}"
    assert all("retry-after:" in it.head().lower() for it in peers if it.ending() != "open"), "no Retry-After"
    return f"{seen.count('open')} let in, {seen.count('429 connect_rate')} x 429 connect_rate"
