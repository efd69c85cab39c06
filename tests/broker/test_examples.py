"""The configurations of NATS that examples/ shows, read by the server itself."""

import json, os, re, subprocess, textwrap

import pytest

from client import enter
from gateway import API_KEY, ROOT, Gateway, Started
from nats import server

pytestmark = pytest.mark.pods

ONE = ROOT / "examples/nats-server.conf"
THREE = ROOT / "examples/nats-cluster.yaml"
MANIFEST = ROOT / "examples/nats.yaml"


def cluster():
    """The configuration within the ConfigMap."""
    return textwrap.dedent(re.search(r"^  nats\.conf: \|\n((?:    .*\n|\n)+)", THREE.read_text(), re.M)[1])


@pytest.mark.parametrize("text", [ONE.read_text(), cluster()], ids=["one", "three"])
def test_a_configuration_is_accepted(text, tmp_path):
    (tmp_path / "nats.conf").write_text(text)
    environment = {**os.environ, "CHAT_PASSWORD": "p123", "POD_NAME": "nats-0"}

    done = subprocess.run([server(), "-t", "--config", "nats.conf"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=20)

    assert done.returncode == 0 and "is valid" in done.stderr, done.stderr


def test_both_give_the_same_rights():
    accounts = lambda text: re.search(r"^accounts \{\n.*?^\}", text, re.M | re.S)[0]

    assert accounts(cluster()) == accounts(ONE.read_text())


@pytest.fixture
def pods(tmp_path):
    """Two gateways of examples/nats.yaml."""
    nats = json.loads(os.environ["BROKER_NATS"])
    secrets = {
        "chat-jwt": {"hmac": b"x" * 32}, "chat-api": {"api-key": API_KEY}, "chat-nats": {"user": "chat", "password": nats["password"]},
    }
    pods = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pods.append(pod := Gateway.__new__(Gateway))
        Started.__init__(pod, tmp_path / name, {}, secrets)
        pod.spec = {}
        pod.manifest.write_text(MANIFEST.read_text().replace("nats://127.0.0.1:4222", nats["urls"][0]))
        pod.serve()
    for pod in pods:
        pod.wait_until_listening()
    yield pods
    for pod in pods:
        pod.kill()


def test_the_manifest_serves(pods):
    one, two = pods

    with enter(one) as client:
        at = client.ask("subscribe", channel="public.hello")
        place = two.publish("public.hello", "hi")
        assert place["epoch"] == at["epoch"]
        while (envelope := client.get())["type"] != "message":  # its own join
            pass
        assert envelope["payload"] == {"channel": "public.hello", "data": "hi", "offset": place["offset"]}
