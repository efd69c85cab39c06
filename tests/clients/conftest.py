"""What tests are handed: gateways that end with the test."""

import pytest

from gateway import SPEC, Gateway


@pytest.fixture
def start(tmp_path):
    """Starts gateways with the common manifest, changed as the test says."""
    running = []

    def begin(arguments=(), secrets=True, wait=True, **changes):
        folder = tmp_path / str(len(running))
        folder.mkdir()
        gateway = Gateway.__new__(Gateway)
        running.append(gateway)
        gateway.__init__(folder, {**SPEC, **changes}, arguments, secrets, wait)
        return gateway

    yield begin
    for gateway in running:
        if hasattr(gateway, "process"):
            gateway.kill()


def pytest_collection_modifyitems(items):
    """What takes longest begins first, so that nobody waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: waits for a time that the protocol fixes")
