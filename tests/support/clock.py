"""A clock that a test sets."""

from __future__ import annotations

from typing import Self

import pytest


class Clock:
    """Returns ``now``, in seconds."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    @classmethod
    def instead_of(cls, monkeypatch: pytest.MonkeyPatch, *functions: str) -> Self:
        """Return a clock instead of these functions."""
        clock = cls()
        for function in functions:
            monkeypatch.setattr(function, clock)
        return clock
