"""Rights at NATS: what one gateway has there, another's credentials can neither read nor write."""

import json, os

import pytest

from client import enter
from hub import is_idle
from nats_wire import Wire

pytestmark = pytest.mark.pods


@pytest.fixture
def hub(start):
    """A hub with something in history, and a client that hears `kept.a` and `public.a`."""
    hub = start()
    with enter(hub.b) as hub.client:
        for channel in ("kept.a", "public.a"):
            hub.client.ask("subscribe", channel=channel)
        hub.settle("public.a", hub.client)
        hub.a.publish("kept.a", "secret")
        assert hub.client.messages(1) == ["secret"]
        hub.prefix = f"headgate.default.{hub.name}"
        yield hub


def wire(user, **options):
    nats = json.loads(os.environ["BROKER_NATS"])
    return Wire(nats["ports"][0], user, nats["password"], **options)


def another(hub):
    """The name of another gateway, with an account like that of the first."""
    return "t1" if hub.name != "t1" else "t2"


def stranger(hub):
    """The name of somebody who may do everything in an account of his own."""
    return f"stranger-to-{hub.name}"


def test_a_gateways_own_credentials_see_what_it_does(hub):
    with wire(hub.name, inbox=f"{hub.prefix}.inbox.test") as own:
        own.subscribe(f"{hub.prefix}.live.>")
        own.flush()
        hub.c.publish("public.a", "heard")
        assert b"heard" in own.get().data and not own.errors


def test_another_gateways_credentials_reach_no_subject_of_the_first(hub):
    other = another(hub)
    with wire(other, inbox=f"headgate.default.{other}.inbox.test") as it:
        for subject in (f"{hub.prefix}.>", f"{hub.prefix}.live.>", f"{hub.prefix}.inbox.>", ">", "headgate.>", "*.*.*.*.*", "$SYS.>", "_INBOX.>"):
            it.subscribe(subject)
            it.flush()
            assert "Permissions Violation for Subscription" in it.errors.pop(), subject
        for subject in (f"{hub.prefix}.live.kept_2Ea", f"{hub.prefix}.hist.x.kept_2Ea", f"{hub.prefix}.pods", f"{hub.prefix}.ask"):
            it.publish(subject, b'{"v":1}\n"forged"')
            it.flush()
            assert "Permissions Violation for Publish" in it.errors.pop(), subject
    unharmed(hub)


@pytest.mark.parametrize("who", [another, stranger], ids=["another gateway", "a stranger"])
def test_another_account_sees_no_stream_of_the_first(hub, who):
    named = [f"headgate_default_{hub.name}_{rule}" for rule in ("kept_2E_2A_2A", "few_2E_2A_2A")]
    with wire(hub.name, inbox=f"{hub.prefix}.inbox.test") as own:
        assert [own.ask(f"$JS.API.STREAM.INFO.{it}")["config"]["name"] for it in named] == named
    user = who(hub)
    inbox = f"headgate.default.{user}.inbox.test" if who == another else "_INBOX"
    with wire(user, inbox=inbox) as it:
        for stream in named:
            for call, body in [("STREAM.INFO", {}), ("STREAM.MSG.GET", {"seq": 1}), ("STREAM.PURGE", {}), ("STREAM.DELETE", {}), ("DIRECT.GET", {"seq": 1})]:
                answer = it.ask(f"$JS.API.{call}.{stream}", **body)
                assert answer is None or answer["error"]["code"] == 404, (call, answer)
    unharmed(hub)


def test_whoever_may_do_all_in_another_account_hears_and_disturbs_nothing(hub):
    with wire(stranger(hub)) as it:
        it.subscribe(">")
        it.flush()
        hub.c.publish("public.a", 1)
        hub.c.publish("kept.a", 2)
        assert hub.client.messages(2) == [1, 2]
        for subject in ("live.public_2Ea", "live.kept_2Ea", "hist.x.kept_2Ea", "pods", "ask"):
            it.publish(f"{hub.prefix}.{subject}", b'{"v":1}\n"forged"')
        it.flush()
        # It hears itself, and nobody else.
        assert all(b"forged" in message.data for message in it.messages) and len(it.messages) == 5
    unharmed(hub, stored=["secret", 2])


def unharmed(hub, stored=("secret",)):
    hub.a.publish("public.a", "end")
    assert hub.client.messages(1) == ["end"] and is_idle(hub.client)
    assert [it["data"] for it in hub.c.ask_api("channels/kept.a/history")["messages"]] == list(stored)
