"""Convert a string (from a path, a query, a form) or a JSON value to the type of a parameter.

``converter_for`` compiles an annotation to a ``Converter`` once, and requests only call the
converter. A converter has two functions, because strings and JSON differ: for a bool, ``1`` in a
query means true, but ``1`` in JSON is a number and is rejected. The converter's ``expected``
completes the sentence "Parameter 'x' must be ...".
"""

from __future__ import annotations

import enum
import functools
import inspect
import math
import re
import sys
import types
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from inspect import Parameter
from itertools import chain
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    TypeAlias,
    TypeVar,
    get_args,
)

from micropie._core.binding.annotations import (
    MAPPINGS,
    Hint,
    bare,
    built_in,
    is_choice,
    is_enum,
    is_unset,
    owner_of,
    parts_of,
    united,
    without_aliases,
)
from micropie._core.binding.values.constraints import (
    INVALID,
    MAX_DIGITS,
    MAX_HASHED,
    NO_ARRAY,
    REQUIRED_FIELD,
    UNWANTED,
    BrokenConstraint,
    Message,
    check_count,
    check_type,
    checked,
    constraints_of,
    is_adapted,
    is_moderate,
    with_short_line_ends,
)
from micropie._core.errors import Sentence, SetupError, takes
from micropie._core.http.json import BUILTINS, encoder_of, url_text
from micropie._core.http.protocols import Encoder
from micropie._core.on_demand import module, pattern

if TYPE_CHECKING:
    from decimal import Decimal

decimal: Any = module("decimal")  # imported on first use, because few applications need it

T = TypeVar("T")

Collect: TypeAlias = Callable[[Sequence[object]], object]


class Converter(NamedTuple):
    """Converts values to one type.

    - ``expected``: a description of valid values.
    - ``from_text``: converts a string. Raises ``ValueError`` if it is invalid.
    - ``from_json``: converts a value from parsed JSON. Raises ``ValueError`` if it is invalid.
    - ``many``: for a list, a tuple or a set, the function that creates it from its converted
      elements. None if the parameter takes a single value.
    - ``is_either``: whether the type accepts one value or several, as in ``int | list[int]``. If
      so, ``from_text`` converts a single string, and ``many`` takes several strings unconverted.
    - ``schema``: the JSON Schema of a simple type.
    - ``invalid``: the message for visitors if a value is invalid. If it is empty, the message is
      made from ``expected``.
    - ``required``: the message for visitors if a value is missing.
    - ``message``: the messages that the application sets, used instead of ``invalid`` and
      ``required``.
    - ``empty``: the strings to convert if a form field is missing. Browsers send nothing for an
      unticked box and for a list without a choice. None if a missing field is an error.
    - ``takes_text``: whether a string can be converted at all. It is False for a dict, and for a
      type whose decoder takes a dict.
    """

    expected: str
    from_text: Callable[[str], object]
    from_json: Callable[[object], object]
    many: Collect | None = None
    is_either: bool = False
    schema: Mapping[str, str] | None = None
    invalid: str = ""
    required: str = REQUIRED_FIELD
    message: Message = Message()
    empty: Sequence[str] | None = None
    takes_text: bool = True

    def from_texts(self, texts: Sequence[str]) -> object:
        """Convert all strings sent with one name. If the type takes only one string, convert the
        first.
        """
        if self.many is None or (self.is_either and len(texts) == 1):
            return self.from_text(texts[0])
        return self.many(texts if self.is_either else [*map(self.from_text, texts)])

    def error_message(self, value: object, error: ValueError | None) -> tuple[str, bool]:
        """Return the message for a visitor whose ``value`` was rejected, and whether the
        application has set this message itself.

        ``value``: the value, or None if it is missing. An empty string also counts as missing.
        """
        if isinstance(error, BrokenConstraint):
            fault, sentence = error.args
        elif value is None or value == "":
            fault, sentence = "required", self.required
        else:
            fault, sentence = "invalid", self.invalid or f"Please enter {self.expected}."
        own = self.message.words_for(fault)
        return own or sentence, bool(own)


