"""Parse explicit paths such as ``/users/<id:int>`` into segments, and create URLs by filling in
values.

A wildcard is ``<name>`` (any characters except "/"), ``<name:int>``, ``<name:float>``,
``<name:path>`` (one or more segments) and ``<name:re:[a-z]+>``. A path is matched segment by
segment (``router.py``). Segments are decoded before they are matched, so an escaped "/" is an
ordinary character of its segment. If a segment has several wildcards, as in ``<year>-<month>``,
there must be literal text between them. A wildcard's value ends where the text after the wildcard
first occurs. The last wildcard gets the rest of the segment. No value may be empty. There is no
backtracking, so matching takes time in proportion to the path's length. Only ``re`` wildcards use
the application's regular expressions, and only on a segment of at most ``LONGEST_FOR_RE``
characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from micropie._core.binding import NO_OWN_TYPES, OwnTypes
from micropie._core.errors import SetupError
from micropie._core.http.addresses import DOTS_AND_EMPTY, leads_up
from micropie._core.http.json import link_text
from micropie._core.on_demand import module, pattern

decimal: Any = module("decimal")  # imported on first use, because few applications need it

LONGEST_FOR_RE = 255  # characters, as in the longest file name of most systems

# A function that takes a string and returns the wildcards' values, or None if the string doesn't
# match.
Match: TypeAlias = Callable[[str], "tuple[object, ...] | None"]

_WILDCARD = (
    r"<(?P<name>[A-Za-z_][A-Za-z0-9_]*)?(?::(?P<kind>[a-z]+)(?::(?P<rule>(?:\\.|[^\\>])*))?)?>"
)
WILDCARD = pattern(_WILDCARD)
# A "/" inside a wildcard is part of its regular expression, so it doesn't end the segment.
_SEGMENT = pattern(f"/((?:{_WILDCARD}|[^/])+)?")


def _int(text: str) -> tuple[int] | None:
    # Accept only 64-bit numbers. They are enough for the keys of every database, and SQLite raises
    # an error for larger ones. Check the digits first, because int() also accepts "+1", "1_0" and
    # digits of other scripts. Checking with a regular expression would take 1,000 more
    # instructions.
    if len(text) < _DIGITS and text.isdecimal() and text.isascii():  # True for most numbers.
        return (int(text),)
    digits = text.removeprefix("-")
    if not (digits.isdecimal() and digits.isascii() and len(digits) <= _DIGITS):
        return None
    number = int(text)
    return (number,) if -(2**63) <= number < 2**63 else None


_DIGITS = 19  # 2**63 has 19 digits


# A number of at most 300 digits is below the largest float, so the result of float() is never
# infinite.
_FLOAT = pattern(r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?")


def match_text(text: str) -> tuple[str] | None:
    # Reject a value that points outside a directory, such as "../x". The router checks only whole
    # segments, so it accepts the segment "v../x", whose slash was escaped. With text before the
    # wildcard, as in ``/v<name>``, the value would be "../x".
    return None if not text or (".." in text and leads_up(text)) else (text,)


class Wildcard(NamedTuple):
    """A wildcard of a pattern.

    - ``rank``: wildcards with a lower rank are more specific.
    - ``rule``: the wildcard's type, such as "int", or "" for any string. Wildcards that match the
      same strings have equal rules.
    - ``match``: see ``Match``.
    """

    name: str
    rank: int
    rule: str
    match: Match

    def text_for(self, value: object) -> str:
        """Return a value as a link has it in place of the wildcard. A ``float`` wildcard matches no
        exponent, as in 1e-07.
        """
        is_number = self.rule == "float" and isinstance(value, float | decimal.Decimal)
        return f"{decimal.Decimal(str(value)):f}" if is_number else link_text(value)


_KINDS: dict[str, tuple[int, Match]] = {
    "int": (1, _int),
    "float": (2, lambda text: (float(text),) if _FLOAT.fullmatch(text) else None),
    "": (4, match_text),
    "path": (5, match_text),
}
_RE_RANK = 3


class Segment:
    """One segment of a pattern: literal text, or wildcards with literal text around them.

    - ``text``: the literal text, or None if there are wildcards.
    - ``quoted``: a slash and the literal text as a link has it.
    - ``is_path``: whether there is a ``path`` wildcard, so that the segment matches one or more
      segments of a path, joined by "/".

    Only a segment with wildcards has these attributes:

    - ``key``: equal for segments that match the same strings.
    - ``rank``: segments with a lower rank are more specific. The more literal text a segment has,
      the more specific it is. If two segments have the same amount, the kind of wildcard decides.
    - ``match``: takes a string and returns the wildcards' values, or None if the string is empty or
      doesn't match.
    """

    def __init__(self, literals: list[str], wildcards: list[Wildcard]) -> None:
        self._literals = literals  # the literal text before, between and after the wildcards
        self.wildcards = wildcards
        self.text = None if wildcards else literals[0]
        self.quoted = "/" + quote(literals[0], safe="")
        self.is_path = any(wildcard.rule == "path" for wildcard in wildcards)
        if not wildcards:
            return
        self.key = (*literals, *(wildcard.rule for wildcard in wildcards))
        self.rank = (-sum(map(len, literals)), max(wildcard.rank for wildcard in wildcards))
        self.match: Match = wildcards[0].match
        self._parts: re.Pattern[str] | None = None
        if any(literals):
            first, *between, last = map(re.escape, literals)
            self._parts = pattern(
                f"(?s:{first}{''.join(f'(?>(.+?){one})' for one in between)}(.+){last})"
            )
            self.match = self._match_parts

    def _match_parts(self, text: str) -> tuple[object, ...] | None:
        values: tuple[object, ...] = ()
        for wildcard, part in zip(self.wildcards, self.split(text), strict=False):
            found = wildcard.match(part)
            if found is None:
                return None
            values += found
        return values or None

    def split(self, text: str) -> Sequence[str]:
        """Return the strings for the wildcards, or () if the literal text doesn't match."""
        if self._parts is None:  # the whole segment is a single wildcard
            return (text,) if text else ()
        found = self._parts.fullmatch(text)
        return found.groups() if found is not None else ()

    def join(self, texts: Sequence[str]) -> str:
        """Return the segment with its wildcards replaced by ``texts``."""
        return "".join(chain.from_iterable(zip(self._literals, [*texts, ""], strict=True)))


