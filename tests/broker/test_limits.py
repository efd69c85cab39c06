"""Limits that hold over all pods."""

import pytest

from client import enter, outcome
from gateway import ENDLESS, eventually
from tokens import token

from websockets.exceptions import ConnectionClosed, InvalidStatus


@pytest.fixture
def hub(start):
    return start(limits={**ENDLESS, "connectionsPerUser": 2})


def is_open(client):
    try:
        return client.ask("ping") is None
    except ConnectionClosed as closed:
        assert closed.rcvd.code == 4430
        return False


def stands(pod):
    """Whether another connection of alice is let in and stays for as long as pods need to tell each other."""
    try:
        with enter(pod, token()) as client:
            client.until_closed(3)
        return False
    except InvalidStatus:
        return False
    except AssertionError:  # not closed
        return True


def test_the_newest_beyond_the_limit_goes_and_the_others_stay(hub):
    with enter(hub.a, token()) as one, enter(hub.b, token()) as two, enter(hub.c, token("bob")) as bob:
        eventually(lambda: outcome(hub.c, token()) != "open" or not stands(hub.c), "a third connection is not let stand", 15)
        assert is_open(one) and is_open(two) and is_open(bob)


def test_who_goes_makes_room_on_any_pod(hub):
    with enter(hub.a, token()) as one, enter(hub.b, token()) as two:
        eventually(lambda: outcome(hub.c, token()) == "user_connections", "the third pod knows that the user has two", 15)
        one.close()
        eventually(lambda: stands(hub.c), "there is room again", 15)
        assert is_open(two)


def test_of_many_at_once_as_many_stay_as_may(hub):
    clients = []
    for number in range(9):
        try:
            clients.append(enter((hub.a, hub.b, hub.c)[number % 3], token()))
        except InvalidStatus as error:
            assert error.response.status_code == 429
    try:
        eventually(lambda: [is_open(it) for it in clients].count(True) <= 2, "no more are there than may be", 10)
        eventually(lambda: hub.a.connections()["total"] == 2, "two stay", 5)
        assert [is_open(it) for it in clients].count(True) == 2
    finally:
        for client in clients:
            client.close()
