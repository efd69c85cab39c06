"""Names in the pages are names in the product: metrics, events, codes, fields, routes."""

import json, re, subprocess

import pytest

from pages import PAGES, ROOT, codes, column, fences, prose, tables

DOCS = ROOT / "docs"
# A browser's own: they are never in a close frame (RFC 6455, section 7.4.1).
BROWSERS = {1005, 1006}
APPLICATIONS = {4100, 4199, 4900, 4999}
# Files of a Secret, not fields.
FILES = {"tls.crt", "tls.key"}


def close_codes():
    """What the gateway closes with."""
    return {int(code) for code in re.findall(r"=> (\d{4}),", (ROOT / "gateway/src/protocol/close.rs").read_text())}


def api_codes():
    return set(re.findall(r'"([a-z_]+)"', "".join(it.read_text() for it in (ROOT / "gateway/src/api").glob("*.rs"))))


@pytest.fixture(scope="session")
def metrics(ask):
    return ask("GET", "/metrics")[1]


def labels(metrics, name, label):
    return set(re.findall(rf'^realtime_gateway_{name}{{{label}="(\w+)"}}', metrics, re.M))


def families(metrics):
    return set(re.findall(r"^# TYPE (realtime_gateway_\w+)", metrics, re.M))


def check(title, known, places=PAGES):
    """Every code in a column of this title is known."""
    for page in places:
        for cell in column(page, title):
            assert set(codes(cell)) <= known, f"{page.name}: {cell}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_metrics_exist(page, metrics):
    named = set(re.findall(r"\brealtime_gateway_\w+", page.read_text()))
    known = families(metrics)
    series = {f"{name}_{suffix}" for name in known for suffix in ("bucket", "count", "sum")}
    # certificate_expiry_seconds is there with TLS alone.
    assert named <= known | series | {"realtime_gateway_certificate_expiry_seconds"}


def test_every_metric_is_explained(metrics):
    explained = {name for cell in column(DOCS / "observe.md", "metric") for name in codes(cell)}

    assert {name.removeprefix("realtime_gateway_") for name in families(metrics)} <= explained


def test_labels_exist(metrics):
    check("refusal", labels(metrics, "connections_refused_total", "reason"))
    check("close reason", labels(metrics, "connections_closed_total", "reason"))
    check("error code", labels(metrics, "errors_total", "code"))


def test_api_codes_exist():
    check("API code", api_codes())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_events_exist(page):
    known = {name for cell in column(DOCS / "events.md", "event") for name in codes(cell)}
    named = re.findall(r"\bevents? ((?:`\w+`(?:, | and |,\n)?)+)", prose(page))

    assert {name for names in named for name in codes(names)} <= known


def test_reasons_of_refused_tokens_are_the_products():
    source = "".join(it.read_text() for it in (ROOT / "gateway/src/auth").rglob("*.rs"))
    for cell in column(DOCS / "troubleshoot.md", "the event `token_refused` says"):
        for words in codes(cell):
            assert f'"{words}"' in source, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_fields_exist(page, binary):
    """What looks like a field of the manifest is one, or one of /status."""
    schema = json.loads(subprocess.run([binary, "schema"], capture_output=True, check=True, timeout=10).stdout)
    status = next(json.loads(fence.text) for fence in fences(DOCS / "status.md") if fence.language == "json")
    known = FILES | set(paths(schema)) | {f"{group}.{field}" for group, it in status.items() if isinstance(it, dict) for field in it}
    groups = {path for path in known if "." not in path}
    for name in re.findall(r"`(?:spec\.)?([a-z]\w+(?:\.\w+)+)", prose(page)):
        assert name in known or name.split(".")[0] not in groups, f"{name}: no such field"


def paths(schema, before=""):
    """The paths of all fields of a JSON Schema; those of list items without []."""
    if before == "" and "spec" in schema.get("properties", {}):
        schema = schema["properties"]["spec"]
    for name, field in schema.get("properties", {}).items():
        yield before + name
        yield from paths(field, f"{before}{name}.")
        yield from paths(field.get("items", {}), f"{before}{name}.")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_close_codes_exist(page):
    cells = [re.findall(r"\b\d{4}\b", cell) for cell in column(page, "close code")]
    named = {int(code) for codes in cells for code in codes}
    named |= {int(code) for code in re.findall(r"\b(?:10(?:0\d|1[0-5])|4[1459]\d\d)\b", prose(page))}

    assert named <= close_codes() | BROWSERS | APPLICATIONS


def test_the_protocol_page_has_every_code(metrics):
    page = DOCS / "protocol.md"
    inside = lambda title: {code for cell in column(page, title) for code in codes(cell)}

    assert inside("error code") == labels(metrics, "errors_total", "code")
    # These end a connection before there is a request to answer.
    assert inside("refusal") == labels(metrics, "connections_refused_total", "reason") - {"proxy_header", "tls", "timeout"}
    assert {int(code) for cell in column(page, "close code") for code in re.findall(r"\d{4}", cell)} == close_codes()


def test_the_status_page_shows_the_fields_that_there_are(ask):
    shown = next(json.loads(fence.text) for fence in fences(DOCS / "status.md") if fence.language == "json")
    shape = lambda it: {key: shape(value) for key, value in it.items()} if isinstance(it, dict) else None

    assert shape(shown) == shape(json.loads(ask("GET", "/status")[1]))


def test_documented_routes_exist(ask):
    routes = [code.split() for cell in column(DOCS / "server-api.md", "call") for code in codes(cell)]
    assert len(routes) >= 15
    for method, path in routes:
        path = re.sub(r"\{\w+\}", "a", path)
        status, body = ask(method, path, b"[]" if method == "POST" else None)
        unknown = status == 405 or status == 404 and "path" in body
        assert not unknown and status < 500, f"{method} {path}: {status} {body}"
