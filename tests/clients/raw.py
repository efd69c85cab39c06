"""A client that does what no library does: odd requests, odd frames, and no reading."""

import json, os, socket, struct, time

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
HEAD = f"Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{KEY}"
VERSION = "Sec-WebSocket-Version: 13\r\n"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def dial(gateway, receive_buffer=None, seconds=10):
    tcp = socket.socket()
    if receive_buffer:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    tcp.settimeout(seconds)
    tcp.connect((gateway.host, gateway.port))
    return tcp


def exchange(gateway, text):
    """Status, headers (lower case) and error code of the answer to whatever is sent; the connection must end."""
    with dial(gateway) as tcp:
        tcp.sendall(text.encode())
        answer = b""
        while piece := tcp.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert int(headers["content-length"]) == len(body), answer
    return int(status.split()[1]), headers, json.loads(body)["error"]["code"]


class Raw:
    """A connection after its upgrade, frame by frame. It answers nothing by itself."""

    def __init__(self, gateway, headers="", receive_buffer=None, before=""):
        self.tcp = dial(gateway, receive_buffer)
        path = gateway.spec.get("path", "/ws")
        self.tcp.sendall(f"{before}GET {path} HTTP/1.1\r\n{HEAD}{VERSION}{headers}\r\n".encode("latin-1"))
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            assert (piece := self.tcp.recv(65536)), f"no answer: {self.buffer}"
            self.buffer += piece
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.head = head.decode()
        assert self.head.startswith("HTTP/1.1 101 "), self.head

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tcp.close()

    def send(self, payload, opcode=TEXT, first=0x80):
        """A frame with a mask; `first` is what its first byte has beside the opcode."""
        self.tcp.sendall(frame(payload, opcode, first))

    def say(self, kind, **payload):
        self.send(json.dumps({"type": kind, "payload": payload}).encode())

    def read(self, count):
        while len(self.buffer) < count:
            if not (piece := self.tcp.recv(65536)):
                raise EOFError(f"ended after {self.buffer[:100]}")
            self.buffer += piece
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def frame(self, seconds=10):
        """Opcode, whether it is compressed, and payload of the next frame."""
        self.tcp.settimeout(seconds)
        first, length = self.read(2)
        assert length < 0x80, "a gateway's frame has a mask"
        if length == 126:
            (length,) = struct.unpack(">H", self.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.read(8))
        return first & 0x0F, bool(first & 0x40), self.read(length)

    def until_closed(self, seconds=10):
        """The code of the close frame; `None` without one. Fails if it does not end within so long."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                opcode, _, payload = self.frame(max(0.001, deadline - time.monotonic()))
                if opcode == CLOSE:
                    return struct.unpack(">H", payload[:2])[0] if payload else 1005
        except (EOFError, ConnectionError):
            return None


def frame(payload, opcode=TEXT, first=0x80):
    mask = os.urandom(4)
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 1 << 16:
        length = b"\xfe" + struct.pack(">H", len(payload))
    else:
        length = b"\xff" + struct.pack(">Q", len(payload))
    keys = mask * (len(payload) // 4 + 1)
    masked = bytes(a ^ b for a, b in zip(payload, keys))
    return bytes([first | opcode]) + length + mask + masked
