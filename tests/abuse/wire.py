"""WebSocket by hand: whatever bytes an attack needs, and what came back for them."""

import json, select, socket, ssl, struct, time
from collections import Counter

CONTINUE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
WAIT = 10


def request(path="/ws", *headers, protocol="headgate.v1", method="GET", version="HTTP/1.1"):
    """An upgrade request; `headers` are further lines."""
    lines = [f"{method} {path} {version}", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    lines += [f"Sec-WebSocket-Protocol: {protocol}"] * bool(protocol)
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode("latin-1")


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, declared=None, wide=False):
    """One frame. Its mask is four zeros, so that the payload can be read in a capture."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload) if declared is None else declared
    head = bytes([fin << 7 | rsv << 4 | opcode])
    mask = 0x80 if masked else 0
    if length < 126 and not wide:
        head += bytes([mask | length])
    elif length < 1 << 16 and not wide:
        head += struct.pack(">BH", mask | 126, length)
    else:
        head += struct.pack(">BQ", mask | 127, length)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def envelope(kind, payload=None, id=None):
    """A text frame with one envelope."""
    it = {"type": kind} | ({"payload": payload} if payload is not None else {}) | ({"id": id} if id is not None else {})
    return frame(TEXT, json.dumps(it))


def cut(heard, at=0):
    """Whole frames from the gateway: opcode, payload and where the next one begins."""
    while at + 2 <= len(heard):
        opcode, length, size = heard[at] & 15, heard[at + 1] & 127, 2
        if length >= 126:
            size = 4 if length == 126 else 10
            length = int.from_bytes(heard[at + 2 : at + size], "big")
        start, at = at + size, at + size + length
        if at > len(heard):
            return
        yield opcode, bytes(heard[start:at]), at


class Peer:
    """One TCP connection and everything that was heard on it."""

    def __init__(self, address, source=None, tls=False, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
            self.socket.bind((source, 0))
        self.socket.settimeout(WAIT)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = TLS.wrap_socket(self.socket)
        self.heard, self.ended = bytearray(), None

    def send(self, data):
        """Sends all of it; whether the other side was still there."""
        try:
            self.socket.sendall(data)
            return True
        except (ConnectionError, socket.timeout, ssl.SSLError):
            return False

    def hear(self):
        """Reads what is there, without waiting."""
        self.socket.setblocking(False)
        try:
            while not self.ended:
                data = self.socket.recv(1 << 18)
                self.heard += data
                if not data:
                    self.ended = "eof"
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except (ConnectionError, ssl.SSLError):
            self.ended = "reset"
        finally:
            self.socket.settimeout(WAIT)

    def head(self):
        """The head of the response, once it is whole."""
        end = self.heard.find(b"\r\n\r\n")
        return bytes(self.heard[:end]).decode("latin-1") if end >= 0 else None

    def frames(self):
        """Whole frames behind the 101: opcode and payload."""
        end = self.heard.find(b"\r\n\r\n")
        if self.heard.startswith(b"HTTP/1.1 101") and end >= 0:
            yield from ((opcode, payload) for opcode, payload, _ in cut(self.heard, end + 4))

    def envelopes(self):
        """Every envelope that came."""
        return [json.loads(line) for opcode, text in self.frames() if opcode == TEXT for line in text.split(b"\n")]

    def ending(self):
        """How it ended, in a few words: `429 address`, `close 1008`, `eof`, `reset`, or `open`."""
        head = self.head()
        if head and not head.startswith("HTTP/1.1 101"):
            body = bytes(self.heard).split(b"\r\n\r\n", 1)[1]
            code = json.loads(body)["error"]["code"] if body.startswith(b"{") else ""
            return f"{head.split()[1]} {code}".strip()
        closes = [payload for opcode, payload in self.frames() if opcode == CLOSE]
        if closes:
            return "close %s" % (int.from_bytes(closes[-1][:2], "big") if closes[-1] else "empty")
        return self.ended or "open"

    def close(self):
        self.socket.close()


def wait(peers, seconds, until=lambda peer: peer.ended):
    """Reads from all of them until the condition holds for each; whether it did in time."""
    deadline = time.monotonic() + seconds
    poll, waiting = select.poll(), {}
    for peer in peers:
        peer.hear()
        if not until(peer) and not peer.ended:
            waiting[peer.socket.fileno()] = peer
            poll.register(peer.socket, select.POLLIN)
    while waiting and time.monotonic() < deadline:
        for number, _ in poll.poll(50):
            peer = waiting[number]
            peer.hear()
            if until(peer) or peer.ended:
                poll.unregister(number)
                del waiting[number]
    return all(until(peer) for peer in peers)


def endings(peers, seconds=WAIT):
    """How they ended within that time, counted."""
    wait(peers, seconds)
    return Counter(peer.ending() for peer in peers)


def ended(counted, allowed, about="these"):
    """The endings in words, if all of them are among the allowed ones."""
    wrong = {ending: count for ending, count in counted.items() if ending not in allowed}
    assert not wrong, f"{about} ended with {wrong}, expected {sorted(allowed)}"
    return ", ".join(f"{count} x {ending}" for ending, count in sorted(counted.items()))


def connect(gateway, *headers, path="/ws", first=b"", **options):
    """A connection that has been upgraded; `first` travels behind the request, in the same segment."""
    protocol = options.pop("protocol", "headgate.v1")
    peer = Peer(gateway.public, tls=gateway.tls, **options)
    peer.send(request(path, *headers, protocol=protocol) + first)
    wait([peer], WAIT, lambda it: it.head())
    assert (peer.head() or "").startswith("HTTP/1.1 101"), f"not upgraded but {peer.ending()}"
    return peer