# Regular expressions for the syntax of other frameworks and for common errors. The value of each is
# the end of the error message.
_MISTAKEN = {
    r"\(\?|\\[dw]|[^\0]\$$": "is a regular expression: write <name:int>, or <name:re:[a-z]+>",
    "[<>]": "has an invalid wildcard: write <name> or <name:int>",
    "[{}]": "has a brace: write <name> for {name}",
    r"/:([A-Za-z_]\w*)": r"has a colon: write <\1> for :\1",
    r"://[^/]*(/.*)?": r"has a host: write its path alone, '\1'",
    "%[0-9A-Fa-f]{2}": "has an escape: write the character itself, such as é for %C3%A9",
    r"\?": "has a query: leave the query out, and give the handler a parameter for each value",
    r"/\*": "has an asterisk: write <name:path> for the rest of the path",
}


class Pattern:
    """The pattern of one explicit path.

    ``text``: the path as written in the application. Raises ``SetupError`` for a path that can't be
    parsed.
    """

    def __init__(self, text: str) -> None:
        literal = WILDCARD.sub("\0", text)  # \0 takes the place of a wildcard
        for expression, problem in _MISTAKEN.items():
            if found := re.search(expression, literal):
                raise SetupError(f"the route {text!r} {found.expand(problem)}")
        if not text.startswith("/"):
            raise SetupError(f"the route {text!r} must begin with '/': write {'/' + text!r}")
        self.text = "/" + text.strip("/")
        self.wildcards: list[Wildcard] = []
        self.segments: list[Segment] = []
        for part in _SEGMENT.finditer(self.text) if self.text != "/" else ():
            self._add_segment(part[1] or "")
        if sum(segment.is_path for segment in self.segments) > 1:
            raise SetupError(
                f"the route {text!r} has two path wildcards, so the end of the first would be "
                "ambiguous: use only one"
            )

    @property
    def names(self) -> list[str]:
        """The names of the wildcards."""
        return [wildcard.name for wildcard in self.wildcards]

    def fill(self, values: dict[str, object], own: OwnTypes = NO_OWN_TYPES) -> str:
        """Return the path with its wildcards replaced by ``values``, or "" for the path "/". The
        used values are removed from ``values``. ``own``: the application's encoders and decoders.

        Raises ``KeyError`` for a missing value, and ``ValueError`` for a value with which the path
        would not match the pattern.
        """
        path = ""
        for segment in self.segments:
            if segment.text is not None:
                path += segment.quoted
                continue
            given_values = [values.pop(wildcard.name) for wildcard in segment.wildcards]
            texts = [*map(Wildcard.text_for, segment.wildcards, map(own.linked, given_values))]
            text = segment.join(texts)
            # Check that matching the path gives the same values again. With the pattern "<x>-<y>",
            # a value "a-b" would be split at its own "-".
            fits = [*segment.split(text)] == texts and segment.match(text)
            if (
                not fits
                or "\0" in text
                or not DOTS_AND_EMPTY.isdisjoint(text.split("/") if segment.is_path else [text])
            ):
                given = ", ".join(
                    f"{value!r} does not match <{w.name}>"
                    for w, value in zip(segment.wildcards, given_values, strict=True)
                )
                raise ValueError(f"{given} of the route {self.text!r}")
            path += "/" + quote(text, safe="/" if segment.is_path else "")
        return path

    def _add_segment(self, text: str) -> None:
        literals, wildcards, end = list[str](), list[Wildcard](), 0
        for found in WILDCARD.finditer(text):
            literals.append(text[end : found.start()])
            if wildcards and not literals[-1]:
                raise SetupError(
                    f"the route {self.text!r} needs text between "
                    f"<{wildcards[-1].name}> and {found[0]}"
                )
            wildcards.append(self._wildcard(found))
            self.wildcards.append(wildcards[-1])
            end = found.end()
        segment = Segment([*literals, text[end:]], wildcards)
        if segment.text == "":
            raise SetupError(f'the route {self.text!r} has an empty segment: remove the extra "/"')
        if segment.text in DOTS_AND_EMPTY:
            raise SetupError(
                f"the route {self.text!r} has a segment {segment.text!r}, which clients resolve: "
                "write the path that remains"
            )
        if segment.is_path and len(wildcards) > 1:
            raise SetupError(
                f"the route {self.text!r} has a path wildcard and another wildcard in one "
                'segment: put a "/" between them'
            )
        self.segments.append(segment)

    def _wildcard(self, found: re.Match[str]) -> Wildcard:
        name, kind, rule = found["name"], found["kind"] or "", found["rule"]
        if name is None:
            raise SetupError(
                f"the route {self.text!r} has a wildcard without a name: "
                f"write <name:{kind or 'int'}>"
            )
        if name in self.names:
            raise SetupError(
                f"the route {self.text!r} has two wildcards named <{name}>: rename one"
            )
        if kind == "re":
            if not rule:
                raise SetupError(
                    f"the route {self.text!r} has a wildcard of type re without a regular "
                    "expression: write <name:re:[a-z]+>"
                )
            try:
                fullmatch = re.compile(rule, re.DOTALL).fullmatch
            except re.error as error:
                raise SetupError(
                    f"the route {self.text!r} has an invalid regular expression: {error}"
                ) from None

            def match_expression(text: str) -> tuple[str] | None:
                is_short = len(text) <= LONGEST_FOR_RE
                return match_text(text) if is_short and fullmatch(text) else None

            return Wildcard(name, _RE_RANK, f"re:{rule}", match_expression)
        if kind not in _KINDS or rule is not None:
            known = f"<{kind}:{name}>" if name in _KINDS else "int, float, path or re:expression"
            raise SetupError(
                f"the route {self.text!r} has an invalid type in {found[0]}: write {known}"
            )
        rank, match = _KINDS[kind]
        return Wildcard(name, rank, kind, match)
