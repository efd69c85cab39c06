"""What clients are told of a channel, checked while everything happens at once.

Publishers publish, some of it from the server API; readers stop reading, go away and recover, unsubscribe and
come back; rules change. Each reader holds what it hears to the protocol: offsets rise, no hole without a `gap`,
nothing twice, nothing on a channel that it is not subscribed to, each publisher in its order, the same bytes
for all.
"""

import json, os, random, threading, time, zlib

from attack import UNHURRIED, attack
from wire import CLOSE, TEXT, Peer, envelope, request

KEPT, LIVE = ["kept.a", "kept.b"], ["public.c"]
RULE = {"subscribe": "Anyone", "publish": "Anyone"}
SECONDS = 8
LIMITS = {"sendQueueMessages": 64, "messageRate": {"perSecond": 0, "burst": 0}, "subscribeRate": {"perSecond": 0, "burst": 0}, **UNHURRIED["limits"]}
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
WAYS = [dict(), dict(headers=[DEFLATE]), dict(protocol="headgate.plain"), dict(protocol="headgate.plain", headers=[DEFLATE])]


def spec(messages, age="5m"):
    """The manifest with so much history."""
    kept = {"match": "kept.**", **RULE, "history": {"messages": messages, "maxAge": age}}
    return {"channels": [kept, {"match": "public.**", **RULE}, {"match": "**"}], "broker": {"historyBytes": "1Mi"}, "compression": {"mode": "Shared", "minSize": "64"}, "limits": LIMITS}


class Told:
    """What all readers and publishers agree on: what stands where, and who was to be left out."""

    def __init__(self):
        self.data, self.left_out, self.holes, self.stands = {}, {}, [], {}

    def check(self, where, data):
        """The same place has the same data, and the same data has one place."""
        assert self.data.setdefault(where, data) == data, f"{where} is {data} here and {self.data[where]} elsewhere"
        key = (where[0], where[1], tuple(data[:2]))
        assert self.stands.setdefault(key, where) == where, f"{data[:2]} stands at {where} and at {self.stands[key]}"

    def judge_holes(self):
        """Offsets that a reader did not get are those from which it was excluded."""
        for number, channel, missing in self.holes:
            unknown = [it for it in missing if number not in self.left_out.get((channel, it), ())]
            assert not unknown, f"reader {number} did not get offsets {unknown} of {channel}, and no gap said so"


