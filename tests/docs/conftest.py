"""The binary, once started with a small manifest."""

import json, os, subprocess, threading, urllib.error, urllib.request
from pathlib import Path

import pytest

from pages import ROOT

KEY = "0123456789abcdef"
MANIFEST = """
apiVersion: headgate.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: docs}
spec:
  auth: {mode: Disabled}
  api: {keySecretName: api}
  channels: [{match: "**", presence: Enabled, history: {}}]
  drain: {endpointGrace: 0s, period: 10s}
"""


@pytest.fixture(scope="session")
def binary():
    path = os.environ.get("HEADGATE_GATEWAY", str(ROOT / "target/debug/headgate-gateway"))
    assert Path(path).is_file(), f"no {path}: build it, or name one in HEADGATE_GATEWAY"
    return path


@pytest.fixture(scope="session")
def ask(binary, tmp_path_factory):
    """Asks the internal port of a gateway: status and body."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "api").mkdir()
    (folder / "api/api-key").write_text(KEY)
    (folder / "gateway.yaml").write_text(MANIFEST)
    command = [binary, "serve", str(folder / "gateway.yaml"), "--secrets", str(folder), "--log-format", "json"]
    command += ["--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(20, process.kill)  # or a gateway that never listens would hold up the test
    timer.start()
    internal = next((event["internal"] for event in map(json.loads, process.stdout) if event["event"] == "listening"), None)
    timer.cancel()
    assert internal, "the gateway does not listen within 20 s"
    threading.Thread(target=process.stdout.read, daemon=True).start()

    def ask(method, path, body=None):
        request = urllib.request.Request(f"http://{internal}{path}", body, {"Authorization": f"Bearer {KEY}"}, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    yield ask
    process.kill()
    process.wait(timeout=10)
