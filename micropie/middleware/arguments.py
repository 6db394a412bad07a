"""Checks of what an author gives to the middleware that comes with micropie."""

from __future__ import annotations

import math

from micropie.errors import SetupError


def check(argument: str, fine: bool, value: object, expected: str) -> None:
    """Raises ``SetupError`` unless ``fine``: ``RateLimit(per=...) takes seconds above 0, not -1``."""
    if not fine:
        raise SetupError(f"{argument} takes {expected}, not {value!r}")


def is_duration(value: object) -> bool:
    """Whether this is a number of seconds above 0 that has an end."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
