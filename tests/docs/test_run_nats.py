"""What `make run-nats` does when a part of it ends, and at Ctrl-C. The parts are stand-ins, the script is the real one."""

import os
import re
import signal
import subprocess
import time

import pytest

from pages import ROOT

PART = """#!/usr/bin/env bash
# Says what it is told, and ends at SIGTERM as a drain does: after a moment.
trap 'echo "told TERM"; sleep 0.3; echo "drained"; exit 0' TERM
trap 'echo "told INT"; exit 0' INT
echo "runs as $BASHPID"
while true; do read -rt 0.1 <> <(:) || true; done
"""
RUNS = re.compile(r"^(nats|pod[123])  runs as (\d+)$", re.MULTILINE)


@pytest.fixture
def begin(tmp_path):
    """Starts the script, and waits until its four parts run: it, their processes by name, and what it has said."""
    started = []

    def begin():
        part = tmp_path / "part"
        part.write_text(PART)
        part.chmod(0o755)
        for file in ("chat-api/api-key", "chat-nats/password"):
            (tmp_path / file).parent.mkdir()
            (tmp_path / file).write_text("p4")
        log = tmp_path / "log"
        script = subprocess.Popen(
            [ROOT / "examples/run-nats.sh", part, part, tmp_path],
            stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True,
        )
        started.append(script)
        deadline = time.monotonic() + 10
        while len(RUNS.findall(log.read_text())) < 4:
            if script.poll() == 69:
                pytest.skip(f"its ports are in use: {log.read_text()}")
            assert time.monotonic() < deadline, f"four parts run within 10 s: {log.read_text()}"
            time.sleep(0.05)
        return script, {name: int(process) for name, process in RUNS.findall(log.read_text())}, log.read_text

    yield begin
    for script in started:
        if script.poll() is None:
            script.terminate()
            script.wait(30)


def end_of(script, parts, said):
    """The exit code, and what was said once all have ended."""
    code = script.wait(20)
    deadline = time.monotonic() + 5
    while "nats  told TERM" not in said() and time.monotonic() < deadline:
        time.sleep(0.05)  # until what stands before each line has passed on the last one
    for name, process in parts.items():
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
            raise AssertionError(f"{name} is left behind: {said()}")
    return code, said()


def is_drained_before_nats_ends(said, pods):
    order = [line for line in said.splitlines() if line.endswith(("drained", "told TERM"))]
    return {f"{pod}  drained" for pod in pods} == set(order[len(pods):2 * len(pods)]) and order[2 * len(pods)] == "nats  told TERM"


def test_a_part_that_ends_is_named_with_its_code_and_the_others_drain(begin):
    script, parts, said = begin()

    os.kill(parts["pod2"], signal.SIGKILL)

    code, said = end_of(script, parts, said)
    assert code == 137
    assert f"pod2 (process {parts['pod2']}) has ended with exit code 137: the others end too" in said
    assert is_drained_before_nats_ends(said, ["pod1", "pod3"]), said


@pytest.mark.parametrize("what, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_the_gateways_and_then_ends_nats(begin, what, code):
    script, parts, said = begin()

    os.killpg(script.pid, what)  # as a terminal does

    ended, said = end_of(script, parts, said)
    assert ended == code
    assert is_drained_before_nats_ends(said, ["pod1", "pod2", "pod3"]), said
    assert "told INT" not in said
