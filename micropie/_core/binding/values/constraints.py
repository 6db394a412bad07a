"""Constraints in annotations: msgspec's ``Meta(ge=1)``, pydantic's ``Field(ge=1)``,
annotated_types' ``Ge(1)``.

A ``Message`` in the same ``Annotated`` as a constraint replaces the built-in error message for
values that don't meet the constraint.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Sequence, Sized
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args, get_origin

from micropie._core.binding.annotations import Hint, is_enum, owner_of, type_name
from micropie._core.binding.fields import structures_of
from micropie._core.errors import Sentence, SetupError, check_each

if TYPE_CHECKING:
    from decimal import Decimal

# The longest string, in characters, that is matched against a regular expression of the
# application. Matching may take exponential time.
MOST_MATCHED = 1000


# The three limits below reject values that would take quadratic time to process, here or in a
# handler.
MAX_DIGITS = 4300  # The digits of one number. CPython has the same limit for int().
# The largest exponent of a Decimal; floats have the same limit. Without a limit, a handler's
# int(Decimal("1e300000")) would take seconds.
MAX_EXPONENT = 308
# The maximum number of elements of a set, or of keys of a dict, unless they are strings. A client
# can choose a million ints with the same hash, and then each new int is compared with all the
# others. Strings need no limit, because their hashes depend on a secret.
MAX_HASHED = 1000

# Limits for the errors in one request: their number, the length of one message, and of one key in
# the path to a value. A client chooses the keys, and each error inside a value repeats its keys.
MOST_ERRORS = 100
LONGEST_TEXT = 5000
LONGEST_KEY = 200

_Given = TypeVar("_Given")


class Constraint(NamedTuple):
    """A condition that a value must meet, such as a minimum.

    - ``name``: the kind of condition, such as "ge".
    - ``fits(value, bound)`` returns whether the value meets the condition. It raises ``TypeError``
      for a value that can't be compared, or has no length.
    - ``words``: a description for developers, such as "at least 1".
    - ``bound``: the value to compare with, such as 1.
    """

    name: str
    fits: Callable[[Any, Any], bool]
    words: str
    bound: object


class BrokenConstraint(ValueError):
    """Raised for a value of the right type that doesn't meet a constraint.

    - ``args``: the constraint's name, and the message for the visitor.
    - ``inside``: pydantic's exception and the annotation, for an error inside a JSON text.
    """

    inside: tuple[ValueError, object] | None = None


def broken(name: str, bound: object, value: object) -> BrokenConstraint:
    """Return the error for a value that doesn't meet the constraint ``name``. ``bound``: the value
    to compare with.
    """
    is_text = isinstance(value, str) or not isinstance(value, Iterable)  # such as a SecretStr
    words = INVALID
    if name == "min_length" and is_text and bound == 1:
        words = REQUIRED_FIELD
    elif name in _COUNTED:
        of_list, one, several = _COUNTED[name]
        words = Sentence(*((one, several) if is_text else (of_list, of_list)), count=bound)
    elif name == "tz":
        words = _WITH_OFFSET if bound else _WITHOUT_OFFSET
    elif name in _KINDS:
        words = Sentence(_KINDS[name][2], limit=bound)
    return BrokenConstraint(name, words)


def _is_multiple(value: Any, step: Any) -> bool:
    # A float stands for its decimal text. Otherwise, 0.3 would not be a multiple of 0.1.
    if isinstance(value, float) or isinstance(step, float):
        from decimal import Decimal

        value, step = Decimal(str(value)), Decimal(str(step))
    return bool(value % step == 0)


# The supported constraints by name. ``Meta(ge=1)`` stores its bound in the attribute ``ge``, and
# pydantic and annotated_types use the same attribute names as msgspec. Each value of this dict is a
# tuple: a function that checks a value against the bound, a description of the constraint for
# developers, and the message for visitors. ``openapi/schemas.py`` maps the same names to keywords
# of JSON Schema.
_KINDS: dict[str, tuple[Callable[[Any, Any], bool], str, str]] = {
    "gt": (operator.gt, "above {}", "Please enter a value above {limit}."),
    "ge": (operator.ge, "at least {}", "Please enter a value of {limit} or more."),
    "lt": (operator.lt, "below {}", "Please enter a value below {limit}."),
    "le": (operator.le, "at most {}", "Please enter a value of {limit} or less."),
    "multiple_of": (
        _is_multiple,
        "a multiple of {}",
        "Please enter a multiple of {limit}.",
    ),
    "min_length": (lambda value, least: len(value) >= least, "of length {} or more", ""),
    "max_length": (lambda value, most: len(value) <= most, "of length {} or less", ""),
    "pattern": (
        lambda text, expression: len(text) <= MOST_MATCHED and expression.search(text) is not None,
        "matching {}",
        "Please match the requested format.",
    ),
}

# The messages that a visitor sees if a value doesn't meet ``Meta(tz=True)`` or ``Meta(tz=False)``.
_WITH_OFFSET = "Please add the offset from UTC, as in 2026-01-31T13:45:00Z."
_WITHOUT_OFFSET = "Please leave out the offset from UTC, as in 2026-01-31T13:45:00."

# Three messages for each limit on a length: for a list, for a string if the limit is one character,
# and for a string if the limit is larger.
_COUNTED = {
    "min_length": (
        "Please choose at least {count}.",
        "Please use at least {count} character.",
        "Please use at least {count} characters.",
    ),
    "max_length": (
        "Please choose at most {count}.",
        "Please use at most {count} character.",
        "Please use at most {count} characters.",
    ),
}

REQUIRED_FIELD = "Please fill in this field."
INVALID = "Please enter another value."
NO_OBJECT = "Please enter a JSON object."
NO_ARRAY = "Please enter a JSON array."
UNWANTED = "Please leave out this field."
TOO_MANY = Sentence(*_COUNTED["max_length"][:1] * 2, count=MAX_HASHED)


def check_count(values: Sized) -> None:
    """Raise ``BrokenConstraint`` for more values than a set, or a dict whose keys aren't strings,
    may have.
    """
    if len(values) > MAX_HASHED:
        raise BrokenConstraint("max_length", TOO_MANY)


class Message:
    """A custom message for invalid values, in ``Annotated``:
    ``Message("Please choose another name.")``.

    ``text`` (""): the message for each kind of error for which no keyword is passed. Each keyword
    sets the message for one kind of error: ``required`` for a missing value, ``invalid`` for a
    value of another type, or the name of a constraint, as in ``Message(min_length="Too short.")``.
    Messages are translated with ``App(translations=...)``. Raises ``SetupError`` for an unknown
    keyword.
    """

    def __init__(self, text: str = "", /, **words: str) -> None:
        for fault in words:
            if fault not in _FAULTS:
                raise SetupError(
                    f"Message takes only the keywords {', '.join(_FAULTS)}, not {fault!r}"
                )
        check_each("Message", str, "a string", text=text, **words)
        self._text = text
        self._words = words

    def words_for(self, fault: str) -> str:
        """Return the message for a kind of error, or "" if there is none."""
        return self._words.get(fault, self._text)

    def __repr__(self) -> str:
        return f"Message({self._text!r})"


# The names of constraints in messages, and those of all kinds of errors.
CONSTRAINTS = ("tz", *_KINDS)
_FAULTS = ("required", "invalid", "predicate", *CONSTRAINTS)


# Attributes of metadata that only describe a value.
_DESCRIBING = frozenset({"title", "description", "examples", "extra_json_schema", "extra"})

# Classes of metadata that describe a value or its serialization, but don't restrict it.
_DESCRIPTIONS = frozenset({
    "DocInfo", "Unit", "Discriminator", "Examples", "PlainSerializer", "SerializeAsAny",
    "SkipJsonSchema", "Tag", "WithJsonSchema", "WrapSerializer",
})  # fmt: skip

_LIBRARIES = frozenset({"annotated_types", "msgspec", "pydantic"})


@cache
def _samples() -> dict[object, object]:
    """Return a sample value for each type. ``check_type`` tries constraints on these values."""
    from datetime import date
    from decimal import Decimal  # imported only on use, because few parameters are Decimals

    kinds = (str, int, float, bool, Decimal, list, set, frozenset, tuple, dict)
    return {**{kind: kind() for kind in kinds}, date: date.min}


def check_type(constraints: Iterable[Constraint], annotation: object) -> None:
    """Raise ``SetupError`` for a constraint that makes no sense for a type, such as the length of a
    number.
    """
    kind = owner_of(annotation)
    for constraint in constraints if kind in _samples() else ():
        try:
            if constraint.name != "predicate":  # a function, which may accept any type
                constraint.fits(_samples()[kind], constraint.bound)
        except (TypeError, ArithmeticError, AttributeError):
            raise SetupError(f"no {type_name(kind)} is {constraint.words}") from None


def constraints_of(metadata: Iterable[object]) -> Iterator[Constraint]:
    """Yield the constraints in the metadata of ``Annotated``.

    Raises ``SetupError`` for metadata of msgspec, pydantic or annotated_types that is not
    supported. All other metadata is ignored.
    """
    metadata = [*metadata]
    for item in metadata:
        alias = getattr(item, "validation_alias", None)  # pydantic's Field has this attribute
        if alias is not None and _library_of(item) in _LIBRARIES:
            advice = f"has no effect on a parameter: write Query({alias!r}) or Form({alias!r})"
            raise SetupError(f"Field(alias={alias!r}) {advice}")
    for item in _restricting(metadata):
        func = getattr(item, "func", None)
        if func is None:
            yield from _bounds_of(item)
        elif _library_of(item) == "annotated_types":
            yield Constraint(
                "predicate",
                lambda value, passes: passes(value),
                f"such that {getattr(func, '__name__', func)}",
                func,
            )
        else:  # such as AfterValidator, which may change the value
            raise SetupError(
                f"{type(item).__name__} can't be enforced here: check the value in the handler"
            )


def _restricting(metadata: Iterable[object]) -> Iterator[object]:
    """Yield the metadata of msgspec, pydantic or annotated_types that may restrict a value, one by
    one. pydantic's Field, annotated_types.Interval and annotated_types.Len contain several.
    """
    for item in metadata:
        if _library_of(item) in _LIBRARIES and type(item).__name__ not in _DESCRIPTIONS:
            several = getattr(item, "metadata", item)
            yield from _restricting(several) if isinstance(several, Iterable) else (item,)


def _library_of(item: object) -> str:
    return type(item).__module__.partition(".")[0]


def is_adapted(annotation: Hint) -> bool:
    """Return whether only pydantic can create the values of an annotation. This is so if the type
    is one of pydantic's own, or if only pydantic enforces the metadata. Return False for structures
    in any case, because ``structures/makers.py`` creates those.
    """
    # not ``metadata_of`` and ``owner_of``, because refused documents come here
    metadata = getattr(annotation, "__metadata__", ())
    kind = get_args(annotation)[0] if metadata else annotation
    is_pydantics = hasattr(get_origin(kind) or kind, PYDANTIC_HOOK) and not is_enum(kind)
    return (
        "pydantic" in sys.modules
        and (is_pydantics or any(map(_is_pydantics_alone, metadata)))
        and not structures_of(annotation)
    )


# the method by which classes and metadata define how pydantic validates them
PYDANTIC_HOOK = "__get_pydantic_core_schema__"


def _is_pydantics_alone(item: object) -> bool:
    # pydantic's Field has this attribute
    has_alias = getattr(item, "validation_alias", None) is not None
    if type(item).__name__ in _DESCRIPTIONS or has_alias:
        return False
    try:
        return hasattr(item, PYDANTIC_HOOK) or any(
            not [*constraints_of([one])]
            for one in _restricting([item])
            if _library_of(one) == "pydantic"
        )
    except SetupError:
        return True


def limits_length(metadata: Iterable[object]) -> bool:
    """Return whether the metadata of ``Annotated`` limits the length of a string."""
    names = ("min_length", "max_length")
    found = _restricting(metadata)
    return any(getattr(item, name, None) is not None for item in found for name in names)


def with_short_line_ends(text: str) -> str:
    """Return a form's value with each CRLF replaced by LF. For ``maxlength``, browsers count a
    line end as one character, but they send two (HTML, "form control API value").
    """
    return text.replace("\r\n", "\n")


def restricts(item: object, libraries: Container[str]) -> bool:
    """Return whether ``item`` is metadata of one of the ``libraries`` and restricts a value.
    Metadata that only describes a value, such as a title, doesn't restrict it.
    """
    return _library_of(item) in libraries and any(
        _library_of(one) != "msgspec" or any(_restrictions(one)) for one in _restricting([item])
    )


def _restrictions(item: object) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) for each attribute of ``item`` that may restrict a value. For
    ``Meta(ge=1, le=5)``, these are ("ge", 1) and ("le", 5).
    """
    for name in dict.fromkeys([*_KINDS, *dir(item)]):
        value = getattr(item, name, None)
        if name == "tz" and type(item).__name__ == "Timezone":  # of annotated_types
            value = {None: False, ...: True}.get(value, value)
        is_private = name.startswith("_")
        if not (is_private or name in _DESCRIBING or callable(value) or value is None):
            yield name, value


