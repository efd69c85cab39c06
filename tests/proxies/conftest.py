"""Starts what a test needs and ends it, whatever happened."""

import pytest

from processes import Gateway, Proxy


@pytest.fixture
def behind(tmp_path):
    """Starts a gateway with a proxy in front of it; `behind.gateway` starts one alone."""
    running = []

    def begin(file, replace=None, **spec):
        gateway = begin.gateway(**spec)
        folder = tmp_path / file
        folder.mkdir()
        proxy = Proxy(folder, file, gateway, replace)
        running.append(proxy)
        return gateway, proxy

    def gateway(**spec):
        folder = tmp_path / str(len(running))
        folder.mkdir()
        running.append(Gateway(folder, {"auth": {"mode": "Disabled"}, "drain": {"period": "10s", "endpointGrace": "1s"}, **spec}))
        return running[-1]

    begin.gateway = gateway

    yield begin
    for it in reversed(running):
        it.end()
