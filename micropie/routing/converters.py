"""Annotations compiled to converters: text (a path, a query, a form) or a JSON value becomes what was annotated.

A ``Converter`` has two entries because text and JSON differ: ``"1"`` from a query is an ``int``, the JSON text
``"1"`` too, but JSON's ``true`` is none. ``expected`` finishes the sentence "Parameter 'x' must be ...".
"""

from __future__ import annotations

import dataclasses
import enum
import math
import re
import types
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import (
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

from micropie.errors import SetupError


class Converter(NamedTuple):
    """``from_text(text)`` and ``from_json(value)`` raise ``ValueError`` for what is not ``expected``."""

    expected: str
    from_text: Callable[[str], Any]
    from_json: Callable[[Any], Any]
    optional: bool = False
    many: Callable[[list[Any]], Any] | None = None  # takes every value of the name, then packs them so


_WHOLE = re.compile(r"[+-]?[0-9]{1,4300}", re.ASCII)  # int() would take "1_0", " 1 " and other scripts' digits
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})


def _to_int(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _to_float(text: str) -> float:
    # NaN and infinity are refused here as they are in JSON: they can't be compared, stored or sent on.
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _to_bool(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE and word not in _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _to_decimal(text: str) -> Decimal:
    try:
        number = Decimal(text) if _NUMBER.fullmatch(text) else Decimal("NaN")
    except InvalidOperation:  # an exponent past what the decimal module holds
        raise ValueError(text) from None
    if not number.is_finite():
        raise ValueError(text)
    return number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return _to_int(_only_text(value))
    return value


def _json_float(value: Any) -> float:
    try:
        return float(value) if _is_number(value) else _to_float(_only_text(value))
    except OverflowError:
        raise ValueError(value) from None


def _json_bool(value: Any) -> bool:
    return value if isinstance(value, bool) else _to_bool(_only_text(value))


def _json_decimal(value: Any) -> Decimal:
    return Decimal(str(value)) if _is_number(value) else _to_decimal(_only_text(value))


def _only_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _identity(value: Any) -> Any:
    return value


def _from_text_only(expected: str, convert: Callable[[str], Any]) -> Converter:
    return Converter(expected, convert, lambda value: convert(_only_text(value)))


ANYTHING = Converter("a value", _identity, _identity)

_SIMPLE: dict[Any, Converter] = {
    Any: ANYTHING,
    object: ANYTHING,
    str: Converter("text", _identity, _only_text),
    int: Converter("a whole number", _to_int, _json_int),
    float: Converter("a number", _to_float, _json_float),
    bool: Converter("true or false", _to_bool, _json_bool),
    Decimal: Converter("a decimal number", _to_decimal, _json_decimal),
    UUID: _from_text_only("a UUID", UUID),
    date: _from_text_only("a date such as 2026-01-31", date.fromisoformat),
    time: _from_text_only("a time such as 13:45:00", time.fromisoformat),
    datetime: _from_text_only("a date and time such as 2026-01-31T13:45:00", datetime.fromisoformat),
}


def converter_for(annotation: Any, parameter: str) -> Converter:
    """The converter for one parameter's annotation. Raises ``SetupError`` for one that nothing converts to."""
    if get_origin(annotation) is not None and hasattr(annotation, "__metadata__"):  # Annotated[int, ...]
        annotation = annotation.__origin__
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if isinstance(annotation, TypeVar):
        return ANYTHING
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation)
    origin = get_origin(annotation)
    if origin is Literal:
        return _literal(get_args(annotation))
    if origin in (Union, types.UnionType):
        return _union(get_args(annotation), parameter)
    if annotation in _COLLECTIONS or origin in _COLLECTIONS:
        return _collection(origin or annotation, get_args(annotation), parameter)
    if annotation is dict or origin is dict:
        return _object(get_args(annotation), parameter)
    raise SetupError(
        f"parameter {parameter!r} is annotated with {annotation!r}, which no text converts to: use str, int, float, "
        "bool, UUID, date, datetime, Decimal, an Enum, Literal, Optional, list[...], a dataclass, a TypedDict, "
        "a msgspec.Struct or a pydantic model"
    )


def _refuse(value: Any) -> Any:
    raise ValueError(value)


def _object(arguments: tuple[Any, ...], parameter: str) -> Converter:
    member = converter_for(arguments[1], parameter) if arguments else ANYTHING

    def from_json(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(value)
        return {name: member.from_json(element) for name, element in value.items()}

    return Converter("a JSON object", _refuse, from_json)


def _enum(kind: type[enum.Enum]) -> Converter:
    return _one_of({str(member.value): member for member in kind})


def _literal(values: tuple[Any, ...]) -> Converter:
    return _one_of({str(value): value for value in values})


def _one_of(choices: dict[str, Any]) -> Converter:
    def choose(value: Any) -> Any:
        try:
            return choices[str(value)]
        except KeyError:
            raise ValueError(value) from None

    def choose_json(value: Any) -> Any:
        if not isinstance(value, str | int | float) or isinstance(value, bool) != isinstance(choose(value), bool):
            raise ValueError(value)
        return choose(value)

    return Converter("one of " + ", ".join(choices), choose, choose_json)


def _union(members: tuple[Any, ...], parameter: str) -> Converter:
    optional = type(None) in members
    inner = [converter_for(member, parameter) for member in members if member is not type(None)]
    if len(inner) == 1:
        return _optional(inner[0]) if optional else inner[0]
    # int before str, whatever the order: every text is a str.
    inner.sort(key=lambda converter: converter in (_SIMPLE[str], ANYTHING))
    expected = " or ".join(converter.expected for converter in inner)
    union = Converter(
        expected,
        lambda text: _first_that_fits([converter.from_text for converter in inner], text),
        lambda value: _first_that_fits([converter.from_json for converter in inner], value),
    )
    return _optional(union) if optional else union


def _first_that_fits(converts: list[Callable[[Any], Any]], value: Any) -> Any:
    for convert in converts:
        try:
            return convert(value)
        except ValueError:
            continue
    raise ValueError(value)


def _optional(inner: Converter) -> Converter:
    # Forms send an empty field for "nothing entered"; only for text is that a value.
    keeps_empty = inner in (_SIMPLE[str], ANYTHING) or inner.many is not None
    return inner._replace(
        from_text=lambda text: None if text == "" and not keeps_empty else inner.from_text(text),
        from_json=lambda value: None if value is None else inner.from_json(value),
        optional=True,
    )


_COLLECTIONS: dict[Any, Callable[[list[Any]], Any]] = {list: list, tuple: tuple, set: set, frozenset: frozenset}


def _collection(kind: Any, arguments: tuple[Any, ...], parameter: str) -> Converter:
    if kind is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = arguments[:1]
    if len(arguments) > 1:
        raise SetupError(f"parameter {parameter!r}: a tuple of fixed length comes from no form; write tuple[X, ...]")
    item = converter_for(arguments[0], parameter) if arguments else ANYTHING
    pack = _COLLECTIONS[kind]

    def from_json(value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(value)
        return pack([item.from_json(element) for element in value])

    return Converter(f"a list, each {item.expected}", item.from_text, from_json, many=pack)


def is_structure(annotation: Any) -> bool:
    """Whether a whole body becomes this: a dataclass, TypedDict, msgspec.Struct or pydantic model."""
    if not isinstance(annotation, type):
        return is_typeddict(annotation)
    return (
        dataclasses.is_dataclass(annotation)
        or is_typeddict(annotation)
        or hasattr(annotation, "__struct_fields__")
        or is_pydantic(annotation)
    )


def is_pydantic(annotation: Any) -> bool:
    """Whether this is a pydantic model, told by the method that it will be asked for."""
    return hasattr(annotation, "model_validate") and hasattr(annotation, "model_fields")


def structure_converter(annotation: Any, parameter: str) -> Callable[[Any, bool], Any]:
    """``convert(document, from_text)`` -> the structure; raises ``ValueError`` whose text says what is wrong.

    Raises ``SetupError`` if msgspec is needed and missing.
    """
    if is_pydantic(annotation):
        readers = {name: _form_reader(field.annotation) for name, field in annotation.model_fields.items()}
        return lambda document, from_text: annotation.model_validate(
            _from_form(document, readers) if from_text else document
        )
    try:
        import msgspec
    except ImportError:
        raise SetupError(
            f'parameter {parameter!r} is a {annotation.__name__}: install msgspec, pip install "micropie[standard]"'
        ) from None

    try:
        msgspec.json.Decoder(annotation)  # complains of what it could never make
        readers = {name: _form_reader(hint) for name, hint in get_type_hints(annotation).items()}
    except (TypeError, NameError, AttributeError, SyntaxError) as error:
        raise SetupError(f"parameter {parameter!r} is a {annotation.__name__}, which can't be made: {error}") from None

    def convert(document: Any, from_text: bool) -> Any:
        if from_text:
            document = _from_form(document, readers)
        try:
            return msgspec.convert(document, annotation, strict=not from_text)
        except msgspec.ValidationError as error:  # which is no ValueError
            raise ValueError(str(error)) from None

    return convert


def _from_form(fields: dict[str, list[str]], readers: dict[str, Callable[[list[str]], Any]]) -> dict[str, Any]:
    return {name: readers.get(name, _first)(texts) for name, texts in fields.items()}


def _first(texts: list[str]) -> Any:
    return texts[0] if len(texts) == 1 else texts


def _form_reader(hint: Any) -> Callable[[list[str]], Any]:
    """What a form can't say by itself: one value of a list, a ticked box, nothing entered."""
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if any((get_origin(member) or member) in _COLLECTIONS for member in members):
        return _identity
    if bool in members:
        return lambda texts: True if texts == ["on"] else _first(texts)
    if type(None) in members and str not in members:
        return lambda texts: None if texts == [""] else _first(texts)
    return _first
