"""One row of the table, and how values are put into a manifest."""

import copy, re
from dataclasses import dataclass, field
from typing import Any, Callable


@dataclass
class Row:
    """A field, as docs/configuration.md names it, and its default there.

    `see` is what a client sees of it: `before` the change (with the field left out, unless `base`
    has it) and `after`. `bad` is a value, and `says` what the refusal says behind the field's path.
    """

    field: str
    default: str
    see: Callable | None = None
    before: Any = None
    change: dict = field(default_factory=dict)
    after: Any = None
    bad: Any = None
    says: str = ""
    base: dict = field(default_factory=dict)
    at_start: str | None = None  # what /status names where the change needs a restart
    ends: bool = False  # `see` ends the process
    prepare: Callable = lambda gateway: None  # writes the Secrets that it needs
    lasts: float = 5  # how long the effect may take
    variant: str = ""
    at: str = ""  # the path in the refusal, where it is not the field's own

    @property
    def path(self):
        """The path of the field in a manifest; in a list, of the first item."""
        return self.field.replace("[]", "[0]")

    @property
    def name(self):
        return self.field + (f" ({self.variant})" if self.variant else "")


def put(spec, changes):
    """The spec with values at paths such as `channels[0].history.messages`; `None` takes one away."""
    spec = copy.deepcopy(spec)
    for path, value in changes.items():
        *parents, last = [int(it) if it.isdigit() else it for it in re.findall(r"\w+", path)]
        at = spec
        for key, following in zip(parents, [*parents[1:], last]):
            if isinstance(at, list):
                at += [{}] * (key + 1 - len(at))
            elif key not in at:
                at[key] = [] if isinstance(following, int) else {}
            at = at[key]
        if value is None:
            at.pop(last, None)
        elif isinstance(at, list):
            at[last:] = [value]
        else:
            at[last] = value
    return spec
