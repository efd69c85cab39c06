"""The manifests and publishers of examples/, run as their usage says, against the real binary."""

import http.server, json, shutil, subprocess, sys, threading, urllib.request

import pytest

from client import enter
from gateway import API_KEY, ROOT, SPEC

PUBLISHERS = {"python": [sys.executable, str(ROOT / "examples/publish.py")], "node": ["node", str(ROOT / "examples/publish.mjs")]}
by_each = pytest.mark.parametrize("publisher", PUBLISHERS.values(), ids=PUBLISHERS)


def run(publisher, *arguments):
    return subprocess.run([*publisher, *arguments], capture_output=True, text=True, timeout=30)


def options(gateway, url=None):
    return ["--url", url or f"http://{gateway.internal}", "--key-file", str(gateway.secrets / "api/api-key")]


@by_each
def test_a_publisher_publishes_json_and_text(start, publisher):
    gateway = start()

    with enter(gateway) as client:
        client.ask("subscribe", channel="kept.a")
        done = run(publisher, *options(gateway), "kept.a", '{"text": "hi"}', "7", "just words")
        assert done.returncode == 0, done
        places = [json.loads(line) for line in done.stdout.splitlines()]
        assert [it["channel"] for it in places] == ["kept.a"] * 3 and places[0]["offset"] < places[2]["offset"]
        assert client.messages(3) == [{"text": "hi"}, 7, "just words"]


@by_each
def test_a_publisher_says_what_is_wrong(start, publisher):
    gateway = start()

    done = run(publisher, *options(gateway), "a..b", "1")
    assert done.returncode != 0 and "400" in done.stderr and "Traceback" not in done.stderr
    done = run(publisher, "--key-file", "/nowhere", "public.a", "1")
    assert done.returncode != 0 and "/nowhere" in done.stderr and "Traceback" not in done.stderr
    assert run(publisher).returncode != 0 and "usage" in run(publisher).stderr.lower()
    assert "--key-file" in run(publisher, "--help").stdout


@by_each
def test_a_publisher_tries_again_with_the_same_key(start, publisher):
    gateway = start(channels=SPEC["channels"])
    bodies = []

    class Shaky(http.server.BaseHTTPRequestHandler):
        """Answers 503 first; then publishes, and says 503 all the same; then publishes once more."""

        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
            answer = b'{"error":{"code":"unavailable","message":"try again"}}'
            if len(bodies) > 1:
                request = urllib.request.Request(f"http://{gateway.internal}{self.path}", bodies[-1], headers)
                answer = urllib.request.urlopen(request, timeout=10).read()
            self.send_response(200 if len(bodies) > 2 else 503)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with enter(gateway) as client:
        client.ask("subscribe", channel="kept.a")
        done = run(publisher, *options(gateway, f"http://127.0.0.1:{server.server_port}"), "kept.a", "1")
        server.shutdown()
        server.server_close()
        assert done.returncode == 0 and json.loads(done.stdout)["offset"] >= 1, done
        assert len(bodies) == 3 and len({json.loads(body)["key"] for body in bodies}) == 1
        assert [it["data"] for it in client.ask("history", channel="kept.a")["messages"]] == [1]
        assert client.messages(1) == [1] and not client.waiting


@pytest.mark.parametrize("name, channel, options", [("gateway", "public.lobby", {}), ("minimal", "anything", {"origin": "https://app.example.com"})])
def test_a_manifest_serves(start, name, channel, options):
    gateway = start(wait=False)
    gateway.kill()
    shutil.copy(ROOT / f"examples/{name}.yaml", gateway.manifest)
    gateway.secret("chat-jwt", hmac=b"x" * 32)
    gateway.secret("chat-api", **{"api-key": API_KEY})
    gateway.serve()
    gateway.wait_until_listening()

    with enter(gateway, **options) as client:
        assert client.ask("subscribe", channel=channel)["channel"] == channel
        assert client.ask("message", channel=channel, data={"name": "me", "text": "hi"})["channel"] == channel
        envelope = client.get()
        while envelope["type"] != "message":
            envelope = client.get()
        assert envelope["payload"]["data"] == {"name": "me", "text": "hi"}
