"""One hub as its clients see it. With Memory it is one gateway; with NATS it is three of one name, each at a server of its own where there are three."""

import contextlib, itertools, os, signal, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

from gateway import ENDLESS, KEYS, SECRETS, Gateway, Started, eventually
from nats import PASSWORD

BROKER = os.environ.get("BROKER", "memory")
IS_NATS = BROKER != "memory"

ANYONE = {"subscribe": "Anyone", "publish": "Anyone"}
SPEC = {
    "auth": {"mode": "Optional", "jwt": KEYS},
    "api": {"keySecretName": "api"},
    "drain": {"period": "10s", "endpointGrace": "0s"},
    "limits": {**ENDLESS, "sendQueueMessages": 4096},
    "channels": [
        {"match": "kept.**", **ANYONE, "history": {"messages": 1000, "maxAge": "5m"}},
        {"match": "few.**", **ANYONE, "history": {"messages": 3, "maxAge": "5m"}},
        {"match": "room.**", **ANYONE, "presence": "Announced"},
        {"match": "private.**"},
        {"match": "**", **ANYONE},
    ],
}


class Pod(Gateway):
    def __init__(self, folder, name, spec, secrets):
        self.name, self.spec = name, spec
        Started.__init__(self, folder, spec, secrets)
        self.serve()

    def freeze(self):
        """SIGSTOP, until every thread stands still."""
        self.process.send_signal(signal.SIGSTOP)
        states = lambda: {it.read_text().rsplit(") ", 1)[1][0] for it in Path(f"/proc/{self.process.pid}/task").glob("*/stat")}
        eventually(lambda: states() == {"T"}, "every thread stands still")

    def ask_api(self, path):
        status, answer = self.http("GET", f"/api/v1/{path}")
        assert status == 200, (path, status, answer)
        return answer

    def members(self, channel):
        return self.ask_api(f"channels/{channel}/presence")

    def connections(self, **query):
        return self.ask_api("connections?" + "&".join(f"{key}={value}" for key, value in query.items()))


class Hub:
    """`a`, `b` and `c` are its pods, and all the same one where there is but one."""

    def __init__(self, folder, name, nats, spec):
        self.folder, self.name, self.nats, self.spec, self.pods = folder, name, nats, spec, []
        self.probes = itertools.count()

    def start(self, count=3):
        """Starts so many more pods, and waits until all know each other."""
        fresh = [self.begin() for _ in range(count if IS_NATS else 1)]
        for pod in fresh:
            pod.wait_until_listening()
        for pod in self.pods:
            everybody = {"asked": len(self.pods), "answered": len(self.pods)}
            eventually(lambda: pod.ask_api("stats")["pods"] == everybody, f"{len(self.pods)} pods know each other", 10)
        return fresh[0]

    def begin(self):
        number = len(self.pods)
        folder = self.folder / str(number)
        folder.mkdir()
        spec, secrets = self.spec, SECRETS
        if self.nats:
            at = self.nats["urls"][number % len(self.nats["urls"])]
            broker = {"type": "NATS", "nats": {"url": at, "credentialsSecretName": "nats"}, **spec.get("broker", {})}
            spec, secrets = {**spec, "broker": broker}, {**secrets, "nats": {"user": self.name, "password": self.nats["password"]}}
        pod = Pod.__new__(Pod)
        self.pods.append(pod)
        pod.__init__(folder, self.name, spec, secrets)
        return pod

    a = property(lambda self: self.pods[0])
    b = property(lambda self: self.pods[1 % len(self.pods)])
    c = property(lambda self: self.pods[2 % len(self.pods)])

    def add(self):
        """A pod that comes later; with Memory the one that is here."""
        return self.start(1) if IS_NATS else self.a

    def change(self, **changes):
        """Changes fields of the manifest on all pods, and waits until that is in use everywhere."""
        marks = [len(pod.log) for pod in self.pods]
        for pod in self.pods:
            pod.spec = {**pod.spec, **changes}
            pod.write(pod.spec)
        for pod, mark in zip(self.pods, marks):
            pod.wait_for("config_applied", mark, 5)

    def wait_for_history(self, channel):
        """Waits until every pod stores what is published to a channel whose rule got its history just now."""
        def is_stored(pod):
            status, answer = pod.http("POST", "/api/v1/publish", {"channel": channel, "data": 0})
            assert status in (200, 503), answer
            return status == 200 and "epoch" in answer["results"][0]

        for pod in self.pods:
            eventually(lambda: is_stored(pod), f"pod {pod.internal} stores what comes to {channel}", 10)

    def settle(self, channel, *clients):
        """Waits until what any pod publishes reaches these, who have nothing to read yet: interest takes its time from server to server.

        For channels without history; with it nothing that comes after `subscribed` may be lost.
        """
        for pod in self.pods:
            eventually(lambda: self.probe(pod, channel, clients), f"all clients hear on {channel} what pod {pod.internal} publishes")

    def probe(self, pod, channel, clients):
        data = {"probe": next(self.probes)}
        match channel:
            case "@all":
                pod.api("broadcast", {"data": data})
            case "@user":
                pod.api(f"users/{clients[0].welcome['user']}/messages", {"data": data})
            case _:
                pod.publish(channel, data)
        return all([hears(client, data) for client in clients])

    def kill(self):
        for pod in self.pods:
            if hasattr(pod, "process"):
                pod.kill()


@contextlib.contextmanager
def apart(folder, nats, pods=3, urls=None):
    """So many pods `chat` at a NATS of their own, by its own URL or by these; all end with the block."""
    (folder / "pods").mkdir()
    hub = Hub(folder / "pods", "chat", {"urls": urls or [nats.url], "password": PASSWORD}, SPEC)
    try:
        nats.start().wait_until_ready()
        hub.start(pods)
        yield hub
    finally:
        hub.kill()
        nats.kill()


def connected(pods, is_connected):
    for pod in pods:
        eventually(lambda: pod.status()["broker"]["connected"] == is_connected, f"pod {pod.internal} says connected: {is_connected}", 20)


def hears(client, data):
    """Whether this message comes soon; what comes before it is dropped."""
    try:
        while client.get(0.5)["payload"].get("data") != data:
            pass
    except AssertionError:
        return False
    return True


def position(answer):
    return {"epoch": answer["epoch"], "offset": answer["offset"]}


def cut(client):
    """Ends a connection as a lost network does: without a close frame."""
    client.socket.shutdown(2)
    client.close_socket()


def is_idle(client):
    """Whether nothing waited to be read, as of the answer to a `ping`."""
    return client.ask("ping") is None and not client.waiting
