"""The healthy clients beside an attack, in a process of their own: `witness.py HOST PORT PID [tls]`.

One connection publishes a number every 20 ms, others receive it. Latency counts from when it was to be
sent, so a stall is seen by everything it held up. On standard input `begin` starts to measure and `end`
prints what was seen as JSON. Memory of the process PID is sampled at every tick.
"""

import json, os, select, sys, time

from gateway import token
from wire import PING, PONG, TEXT, Peer, cut, envelope, frame, request, wait

PERIOD = 0.02
# As many as make it near certain that every worker has one of them.
RECEIVERS = 8
CHANNEL = "public.witness"


def resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connect(address, tls):
    """A connection with a token, behind its welcome."""
    peer = Peer(address, tls=tls)
    peer.send(request("/ws", f"Authorization: Bearer {token('witness')}"))
    assert wait([peer], 10, lambda it: b'"welcome"' in it.heard), f"no welcome: {bytes(peer.heard)!r}"
    peer.heard.clear()
    return peer


def subscribe(peer):
    """Subscribes."""
    peer.send(envelope("subscribe", {"channel": CHANNEL}, id=1))
    assert wait([peer], 10, lambda it: b'"subscribed"' in it.heard), f"not subscribed: {bytes(peer.heard)!r}"
    peer.heard.clear()  # Nothing is published yet.


class Stream:
    """What one connection got, cut out of the bytes without keeping them; its pings are answered."""

    def __init__(self, peer):
        self.peer, self.next = peer, None

    def numbers(self):
        """Number and due time of each publication that has come since. What came instead of one is a gap."""
        self.peer.hear()
        end, found = 0, []
        for opcode, text, end in cut(self.peer.heard):
            if opcode == PING:
                self.peer.send(frame(PONG, text))
            for line in text.split(b"\n") if opcode == TEXT else []:
                it = json.loads(line)
                if it["type"] == "message":
                    found.append(it["payload"]["data"])
        del self.peer.heard[:end]
        return found


class Measure:
    """Figures of one span."""

    def __init__(self, pid):
        self.latencies, self.gaps, self.late = [], 0, 0.0
        self.before = self.peak = resident(pid)

    def report(self):
        times = sorted(self.latencies)
        at = lambda share: times[min(len(times) - 1, int(len(times) * share))] * 1e3 if times else float("inf")
        return {
            "count": len(times), "p50": at(0.5), "p99": at(0.99), "max": at(1), "gaps": self.gaps,
            "late": self.late * 1e3, "before": self.before, "peak": self.peak,
        }


def main():
    host, port, pid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    try:
        # A late witness would take its own delay for the gateway's.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass
    connections = [connect((host, port), "tls" in sys.argv) for _ in range(RECEIVERS + 1)]
    publisher, streams = connections[0], [Stream(peer) for peer in connections[1:]]
    unread = Stream(publisher)
    for stream in streams:
        subscribe(stream.peer)
    print(json.dumps({"ready": True}), flush=True)
    poll, of = select.poll(), {stream.peer.socket.fileno(): stream for stream in streams}
    for number in [sys.stdin.fileno(), *of]:
        poll.register(number, select.POLLIN)

    measure, sent, begun = None, 0, time.monotonic()
    while True:
        due = begun + sent * PERIOD
        now = time.monotonic()
        if now >= due:
            if measure:
                measure.late = max(measure.late, now - due)
                measure.peak = max(measure.peak, resident(pid))
            assert publisher.send(envelope("message", {"channel": CHANNEL, "data": [sent, due]})), "the publisher was cut off"
            sent += 1
            continue
        for number, _ in poll.poll(max(1, (due - now) * 1e3)):
            if number in of:
                take(of[number], measure)
                continue
            command = sys.stdin.readline().strip()
            if command == "begin":
                measure = Measure(pid)
            else:
                print(json.dumps(finish(measure, streams, sent)), flush=True)
                # Stays connected, so that memory before and after is of the same clients.
                sys.stdin.readline()
                return
        assert not unread.numbers() and not publisher.ended, f"the publisher's connection ended: {publisher.ended}"


def take(stream, measure):
    numbers = stream.numbers()
    now = time.monotonic()
    for number, due in numbers:
        if measure:
            measure.gaps += stream.next is not None and number != stream.next
            measure.latencies.append(now - due)
        stream.next = number + 1
    assert not stream.peer.ended, f"a healthy connection ended: {stream.peer.ended}"


def finish(measure, streams, sent):
    """Whatever was published must still come; what does not within 5 s is a gap."""
    deadline = time.monotonic() + 5
    while any(stream.next != sent for stream in streams) and time.monotonic() < deadline:
        for stream in streams:
            take(stream, measure)
        time.sleep(0.001)
    measure.gaps += sum(stream.next != sent for stream in streams)
    return measure.report()


if __name__ == "__main__":
    main()
