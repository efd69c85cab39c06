"""Where a client's address comes from."""

from client import join, outcome
from raw import Raw

from .access import CHOICE
from .row import Row

ONE_EACH = {"limits": {"perAddress": {"connections": 1}}}
TRUSTED = {**ONE_EACH, "clientAddress": {"trustedProxies": ["127.0.0.0/8"]}}


def two_forwarded(gateway):
    """What becomes of a second client behind one proxy, with an address of its own in the header."""
    try:
        with join(gateway, headers={"X-Forwarded-For": "198.51.100.1"}):
            return outcome(gateway, headers={"X-Forwarded-For": "198.51.100.2"})
    except Exception as error:
        return repr(error)


def proxy_header(gateway):
    try:
        Raw(gateway, before="PROXY TCP4 198.51.100.1 127.0.0.1 1234 80\r\n").tcp.close()
        return "open"
    except (AssertionError, OSError):
        return "refused"


ROWS = [
    Row(
        "clientAddress.from", "Socket", two_forwarded, "address", {"clientAddress.from": "XForwardedFor"}, "open", base=TRUSTED,
        bad="Header", says=f" is Header{CHOICE} Socket, XForwardedFor, ProxyProtocol",
    ),
    Row(
        "clientAddress.from", "Socket", proxy_header, "refused", {"clientAddress.from": "ProxyProtocol"}, "open", base=TRUSTED,
        variant="ProxyProtocol",
    ),
    Row(
        "clientAddress.trustedProxies", "[]", two_forwarded, "address", {"clientAddress.trustedProxies": ["127.0.0.1"]}, "open",
        base={**ONE_EACH, "clientAddress": {"from": "XForwardedFor", "trustedProxies": ["10.0.0.0/8"]}},
        bad=["10.0.0.1/8"], says="[0] is 10.0.0.1/8: an address inside 10.0.0.0/8, not a network; must be a network such as 10.0.0.0/8",
    ),
]
