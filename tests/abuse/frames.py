"""Frames that RFC 6455 does not allow, or that promise far more than they hold."""

from attack import MIB, attack
from wire import BINARY, CLOSE, CONTINUE, PING, PONG, TEXT, connect, ended, endings, envelope, frame

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def each(gateway, cases, expected, rounds, *headers):
    """Every case on connections of its own; all must end as expected."""
    for round in range(rounds):
        peers = []
        for case in cases:
            # In the segment of the request, and later.
            peers.append(connect(gateway, *headers, first=case if round % 2 else b""))
            peers[-1].send(b"" if round % 2 else case)
        for peer, case in zip(peers, cases):
            got = ended(endings([peer]), {expected, "reset"})
            # A reset can overtake the close frame only where more was sent than a segment holds.
            assert "reset" not in got or len(case) > 16_384, f"{case[:20]!r} ended with a reset"
    return f"{rounds * len(cases)} x {expected}"


@attack("declared 2^63 bytes", quick=True, grows_max=8 * MIB)
def declared_too_far(gateway):
    """The highest bit must not be set (RFC 6455, section 5.2)."""
    cases = [frame(opcode, b"abc", declared=length) for opcode in (TEXT, BINARY) for length in (1 << 63, (1 << 64) - 1)]
    cases += [frame(kind, declared=length) for kind in (PING, PONG, CLOSE) for length in (126, 1 << 32, 1 << 63)]
    return each(gateway, cases, "close 1002", 20)


@attack("declared 2^63-1 and 2^32 bytes", grows_max=8 * MIB)
def declared_far(gateway):
    lengths = (524_289, 1 << 31, 1 << 32, (1 << 32) + 1, (1 << 63) - 1)
    cases = [frame(TEXT, b"abc", declared=length, fin=fin) for length in lengths for fin in (True, False)]
    # The sum counts, not the frame: this one would wrap around.
    cases += [frame(TEXT, b"a" * 100, fin=False) + frame(CONTINUE, declared=(1 << 63) - 1)]
    cases += [frame(TEXT, b"a" * 300_000, fin=False) + frame(CONTINUE, b"a" * 300_000)]
    return each(gateway, cases, "close 1009", 20)


@attack("declared but never sent", grows_max=16 * MIB)
def declared_only(gateway):
    """As much as is allowed, and one byte of it: 1,000 of these would be 512 MiB."""
    peers = [connect(gateway, first=frame(TEXT, b"a", declared=524_288)) for _ in range(1_000)]
    counted = endings(peers, 2)
    assert counted == {"open": 1_000}, f"ended with {dict(counted)}"
    return "1,000 wait for the rest"


@attack("control frames of 126 bytes")
def long_control(gateway):
    cases = [frame(kind, b"\x03\xe8" + b"a" * 124) for kind in (PING, PONG, CLOSE)]
    cases += [frame(kind, b"\x03\xe8" + b"a" * 70_000) for kind in (PING, CLOSE)]
    cases += [frame(kind, b"\x03\xe8", fin=False) for kind in (PING, PONG, CLOSE)]
    return each(gateway, cases, "close 1002", 40)


@attack("huge close reasons")
def close_reasons(gateway):
    """Up to 123 bytes of UTF-8 are answered with the code alone; all else is refused."""
    reasons = [b"", b"a" * 123, "€".encode() * 41]
    seen = each(gateway, [frame(CLOSE, b"\x0f\xa0" + it) for it in reasons], "close 4000", 20)
    each(gateway, [frame(CLOSE, b"\x03\xe8\xff"), frame(CLOSE, b"\x03\xe8" + b"\xf0\x9f" * 61)], "close 1007", 20)
    codes = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    each(gateway, [frame(CLOSE, b"\x03"), *(frame(CLOSE, it.to_bytes(2, "big")) for it in codes)], "close 1002", 20)
    return seen + ", bad ones 1002 and 1007"


@attack("unmasked frames")
def unmasked(gateway):
    cases = [frame(kind, b"\x03\xe8abc", masked=False) for kind in (TEXT, BINARY, PING, PONG, CLOSE)]
    return each(gateway, cases, "close 1002", 40)


@attack("reserved bits and opcodes")
def reserved(gateway):
    cases = [frame(TEXT, b"{}", rsv=bits) for bits in range(1, 8)]
    cases += [frame(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)]
    cases += [frame(CONTINUE, b"x"), frame(TEXT, b"x", fin=False) + frame(TEXT, b"x")]
    return each(gateway, cases, "close 1002", 20)


@attack("reserved bits beside compression")
def reserved_compressed(gateway):
    """With permessage-deflate the first bit has a meaning: on the first frame of a message, nowhere else."""
    cases = [frame(PING, b"x", rsv=4), frame(TEXT, b"x", fin=False) + frame(CONTINUE, b"x", rsv=4), frame(TEXT, b"x", rsv=6)]
    cases += [frame(TEXT, b"\xff" * 9, rsv=4), frame(TEXT, b"\x06" * 500, rsv=4)]
    return each(gateway, cases, "close 1002", 40, DEFLATE)


@attack("text that is not UTF-8")
def bad_text(gateway):
    bad = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98"]
    cases = [frame(TEXT, it) for it in bad] + [frame(TEXT, b"a" * 60_000, fin=False) + frame(CONTINUE, it) for it in bad]
    return each(gateway, cases, "close 1007", 20)


@attack("binary frames")
def binary(gateway):
    """headgate.v1 has no binary dialect yet, whatever is in it."""
    return each(gateway, [frame(BINARY), frame(BINARY, bytes(100_000)), frame(BINARY, envelope("ping"))], "close 1003", 60)