class OwnTypes(NamedTuple):
    """The encoders and decoders for an application's own types:
    ``App(encoders=..., decoders=...)``.
    """

    encoders: Mapping[type, Encoder]
    decoders: Mapping[type, Encoder]

    def encoder_of(self, kind: type) -> Encoder | None:
        """Return the encoder for a class or for its nearest base class that has an encoder. Return
        None if there is none.
        """
        return None if kind in BUILTINS else encoder_of(kind, self.encoders)

    def taken_by(self, kind: type) -> object:
        """Return the type that the decoder for the class ``kind`` takes: the annotation of its
        parameter, or ``str``.
        """
        decode = self.decoders[kind]
        try:
            first, *_ = inspect.signature(decode, eval_str=True).parameters.values()
            taken = first.annotation
        except (ValueError, NameError):
            # This decoder is a built-in without a signature, or its annotation is a name that is
            # imported for type checkers only.
            taken = str
        if not takes(decode, 1) or taken is kind:
            raise SetupError(
                f"decoders={{{kind.__name__}: ...}} needs a function with one parameter, the "
                "value to convert. Annotate this parameter as str, for example, but not as "
                f"{kind.__name__}"
            )
        return str if taken is Parameter.empty else without_aliases(taken)

    def linked(self, value: object) -> object:
        """Return what a link has for a member of an Enum or an object of one of the application's
        own types, which binding decodes. Return any other value unchanged.
        """
        if isinstance(value, enum.Enum):
            return url_text(self.sent(value))
        is_read = self.decoders and any(one in self.decoders for one in type(value).__mro__)
        return self.sent(value) if is_read else value

    def sent(self, value: object) -> object:
        """Return what an Enum's member or an object with an encoder is written as. Return any other
        value unchanged.
        """
        encode = self.encoder_of(type(value))
        if encode is not None:
            return encode(value)
        return value.value if isinstance(value, enum.Enum) else value


NO_OWN_TYPES = OwnTypes({}, {})

# A string must match this before int() converts it, because int() also accepts "1_0", " 1 " and
# digits of other scripts.
_WHOLE = pattern(rf"[+-]?[0-9]{{1,{MAX_DIGITS}}}")
_NUMBER = pattern(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# Numbers that match ``_SHORT_NUMBER`` are within the limits of ``is_moderate``.
_SHORT_NUMBER = pattern(r"-?[0-9]{1,150}(?:\.[0-9]{1,150})?")
# A string must match this before UUID() converts it, because UUID() also accepts braces, signs,
# hyphens anywhere and digits of other scripts.
_UUID = pattern("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
# A string must match this before fromisoformat() converts it, because fromisoformat() also accepts
# any character instead of the T, and a fraction of any length.
_TIME = r"[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]{1,9})?)?)?(?:Z|[+-][0-9:.]{2,15})?"
_ISO_TIME = pattern(f"T?{_TIME}")
_ISO_DATETIME = pattern(f"[0-9W-]{{7,10}}(?:[T ]{_TIME})?")
_DURATION = pattern(
    "(-)?P(?=[0-9T])(?:(?P<weeks>[0-9]{1,9})W)?(?:(?P<days>[0-9]{1,9})D)?(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,9})H)?"
    r"(?:(?P<minutes>[0-9]{1,9})M)?(?:(?P<seconds>[0-9]{1,9}(?:\.[0-9]{1,9})?)S)?)?"
)
_PATH = pattern("[^\0]+")
# An IPv6 address. Python also accepts a zone after it, which may be any text: "::1%<b>".
_ADDRESS = pattern("[0-9A-Fa-f:./]+")
_FROM_URLS = str.maketrans("-_", "+/")  # from base64's URL-safe to its standard alphabet
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})


def _if_matches(form: re.Pattern[str], make: Callable[[str], T]) -> Callable[[str], T]:
    """Return a function that calls ``make`` only if the string matches ``form``, because ``make``
    itself accepts more strings.
    """

    def convert(text: str) -> T:
        if not form.fullmatch(text):
            raise ValueError(text)
        return make(text)

    return convert


def _is_number(text: str) -> bool:
    return len(text) <= MAX_DIGITS and _NUMBER.fullmatch(text) is not None


