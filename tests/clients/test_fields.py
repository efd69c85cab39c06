"""Every field of the manifest: its default, a live change that a client sees, a bad value and its words."""

import json, re, subprocess

import pytest

from fields import ROWS
from fields.operator import REFUSED
from fields.row import put
from gateway import BINARY, ROOT, SPEC, Gateway, eventually, stays


SEEN = [pytest.param(row, id=row.name, marks=[pytest.mark.long] if row.lasts > 5 else []) for row in ROWS if row.see]


@pytest.mark.parametrize("row", SEEN)
def test_a_change_is_seen_by_a_client(start, row):
    base = put(SPEC, row.base)
    gateway = begin(start, row, base)
    is_seen = lambda expected: eventually(lambda: row.see(gateway) == expected, f"a client sees {expected}", row.lasts)

    is_seen(row.before)
    gateway = begin(start, row, base) if row.ends else gateway
    changed = put(base, row.change)
    gateway.change(**{**{name: None for name in gateway.spec}, **changed})
    if row.at_start:
        eventually(lambda: gateway.status()["config"]["restartRequired"] == [row.at_start], "it says that it needs a restart")
        assert gateway.metric("config_restart_required") == 1
        assert stays(lambda: row.see(gateway) == row.before), "it counts without a restart"
        gateway.restart()
        assert gateway.status()["config"]["restartRequired"] == []
    is_seen(row.after)


def begin(start, row, spec):
    gateway = start(wait=False, **{**spec, **{name: spec.get(name) for name in SPEC}})
    row.prepare(gateway)  # it may be waiting for a Secret
    gateway.wait_until_listening()
    return gateway


@pytest.mark.parametrize("row", [it for it in ROWS if it.bad is not None], ids=lambda row: row.name)
def test_a_bad_value_is_refused_in_words(shared, row):
    text = shared.refused(put(put(put(SPEC, row.base), row.change), {row.path: row.bad}))

    assert f"spec.{row.at or row.path}{row.says}" in text


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One gateway that is offered one bad manifest after the other."""
    gateway = Gateway(tmp_path_factory.mktemp("shared"), SPEC)
    yield gateway
    assert gateway.status()["config"]["hash"] and gateway.http("GET", "/readyz")[0] == 200
    gateway.kill()


@pytest.mark.parametrize("path", REFUSED)
def test_a_bad_value_for_the_operator_is_refused_too(tmp_path, path):
    value, says = REFUSED[path]
    document = {"apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": "a"}, "spec": put(SPEC, {path: value})}
    (tmp_path / "gateway.yaml").write_text(json.dumps(document))

    check = subprocess.run([BINARY, "check", str(tmp_path / "gateway.yaml")], capture_output=True, text=True, timeout=10)

    assert check.returncode == 65, check
    assert f"spec.{path}{says}" in check.stdout + check.stderr


def documented(begin, end):
    """The fields of a part of docs/configuration.md, with their defaults; groups have none of their own."""
    part = (ROOT / "docs/configuration.md").read_text().split(f"\n## {begin}\n")[1].split(f"\n## {end}\n")[0]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in part.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[2].replace("`", "").split(",")[0] for row in rows if row[1] != "group"}


def test_the_table_has_every_field_that_the_gateway_reads():
    fields = documented("What the gateway does", "Read once at start") | documented("Read once at start", "How it is deployed")

    assert {row.field: row.default for row in ROWS} == fields
    assert all(row.see or row.field.startswith("broker.") for row in ROWS)
    assert {row.field for row in ROWS if row.bad is not None} == set(fields)


def test_the_table_has_every_field_of_the_operator():
    fields = documented("How it is deployed", "Rules between fields")

    assert {re.sub(r"\[[0-9]+\]", "[]", path) for path in REFUSED} == set(fields)
