"""Scans a gateway: `run.py [metrics] [tls] [api]`. A finding of any scanner fails it.

schemathesis tries the server API by its own OpenAPI document, sslyze the TLS of the public port, promtool
the metrics. Each has a fresh gateway.
"""

import json, os, socket, ssl, subprocess, sys, tempfile, time, urllib.error
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "abuse"))

from gateway import API_KEY, Gateway, token
from wire import Peer, connect, endings, envelope, request, wait

BIN = Path(sys.executable).parent


def metrics(gateway):
    """promtool reads the metrics of a gateway on which something of everything has happened."""
    lively(gateway)
    done = subprocess.run([BIN / "promtool", "check", "metrics"], input=gateway.http("/metrics"), capture_output=True, text=True, timeout=20)
    said = (done.stdout + done.stderr).strip()
    return [f"promtool: {line}" for line in said.splitlines()] or ["promtool failed"] * (done.returncode != 0)


def lively(gateway):
    """Connections, messages, errors, refusals, closes."""
    peer = connect(gateway, f"Authorization: Bearer {token()}")
    peer.send(envelope("subscribe", {"channel": "public.a"}, id=1) + envelope("message", {"channel": "public.a", "data": 1}, id=2))
    peer.send(envelope("ping") + envelope("nonsense") + envelope("history", {"channel": "public.a"}))
    assert wait([peer], 5, lambda it: b'"published"' in it.heard and it.heard.count(b'"error"') >= 2), f"heard {bytes(peer.heard)!r}"
    refused = Peer(gateway.public)
    refused.send(request("/elsewhere"))
    assert endings([refused]) == {"404 not_found": 1}, f"an unknown path ended with {refused.ending()}"
    gateway.http("/api/v1/publish", {"channel": "public.a", "data": 2})


def tls(gateway):
    """sslyze against Mozilla's intermediate profile, and every vulnerability it knows of."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        target = "localhost:%d" % gateway.public[1]
        flags = "certinfo robot reneg compression openssl_ccs ems elliptic_curves fallback resum early_data heartbleed".split()
        flags += "sslv2 sslv3 tlsv1 tlsv1_1 tlsv1_2 tlsv1_3".split()
        trusted = gateway.secrets / "tls/ca.crt"
        command = [BIN / "sslyze", "--mozilla_config=intermediate", f"--certinfo_ca_file={trusted}", f"--json_out={report}", *(f"--{it}" for it in flags), target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if not report.exists():
            return [f"sslyze: {done.stdout[-500:]}{done.stderr[-500:]}"]
        result = json.loads(report.read_text())["server_scan_results"][0]["scan_result"]
    found = [*profile(done), *judged(result)]
    return found + alpn(gateway)


def profile(done):
    """What Mozilla's profile demands and the gateway does not do."""
    if done.returncode == 0:
        return []
    at = done.stdout.find("COMPLIANCE AGAINST")
    return [f"sslyze: {line.strip()}" for line in done.stdout[at:].splitlines()[1:] if line.strip()]


def judged(scan):
    """Findings in sslyze's report, each in a sentence."""
    for name, it in scan.items():
        if it["status"] == "ERROR":
            yield f"sslyze: {name} could not be scanned: {it['error_reason']}"
    result = {name: it["result"] for name, it in scan.items() if it["status"] == "COMPLETED"}
    accepted = {name: [suite["cipher_suite"]["name"] for suite in it["accepted_cipher_suites"]] for name, it in result.items() if name.endswith("cipher_suites")}
    for old in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        if suites := accepted[f"{old}_cipher_suites"]:
            yield f"{old} is spoken: {suites}"
    for new in ("tls_1_2", "tls_1_3"):
        if not accepted[f"{new}_cipher_suites"]:
            yield f"{new} is not spoken"
    for suite in accepted["tls_1_2_cipher_suites"]:
        if not suite.startswith("TLS_ECDHE_") or not any(it in suite for it in ("_GCM_", "_POLY1305_")):
            yield f"a weak suite: {suite}"
    bad = {
        ("heartbleed", "is_vulnerable_to_heartbleed"): True, ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection"): True,
        ("tls_compression", "supports_compression"): True, ("tls_1_3_early_data", "supports_early_data"): True,
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos"): True, ("session_renegotiation", "supports_secure_renegotiation"): False,
        ("tls_extended_master_secret", "supports_ems_extension"): False,
    }
    for (scan_name, field), wrong in bad.items():
        if result[scan_name][field] is wrong:
            yield f"{scan_name}: {field} is {wrong}"
    if not result["robot"]["robot_result"].startswith("NOT_VULNERABLE"):
        yield f"robot: {result['robot']['robot_result']}"


def alpn(gateway):
    """http/1.1 alone is spoken; who offers only something else is refused."""
    found = []
    for offered, expected in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], None), (["h2"], "refused")):
        context = ssl.create_default_context(cafile=str(gateway.secrets / "tls/ca.crt"))
        if offered:
            context.set_alpn_protocols(offered)
        try:
            with context.wrap_socket(socket.create_connection(gateway.public, 10), server_hostname="localhost") as peer:
                got = peer.selected_alpn_protocol()
        except ssl.SSLError:
            got = "refused"
        found += [f"ALPN {offered} got {got}, expected {expected}"] * (got != expected)
    return found


def api(gateway):
    """schemathesis with all checks on."""
    path = "/api/v1/openapi.json"
    try:
        gateway.http(path)
    except urllib.error.HTTPError as error:
        return [f"no OpenAPI document: GET {path} is {error.code}"]
    lively(gateway)
    url = "http://%s:%d" % gateway.internal
    command = [BIN / "st", "--config-file", HERE / "schemathesis.toml", "run", url + path, "--url", url, "--checks", "all", "--max-response-time", "2"]
    command += ["--header", f"Authorization: Bearer {API_KEY}", "--no-color", "--output-truncate", "false"]
    with tempfile.TemporaryDirectory() as folder:
        hooks = {**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")}
        done = subprocess.run(command, cwd=folder, env=hooks, capture_output=True, text=True, timeout=300)
    print(done.stdout[done.stdout.find("= SUMMARY") :] if done.returncode == 0 else done.stdout + done.stderr)
    return ["schemathesis: the findings above"] * (done.returncode != 0) + gateway.complaints()


SCANS = {"metrics": (metrics, False), "tls": (tls, True), "api": (api, False)}


def main():
    names = sys.argv[1:] or list(SCANS)
    if unknown := [it for it in names if it not in SCANS]:
        sys.exit(f"no scan is called {unknown[0]}; there are: {', '.join(SCANS)}")
    failed = 0
    for name in names:
        scan, with_tls = SCANS[name]
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            gateway = Gateway(Path(folder), tls=with_tls)
            try:
                found = scan(gateway)
            finally:
                gateway.stop()
        failed += bool(found)
        print(f"{name:8} {time.monotonic() - begun:5.1f} s  {'no finding' if not found else ''}")
        for it in found:
            print(f"    {it}")
    print(f"{len(names) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