class Reader:
    """A client that is subscribed, mostly, and believes nothing."""

    def __init__(self, gateway, told, number):
        self.gateway, self.told, self.number = gateway, told, number
        self.at, self.state, self.seen, self.ids, self.waits = {}, {}, {}, 0, {}
        self.recovered = self.gaps = self.messages = self.cut = 0
        self.paused_until, self.sequence, self.peer, self.own = 0, 0, None, {}
        self.come()

    def come(self):
        """Connects anew and asks for what was missed."""
        way = WAYS[self.number % len(WAYS)]
        self.peer = Peer(self.gateway.public, receive_buffer=8_192 if self.number % 3 == 0 else None)
        self.peer.send(request("/ws", *way.get("headers", ()), protocol=way.get("protocol", "headgate.v1")))
        # Only the connection that published is left out, not the next one of the same client.
        self.unheard = set()
        self.name, self.read, self.waits, self.state, self.seen = None, None, {}, {}, {}
        for channel in KEPT + LIVE:
            self.subscribe(channel)

    def ask(self, kind, payload, wanted):
        self.ids += 1
        self.waits[self.ids] = wanted
        self.peer.send(envelope(kind, payload, self.ids))

    def subscribe(self, channel):
        at = self.at.get(channel) if channel in KEPT else None
        self.state[channel] = "asked"
        more = {"recover": {"epoch": at[0], "offset": at[1]}} if at else {}
        self.ask("subscribe", {"channel": channel, **more}, ("subscribe", channel, at))

    def unsubscribe(self, channel):
        self.ask("unsubscribe", {"channel": channel}, ("unsubscribe", channel, None))

    def publish(self, channel, size):
        """A publication of its own, at times twice with one key, at times not for itself."""
        self.sequence += 1
        echo = self.sequence % 3 > 0
        data = [f"r{self.number}", self.sequence, "x" * size]
        payload = {"channel": channel, "data": data, "key": f"{self.number}-{self.sequence}", "echo": echo}
        if channel in LIVE and not echo:
            # In a channel with history a recovery may bring it all the same.
            self.unheard.add((channel, data[0], data[1]))
        for _ in range(2 if self.sequence % 5 == 0 and channel in KEPT else 1):
            self.ask("message", payload, ("message", channel, (data, echo, self.name)))

    def hear(self):
        """Reads what is there and judges it."""
        self.peer.hear()
        heard = self.peer.heard
        if self.read is None:
            end = heard.find(b"\r\n\r\n")
            if end < 0:
                return
            assert heard.startswith(b"HTTP/1.1 101"), heard[:40]
            self.read = end + 4
        at = self.read
        while at + 2 <= len(heard):
            first, length, size = heard[at], heard[at + 1] & 127, 2
            if length >= 126:
                size = 4 if length == 126 else 10
                length = int.from_bytes(heard[at + 2 : at + size], "big")
            if at + size + length > len(heard):
                break
            self.frame(first, bytes(heard[at + size : at + size + length]))
            at += size + length
        del heard[:at]
        self.read = 0

    def frame(self, first, payload):
        if first & 15 == TEXT:
            if first & 0x40:
                payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
            for line in payload.split(b"\n"):
                it = json.loads(line)
                getattr(self, "on_" + it["type"])(it.get("payload"), it.get("id"))
        elif first & 15 == CLOSE:
            code = int.from_bytes(payload[:2], "big")
            assert code == 4431, f"closed with {code}"
            self.cut += 1

    def on_welcome(self, payload, _):
        self.name = payload["connection"]

    def on_subscribed(self, payload, id):
        kind, channel, at = self.waits.pop(id)
        assert (kind, channel) == ("subscribe", payload["channel"]), (kind, channel, payload)
        self.state[channel] = "subscribed"
        self.seen.pop(channel, None)
        if channel in LIVE:
            return
        assert ("recovered" in payload) == (at is not None), payload
        if payload.get("recovered"):
            self.recovered += 1
            assert (payload["epoch"], payload["offset"]) == at, f"recovered {payload}, asked from {at}"
        self.at[channel] = payload["epoch"], payload["offset"]

    def on_unsubscribed(self, payload, id):
        assert self.waits.pop(id)[1] == payload["channel"]
        self.state[payload["channel"]] = None

    def on_published(self, payload, id):
        _, channel, (data, echo, name) = self.waits.pop(id)
        if channel in KEPT:
            # A retry with the same key has the same place.
            known = self.own.setdefault((channel, data[1]), payload["offset"])
            assert known == payload["offset"], f"one key, two offsets: {known} and {payload['offset']}"
            if not echo:
                self.told.left_out.setdefault((channel, payload["offset"]), set()).add(self.number)

    def on_gap(self, payload, _):
        channel = payload["channel"]
        assert self.state.get(channel) == "subscribed", f"gap on {channel} which is {self.state.get(channel)}"
        self.gaps += 1
        self.seen.pop(channel, None)
        if "offset" in payload:
            self.at[channel] = payload["epoch"], max(payload["offset"] - 1, self.at[channel][1] if self.at[channel][0] == payload["epoch"] else 0)

    def on_message(self, payload, _):
        channel, (publisher, sequence, _) = payload["channel"], payload["data"]
        self.messages += 1
        assert self.state.get(channel) == "subscribed", f"message on {channel} which is {self.state.get(channel)}"
        assert (channel, publisher, sequence) not in self.unheard, f"an echo of {sequence} on {channel} that was not wanted"
        before = self.seen.setdefault(channel, {}).get(publisher, 0)
        assert sequence > before, f"{publisher} on {channel}: {sequence} after {before}"
        self.seen[channel][publisher] = sequence
        if channel in KEPT:
            epoch, had = self.at[channel]
            offset = payload["offset"]
            assert offset > had, f"offset {offset} after {had} on {channel}"
            self.told.check((channel, epoch, offset), payload["data"])
            if offset > had + 1:
                self.told.holes.append((self.number, channel, range(had + 1, offset)))
            self.at[channel] = epoch, offset
        else:
            assert "offset" not in payload, payload

    def on_error(self, payload, id):
        what = self.waits.pop(id)
        raise AssertionError(f"{payload} for {what}")