def _to_float(text: str) -> float:
    # Reject NaN and infinity, because many databases can't store them and JSON can't represent
    # them.
    number = float(text) if _is_number(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _to_whole(number: float) -> int:
    # 5.0 is an integer in JSON and JSON Schema. From 2**53 on, a float may have been read from
    # another integer.
    if not number.is_integer() or abs(number) >= 2**53:
        raise ValueError(number)
    return int(number)


def _to_bool(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE and word not in _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _to_decimal(text: str) -> Decimal:
    number: Decimal
    if _SHORT_NUMBER.fullmatch(text):
        number = decimal.Decimal(text)
        return number
    try:
        number = decimal.Decimal(text if _is_number(text) else "NaN")
    except decimal.InvalidOperation:  # the exponent is too large for the decimal module
        raise ValueError(text) from None
    if not is_moderate(number):
        raise ValueError(text)
    return number


def _decimal_from_json(value: object) -> Decimal:
    if type(value) not in (str, int, float, decimal.Decimal):
        raise ValueError(value)
    return _to_decimal(str(value))


def _to_timedelta(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(text)
    try:
        duration = timedelta(
            **{unit: float(number) for unit, number in found.groupdict("0").items()}
        )
        return -duration if found[1] else duration
    except OverflowError:
        raise ValueError(text) from None


def _to_zone(text: str) -> object:
    try:
        return sys.modules["zoneinfo"].ZoneInfo(text)
    except (LookupError, OSError):
        raise ValueError(text) from None


def as_it_is(value: T) -> T:
    """Return a value unchanged, for example as the ``from_json`` of a type that needs no
    conversion.
    """
    return value


def _scalar(
    kind: type,
    expected: str,
    schema: Mapping[str, str],
    from_text: Callable[[str], object],
    from_number: Callable[[int | float], object] | None = None,
) -> Converter:
    """Return a converter that leaves JSON values of the type ``kind`` unchanged. It converts
    strings with ``from_text`` and, if ``from_number`` is given, numbers with ``from_number``.
    """

    def from_json(value: object) -> object:
        if type(value) is kind:
            return value
        if (
            from_number is not None
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        ):
            try:
                return from_number(value)
            except OverflowError:  # the int is above the largest float
                raise ValueError(value) from None
        if not isinstance(value, str):
            raise ValueError(value)
        return from_text(value)

    return Converter(expected, from_text, from_json, schema=schema)


_STRING = {"type": "string"}


ANYTHING = Converter("a value", str, as_it_is)

_BUILT_IN: dict[object, Converter] = {
    Parameter.empty: ANYTHING,  # no annotation
    Any: ANYTHING,
    object: ANYTHING,
    str: _scalar(str, "text", _STRING, str),
    int: _scalar(int, "a whole number", {"type": "integer"}, _if_matches(_WHOLE, int), _to_whole),
    float: _scalar(float, "a number", {"type": "number"}, _to_float, float),
    bool: _scalar(bool, "true or false", {"type": "boolean"}, _to_bool)._replace(
        invalid="Please choose yes or no.", empty=[""]
    ),
}

# The type of the JSON values that a ``from_json`` leaves unchanged.
_UNCHANGED: Mapping[object, object] = {one.from_json: kind for kind, one in _BUILT_IN.items()}

# A wildcard such as <id:int> has already converted its value to a number. A parameter whose
# ``from_text`` is in ``NUMBERS`` takes the number unchanged.
NUMBERS = (_BUILT_IN[int].from_text, _BUILT_IN[float].from_text)


# If you add a type here, also add its encoding to JSON (``json.py``) and a row to docs/binding.md.
# Fields of structures are different: msgspec and pydantic convert them.
def simple_types() -> dict[object, Converter]:
    """Return the converters of all types that contain no other types."""
    # If nothing has imported its module, no annotation is ``ZoneInfo``.
    return _with_zone(getattr(sys.modules.get("zoneinfo"), "ZoneInfo", None))


@functools.cache
def _with_zone(zone: type | None) -> dict[object, Converter]:
    from decimal import Decimal
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    # imported only on use, because importing uuid takes longer than importing all of micropie
    from uuid import UUID

    rows: Sequence[tuple[type, str, str, Callable[[str], object]]] = (
        (UUID, "a UUID", "uuid", _if_matches(_UUID, UUID)),
        (date, "a date such as 2026-01-31", "date", date.fromisoformat),
        (
            time,
            "a time such as 13:45:00",
            "time",
            _if_matches(_ISO_TIME, time.fromisoformat),
        ),
        (
            datetime,
            "a date and time such as 2026-01-31T13:45:00",
            "date-time",
            _if_matches(_ISO_DATETIME, datetime.fromisoformat),
        ),
        (timedelta, "a duration such as PT1H30M", "duration", _to_timedelta),
        (Path, "a path", "path", _if_matches(_PATH, Path)),
        (IPv4Address, "an IPv4 address", "ipv4", IPv4Address),
        (IPv6Address, "an IPv6 address", "ipv6", _if_matches(_ADDRESS, IPv6Address)),
        (IPv4Network, "an IPv4 network such as 192.0.2.0/24", "", IPv4Network),
        (
            IPv6Network,
            "an IPv6 network such as 2001:db8::/32",
            "",
            _if_matches(_ADDRESS, IPv6Network),
        ),
        *([(zone, "a time zone such as Europe/Berlin", "", _to_zone)] if zone else ()),
    )
    return {
        **_BUILT_IN,
        Decimal: Converter(
            "a decimal number", _to_decimal, _decimal_from_json, schema={"type": "number"}
        ),
        bytes: _scalar(
            bytes,
            "base64",
            {**_STRING, "contentEncoding": "base64"},
            lambda text: a2b_base64(text.translate(_FROM_URLS), strict_mode=True),
        ),
        **{
            kind: _scalar(kind, expected, {**_STRING, **({"format": form} if form else {})}, read)
            for kind, expected, form, read in rows
        },
    }


def converter_for(annotation: object, own: OwnTypes = NO_OWN_TYPES) -> Converter:
    """Return the converter for an annotation.

    Like the other functions here, raises ``SetupError`` if no value can be converted to the
    annotation. The caller adds the parameter's name to the message.
    """
    if isinstance(annotation, type) and annotation in _BUILT_IN:
        return _BUILT_IN[annotation]
    kind, metadata = parts_of(annotation)
    if is_adapted(annotation) and not (isinstance(kind, type) and kind in own.decoders):
        return _adapted(annotation, metadata)
    if kind is not annotation:
        return with_metadata(converter_for(kind, own), kind, metadata)
    known = _known(annotation, own)
    if known is not None:
        return known
    arguments = get_args(annotation)
    origin = owner_of(annotation)
    if is_choice(annotation):
        return _one_of(annotation, own)
    if len(united(annotation)) > 1:
        return _union(arguments, own)
    made: Any = built_in(origin)
    if made is not None:
        return _collection(made, arguments, own)
    if origin in MAPPINGS:
        key, member = (converter_for(argument, own) for argument in arguments or (str, Any))
        return _json_object(key, member)
    listed = ", ".join(
        kind.__name__
        for kind, one in simple_types().items()
        if isinstance(kind, type) and one.schema
    )
    raise SetupError(
        f"it is annotated with {annotation!r}, and micropie can't convert text to that: change the "
        f"annotation to {listed}, an Enum, Literal, Optional or list[...]. For a parameter of a "
        "handler, you can also write a dataclass, a TypedDict, an attrs class, a msgspec.Struct or "
        "a pydantic model. If you have a function that converts text to this type, write "
        "App(decoders={Type: function}). If the value, such as a database connection, doesn't come "
        "from the client, write @app.provides(...) above a function that returns the value"
    )


def _known(annotation: object, own: OwnTypes) -> Converter | None:
    """Return the converter for a type variable, a class with a decoder or a class that contains no
    other types. Return None for any other annotation, which may not even be hashable.
    """
    if not isinstance(annotation, type):
        return ANYTHING if isinstance(annotation, TypeVar) else None
    decoded = annotation in own.decoders
    return _decoded(annotation, own) if decoded else simple_types().get(annotation)


def _decoded(kind: type, own: OwnTypes) -> Converter:
    """Return the converter for a class for which the application has a decoder."""
    # While looking up ``inner``, replace the decoder of ``kind`` with an invalid one. Then two
    # decoders that each take the other's class raise ``SetupError`` instead of recursing forever.
    others: dict[type, Any] = {**own.decoders, kind: lambda: None}
    inner = converter_for(own.taken_by(kind), own._replace(decoders=others))

    def decode(given: object) -> object:
        try:
            return own.decoders[kind](given)
        except (ValueError, ArithmeticError, LookupError):
            # A decoder may raise an exception other than ValueError for an invalid value: Decimal
            # raises ArithmeticError, and looking up an Enum's member by name raises KeyError.
            raise ValueError(given) from None

    from_text = _from_one_text(inner)
    return Converter(
        f"a {kind.__name__}",
        lambda text: decode(from_text(text)),
        lambda value: decode(inner.from_json(value)),
        invalid=INVALID,
        takes_text=_takes_one_text(inner),
    )


def _adapted(annotation: Hint, metadata: Sequence[object]) -> Converter:
    """Return the converter for an annotation whose values pydantic creates. The converter itself
    checks the constraints that pydantic doesn't enforce.
    """
    # imported on use, because few applications need it
    from micropie._core.binding.values.adapters import Adapter

    adapter = Adapter(annotation)
    from_text = functools.partial(adapter.convert, is_json=False)
    converter = Converter(
        f"a valid {adapter.name}",
        from_text,
        functools.partial(adapter.convert, is_json=True),
        takes_text=adapter.takes_text,
    )
    if adapter.is_collection:
        converter = converter._replace(from_text=str, many=from_text, empty=[])
    _, is_optional = bare(annotation)
    others = [one for one in metadata if type(one).__module__.startswith(("msgspec", "micropie"))]
    converter = with_metadata(converter, None, others)
    return _optional(converter) if is_optional else converter


def with_metadata(converter: Converter, kind: object, metadata: Sequence[object]) -> Converter:
    """Return the converter for ``Annotated[kind, *metadata]``: a copy of ``converter`` that also
    checks the constraints in the metadata, and uses its ``Message``. If ``kind`` is a list, the
    constraints apply to the list, not to its elements.
    """
    constraints = [*constraints_of(metadata)]
    check_type(constraints, kind)
    converter = with_message(converter, metadata)
    if not constraints:
        return converter
    from_text = checked(converter.from_text, constraints)
    constrained = converter._replace(
        expected=", ".join([converter.expected, *(one.words for one in constraints)]),
        invalid=converter.invalid or f"Please enter {converter.expected}.",
        from_json=checked(converter.from_json, constraints),
    )
    if converter.many is not None:
        constrained = constrained._replace(many=checked(converter.many, constraints))
    if converter.many is not None and not converter.is_either:
        return constrained
    if any(one.name in ("min_length", "max_length") for one in constraints):
        return constrained._replace(from_text=lambda text: from_text(with_short_line_ends(text)))
    return constrained._replace(from_text=from_text)


def with_message(converter: Converter, metadata: Iterable[object]) -> Converter:
    """Return a copy of ``converter`` with the last ``Message`` in the metadata. Without a
    ``Message``, return the converter unchanged.
    """
    for item in metadata:
        if isinstance(item, Message):
            converter = converter._replace(message=item)
    return converter


def _from_no_text(text: object) -> object:
    raise ValueError(text)


def _takes_one_text(converter: Converter) -> bool:
    """Return whether a single string can be converted to the type."""
    return converter.takes_text and (converter.many is None or converter.is_either)


def _from_one_text(converter: Converter) -> Callable[[str], object]:
    """Return the function that converts a single string. If no single string can be converted to
    the type, the function always raises ``ValueError``.
    """
    return converter.from_text if _takes_one_text(converter) else _from_no_text


def _json_object(keys: Converter, member: Converter) -> Converter:
    has_text_keys, name_of = keys.from_text is str, _from_one_text(keys)

    def from_json(value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(value)
        if not has_text_keys:
            check_count(value)
        made = {}
        for name, element in value.items():
            key = name_of(name)
            try:
                made[key] = member.from_json(element)
            except ValueError as error:  # the message for the dict isn't true, because it is one
                words, _ = member.error_message(element, error)
                raise BrokenConstraint("invalid", words) from None
        return made

    limits = (
        ""
        if has_text_keys
        else f" with at most {MAX_HASHED} members, whose names are each {keys.expected}"
    )
    return Converter(f"a JSON object{limits}", _from_no_text, from_json, takes_text=False)


def _one_of(kind: Hint, own: OwnTypes) -> Converter:
    """Return the converter for an Enum or a Literal."""
    choices = [*kind] if is_enum(kind) else get_args(kind)
    other = _spelling_of(kind) if is_enum(kind) else None
    sent = [own.sent(one) for one in choices]
    texts = [*map(url_text, sent)]
    by_text = {
        word: one
        for value, one in zip(sent, choices, strict=True)
        if isinstance(value, bool)
        for word in (_TRUE if value else _FALSE)
    }
    by_text |= zip(reversed(texts), reversed(choices), strict=True)
    # JSON's 5.0 is 5, but its true isn't 1, and its "5" is 5 only if "5" is no choice.
    by_value = {
        _exact(value): one
        for value, one in zip(sent, choices, strict=True)
        if isinstance(value, _SENT)
    }

    def choose(value: object) -> object:
        if isinstance(value, _SENT):
            if (key := _exact(value)) in by_value:
                return by_value[key]
            if isinstance(value, str) and value in by_text:
                return by_text[value]
            if other is not None:
                return other(value)
        raise ValueError(value)

    listed = ", ".join(texts)
    sentence = Sentence("Please choose one of {choices}.", choices=listed)
    # the type of JSON that a union may prefer to a string
    schema = None if any(isinstance(one, str) for one in sent) else {"type": "number"}
    return Converter(
        f"one of {listed}", choose, choose, schema=schema, invalid=sentence, required=sentence
    )


_SENT = (str, int, float, types.NoneType)  # how JSON may write the member of an Enum


def _exact(value: str | float | None) -> tuple[bool, str | float | None]:
    return isinstance(value, bool), value


def _spelling_of(kind: type[enum.Enum]) -> Callable[[object], object] | None:
    """Return a function that returns the member of an Enum that the Enum's ``_missing_`` returns
    for a value, like msgspec. Return None if ``_missing_`` would let clients create any number of
    members.
    """
    if vars(kind).get("_boundary_") is enum.KEEP:
        return None
    kinds = {type(one.value) for one in kind}

    def find(value: object) -> object:
        with suppress(Exception):  # raised by the application's method for an unknown value
            if kinds == {int}:
                with suppress(ValueError):  # a name, for example
                    value = _BUILT_IN[int].from_json(value)
            if type(value) in {str, *kinds} or not kinds <= {str, int}:
                member = kind._missing_(value)
                if isinstance(member, kind):
                    return member
        raise ValueError(value)

    return find


def _union(members: tuple[object, ...], own: OwnTypes) -> Converter:
    inner = [
        converter_for(one, own)
        for one in members
        if one is not types.NoneType and not is_unset(one)
    ]
    # Python doesn't always keep the order in which a union is written. So a date is tried before a
    # datetime, which accepts its texts, and str last. Types that aren't simple keep their places.
    simple = iter(
        sorted(
            (one for one in inner if one.schema),
            key=lambda one: _BREADTH.get([*(one.schema or _STRING).values()][-1], 0),
        )
    )
    inner = [next(simple) if one.schema else one for one in inner]
    inner.sort(key=takes_any_text)
    is_optional = types.NoneType in members
    of_text = [converter.from_text for converter in inner]
    of_json = [converter.from_json for converter in inner]
    # In JSON, "5" is no number if the type allows a string, and 5.0 is a float if it allows both.
    # Other types that JSON has as strings, such as bytes, take "1234" before a number does.
    strings = [one for one in inner if (one.schema or _STRING)["type"] == "string"]
    others = [] if takes_any_text(inner[-1]) else inner
    of_string = [converter.from_json for converter in chain(strings, others)]
    numbers = [one for one in (int, float) if one in members]

    def from_json(value: object) -> object:
        if type(value) in numbers:
            return value
        return first_that_fits(of_string if isinstance(value, str) else of_json, value)

    union = Converter(
        " or ".join(converter.expected for converter in inner),
        lambda text: first_that_fits(of_text, text),
        from_json,
        invalid=INVALID,
        takes_text=any(converter.takes_text for converter in inner),
    )
    if len(inner) == 1:
        union = inner[0]
    elif any(converter.many is not None for converter in inner):
        union = _with_collections(union, inner, is_optional)
    if is_optional:
        return _optional(union)
    # what a form doesn't send is the default of a union with UNSET
    return union._replace(empty=None) if len(inner) < len(members) else union


# Of those simple types that also accept texts of others, by the formats or types in their schemas:
# a type is tried after the types with lower numbers.
_BREADTH: Mapping[object, int] = {
    "date-time": 1,
    "time": 2,
    "string": 3,
    "number": 4,
    "boolean": 5,
    "base64": 6,
    "path": 7,
}


def takes_any_text(converter: Converter) -> bool:
    """Return whether a converter is that of str, perhaps with constraints, or of any value."""
    return converter.schema is _STRING or converter.from_text is str


def _with_collections(union: Converter, inner: Sequence[Converter], is_optional: bool) -> Converter:
    """Return the converter for a union with collections among its members, such as
    ``int | list[int]``. Several strings can only become a collection. A single string becomes one
    of the other members if possible.
    """
    collections = [one.from_texts for one in inner if one.many is not None]
    singles = [one.from_text for one in inner if _takes_one_text(one)]

    def from_text(text: str) -> object:
        if is_optional and text == "":
            return None
        try:
            return first_that_fits(singles, text)
        except ValueError:
            return collect([text])

    def collect(texts: Sequence[Any]) -> object:
        return first_that_fits(collections, texts)

    return union._replace(
        from_text=from_text if singles else str,
        many=collect,
        is_either=bool(singles),
        empty=None if singles else [],
    )


def first_that_fits(converts: Iterable[Callable[[T], object]], value: T) -> object:
    for convert in converts:
        try:
            return convert(value)
        except ValueError:
            continue
    raise ValueError(value)


def _optional(inner: Converter) -> Converter:
    # Browsers send "" for a field left empty, so "" becomes None. In a list, "" is an ordinary
    # element.
    return inner._replace(
        from_text=lambda text: None if text == "" and inner.many is None else inner.from_text(text),
        from_json=lambda value: None if value is None else inner.from_json(value),
        empty=None,
    )


def _hashed(kind: Collect) -> Collect:
    """Return a function that creates a ``set`` or a ``frozenset``. The function raises
    ``ValueError`` if there are too many elements, or if an element can't be hashed.
    """

    def collect(elements: Sequence[object]) -> object:
        check_count(elements)
        try:
            return kind(elements)
        except TypeError:  # a JSON array or object can't be hashed
            raise ValueError("an element can't be hashed") from None

    return collect


def _collection(kind: Collect, arguments: tuple[object, ...], own: OwnTypes) -> Converter:
    first, *others = arguments or (Any,)
    if others not in ([], [Ellipsis]) or (kind is tuple and len(arguments) == 1):
        raise SetupError(
            "a tuple of fixed length can't be a parameter: write tuple[X, ...] or, for a JSON "
            "array, a msgspec.Struct with array_like=True and a field for each value"
        )
    item = converter_for(first, own)
    from_text = _from_one_text(item)
    unchanged = {_UNCHANGED.get(item.from_json)}
    is_hashed = kind in (set, frozenset)
    make = _hashed(kind) if is_hashed else kind

    def from_json(value: object) -> object:
        elements = _elements_of(value)
        if is_hashed:
            check_count(elements)  # first, because a decoder of the application may take long
        if not unchanged.issuperset(map(type, elements)):
            elements = [*map(item.from_json, elements)]
        return make(elements)

    most = f" of at most {MAX_HASHED} values" if is_hashed else ""
    return Converter(
        f"a list{most}, each {item.expected}",
        from_text,
        from_json,
        many=make,
        invalid=item.invalid or f"Please enter {item.expected}.",
        message=item.message,
        empty=[],
        takes_text=_takes_one_text(item),
    )


def _elements_of(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    if value is None or value == "":
        raise ValueError(value)
    # the message of a list is that for its elements, which may be true of the value
    raise BrokenConstraint("invalid", NO_ARRAY)


# Structures are created by msgspec or pydantic, so these only check what kind of value it is.
AN_OBJECT = _json_object(_BUILT_IN[str], ANYTHING)
AN_ARRAY = Converter("a JSON array", _from_no_text, _elements_of, takes_text=False)
NOTHING = Converter("no value", _from_no_text, _from_no_text, invalid=UNWANTED, required=UNWANTED)
