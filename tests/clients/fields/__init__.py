"""A row for every field of the manifest: what a client sees of it, and how a bad value is refused."""

from . import access, addresses, auth, channels, delivery, jwks, limits, messages, startup

ROWS = [*access.ROWS, *addresses.ROWS, *limits.ROWS, *messages.ROWS, *delivery.ROWS, *auth.ROWS, *jwks.ROWS, *channels.ROWS, *startup.ROWS]
