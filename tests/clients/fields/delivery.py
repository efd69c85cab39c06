"""How messages go out: compressed, joined, and how a gateway ends; what it says of itself."""

import json, signal, time
from concurrent import futures
from dataclasses import dataclass, field

import grpc

from client import PLAIN, V1, enter, join, outcome
from gateway import eventually
from raw import TEXT, Raw

from .access import CHOICE, DURATION, WHOLE
from .row import Row

OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: headgate.v1\r\n"


def extension(gateway):
    with join(gateway, compression="deflate") as client:
        return "permessage-deflate" in client.response.headers.get("Sec-WebSocket-Extensions", "")


def frame_of(text):
    """Whether a publication comes compressed, and whether it is shorter than half of itself."""

    def see(gateway):
        with Raw(gateway, headers=OFFER) as client:
            client.frame()
            client.say("subscribe", channel="public.a")
            client.frame()
            gateway.publish("public.a", text)
            opcode, is_compressed, payload = client.frame()
            assert opcode == TEXT
            return is_compressed, len(payload) < len(text) / 2

    return see


def envelopes_in_frames(dialect):
    """How many envelopes the frames have in which ten publications come."""

    def see(gateway):
        with join(gateway, dialect=dialect) as client:
            if dialect == V1:
                client.frame()
            client.send('{"type":"subscribe","payload":{"channel":"public.a"}}')
            client.frame()
            with enter(gateway) as publisher:
                publisher.send("\n".join(json.dumps({"type": "message", "payload": {"channel": "public.a", "data": i}}) for i in range(10)))
                counts = []
                while sum(counts) < 10:
                    counts.append(len(client.frame().split("\n")))
            return counts

    return see


def is_delayed(gateway):
    with enter(gateway) as client:
        client.ask("subscribe", channel="public.a")
        began = time.monotonic()
        gateway.publish("public.a", 1)
        client.messages(1)
        return time.monotonic() - began > 0.3


def time_to_reconnect(gateway):
    """When the only client is told to go, after a signal."""
    with enter(gateway) as client:
        gateway.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert client.get(15)["type"] == "reconnect"
        return "late" if time.monotonic() - began > 3 else "soon"


def after_a_signal(gateway):
    """Whether somebody gets in a second after a signal."""
    with enter(gateway):
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("drain_grace")
        until = time.monotonic() + 1
        while (found := outcome(gateway)) == "open" and time.monotonic() < until:
            time.sleep(0.05)
        return found


def logs_clients(gateway):
    """Whether the log has a connection that came and went."""
    mark = len(gateway.log)
    enter(gateway).close()
    eventually(lambda: gateway.metric("active_connections", state="serving") == 0, "it went")
    return any(line.get("level") == "DEBUG" for line in gateway.log[mark:])


@dataclass
class Collector:
    """Takes OTLP over gRPC, and keeps what it is sent."""

    received: list = field(default_factory=list)

    def __post_init__(self):
        self.server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[self])
        self.endpoint = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, call):
        if call.method == "/opentelemetry.proto.collector.trace.v1.TraceService/Export":
            return grpc.unary_unary_rpc_method_handler(lambda request, _: self.received.append(request) or b"")


grpc.GenericRpcHandler.register(Collector)


def is_traced(gateway):
    """Whether the span of a connection arrives."""
    COLLECTOR.received.clear()
    with enter(gateway) as client:
        name = client.welcome["connection"].encode()
    until = time.monotonic() + 6
    while not (found := any(name in request for request in COLLECTOR.received)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


COLLECTOR = Collector()
TEXTUAL = " ".join(str(i * i) for i in range(3000))
ROWS = [
    Row("compression.mode", "Shared", extension, True, {"compression.mode": "Disabled"}, False, bad="Off", says=f" is Off{CHOICE} Shared or Disabled"),
    Row("compression.level", "6", frame_of(TEXTUAL), (True, True), {"compression.level": 0}, (False, False), bad=10, says=f" is 10: too large; {WHOLE} 0 to 9"),
    Row(
        "compression.minSize", "1Ki", frame_of("a" * 300), (False, False), {"compression.minSize": "100"}, (True, True),
        bad="65Mi", says=" is 65Mi: too large; must be a size from 0 to 64Mi, such as 512Ki",
    ),
    Row(
        "batching.maxMessages", "100", envelopes_in_frames(V1), [10], {"batching.maxMessages": 4}, [4, 4, 2], base={"batching": {"maxDelay": "300ms"}},
        bad=0, says=f" is 0: too small; {WHOLE} 1 to 1000",
    ),
    Row("batching.maxDelay", "0s", is_delayed, False, {"batching.maxDelay": "500ms"}, True, bad="11s", says=f" is 11s: too long; must be a duration from 0s to 10s, {DURATION}"),
    Row(
        "batching.plain", "Disabled", envelopes_in_frames(PLAIN), [1] * 10, {"batching.plain": "Enabled"}, [10], base={"batching": {"maxDelay": "300ms"}},
        bad="Auto", says=f" is Auto{CHOICE} Enabled or Disabled",
    ),
    Row(
        "drain.period", "120s", time_to_reconnect, "late", {"drain.period": "1s"}, "soon", base={"drain": {"endpointGrace": "0s"}, "maxConnections": 1000}, ends=True, lasts=15,
        bad="10ms", says=" is 10ms: too short for 1000 connections; drain.period must be at least 1s for every 1,000 of maxConnections",
    ),
    Row(
        "drain.endpointGrace", "10s", after_a_signal, "open", {"drain.endpointGrace": "0s"}, "draining", base={"drain": {"period": "10s"}}, ends=True,
        bad="11m", says=f" is 11m: too long; must be a duration from 0s to 10m, {DURATION}",
    ),
    Row("telemetry.logLevel", "info", logs_clients, False, {"telemetry.logLevel": "debug"}, True, bad="INFO", says=f" is INFO{CHOICE} error, warn, info, debug, trace"),
    Row(
        "telemetry.otlp.endpoint", "must be there", is_traced, False, {"telemetry.otlp": {"endpoint": COLLECTOR.endpoint, "sampleRatio": 1}}, True, lasts=20,
        bad="otel:4317", says=" is otel:4317: not a URL; must be an http or https URL without user and fragment: http://otel:4317",
    ),
    Row(
        "telemetry.otlp.sampleRatio", "0.01", is_traced, False, {"telemetry.otlp.sampleRatio": 1}, True, lasts=20,
        base={"telemetry": {"otlp": {"endpoint": COLLECTOR.endpoint, "sampleRatio": 0}}}, bad=1.5, says=" is 1.5: too large; must be a number from 0 to 1",
    ),
]
