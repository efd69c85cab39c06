"""What one user, one address, one replica may use."""

import contextlib, socket, time

from client import enter, join, outcome
from raw import HEAD, dial
from tokens import token

from .access import DURATION, WHOLE, second
from .row import Row

NO_BURST = " is 0: nothing would ever pass; burst must be at least 1 where perSecond is not 0, or nothing would ever pass"
TOO_MANY = {"says": f" is 1000001: too large; {WHOLE} 0 to 1000000", "bad": 1_000_001}


def let_in(least, most, attempts=12):
    """Whether so many of some quick attempts are let in, once the bucket had time to fill."""

    def see(gateway):
        time.sleep(1.2)
        with contextlib.ExitStack() as here:
            count = 0
            for _ in range(attempts):
                with contextlib.suppress(Exception):
                    here.enter_context(join(gateway))
                    count += 1
            return least <= count <= most

    return see


def behind_half_handshakes(gateway):
    """Whether a client gets in within half a second while twelve others are half in."""
    halves = [dial(gateway) for _ in range(12)]
    try:
        for half in halves:
            half.sendall(f"GET /ws HTTP/1.1\r\n{HEAD}".encode())
        join(gateway, open_timeout=0.5).close()
        return "open"
    except TimeoutError:
        return "waits"
    finally:
        for half in halves:
            half.close()


def half_handshake(gateway):
    """Whether half a request is still waited for after a second."""
    with dial(gateway, seconds=1) as tcp:
        tcp.sendall(b"GET /ws HTTP/1.1\r\n")
        try:
            while tcp.recv(1000):
                pass
            return "ended"
        except socket.timeout:
            return "waits"


def silence(gateway):
    """How a connection ends on which nothing is said for 1.5 s."""
    with enter(gateway) as client:
        try:
            return client.until_closed(1.5)
        except AssertionError:
            return None


def full_and_idle(gateway):
    """Whether a full gateway, where two are idle for a minute, makes room for one more."""
    if not hasattr(gateway, "idle"):
        gateway.idle = [enter(gateway), enter(gateway)]
        time.sleep(61)
    return outcome(gateway)


ROWS = [
    Row(
        "limits.connectionsPerUser", "0", lambda gateway: second(bearer=token())(gateway), "open", {"limits.connectionsPerUser": 1}, "user_connections",
        bad=-1, says=f" is -1: too small; {WHOLE} 0 to 100000",
    ),
    Row("limits.connectRate.perSecond", "500", let_in(1, 3), False, {"limits.connectRate": {"perSecond": 1, "burst": 1}}, True, **TOO_MANY),
    Row(
        "limits.connectRate.burst", "1000", let_in(6, 8), False, {"limits.connectRate": {"perSecond": 6, "burst": 6}}, True,
        bad=0, says=NO_BURST,
    ),
    Row("limits.perAddress.connections", "0", second(), "open", {"limits.perAddress.connections": 1}, "address", bad="one", says=f" is one: not a whole number; {WHOLE} 0 to 600000"),
    Row("limits.perAddress.connectRate.perSecond", "0", let_in(1, 3), False, {"limits.perAddress.connectRate": {"perSecond": 1, "burst": 1}}, True, **TOO_MANY),
    Row(
        "limits.perAddress.connectRate.burst", "0", let_in(6, 8), False, {"limits.perAddress.connectRate": {"perSecond": 6, "burst": 6}}, True,
        bad=0, says=NO_BURST,
    ),
    Row(
        "limits.pendingHandshakes", "1000", behind_half_handshakes, "open", {"limits.pendingHandshakes": 2}, "waits",
        bad=0, says=f" is 0: too small; {WHOLE} 1 to 100000",
    ),
    Row(
        "limits.handshakeTimeout", "10s", half_handshake, "waits", {"limits.handshakeTimeout": "200ms"}, "ended",
        bad="3m", says=f" is 3m: too long; must be a duration from 100ms to 2m, {DURATION}",
    ),
    Row(
        "limits.idleTimeout", "0s", silence, None, {"limits.idleTimeout": "500ms"}, 4503,
        bad="1d", says=f" is 1d: not a duration; must be a duration from 0s to 720h, {DURATION}",
    ),
    Row(
        "limits.maxIdleConnections", "left out", full_and_idle, "full", {"limits.maxIdleConnections": 0}, "open", base={"maxConnections": 2}, lasts=75,
        bad=600_001, says=f" is 600001: too large; {WHOLE} 0 to 600000",
    ),
]
