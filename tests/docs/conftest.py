"""The binary, once started with a small manifest."""

import sys, urllib.error, urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "started"))

from started import API_KEY, Started, binary as path_of_binary

SPEC = {
    "auth": {"mode": "Disabled"},
    "api": {"keySecretName": "api"},
    "channels": [{"match": "**", "presence": "Enabled", "history": {}}],
    "drain": {"endpointGrace": "0s", "period": "10s"},
}


@pytest.fixture(scope="session")
def binary():
    path = path_of_binary()
    assert Path(path).is_file(), f"no {path}: build it, or name one in HEADGATE_GATEWAY"
    return path


@pytest.fixture(scope="session")
def ask(binary, tmp_path_factory):
    """Asks the internal port of a gateway: status and body."""
    gateway = Started(tmp_path_factory.mktemp("gateway"), SPEC)
    gateway.serve()
    _, internal = gateway.addresses()

    def ask(method, path, body=None):
        request = urllib.request.Request(f"http://{internal}{path}", body, {"Authorization": f"Bearer {API_KEY}"}, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    yield ask
    gateway.kill()
