"""Revocations: of a token and of a user, on all pods, now and later."""

import contextlib, time

import pytest

from client import enter, outcome, refused
from gateway import eventually
from hub import apart, connected
from nats import Nats, account
from tokens import token
from way import Way


@pytest.fixture
def separate(tmp_path):
    """A NATS server of its own, a hub at it, and the way of the hub's pod `b` to it."""
    nats = Nats(tmp_path / "nats", accounts=account("chat"))
    with contextlib.closing(Way(nats.port)) as way, apart(tmp_path, nats, 2, [nats.url, way.url]) as hub:
        yield nats, hub, way


def revoke(pod, user):
    """Also where another pod is cut off, which makes the answer a part."""
    status, answer = pod.http("POST", "/api/v1/revocations", {"user": user, "expires": int(time.time()) + 600})
    assert status == 200, answer


def test_a_revoked_user_is_closed_and_refused_everywhere(start):
    hub = start()
    expires = int(time.time()) + 600

    with enter(hub.a, token()) as one, enter(hub.b, token()) as two, enter(hub.c, token("bob")) as bob:
        answer = hub.c.api("revocations", {"user": "alice", "expires": expires})
        assert answer["connections"] == 2
        assert [client.until_closed() for client in (one, two)] == [4504, 4504]
        for pod in hub.pods:
            eventually(lambda: outcome(pod, token()) == "token", "the user is refused")
            assert outcome(pod, token("bob")) == "open"
        refused(hub.add(), 401, "token", token())
        assert bob.ask("ping") is None


def test_a_revoked_token_is_closed_and_refused_everywhere(start):
    hub = start()
    expires = int(time.time()) + 600
    revoked, good = token(jti="stolen"), token(jti="good")

    with enter(hub.a, revoked) as one, enter(hub.b, revoked) as two, enter(hub.c, good) as other:
        assert hub.c.api("revocations", {"jti": "stolen", "expires": expires})["connections"] == 2
        assert [client.until_closed() for client in (one, two)] == [4504, 4504]
        for pod in [*hub.pods, hub.add()]:
            eventually(lambda: outcome(pod, revoked) == "token", "the token is refused")
            assert outcome(pod, good) == "open"
        assert other.ask("ping") is None


def test_a_revocation_ends_with_its_time_on_every_pod(start):
    hub = start()
    expires = int(time.time()) + 10

    hub.a.api("revocations", {"jti": "short", "expires": expires})

    for pod in hub.pods:
        eventually(lambda: outcome(pod, token(jti="short")) == "token", "the token is refused")
    assert time.time() < expires, "this machine is too slow to see the refusal before its end"
    for pod in [*hub.pods, hub.add()]:
        eventually(lambda: outcome(pod, token(jti="short")) == "open", "the revocation has ended", 20)


def test_names_of_what_is_revoked_are_only_names(start):
    hub = start()
    expires = int(time.time()) + 600
    odd = ["a.b", "a.>", "*", ">", "a b", "ü" * 100, "x" * 255, "a_2Eb"]

    for number, user in enumerate(odd):
        hub.pods[number % len(hub.pods)].api("revocations", {"user": user, "expires": expires})

    late = hub.add()
    for pod in [hub.a, late]:
        for user in odd:
            eventually(lambda: outcome(pod, token(user)) == "token", f"{user} is refused")
        for user in ["a", "a.c", "A.B", "x" * 254]:
            assert outcome(pod, token(user)) == "open"


@pytest.mark.pods
def test_who_was_cut_off_reads_what_was_revoked_meanwhile(separate):
    nats, hub, way = separate
    with enter(hub.b, token()) as client:
        way.cut()
        connected([hub.b], False)
        revoke(hub.a, "alice")
        # Nobody is left who could say that there is something to read.
        hub.a.kill()

        way.mend()

        assert client.until_closed(20) == 4504
        assert outcome(hub.b, token()) == "token"


@pytest.mark.pods
def test_who_was_cut_off_reads_what_was_revoked_since_the_broker_was_emptied(separate):
    nats, hub, way = separate
    for number in range(5):
        revoke(hub.a, f"old-{number}")
    eventually(lambda: outcome(hub.b, token("old-4")) == "token", "the last one is refused")
    nats.restart(empty=True)
    for pod in hub.pods:
        connected([pod], True)
    with enter(hub.b, token()) as client:
        way.cut()
        connected([hub.b], False)
        eventually(lambda: hub.a.http("POST", "/api/v1/revocations", {"user": "alice", "expires": int(time.time()) + 600})[0] == 200, "it is revoked", 20)

        way.mend()

        assert client.until_closed(20) == 4504
        assert outcome(hub.b, token()) == "token"
