"""Constraints in annotations: msgspec's ``Meta(ge=1)``, pydantic's ``Field(ge=1)``, annotated_types' ``Ge(1)``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_origin

from micropie.errors import SetupError

# The most characters of a text that an author's own expression is tried on: it may take exponential time.
MOST_MATCHED = 1000


_Given = TypeVar("_Given")
Holds: TypeAlias = Callable[[Any], bool]


class Constraint(NamedTuple):
    """A condition that a value must fulfil, and the words for it."""

    holds: Holds
    words: str
    is_own: bool = False
    """Whether ``holds`` is a function of the author's."""


def _matches(pattern: str) -> Holds:
    expression = re.compile(pattern)
    return lambda text: len(text) <= MOST_MATCHED and expression.search(text) is not None


# By the attribute that the three libraries have in common: the check, its words, and the keyword of JSON Schema.
_KINDS: dict[str, tuple[Callable[[Any], Holds], str, str]] = {
    "gt": (lambda bound: lambda value: value > bound, "above {}", "exclusiveMinimum"),
    "ge": (lambda bound: lambda value: value >= bound, "at least {}", "minimum"),
    "lt": (lambda bound: lambda value: value < bound, "below {}", "exclusiveMaximum"),
    "le": (lambda bound: lambda value: value <= bound, "at most {}", "maximum"),
    "multiple_of": (lambda bound: lambda value: value % bound == 0, "a multiple of {}", "multipleOf"),
    "min_length": (lambda bound: lambda value: len(value) >= bound, "of length {} or more", "minLength"),
    "max_length": (lambda bound: lambda value: len(value) <= bound, "of length {} or less", "maxLength"),
    "pattern": (_matches, "matching {}", "pattern"),
}

KEYWORDS: Mapping[str, str] = {name: keyword for name, (_, _, keyword) in _KINDS.items()}

# Attributes that describe and do not restrict.
_DESCRIBING = frozenset({"title", "description", "examples", "extra_json_schema", "extra"})

_LIBRARIES = frozenset({"annotated_types", "msgspec", "pydantic"})


# A value of each type, to find out whether a constraint suits the type.
_SAMPLES: dict[object, object] = {
    kind: kind() for kind in (str, int, float, bool, Decimal, list, set, frozenset, tuple, dict)
} | {date: date.min}


def constraints_of(metadata: Iterable[object], parameter: str) -> list[Constraint]:
    """Return the constraints among the metadata of ``Annotated``.

    Raises ``SetupError`` for one of these libraries' that is not known here. Metadata of no library is left alone.
    """
    return [constraint for item in metadata for constraint in _constraints(item, parameter)]


def check_type(constraints: Iterable[Constraint], annotation: object, parameter: str) -> None:
    """Raise ``SetupError`` for a constraint that no value of a type can fulfil: a number's length."""
    kind = get_origin(annotation) or annotation
    if kind not in _SAMPLES:
        return
    for constraint in constraints:
        if constraint.is_own:
            continue
        try:
            constraint.holds(_SAMPLES[kind])
        except (TypeError, ArithmeticError):
            name = getattr(kind, "__name__", kind)
            raise SetupError(f"parameter {parameter!r}: no {name} is {constraint.words}") from None


def _constraints(item: object, parameter: str) -> Iterator[Constraint]:
    if type(item).__module__.partition(".")[0] not in _LIBRARIES:
        return
    alias = getattr(item, "validation_alias", None)  # of pydantic's Field
    if alias is not None:
        advice = f"can't be enforced here: write Query({alias!r}) or Form({alias!r})"
        raise SetupError(f"parameter {parameter!r}: Field(alias={alias!r}) {advice}")
    several = getattr(item, "metadata", item)  # pydantic's Field; annotated_types.Interval and Len
    if isinstance(several, Iterable):
        yield from constraints_of(several, parameter)
        return
    func = getattr(item, "func", None)
    if func is not None:
        if type(item).__module__.partition(".")[0] != "annotated_types":  # pydantic's AfterValidator returns a value
            raise SetupError(f"parameter {parameter!r}: {type(item).__name__} can't be enforced here")
        yield Constraint(func, f"such that {getattr(func, '__name__', func)}", is_own=True)
        return
    names = [name for name in dir(item) if not name.startswith("_") and not callable(getattr(item, name, None))]
    for name in [name for name in _KINDS if name in names] + [name for name in names if name not in _KINDS]:
        value = getattr(item, name)
        if name in _KINDS and value is not None:
            make, words, _ = _KINDS[name]
            yield Constraint(make(value), words.format(value))
        elif name not in _KINDS and name not in _DESCRIBING and value not in (None, False):
            raise SetupError(f"parameter {parameter!r}: {type(item).__name__}({name}={value!r}) can't be enforced here")


def checked(convert: Callable[[_Given], object], constraints: list[Constraint]) -> Callable[[_Given], object]:
    """Return ``convert`` followed by the constraints. It raises ``ValueError`` for a value that breaks one."""

    def convert_and_check(given: _Given) -> object:
        value = convert(given)
        if value is None:  # of an optional parameter
            return None
        try:
            holds = all(constraint.holds(value) for constraint in constraints)
        except TypeError:  # the value is of a kind that has no order, or no length
            holds = False
        if not holds:
            raise ValueError(given)
        return value

    return convert_and_check
