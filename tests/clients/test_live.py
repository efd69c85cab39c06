"""Configuration that changes under live connections, and Secrets that come, change and go."""

import json, os, socket, time

import pytest

from client import enter, outcome, refused
from gateway import API_KEY, KEYS, SPEC, eventually
from raw import HEAD, VERSION, dial
from tokens import SECRET, granted, token


def test_a_bad_manifest_changes_nothing_and_everything_wrong_is_said(start):
    gateway = start()
    before = gateway.status()["config"]["hash"]

    with enter(gateway) as client:
        client.ask("subscribe", channel="public.a")
        text = gateway.refused({**SPEC, "maxConnections": 0, "channels": [{"match": "**", "subscribe": "Nobody"}]})
        assert "spec.maxConnections is 0" in text
        status = gateway.status()["config"]
        assert "spec.maxConnections" in json.dumps(status["error"]) and status["hash"] == before
        assert gateway.metric("config_reloads_total", result="refused") == 1
        assert client.ask("ping") is None and not client.waiting
        gateway.change(maxConnections=5)
        config = gateway.status()["config"]
        assert config["error"] is None and config["hash"] != before
        assert gateway.metric("config_info", hash=config["hash"]) == 1


def test_what_is_put_back_after_a_refusal_is_said(start):
    gateway = start()
    before = gateway.status()["config"]

    gateway.refused({**SPEC, "maxConnections": 0})
    gateway.change()

    assert gateway.log[-1]["event"] == "config_applied" and gateway.log[-1]["hash"] == before["hash"]
    assert gateway.status()["config"] == before


def test_a_change_is_applied_within_a_second(start):
    gateway = start()

    times = []
    for count in (11, 12, 13):
        began = time.monotonic()
        gateway.change(maxConnections=count)
        eventually(lambda: gateway.status()["capacity"] == count, "the new capacity")
        times.append(time.monotonic() - began)
    assert min(times) < 1, times


def test_a_change_counts_for_the_first_connection_after_it(start):
    gateway = start()

    for permission, expected in [("Deny", "origin"), ("Allow", "open")] * 2:
        gateway.change(missingOrigin=permission)
        time.sleep(1)  # as long as a change may take; whoever comes then is judged by it
        assert [outcome(gateway) for _ in range(4)] == [expected] * 4


def test_a_handshake_is_judged_by_the_settings_at_its_end(start):
    gateway = start(auth={**SPEC["auth"], "mode": "Required"})
    head = f"GET /ws HTTP/1.1\r\n{HEAD}{VERSION}Authorization: Bearer {token()}\r\n"
    slow = [dial(gateway) for _ in range(4)]
    for tcp in slow:
        tcp.sendall(head.encode())

    other = b"another-secret-of-thirty-two-byt"
    gateway.secret("jwt", hmac=other)
    eventually(lambda: outcome(gateway, bearer=token(secret=other)) == "open", "the new key is in use")
    for tcp in slow:
        tcp.sendall(b"\r\n")
        assert tcp.recv(1_000).startswith(b"HTTP/1.1 401 "), "the key was gone before the request was whole"
        tcp.close()


def test_kubernetes_swaps_a_link(start, tmp_path):
    def version(name, **changes):
        folder = tmp_path / "config" / name
        folder.mkdir(parents=True)
        document = {"apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": "a"}, "spec": {**SPEC, **changes}}
        (folder / "gateway.yaml").write_text(json.dumps(document))
        os.symlink(name, tmp_path / "config" / "..data.new")
        os.replace(tmp_path / "config" / "..data.new", tmp_path / "config" / "..data")

    version("..1")
    os.symlink("..data/gateway.yaml", tmp_path / "config" / "gateway.yaml")
    gateway = start(wait=False)
    gateway.kill()
    gateway.manifest = tmp_path / "config" / "gateway.yaml"
    gateway.serve()
    gateway.wait_until_listening()
    version("..2", maxConnections=77)
    eventually(lambda: gateway.status()["capacity"] == 77, "the swapped manifest counts")


def test_rules_are_checked_again_for_those_who_are_here(start):
    gateway = start()

    with enter(gateway) as anonymous, enter(gateway, granted(subscribe=["public.*"])) as alice:
        for client in (anonymous, alice):
            client.ask("subscribe", channel="public.a")
        gateway.change(channels=[{"match": "**"}])
        assert anonymous.get() == {"type": "unsubscribed", "payload": {"channel": "public.a", "code": "forbidden", "reason": "no longer allowed"}}
        gateway.publish("public.a", 1)
        assert alice.messages(1) == [1]
        assert anonymous.ask("ping") is None and not anonymous.waiting


