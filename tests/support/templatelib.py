"""Template strings (PEP 750) without their syntax: Python 3.14's own, and objects of their shape
for older Pythons.

``t("<p>{}</p>", name)`` is ``t"<p>{name}</p>"``; an ``Interpolation`` among the values has a
conversion or a format.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from string.templatelib import Interpolation, Template
else:
    from collections.abc import Iterator
    from typing import NamedTuple

    class Interpolation(NamedTuple):
        value: object
        expression: str = ""
        conversion: str | None = None
        format_spec: str = ""

    class Template:
        def __init__(self, *parts: str | Interpolation) -> None:
            self.parts = parts
            self.interpolations = [part for part in parts if isinstance(part, Interpolation)]

        def __iter__(self) -> Iterator[str | Interpolation]:
            return (part for part in self.parts if part != "")

    Template.__module__ = "string.templatelib"


def t(text: str, *values: object) -> Template:
    first, *texts = text.split("{}")
    parts: list[str | Interpolation] = [first]
    for value, after in zip(values, texts, strict=True):
        parts += [value if isinstance(value, Interpolation) else Interpolation(value), after]
    return Template(*parts)
