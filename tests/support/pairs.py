"""Fewer rows than a product has, for two parameters that do not affect each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import TypeVar

First = TypeVar("First")
Second = TypeVar("Second")


def paired(first: Sequence[First], second: Sequence[Second]) -> list[tuple[First, Second]]:
    """Return pairs in which each value of both appears; the shorter sequence is repeated."""
    most = max(len(first), len(second))
    return list(islice(zip(cycle(first), cycle(second), strict=False), most))


def sampled(
    first: Sequence[First], second: Sequence[Second], samples: int = 3
) -> list[tuple[First, Second]]:
    """Return all of ``first`` with the first of ``second``, and all of ``second`` with some
    ``samples`` of ``first``.
    """
    step = max(1, len(first) // samples)
    rows = [(value, second[0]) for value in first]
    return rows + [(value, other) for other in second[1:] for value in first[::step][:samples]]