def _bounds_of(item: object) -> Iterator[Constraint]:
    """Yield a constraint for each attribute of ``item`` that restricts a value."""
    for name, value in _restrictions(item):
        if name in _KINDS:
            fits, words, *_ = _KINDS[name]
            bound = re.compile(value) if name == "pattern" else value
            yield Constraint(name, fits, words.format(value), bound)
        elif name == "tz" and isinstance(value, bool):
            words = "with an offset" if value else "without an offset"
            yield Constraint(
                name, lambda moment, wanted: (moment.tzinfo is not None) is wanted, words, value
            )
        elif value is not False:
            raise SetupError(
                f"{type(item).__name__}({name}={value!r}) can't be enforced here: check the value "
                "in the handler"
            )


def checked(
    convert: Callable[[_Given], object], constraints: list[Constraint]
) -> Callable[[_Given], object]:
    """Return a function that calls ``convert`` and checks the result. The function raises
    ``BrokenConstraint`` if the result doesn't meet a constraint.
    """

    def convert_and_check(given: _Given) -> object:
        value = convert(given)
        if value is None:  # allowed for an optional parameter
            return None
        for constraint in constraints:
            try:
                holds = constraint.fits(value, constraint.bound)
            # The value can't be compared or has no length, or a Decimal is too large for ``%``.
            except (TypeError, ArithmeticError):
                holds = False
            if not holds:
                raise broken(constraint.name, constraint.bound, value)
        return value

    return convert_and_check


def is_moderate(number: Decimal) -> bool:
    """Return whether a number is finite and all its digits are between 10**-308 and 10**308."""
    # ``exponent`` belongs to the last digit, and is a letter for NaN and infinity. ``adjusted()``
    # returns the exponent of the first digit.
    exponent = number.as_tuple().exponent
    return (
        isinstance(exponent, int)
        and exponent >= -MAX_EXPONENT
        and number.adjusted() <= MAX_EXPONENT
    )


def are_moderate(numbers: Sequence[Decimal]) -> bool:
    """Return whether all of several numbers are moderate."""
    # nearly all are as text, which says so in a tenth of the time
    texts = [*map(str, numbers)]
    is_short = max(map(len, texts), default=0) < MAX_EXPONENT
    return (is_short and _DIGITS.issuperset("".join(texts))) or all(map(is_moderate, numbers))


_DIGITS = frozenset("-.0123456789")  # of a number without an exponent
