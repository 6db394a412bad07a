"""Checks of what an author gives to micropie."""

from __future__ import annotations

import math

from micropie.errors import SetupError


def check(argument: str, fine: bool, value: object, expected: str) -> None:
    """Raises ``SetupError`` unless ``fine``: ``RateLimit(per=...) takes seconds above 0, not -1``."""
    if not fine:
        raise SetupError(f"{argument} takes {expected}, not {value!r}")


def is_count(value: object, least: int) -> bool:
    """Whether ``value`` is a whole number, ``least`` or more; True is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_duration(value: object) -> bool:
    """Whether ``value`` is a number of seconds above 0 that has an end; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
