"""A gateway for a test: the real binary, a manifest of the test's own, ports of its own."""

import base64, hashlib, hmac, json, os, queue, signal, subprocess, threading, time, urllib.error, urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("HEADGATE_GATEWAY", str(ROOT / "target/debug/headgate-gateway"))
SECRET = b"0123456789abcdef0123456789abcdef"
API_KEY = "test-key-0123456789"


def token(user="alice", secret=SECRET, **claims):
    """A token signed with HS256, made without the code under test."""
    body = {"sub": user, "exp": int(time.time()) + 3600, **claims}
    encode = lambda it: base64.urlsafe_b64encode(it).rstrip(b"=")
    signed = encode(b'{"alg":"HS256"}') + b"." + encode(json.dumps(body).encode())
    return (signed + b"." + encode(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


class Gateway:
    def __init__(self, folder, spec):
        self.manifest = folder / "gateway.yaml"
        self.secrets = folder / "secrets"
        for name, key, content in [("jwt", "hmac", SECRET), ("api", "api-key", API_KEY.encode())]:
            (self.secrets / name).mkdir(parents=True)
            (self.secrets / name / key).write_bytes(content)
        self.write(spec)
        command = [BINARY, "serve", str(self.manifest), "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]
        command += ["--secrets", str(self.secrets), "--log-format", "json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.events = queue.Queue()
        self.log = []
        threading.Thread(target=self.read, daemon=True).start()
        listening = self.wait_for("listening")
        self.public, self.internal = listening["public"], listening["internal"]
        self.url = f"ws://{self.public}/ws"

    def read(self):
        for line in self.process.stdout:
            self.log.append(line)
            self.events.put(json.loads(line))

    def wait_for(self, event, seconds=10):
        """The next log line with this event; fails, and says what it waited for."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.events.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no log line with event {event} within {seconds} s; log: {self.log}") from None
            if line.get("event") == event:
                return line

    def write(self, spec):
        document = {"apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": "test"}, "spec": spec}
        fresh = self.manifest.with_suffix(".new")
        fresh.write_text(json.dumps(document))
        fresh.replace(self.manifest)

    def http(self, method, path, body=None, key=API_KEY):
        """Status and JSON of a request to the internal port."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.internal}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                text = answer.read().decode()
                return answer.status, json.loads(text) if text.startswith("{") else text
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def api(self, path, body):
        status, answer = self.http("POST", f"/api/v1/{path}", body)
        assert status == 200, answer
        return answer

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


SPEC = {
    "auth": {"mode": "Optional", "jwt": {"keysSecretName": "jwt", "keys": [{"algorithm": "HS256", "key": "hmac"}]}},
    "api": {"keySecretName": "api"},
    "drain": {"period": "10s", "endpointGrace": "0s"},
    "channels": [
        {"match": "public.**", "subscribe": "Anyone", "publish": "Anyone"},
        {"match": "kept.**", "subscribe": "Anyone", "publish": "Anyone", "history": {"messages": 5, "maxAge": "5m"}},
        {"match": "room.**", "subscribe": "Anyone", "publish": "Anyone", "presence": "Announced"},
        {"match": "closed", "subscribe": "Nobody", "publish": "Nobody"},
        {"match": "**"},
    ],
}


@pytest.fixture
def start(tmp_path):
    """Starts gateways with the common manifest, changed as the test says."""
    running = []

    def begin(**changes):
        folder = tmp_path / str(len(running))
        folder.mkdir()
        gateway = Gateway(folder, {**SPEC, **changes})
        running.append(gateway)
        return gateway

    yield begin
    for gateway in running:
        if gateway.process.poll() is None:
            gateway.process.kill()
            gateway.process.wait(timeout=10)
