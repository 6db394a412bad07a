"""Compares the processor's time for a text and for one four times as long.

The texts are short on purpose: another program that takes quadratic time for them isn't blocked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import sleep, thread_time
from typing import TypeAlias

from micropie import HTTPError

Ask: TypeAlias = Callable[[], object]
"""Asks one request that was made before."""

Entry: TypeAlias = Callable[[str], Ask]
"""A place where a client can write a text: makes a request with the text in it."""

# The processor's seconds for a request that nobody would notice. A faster one is not compared with
# a shorter one.
_UNNOTICED = 0.03

LENGTH = 16 * 1024
"""The characters of a text, unless a test states fewer."""


def grows_too_fast(entry: Entry, start: str, repeated: str, end: str, length: int = LENGTH) -> bool:
    """Return whether a text four times as long takes much more than four times as long to be
    answered.

    The longer text has ``length`` characters. In quadratic time it takes sixteen times as long as
    the shorter one. Each is made and asked for several times, and the best time counts: other
    programs, and where in the memory a request lies, can only make one slower.
    """

    def ask_for(size: int) -> Ask:
        return entry(start + repeated * (size // len(repeated)) + end)

    def takes_long(attempt: int) -> bool:
        sleep(attempt / 100)  # so that the last ones are apart from what slowed the first
        seconds = _seconds_of(ask_for(length))
        return seconds > _UNNOTICED and seconds > 8 * _seconds_of(ask_for(length // 4))

    return all(takes_long(attempt) for attempt in range(20))


def calling(function: Callable[[str], object], times: int = 1) -> Entry:
    """Return an entry that calls a function with the text, which may refuse it."""

    def make(text: str) -> Ask:
        def ask() -> None:
            for _ in range(times):
                with suppress(HTTPError, ValueError):
                    function(text)

        return ask

    return make


def _seconds_of(ask: Ask) -> float:
    began = thread_time()
    with suppress(HTTPError):
        ask()
    return thread_time() - began
