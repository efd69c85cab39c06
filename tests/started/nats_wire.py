"""NATS as it goes over the wire, for tests that look at subjects and streams past the gateway."""

import collections, itertools, json, socket, time
from dataclasses import dataclass


@dataclass
class Message:
    subject: str
    reply: str
    headers: str
    data: bytes


class Wire:
    """One connection. `errors` are what the server complained about."""

    def __init__(self, port, user, password, inbox="_INBOX"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.input, self.inbox, self.numbers = self.socket.makefile("rb"), inbox, itertools.count(1)
        self.messages, self.errors = collections.deque(), []
        self.input.readline()  # INFO
        hello = {"user": user, "pass": password, "verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        self.send(f"CONNECT {json.dumps(hello)}")
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.input.close()
        self.socket.close()

    def send(self, line, data=None):
        self.socket.sendall(line.encode() + b"\r\n" + (b"" if data is None else data + b"\r\n"))

    def subscribe(self, subject):
        self.send(f"SUB {subject} {next(self.numbers)}")

    def publish(self, subject, data=b"", reply=""):
        self.send(f"PUB {subject} {reply} {len(data)}", data)

    def publish_with(self, subject, headers, data=b""):
        head = ("NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode()
        self.send(f"HPUB {subject} {len(head)} {len(head) + len(data)}", head + data)

    def flush(self, seconds=5):
        """Until the server has done what was asked; what came meanwhile is kept."""
        self.send("PING")
        self.read_until(lambda line: line == "PONG", "PONG", seconds)

    def get(self, seconds=5):
        """The next message."""
        if not self.messages:
            self.read_until(lambda _: self.messages, "a message", seconds)
        return self.messages.popleft()

    def ask(self, subject, seconds=5, **body):
        """The answer of the JetStream API; `None` where nobody listens there for this user, or it is not allowed."""
        inbox = f"{self.inbox}.{next(self.numbers)}"
        self.send(f"SUB {inbox} {inbox.rsplit('.')[-1]}")
        self.publish(subject, json.dumps(body).encode() if body else b"", inbox)
        known = len(self.errors)
        self.read_until(lambda _: len(self.errors) > known or any(it.subject == inbox for it in self.messages), f"an answer to {subject}", seconds)
        answer = next((it for it in self.messages if it.subject == inbox), None)
        if answer:
            self.messages.remove(answer)
        return json.loads(answer.data) if answer and answer.data else None

    def read_until(self, is_enough, what, seconds):
        deadline = time.monotonic() + seconds
        while True:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                line = self.input.readline().decode().rstrip("\r\n")
            except TimeoutError:
                raise AssertionError(f"{what} did not come within {seconds} s; errors: {self.errors}") from None
            assert line or self.errors, "the server closed the connection"
            assert line, f"the server closed the connection: {self.errors}"
            self.take(line)
            if is_enough(line):
                return

    def take(self, line):
        verb, *words = line.split(" ")
        if verb == "-ERR":
            self.errors.append(line)
        elif verb == "PING":
            self.send("PONG")
        elif verb in ("MSG", "HMSG"):
            sizes = [int(it) for it in words[-2 if verb == "HMSG" else -1 :]]
            body = self.input.read(sizes[-1] + 2)[:-2]
            head = sizes[0] if verb == "HMSG" else 0
            reply = words[2] if len(words) == 3 + len(sizes) else ""
            self.messages.append(Message(words[0], reply, body[:head].decode(), body[head:]))
