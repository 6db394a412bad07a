"""Two tables: what is made the same before answers are compared, and in what ours differs on purpose.

The pages of docs/moving/ quote the second. A row of it that no answer shows any longer fails the tests.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol


class Normalised(NamedTuple):
    """What is drawn at random, or made of the time or a version: both sides are rewritten before they are compared."""

    framework: str
    part: str
    """A regular expression for the whole name of the part: "body", a header's name, "cookie NAME ATTRIBUTE"."""
    found: str
    """A regular expression for the text in it."""
    instead: str
    why: str

    def applied(self, value: Any) -> Any:
        """Return a part's value with the text replaced."""
        if isinstance(value, bytes):
            return re.sub(self.found.encode(), self.instead.encode(), value, flags=re.DOTALL)
        return re.sub(self.found, self.instead, str(value), flags=re.DOTALL)


class Place(Protocol):
    """What a row of the table looks at; ``differences.Difference`` has more."""

    @property
    def conversation(self) -> str: ...
    @property
    def request(self) -> str: ...
    @property
    def part(self) -> str: ...


class Meant(NamedTuple):
    """A difference on purpose."""

    conversation: str
    request: str
    """A regular expression for the whole of "METHOD target"."""
    part: str
    """A regular expression for the whole name of the part."""
    why: str

    def covers(self, difference: Place) -> bool:
        """Return whether this row is about that difference."""
        return bool(
            re.fullmatch(self.conversation, difference.conversation)
            and re.fullmatch(self.request, difference.request)
            and re.fullmatch(self.part, difference.part)
        )


NORMALISED = [
    Normalised("cherrypy", "cookie .* expires", ".*", "a date", "made of the time"),
]

MEANT: dict[str, list[Meant]] = {"cherrypy": [], "bottle": []}
