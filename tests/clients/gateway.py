"""The real binary with a manifest of the test's own, and what its internal port says."""

import json, os, signal, subprocess, threading, time, urllib.error, urllib.request
from pathlib import Path

from tokens import SECRET

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("HEADGATE_GATEWAY", str(ROOT / "target/debug/headgate-gateway"))
API_KEY = "test-key-0123456789"
KEYS = {"keysSecretName": "jwt", "keys": [{"algorithm": "HS256", "key": "hmac"}]}
ENDLESS = {"messageRate": {"perSecond": 0, "burst": 0}}

SPEC = {
    "auth": {"mode": "Optional", "jwt": KEYS},
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


def eventually(check, what, seconds=5):
    """Polls until `check` is true and returns that; fails, and says what it waited for."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return found


def stays(check, seconds=0.5):
    """Whether `check` is true again and again for so long."""
    deadline = time.monotonic() + seconds
    while is_true := check():
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return is_true


class Gateway:
    def __init__(self, folder, spec, arguments=(), secrets=True, wait=True):
        self.folder, self.manifest, self.secrets = folder, folder / "gateway.yaml", folder / "secrets"
        self.spec = spec
        self.secrets.mkdir(exist_ok=True)
        if secrets:
            self.secret("jwt", hmac=SECRET)
            self.secret("api", **{"api-key": API_KEY})
        self.write(spec)
        self.begin(*arguments)
        if wait:
            self.wait_until_listening()

    def begin(self, *arguments):
        """Starts the process, also once more after it ended."""
        command = [BINARY, "serve", str(self.manifest), "--secrets", str(self.secrets), "--log-format", "json"]
        command += arguments or ["--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.log, self.grown, self.has_ended = [], threading.Condition(), False
        self.reader = threading.Thread(target=self.read, args=(self.process.stdout, self.log), daemon=True)
        self.reader.start()

    def wait_until_listening(self):
        listening = self.wait_for("listening")
        self.public, self.internal = listening["public"], listening["internal"]
        self.host, self.port = self.public.split(":")[0], int(self.public.split(":")[1])
        self.url = f"ws://{self.public}{self.spec.get('path', '/ws')}"
        eventually(lambda: self.http("GET", "/readyz")[0] == 200, "ready")

    def read(self, output, log):
        for line in output:
            with self.grown:
                log.append(json.loads(line) if line.startswith("{") else {"event": "", "text": line})
                self.grown.notify_all()
        with self.grown:
            self.has_ended = True
            self.grown.notify_all()

    def wait_for(self, event, since=0, seconds=10):
        """The first log line with this event after the first `since` lines."""
        find = lambda: next((it for it in self.log[since:] if it.get("event") == event), None)
        with self.grown:
            self.grown.wait_for(lambda: find() or self.has_ended, seconds)
        assert (found := find()), f"no log line with event {event} within {seconds} s; log: {self.log}"
        return found

    def secret(self, name, **files):
        """Writes files of a Secret, each replaced as a whole."""
        (self.secrets / name).mkdir(exist_ok=True)
        for key, content in files.items():
            replace(self.secrets / name / key, content.encode() if isinstance(content, str) else content)

    def write(self, spec):
        document = {"apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": "test"}, "spec": spec}
        replace(self.manifest, json.dumps(document).encode())

    def change(self, **changes):
        """Changes fields of the manifest and waits until that is in use."""
        mark = len(self.log)
        self.spec = {**self.spec, **changes}
        self.write(self.spec)
        self.wait_for("config_applied", mark, 5)

    def refused(self, spec):
        """Writes a manifest that is wrong; everything that the log says about it."""
        mark = len(self.log)
        self.write(spec)
        line = self.wait_for("config_refused", mark, 5)
        return line.get("finding") or line["error"]

    def http(self, method, path, body=None, key=API_KEY, seconds=10):
        """Status and JSON (or text) of a request to the internal port."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers |= {"Content-Type": "application/x-ndjson" if path.endswith("/batch") else "application/json"} if data else {}
        request = urllib.request.Request(f"http://{self.internal}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, parsed(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.code, parsed(error.read().decode())

    def api(self, path, body):
        status, answer = self.http("POST", f"/api/v1/{path}", body)
        assert status == 200, (status, answer)
        return answer

    def publish(self, channel, data, **more):
        """Where the publication stands: `channel`, and `epoch` and `offset` where there is history."""
        return self.api("publish", {"channel": channel, "data": data, **more})["results"][0]

    def subscribers(self, channel):
        channels = self.http("GET", "/api/v1/channels")[1]["channels"]
        return next((it["subscribers"] for it in channels if it["channel"] == channel), 0)

    def status(self):
        return self.http("GET", "/status")[1]

    def metric(self, name, **labels):
        """The value of one series, without the prefix of all of them."""
        braces = ",".join(f'{key}="{value}"' for key, value in labels.items())
        series = f"realtime_gateway_{name}" + (f"{{{braces}}} " if braces else " ")
        text = self.http("GET", "/metrics")[1]
        values = [line.removeprefix(series) for line in text.splitlines() if line.startswith(series)]
        assert values, f"no series {series}in {text}"
        return float(values[0])

    def stop(self, seconds=20):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)

    def restart(self, **changes):
        """Ends the process and starts it with a changed manifest, and with the Secrets as they are."""
        self.spec = {**self.spec, **changes}
        self.kill()
        self.write(self.spec)
        self.begin()
        self.wait_until_listening()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)
        self.reader.join(timeout=10)
        self.process.stdout.close()


def replace(path, content):
    fresh = path.with_name(f"..{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)


def parsed(text):
    return json.loads(text) if text.startswith("{") and "\n" not in text.strip() else text
