"""A stock client, `websockets`, that reads envelopes one by one."""

import collections, itertools, json, time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

V1 = "headgate.v1"
PLAIN = "headgate.plain"


class Client(ClientConnection):
    """Remembers the envelopes of a frame, and what came while an answer was waited for."""

    welcome = None

    def get(self, seconds=5):
        """The next envelope."""
        self.waiting = getattr(self, "waiting", collections.deque())
        return self.waiting.popleft() if self.waiting else self.read(seconds)

    def read(self, seconds):
        frame = self.frame(seconds)
        first, *rest = (json.loads(line) for line in frame.split("\n"))
        self.waiting.extend(rest)
        return first

    def frame(self, seconds=5):
        try:
            return self.recv(timeout=seconds)
        except TimeoutError:
            raise AssertionError(f"nothing came within {seconds} s") from None

    def say(self, kind, payload=None, id=None):
        self.send(json.dumps({"type": kind, "payload": payload} | ({} if id is None else {"id": id})))

    def ask(self, kind, seconds=5, **payload):
        """The payload of the answer to a request, or the code of an error."""
        self.count = getattr(self, "count", itertools.count(1))
        self.say(kind, payload, number := next(self.count))
        kept = []
        while (answer := self.get(seconds)).get("id") != number:
            kept.append(answer)
        self.waiting.extendleft(reversed(kept))
        return answer["payload"]["code"] if answer["type"] == "error" else answer["payload"]

    def messages(self, count):
        """The data of so many messages."""
        found = [self.get() for _ in range(count)]
        assert all(it["type"] == "message" for it in found), found
        return [it["payload"]["data"] for it in found]

    def quiet(self, seconds=0.3):
        """Whether nothing comes for so long; the channel's order is what usually tells."""
        try:
            return not self.waiting and self.recv(timeout=seconds) is None
        except TimeoutError:
            return True

    def until_closed(self, seconds=10):
        """The close code, whatever comes before it; `None` without a close frame."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.recv(timeout=left)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
        except TimeoutError:
            pass
        raise AssertionError(f"not closed within {seconds} s")


def join(gateway, bearer=None, dialect=V1, url=None, headers=None, **options):
    """A connection; with `headgate.v1` its `welcome` is read. Further options are those of `connect`."""
    headers = {**(headers or {}), **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    options = {"subprotocols": [dialect] if dialect else None, "compression": None, "ping_interval": None, **options}
    client = connect(url or gateway.url, additional_headers=headers, create_connection=Client, **options)
    client.waiting = collections.deque()
    return client


def enter(gateway, bearer=None, **options):
    """As `join`, with the `welcome` read: the session has begun."""
    client = join(gateway, bearer, **options)
    first = client.get()
    assert first["type"] == "welcome", first
    client.welcome = first["payload"]
    return client


def refused(gateway, status, code, bearer=None, **options):
    """Asserts that an upgrade is refused so; the headers of the refusal."""
    with pytest.raises(InvalidStatus) as error:
        join(gateway, bearer, **options).close()
    response = error.value.response
    body = json.loads(response.body)["error"]
    assert (response.status_code, body["code"]) == (status, code)
    assert body["message"] and response.headers["Content-Type"].startswith("application/json")
    return response.headers


def outcome(gateway, bearer=None, **options):
    """What becomes of an upgrade: `open`, or the code of its refusal."""
    try:
        join(gateway, bearer, **options).close()
        return "open"
    except InvalidStatus as error:
        return json.loads(error.response.body)["error"]["code"]
