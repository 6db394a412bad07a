"""Constraints in annotations: msgspec's ``Meta(ge=1)``, pydantic's ``Field(ge=1)``, annotated_types' ``Ge(1)``.

``Message`` beside them has the author's words for a value that breaks one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_origin

from micropie.errors import Sentence, SetupError

# The most characters of a text that an author's own expression is tried on: it may take exponential time.
MOST_MATCHED = 1000


_Given = TypeVar("_Given")
Holds: TypeAlias = Callable[[Any], bool]


class Constraint(NamedTuple):
    """A condition that a value must fulfil, and the words for it: in a description, and for a visitor."""

    name: str
    holds: Holds
    words: str
    bound: object = None

    @property
    def is_own(self) -> bool:
        """Whether ``holds`` is a function of the author's."""
        return self.name == "predicate"

    def sentence(self, value: object) -> str:
        """Return the sentence for a visitor who gave ``value``."""
        if self.is_own:
            return INVALID
        is_text = isinstance(value, str)
        if self.name == "min_length" and is_text and self.bound == 1:
            return REQUIRED_FIELD
        text, several = _SENTENCES[self.name] if is_text or self.name not in _OF_LISTS else _OF_LISTS[self.name]
        return Sentence(text, several, **({"count": self.bound} if several else {"limit": self.bound}))


class BrokenConstraint(ValueError):
    """A value of the right type that breaks a constraint."""

    def __init__(self, fault: str, sentence: str) -> None:
        super().__init__(sentence)
        self.fault = fault
        self.sentence = sentence


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

REQUIRED_FIELD = "Please fill in this field."
INVALID = "Please enter another value."

# For a visitor, by the same attribute; two for what is counted.
_SENTENCES = {
    "gt": ("Please enter a value above {limit}.", ""),
    "ge": ("Please enter a value of {limit} or more.", ""),
    "lt": ("Please enter a value below {limit}.", ""),
    "le": ("Please enter a value of {limit} or less.", ""),
    "multiple_of": ("Please enter a multiple of {limit}.", ""),
    "min_length": ("Please use at least {count} character.", "Please use at least {count} characters."),
    "max_length": ("Please use at most {count} character.", "Please use at most {count} characters."),
    "pattern": ("Please match the requested format.", ""),
}
_OF_LISTS = {
    "min_length": ("Please choose at least {count}.", "Please choose at least {count}."),
    "max_length": ("Please choose at most {count}.", "Please choose at most {count}."),
}


class Message:
    """The author's words for a value that does not fit, in ``Annotated``: ``Message("Please choose another name.")``.

    ``text`` is for every fault that has no words of its own. Those are given by the fault: ``required`` for a value
    that is missing, ``invalid`` for one of another type, else by the constraint: ``Message(min_length="Too short.")``.
    They are looked up in the catalogue of ``App(translations=...)``. Raises ``SetupError`` for another keyword.
    """

    def __init__(self, text: str = "", /, **words: str) -> None:
        for fault in words:
            if fault not in _FAULTS:
                raise SetupError(f"Message has words for {', '.join(_FAULTS)}, not for {fault!r}")
        self._text = text
        self._words = words

    def words_for(self, fault: str) -> str:
        """Return the words for a fault, "" if there are none."""
        return self._words.get(fault, self._text)

    def __repr__(self) -> str:
        return f"Message({self._text!r})"


_FAULTS = ("required", "invalid", "predicate", *_KINDS)


# Attributes that describe and do not restrict.
_DESCRIBING = frozenset({"title", "description", "examples", "extra_json_schema", "extra"})

_LIBRARIES = frozenset({"annotated_types", "msgspec", "pydantic"})


@cache
def _samples() -> dict[object, object]:
    """Return a value of each type, to find out whether a constraint suits the type."""
    from datetime import date
    from decimal import Decimal  # few parameters are such numbers

    kinds = (str, int, float, bool, Decimal, list, set, frozenset, tuple, dict)
    return {**{kind: kind() for kind in kinds}, date: date.min}


def constraints_of(metadata: Iterable[object], parameter: str) -> list[Constraint]:
    """Return the constraints among the metadata of ``Annotated``.

    Raises ``SetupError`` for one of these libraries' that is not known here. Metadata of no library is left alone.
    """
    return [constraint for item in metadata for constraint in _constraints(item, parameter)]


def check_type(constraints: Iterable[Constraint], annotation: object, parameter: str) -> None:
    """Raise ``SetupError`` for a constraint that no value of a type can fulfil: a number's length."""
    kind = get_origin(annotation) or annotation
    if kind not in _samples():
        return
    for constraint in constraints:
        if constraint.is_own:
            continue
        try:
            constraint.holds(_samples()[kind])
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
        yield Constraint("predicate", func, f"such that {getattr(func, '__name__', func)}")
        return
    names = [name for name in dir(item) if not name.startswith("_") and not callable(getattr(item, name, None))]
    for name in [name for name in _KINDS if name in names] + [name for name in names if name not in _KINDS]:
        value = getattr(item, name)
        if name in _KINDS and value is not None:
            make, words, _ = _KINDS[name]
            yield Constraint(name, make(value), words.format(value), value)
        elif name not in _KINDS and name not in _DESCRIBING and value not in (None, False):
            raise SetupError(f"parameter {parameter!r}: {type(item).__name__}({name}={value!r}) can't be enforced here")


def checked(convert: Callable[[_Given], object], constraints: list[Constraint]) -> Callable[[_Given], object]:
    """Return ``convert`` followed by the constraints. It raises ``BrokenConstraint``."""

    def convert_and_check(given: _Given) -> object:
        value = convert(given)
        if value is None:  # of an optional parameter
            return None
        for constraint in constraints:
            try:
                holds = constraint.holds(value)
            except TypeError:  # the value is of a kind that has no order, or no length
                holds = False
            if not holds:
                raise BrokenConstraint(constraint.name, constraint.sentence(value))
        return value

    return convert_and_check
