"""Explicit paths such as ``/users/<id:int>``: match a path, and fill in values to make a URL.

The syntax is Bottle's: ``<name>`` (text without "/"), ``<name:int>``, ``<name:float>``, ``<name:path>`` (text with
"/") and ``<name:re:[a-z]+>``. A path is matched as its decoded segments joined by "/". A "/" that was escaped in the
request is ``ESCAPED_SLASH`` while a path is matched, so that it never separates segments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import zip_longest
from typing import NamedTuple
from urllib.parse import quote

from micropie.errors import SetupError
from micropie.http.urls import DOTS_AND_EMPTY

ESCAPED_SLASH = "\0"  # free to use: a path with NUL is refused earlier

_WILDCARD = re.compile(r"<(?P<name>[A-Za-z_][A-Za-z0-9_]*)?(?::(?P<kind>[a-z]+)(?::(?P<rule>(?:\\.|[^\\>])*))?)?>")


def _climbs(value: object) -> bool:
    """Return whether a value such as "../x", sent as ``..%2Fx``, leads out of a directory that it is joined to."""
    return isinstance(value, str) and ".." in value and ".." in value.split("/")


class _Kind(NamedTuple):
    rule: str  # a regular expression
    convert: Callable[[str], object]


def _text(value: str) -> str:
    return value.replace(ESCAPED_SLASH, "/")


_KINDS = {
    "": _Kind(r"[^/]+", _text),
    # 4300 digits are Python's own limit for int(); 30 hold every key of every database.
    "int": _Kind(r"-?[0-9]{1,30}", int),
    # 300 digits stay below the largest float, so this is never infinite.
    "float": _Kind(r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?", float),
    "path": _Kind(r".+?", _text),
}


class Pattern:
    """One explicit path.

    ``text`` is the path as the author wrote it. ``literal`` is the same if it has no wildcards, else None. ``names``
    are those of its wildcards. ``shape`` is equal for patterns that match the same paths. Raises
    ``SetupError`` for a path that can't be read.
    """

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise SetupError(f"the route {text!r} must begin with '/': write {'/' + text!r}")
        if "{" in _WILDCARD.sub("x", text):
            raise SetupError(f"the route {text!r} has a brace: write <name> for {{name}}")
        self.text = "/" + text.strip("/")
        if "//" in _WILDCARD.sub("x", self.text):
            raise SetupError(f"the route {text!r} has an empty segment, which no path may have")
        self.names: list[str] = []
        self._converts: list[Callable[[str], object]] = []
        self._rules: list[str] = []
        self._literals: list[str] = []  # the text before, between and after the wildcards
        self.shape, end = "", 0
        for wildcard in _WILDCARD.finditer(self.text):
            self._add_literal(self.text[end : wildcard.start()])
            self._add_wildcard(wildcard)
            end = wildcard.end()
        self._add_literal(self.text[end:])
        self.literal = None if self.names else self.text
        self._match = re.compile(self.shape, re.DOTALL).fullmatch

    @property
    def first_segment(self) -> str | None:
        """The first segment if it is literal, else None. Patterns are grouped by it."""
        segment = self.text.split("/")[1]
        return None if "<" in segment else segment

    def match(self, path: str) -> dict[str, object] | None:
        """Return the wildcards' values by name; None if the path does not fit, or a value has ".." as a segment."""
        found = self._match(path)
        if found is None:
            return None
        values = [convert(text) for convert, text in zip(self._converts, found.groups(), strict=True)]
        if any(map(_climbs, values)):
            return None
        return dict(zip(self.names, values, strict=True))

    def fill(self, values: dict[str, object]) -> str:
        """Return the path with ``values`` in place of the wildcards, and remove these values from ``values``.

        Raises ``KeyError`` for a missing value and ``ValueError`` for one that the pattern would not match.
        """
        path = self._literals[0]
        texts = {name: str(values.pop(name)) for name in self.names}
        for (name, text), rule, literal in zip(texts.items(), self._rules, self._literals[1:], strict=True):
            if ESCAPED_SLASH in text:
                raise self._misfit(name, text)
            path += (text.replace("/", ESCAPED_SLASH) if rule == _KINDS[""].rule else text) + literal
        found = self._match(path)
        matched = [_text(text) for text in found.groups()] if found else []
        # All values are compared, because the pattern may split "a-b" elsewhere than it was joined.
        if (
            matched != [*texts.values()]
            or any(map(_climbs, matched))
            or not DOTS_AND_EMPTY.isdisjoint(path[1:].split("/"))
        ):
            pairs = zip_longest(texts.items(), matched)
            raise self._misfit(*next((given for given, other in pairs if given[1] != other), [*texts.items()][-1]))
        return quote(path).replace("%00", "%2F")

    def _misfit(self, name: str, text: str) -> ValueError:
        return ValueError(f"{text!r} does not fit <{name}> of the route {self.text!r}")

    def _add_literal(self, text: str) -> None:
        if "<" in text or ">" in text:
            raise SetupError(f"the route {self.text!r} has a wildcard that can't be read: write <name> or <name:int>")
        self._literals.append(text)
        self.shape += re.escape(text)

    def _add_wildcard(self, found: re.Match[str]) -> None:
        name, kind, rule = found["name"], found["kind"] or "", found["rule"]
        if name is None:
            raise SetupError(f"the route {self.text!r} has a wildcard without a name: write <name:{kind or 'int'}>")
        if name in self.names:
            raise SetupError(f"the route {self.text!r} names <{name}> twice")
        if kind == "re":
            chosen = _Kind(self._checked_rule(rule), _text)
        elif kind in _KINDS and rule is None:
            chosen = _KINDS[kind]
        else:
            raise SetupError(f"the route {self.text!r} has no kind {kind!r}: write int, float, path or re:expression")
        self.names.append(name)
        self._converts.append(chosen.convert)
        self._rules.append(chosen.rule)
        self.shape += f"({chosen.rule})"

    def _checked_rule(self, rule: str | None) -> str:
        if not rule:
            raise SetupError(f"the route {self.text!r} has re without an expression: write <name:re:[a-z]+>")
        try:
            groups = re.compile(f"/({rule})").groups - 1  # not at the start, where flags would be allowed
        except re.error as error:
            raise SetupError(f"the route {self.text!r} has an expression that Python can't read: {error}") from None
        if groups:
            raise SetupError(f"the route {self.text!r} has a group in its expression: write (?:...) for (...)")
        return rule