class Application:
    """A backend that publishes, and a person who changes the rules, until told to stop."""

    def __init__(self, gateway, told, readers):
        self.gateway, self.told, self.readers, self.is_over = gateway, told, readers, threading.Event()
        self.problems, self.changes, self.sequence = [], 0, {channel: 0 for channel in KEPT + LIVE}
        self.threads = [threading.Thread(target=self.until_over, args=(it,)) for it in (self.publish, self.change)]
        for thread in self.threads:
            thread.start()

    def until_over(self, act):
        chance = random.Random(act.__name__)
        try:
            while not self.is_over.is_set():
                act(chance)
        except Exception as problem:
            self.problems.append(repr(problem))

    def publish(self, chance, channel=None):
        excludes, channel = channel is None and chance.random() < 0.3, channel or chance.choice(KEPT + LIVE)
        self.sequence[channel] += 1
        reader = chance.choice(self.readers)
        exclude = {"exclude": reader.name} if excludes and reader.name else {}
        data = ["application", self.sequence[channel], "y" * chance.choice([0, 100, 3_000])]
        result = json.loads(self.gateway.http("/api/v1/publish", {"channel": channel, "data": data, **exclude}))["results"][0]
        if exclude and channel in KEPT:
            self.told.left_out.setdefault((channel, result["offset"]), set()).add(reader.number)

    def change(self, chance):
        """Keeps less, more, and for a shorter time; never nothing, which would begin another epoch."""
        document = json.loads(self.gateway.manifest.read_text())
        document["spec"].update(spec(chance.choice([3, 30, 200]), chance.choice(["400ms", "5m"])))
        fresh = self.gateway.manifest.with_name("fresh.yaml")
        fresh.write_text(json.dumps(document))
        os.replace(fresh, self.gateway.manifest)
        self.changes += 1
        self.is_over.wait(0.7)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(timeout=10)
        assert not self.problems, self.problems


def step(reader, chance, now):
    """One thing that a client may do."""
    if reader.peer.ended:
        reader.peer.close()
        reader.come()
    if now < reader.paused_until:
        return
    reader.hear()
    luck, channel = chance.random(), chance.choice(KEPT + LIVE)
    if luck < 0.25 and reader.name:
        reader.publish(channel, chance.choice([0, 60, 400, 4_000] if chance.random() < 0.95 else [60_000]))
    elif luck < 0.26:
        # Every third one for so long that its queue overflows, or that what is held for it does.
        reader.paused_until = now + chance.random() * (4 if reader.number % 3 == 0 else 0.3)
    elif luck < 0.28:
        reader.peer.close()
        reader.come()
        # What is replayed to it then does not get far, and what is held meanwhile is too much.
        reader.paused_until = now + (2 if reader.number % 3 == 0 else 0)
    elif luck < 0.31 and reader.state.get(channel) == "subscribed" and ("unsubscribe", channel, None) not in reader.waits.values():
        reader.unsubscribe(channel)
    elif reader.state.get(channel, "never") is None:
        reader.subscribe(channel)


@attack("everything at once, in order", quick=True, spec=spec(100), keeps_max=24 * 2**20)
def in_order(gateway, seed=None):
    seed = seed or random.randrange(1 << 32)
    chance, told = random.Random(seed), Told()
    try:
        readers = [Reader(gateway, told, number) for number in range(12)]
        application = Application(gateway, told, readers)
        end = time.monotonic() + SECONDS
        while (now := time.monotonic()) < end and not application.problems:
            for reader in readers:
                step(reader, chance, now)
            time.sleep(0.001)
        application.stop()
        for channel in KEPT + LIVE:
            application.publish(chance, channel)
        converge(application, readers)
        told.judge_holes()
    except AssertionError as problem:
        raise AssertionError(f"{problem} (seed {seed})") from problem
    count = lambda name: sum(getattr(it, name) for it in readers)
    assert count("messages") > 1_000 and count("recovered") > 5 and application.changes > 5, "too little happened"
    for reader in readers:
        reader.peer.close()
    return f"{count('messages')} messages, {count('recovered')} recovered, {count('gaps')} gaps, {count('cut')} cut, {application.changes} changes"


def converge(application, readers):
    """When it is quiet again, everybody comes to the same place."""
    everything, deadline = KEPT + LIVE, time.monotonic() + 12
    for reader in readers:
        reader.paused_until = 0
    while not all(reader.state.get(it) == "subscribed" and not reader.waits for reader in readers for it in everything) or not have_last(application, readers):
        assert time.monotonic() < deadline, f"not all have come to the end: {[(it.number, it.state, it.waits, it.seen) for it in readers]}"
        has_come = False
        for reader in readers:
            if reader.peer.ended:
                # It was cut for what it did not read before.
                reader.peer.close()
                reader.come()
            waited = bool(reader.waits)
            reader.hear()
            has_come |= waited and not reader.waits
            for channel in everything:
                if reader.state.get(channel, "never") is None:
                    reader.subscribe(channel)
        if has_come and not any(reader.waits for reader in readers):
            for channel in everything:
                application.publish(random.Random(1), channel)
        time.sleep(0.005)


def have_last(application, readers):
    """Whether everybody has the application's last publication in each channel."""
    last = lambda reader, channel: reader.seen.get(channel, {}).get("application") == application.sequence[channel]
    return all(last(reader, channel) for reader in readers for channel in KEPT + LIVE)