def test_origins_count_for_new_handshakes_alone(start):
    gateway = start(allowedOrigins=["https://app.example"])

    with enter(gateway, origin="https://app.example") as client:
        gateway.change(allowedOrigins=["https://other.example"])
        eventually(lambda: outcome(gateway, origin="https://app.example") == "origin", "the new origins count")
        assert client.ask("ping") is None


def test_a_rotated_key_lets_both_in_and_then_the_new_one(start):
    fresh = b"another secret, also of 32 bytes"
    keys = [{"algorithm": "HS256", "key": "hmac", "kid": "a"}, {"algorithm": "HS256", "key": "fresh", "kid": "b"}]
    gateway = start()
    old, new = token(header={"kid": "a"}), token(secret=fresh, header={"kid": "b"})
    refused(gateway, 401, "token", new)

    gateway.secret("jwt", fresh=fresh)
    gateway.change(auth={**SPEC["auth"], "jwt": {**KEYS, "keys": keys}})
    eventually(lambda: outcome(gateway, new) == "open" == outcome(gateway, old), "both keys vouch")
    gateway.change(auth={**SPEC["auth"], "jwt": {**KEYS, "keys": keys[1:]}})
    eventually(lambda: outcome(gateway, old) == "token", "the old key is gone")
    assert outcome(gateway, new) == "open"


@pytest.mark.long
def test_who_was_vouched_for_by_a_key_that_is_gone_is_sent_away(start):
    fresh = b"another secret, also of 32 bytes"
    gateway = start()
    with enter(gateway, token()) as alice, enter(gateway) as anonymous:
        gateway.secret("jwt", hmac=fresh)
        eventually(lambda: outcome(gateway, token(secret=fresh)) == "open", "the new key vouches")
        refused(gateway, 401, "token", token())
        assert alice.until_closed(65) == 4401
        assert anonymous.ask("ping") is None



def test_a_secret_that_vanishes_stays_in_use(start):
    gateway = start()

    with enter(gateway, token()) as client:
        mark = len(gateway.log)
        (gateway.secrets / "jwt" / "hmac").unlink()
        eventually(lambda: len(gateway.log) > mark, "it is reported")
        assert gateway.log[mark]["level"] == "WARN" and "jwt" in json.dumps(gateway.log[mark])
        assert client.ask("ping") is None and outcome(gateway, token()) == "open"
        assert gateway.http("GET", "/readyz")[0] == 200


def test_api_keys_rotate(start):
    gateway = start()
    second = "another-key-0123456789"

    stats = lambda key: gateway.http("GET", "/api/v1/stats", key=key)[0]
    assert (stats(API_KEY), stats(second)) == (200, 401)
    gateway.secret("api", **{"api-key": f"{API_KEY}\n{second}\n"})
    eventually(lambda: stats(second) == 200, "both keys count")
    assert stats(API_KEY) == 200
    gateway.secret("api", **{"api-key": second})
    eventually(lambda: stats(API_KEY) == 401, "the old key is gone")
    assert stats(second) == 200


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_missing_secret_keeps_the_gateway_not_ready_until_it_appears(start):
    public, internal = (f"127.0.0.1:{free_port()}" for _ in range(2))
    gateway = start(arguments=("--listen", public, "--internal-listen", internal), secrets=False, wait=False)
    gateway.internal = internal

    def says_what_is_missing():
        try:
            status, answer = gateway.http("GET", "/readyz")
        except OSError:  # the internal port is not open yet
            return False
        assert status == 503
        return "jwt" in json.dumps(answer)

    eventually(says_what_is_missing, "/readyz names the Secret")
    missing = gateway.wait_for("secret_missing")
    assert missing["path"] == str(gateway.secrets / "jwt" / "hmac")
    assert gateway.http("GET", "/livez")[0] == 200
    status, answer = gateway.http("GET", "/api/v1/stats")
    assert (status, answer["error"]["code"]) == (503, "unavailable"), "the API's keys are still to come: worth another try"
    gateway.secret("jwt", hmac=SECRET)
    gateway.secret("api", **{"api-key": API_KEY})
    gateway.wait_until_listening()
    enter(gateway, token()).close()
    assert gateway.api("publish", {"channel": "public.a", "data": 1})["results"]
