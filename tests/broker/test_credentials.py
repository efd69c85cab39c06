"""What a gateway shows to NATS, what it wants to be shown, and that both are live."""

import pytest

from certificates import Authority
from gateway import SECRETS, eventually, stays
from hub import SPEC, Pod
from nats import PASSWORD, Nats, account
from nkeys import operated

pytestmark = pytest.mark.pods


@pytest.fixture
def begin(tmp_path):
    """Starts a server of NATS, and a gateway `chat` that has these files to show."""
    running = []

    def begin(files, **server):
        nats = Nats(tmp_path / "nats", **server)
        running.append(nats)
        nats.start().wait_until_ready()
        broker = {"type": "NATS", "nats": {"url": nats.url, "credentialsSecretName": "nats"}}
        (tmp_path / "pod").mkdir()
        running.append(pod := Pod(tmp_path / "pod", "chat", {**SPEC, "broker": broker}, {**SECRETS, "nats": files}))
        pod.internal = pod.wait_for("starting")["internal"]  # it listens for clients once it is connected
        return nats, pod

    yield begin
    for it in reversed(running):
        if hasattr(it, "process"):
            it.kill()


def is_ready(pod):
    return pod.http("GET", "/readyz")[0] == 200


def works(pod):
    """Whether it has come to NATS and back."""
    eventually(lambda: is_ready(pod), "the gateway is connected to NATS", 10)
    return pod.publish("kept.a", 1)["offset"] >= 1


def test_a_user_with_a_password(begin):
    _, pod = begin({"user": "chat", "password": PASSWORD}, accounts=account("chat"))

    assert works(pod)


def test_a_credentials_file(begin):
    lines, credentials = operated()
    _, pod = begin({"nats.creds": credentials}, lines=lines)

    assert works(pod)


def test_a_token(begin):
    _, pod = begin({"token": "a-token-of-the-suites"}, lines='authorization: {token: "a-token-of-the-suites"}')

    assert works(pod)


def test_white_space_around_what_a_file_says_does_not_matter(begin):
    _, pod = begin({"user": "chat\n", "password": f"{PASSWORD}\n"}, accounts=account("chat"))

    assert works(pod)


def test_a_wrong_password_is_not_ready_until_it_is_right(begin):
    _, pod = begin({"user": "chat", "password": "wrong"}, accounts=account("chat"))

    assert stays(lambda: not is_ready(pod), 2)
    status = pod.status()
    assert status["broker"]["connected"] is False and status["notReady"]
    pod.secret("nats", password=PASSWORD)
    assert works(pod)


def test_too_few_subscriptions_for_a_pod_itself_are_told_until_there_are_more(begin):
    limit = "jetstream: enabled\n limits: {max_subs: 4}"
    nats, pod = begin({"user": "chat", "password": PASSWORD}, accounts=account("chat").replace("jetstream: enabled", limit, 1))

    eventually(lambda: "takes no more subscriptions" in (pod.status()["broker"].get("problem") or ""), "the reason is told", 10)
    assert stays(lambda: not is_ready(pod), 2)
    nats.configuration.write_text(nats.configuration.read_text().replace(limit, "jetstream: enabled"))
    nats.kill()
    nats.start().wait_until_ready()
    eventually(lambda: is_ready(pod), "it is ready when there is room", 20)
    assert works(pod)


def test_a_server_is_believed_by_the_authority_of_the_secret(begin):
    authority = Authority()
    files = {"user": "chat", "password": PASSWORD, "ca.crt": authority.pem}
    nats, pod = begin(files, accounts=account("chat"), tls=authority.pair(9))

    assert nats.url.startswith("tls://") and works(pod)


def test_a_server_of_another_authority_is_not_believed_until_that_is_trusted(begin):
    authority = Authority()
    files = {"user": "chat", "password": PASSWORD, "ca.crt": Authority().pem}
    _, pod = begin(files, accounts=account("chat"), tls=authority.pair(9))

    assert stays(lambda: not is_ready(pod), 2)
    pod.secret("nats", **{"ca.crt": authority.pem})
    assert works(pod)


def test_a_password_that_changes_is_shown_without_a_restart(begin):
    nats, pod = begin({"user": "chat", "password": PASSWORD}, accounts=account("chat"))
    assert works(pod)

    nats.kill()
    nats.configuration.write_text(nats.configuration.read_text().replace(PASSWORD, "another-password"))
    nats.start().wait_until_ready()
    pod.secret("nats", password="another-password")

    eventually(lambda: pod.status()["broker"]["connected"], "connected anew", 20)
    assert pod.publish("kept.a", 2)["offset"] == 2


def test_a_server_that_takes_less_than_a_message_is_refused_in_words(begin):
    _, pod = begin({"user": "chat", "password": PASSWORD}, accounts=account("chat"), lines="max_payload: 65536")

    eventually(lambda: any("max_payload" in line for line in pod.lines), "the log names max_payload", 10)
    assert not is_ready(pod) and "max_payload" in str(pod.status()["notReady"])
