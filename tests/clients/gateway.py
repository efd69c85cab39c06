"""The real binary with a manifest of the test's own, and what its internal port says."""

import json, signal, sys, time, urllib.error, urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "started"))

from started import API_KEY, KEYS, ROOT, SECRETS, Started, binary, eventually

BINARY = binary()
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


def stays(check, seconds=0.5):
    """Whether `check` is true again and again for so long."""
    deadline = time.monotonic() + seconds
    while is_true := check():
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return is_true


class Gateway(Started):
    def __init__(self, folder, spec, arguments=(), secrets=True, wait=True):
        super().__init__(folder, spec, SECRETS if secrets else {})
        self.spec = spec
        self.serve(*arguments)
        if wait:
            self.wait_until_listening()

    def wait_until_listening(self):
        self.public, self.internal = self.addresses()
        self.host, self.port = self.public.split(":")[0], int(self.public.split(":")[1])
        self.url = f"ws://{self.public}{self.spec.get('path', '/ws')}"
        eventually(lambda: self.http("GET", "/readyz")[0] == 200, "ready")

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
        self.serve()
        self.wait_until_listening()


def parsed(text):
    return json.loads(text) if text.startswith("{") and "\n" not in text.strip() else text
