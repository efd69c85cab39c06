"""NATS servers for a test: one, or a cluster of three, on free ports of loopback, that can be killed, stopped and brought back."""

import json, os, random, re, shutil, signal, socket, urllib.error, urllib.request

from started import ROOT, Process, eventually

EXAMPLE = ROOT / "examples/nats-server.conf"
PASSWORD = "secret-of-the-suites"


def server():
    return os.environ.get("NATS_SERVER", str(ROOT / ".tools/bin/nats-server"))


def account(name):
    """The account of the gateway `name`, with the rights that examples/nats-server.conf gives to `chat`."""
    text = re.search(r"^accounts \{\n(.*?)^\}", EXAMPLE.read_text(), re.M | re.S)[1]
    return text.replace("$CHAT_PASSWORD", f'"{PASSWORD}"').replace("chat", name)


def stranger(name):
    """An account whose user may do everything in it."""
    return f'  {name}: {{jetstream: enabled, users: [{{user: {name}, password: "{PASSWORD}"}}]}}\n'


def free_ports(count):
    """Ports that are free now, from below those that the system hands out: they stay free while a server is down."""
    sockets = []
    while len(sockets) < count:
        it = socket.socket()
        try:
            it.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            sockets.append(it)
        except OSError:
            it.close()
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


class Nats(Process):
    """One server in a folder of its own. `accounts` and `lines` are parts of its configuration as they stand there."""

    def __init__(self, folder, name="nats", accounts="", tls=None, lines="", route=None, routes=()):
        self.folder, self.name, self.scheme = folder, name, "tls" if tls else "nats"
        folder.mkdir(parents=True, exist_ok=True)
        self.store, self.configuration = folder / "store", folder / "nats.conf"
        self.port, self.monitor = free_ports(2)
        for file, content in (tls or {}).items():
            (folder / file).write_bytes(content)
        parts = [f'listen: "127.0.0.1:{self.port}"\nhttp: "127.0.0.1:{self.monitor}"\nserver_name: {name}', lines]
        parts.append(f'jetstream: {{store_dir: "{self.store}"}}')
        parts.append(f"accounts {{\n{accounts}}}" if accounts else "")
        parts.append(f'tls: {{cert_file: "{folder}/tls.crt", key_file: "{folder}/tls.key"}}' if tls else "")
        if route:
            urls = ", ".join(f'"nats://127.0.0.1:{it}"' for it in routes)
            parts.append(f'cluster: {{name: cluster, listen: "127.0.0.1:{route}", routes: [{urls}]}}')
        self.configuration.write_text("\n".join(parts))

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self):
        """Starts it, also once more, on the same ports and with the store as it is."""
        self.begin([server(), "--config", str(self.configuration)])
        return self

    def restart(self, empty=False):
        """SIGKILL, and begun anew: with what it stored, or with nothing."""
        self.kill()
        if empty:
            shutil.rmtree(self.store, ignore_errors=True)
        self.start().wait_until_ready()

    def freeze(self):
        """SIGSTOP: it keeps its connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def wait_until_ready(self, seconds=30):
        """Until it serves clients and JetStream."""
        def is_ready():
            assert self.process.poll() is None, f"{self.name} ended: {''.join(self.lines)}"
            return (self.ask("healthz") or {}).get("status") == "ok" and self.ask("jsz")

        eventually(is_ready, f"{self.name} and its JetStream are ready", seconds)
        return self

    def ask(self, path):
        """What the monitoring port says; `None` while it does not answer, or answers with an error."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/{path}", timeout=2) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError):
            return None

    def streams(self):
        """All streams of all accounts by their names, as /jsz describes them."""
        accounts = (self.ask("jsz?accounts=1&streams=1&config=1") or {}).get("account_details", [])
        return {it["name"]: it for account in accounts for it in account.get("stream_detail", [])}


class Cluster:
    """Three servers that know each other, with streams on all of them."""

    def __init__(self, folder, **parts):
        routes = free_ports(3)
        self.nodes = [Nats(folder / f"n{i}", f"n{i}", route=routes[i], routes=routes, **parts) for i in range(3)]

    @property
    def url(self):
        return ",".join(it.url for it in self.nodes)

    def start(self):
        for node in self.nodes:
            node.start()
        return self

    def wait_until_ready(self, seconds=60):
        """Until every server is, and they agree on who leads."""
        for node in self.nodes:
            node.wait_until_ready(seconds)
        eventually(lambda: len(set(map(self.head, self.nodes))) == 1 and self.head(self.nodes[0]), "all servers know the one that leads", seconds)
        return self

    def head(self, node):
        """Who leads the cluster, as this server knows; `None` while nobody does."""
        return ((node.ask("jsz") or {}).get("meta_cluster") or {}).get("leader")

    def leader(self, stream, seconds=20):
        """The server that leads a stream, whose name may be given by its beginning."""
        def find():
            for node in self.nodes:
                for name, it in node.streams().items():
                    if name.startswith(stream) and it.get("cluster", {}).get("leader"):
                        return next(node for node in self.nodes if node.name == it["cluster"]["leader"])

        return eventually(find, f"a server leads stream {stream}", seconds)

    def kill(self):
        for node in self.nodes:
            node.kill()
