"""Template strings for Pythons that have none: objects of the shape of ``string.templatelib`` (PEP 750).

``t("<p>{}</p>", name)`` is ``t"<p>{name}</p>"``; an ``Interpolation`` among the values has a conversion or a format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Interpolation(NamedTuple):
    value: object
    expression: str = ""
    conversion: str | None = None
    format_spec: str = ""


class Template:
    def __init__(self, strings: tuple[str, ...], interpolations: tuple[Interpolation, ...]) -> None:
        self.strings, self.interpolations = strings, interpolations

    def __iter__(self) -> Iterator[str | Interpolation]:
        first, *strings = self.strings
        if first:
            yield first
        for interpolation, text in zip(self.interpolations, strings, strict=True):
            yield interpolation
            if text:
                yield text


Template.__module__ = "string.templatelib"


def t(text: str, *values: object) -> Template:
    interpolations = [one if isinstance(one, Interpolation) else Interpolation(one) for one in values]
    return Template(tuple(text.split("{}")), tuple(interpolations))
