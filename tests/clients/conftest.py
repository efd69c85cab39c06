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
    """What takes longest begins first, each beside a short one: workers are handed two at a time."""
    long = [item for item in items if item.get_closest_marker("long")]
    short = [item for item in items if item not in long]
    beside, rest = short[: len(long)], short[len(long) :]
    items[:] = [item for pair in zip(long, beside) for item in pair] + long[len(beside) :] + rest


def pytest_configure(config):
    config.addinivalue_line("markers", "long: waits for a time that the protocol fixes")
