"""One NATS for a whole run, made by the process that hands out the tests, and in it an account for each hub."""

import itertools, json, os, tempfile
from pathlib import Path

import pytest

from hub import BROKER, IS_NATS, SPEC, Hub
from nats import PASSWORD, Cluster, Nats, account, stranger

HUBS_MAX = 240  # of one run


def pytest_configure(config):
    config.addinivalue_line("markers", "long: waits for a time that the protocol fixes")
    config.addinivalue_line("markers", "pods: of what only several pods can do")
    if not IS_NATS or hasattr(config, "workerinput"):
        return
    config.nats_folder = tempfile.TemporaryDirectory(prefix="headgate-nats-")
    folder = Path(config.nats_folder.name)
    accounts = account("chat") + "".join(account(f"t{i}") + stranger(f"stranger-to-t{i}") for i in range(HUBS_MAX))
    config.nats = Cluster(folder, accounts=accounts) if BROKER == "nats3" else Nats(folder, accounts=accounts)
    config.nats.start().wait_until_ready()
    nodes = config.nats.nodes if BROKER == "nats3" else [config.nats]
    # Workers are processes of their own.
    os.environ["BROKER_NATS"] = json.dumps({"urls": [it.url for it in nodes], "ports": [it.port for it in nodes], "password": PASSWORD})


def pytest_unconfigure(config):
    if hasattr(config, "nats"):
        config.nats.kill()
        config.nats_folder.cleanup()


def pytest_collection_modifyitems(items):
    items[:] = [it for it in items if IS_NATS or not it.get_closest_marker("pods")]
    items.sort(key=lambda it: not it.get_closest_marker("long"))


def names():
    """Names of hubs that no other worker takes."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return (f"t{i}" for i in itertools.count(worker, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))))


NAMES = names()


@pytest.fixture
def start(tmp_path):
    """Starts hubs with the common manifest, changed as the test says."""
    running = []

    def begin(**changes):
        name = next(NAMES)
        folder = tmp_path / name
        folder.mkdir()
        running.append(hub := Hub(folder, name, json.loads(os.environ["BROKER_NATS"]) if IS_NATS else None, {**SPEC, **changes}))
        hub.start()
        return hub

    yield begin
    for hub in running:
        hub.kill()
