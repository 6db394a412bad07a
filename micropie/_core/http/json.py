"""JSON encoding and decoding. Only this module imports orjson and msgspec.

A ``Codec`` has ``dumps`` and ``loads``. They accept and refuse the same values and types whether
orjson is used, missing or too old. The wording of errors, and the limits on a text that is read,
depend on the parser in use. The written bytes differ only in the exponents of floats: 1e-7 is
written as 1e-07 without orjson.

These types are encoded:

- str, int, float, bool, None, dict, list, tuple, sets, other mappings (by ``items()``) and other
  sequences; rows of a database that have ``keys()``, such as ``sqlite3.Row``, as dicts
- datetime, date and time, as ``isoformat()``; a naive one stays naive
- timedelta, in ISO 8601: ``P1DT7200S``
- UUID, paths, ``ZoneInfo``, IP addresses and Decimal, as strings; a float would lose digits of a
  Decimal
- bytes, as base64
- Enum, as its value
- dataclasses, attrs classes and msgspec structs
- pydantic models and pydantic's dataclasses, by the aliases of their fields, and pydantic's types,
  all by pydantic's own rules

An application's own encoders take precedence over all these. A subclass is encoded like its base. A
dict's keys may be anything that these rules turn into a string, number, bool or None. The result is
compact UTF-8. Anything else, NaN, Infinity, lone surrogates and more than 254 levels of nesting
raise ``CodecError``, whose message contains the path to the value.

Decoding follows RFC 8259. If a key is repeated, the last one wins. Integers are exact at any size
that the parser accepts. A byte order mark before the text is skipped (section 8.1). ``ValueError``
is raised for:

- malformed text, NaN and Infinity
- a float too large for a double
- an escaped lone surrogate, which can be neither stored nor sent as UTF-8
- more nested levels than the parser supports
"""

from __future__ import annotations

import builtins
import re
import sys
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, ValuesView
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from functools import cache, cached_property, lru_cache, partial
from inspect import isawaitable
from json import JSONDecoder, JSONEncoder
from math import isfinite
from operator import attrgetter
from pathlib import PurePath
from types import ModuleType
from typing import Any, NoReturn, TypeAlias

from micropie._core.errors import too_many
from micropie._core.execution import current_exchange
from micropie._core.http.protocols import Encoder, Json
from micropie._core.on_demand import pattern

Dumps: TypeAlias = Callable[[object], bytes]
_Conversions: TypeAlias = Sequence[tuple[type | tuple[type, ...], Encoder]]
Encoders: TypeAlias = Mapping[type, Encoder]

MOST_VALUES = 10_000  # the default of the setting ``max_json_values``

OLDEST_ORJSON = (3, 11, 6)  # older versions have CVE-2025-67221: deep nesting overruns the stack


class CodecError(ValueError):
    """Raised for a value that can't be encoded as JSON, with the reason."""


def msgspec() -> ModuleType:
    """Import and return msgspec. Raises ``ImportError`` if it is not installed."""
    import msgspec

    return msgspec


def orjson() -> ModuleType | None:
    """Import and return orjson, or return None if it is missing or too old.

    It is imported when JSON is first used, because importing it, and uuid with it, takes 10% of a
    small application's startup time.
    """
    try:
        import orjson
    except ImportError:
        return None
    version = re.findall(r"\d+", orjson.__version__)[:3]
    return orjson if tuple(map(int, version)) >= OLDEST_ORJSON else None


def encoder_of(kind: type, own: Encoders) -> Encoder | None:
    """Return the application's encoder for a class or for its nearest base class, or None if there
    is no such encoder.
    """
    return next((own[base] for base in kind.__mro__ if base in own), None)


def check_values(text: bytes | str, most: int) -> None:
    """Raise 413 for a JSON text with more than ``most`` values, or for malformed text of which a
    parser would decode more of them. An empty array or object counts as two values.

    Parsers and validators hold the interpreter's lock for a whole document, and take most time for
    a million tiny arrays. So count the values before anything is decoded: the first value of an
    array or object comes after its bracket, each further one after a comma.
    """
    if len(text) >= most:
        data = text if isinstance(text, bytes) else text.encode(errors="replace")
        if _count(data) > most:
            values_in(data, most)


def values_in(data: bytes, most: int, others: int = 0) -> int:
    """Return the number of values in a JSON text, and of ``others``. Raise 413 for more than
    ``most``; see ``check_values``.
    """
    # Commas and brackets may be in strings. Each string is a value or the name of one, so there
    # aren't many, or the text is refused anyway.
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if data.count(b'"') <= 4 * most:
        count = others + _count(b"".join(data.split(b'"')[::2]))
        if count <= most:
            return count
    raise too_many(most, "A JSON document may have {most} values at most (max_json_values).")


def _count(data: bytes) -> int:
    return 1 + len(data) - len(data.translate(None, b",[{"))


def check_client_values(text: str) -> None:
    """Raise 413 for a JSON text inside a form or a document if such texts have more values together
    than the application allows that handles the current request.
    """
    data, exchange = text.encode(errors="replace"), current_exchange()
    if exchange is None:
        values_in(data, MOST_VALUES)
    else:
        exchange.body.count_inner(data, exchange.config.limits.max_json_values)


# -- encoding -------------------------------------------------------------------------------------

_MAX_DEPTH_OUT = 254  # levels of nesting, as in orjson
_ATOMS = frozenset([str, int, float, bool, type(None)])
BUILTINS = _ATOMS | {dict, list, tuple}


class Codec:
    """``dumps`` and ``loads`` for an application.

    ``own``: the application's encoders, as a dict by class. Each also encodes values of subclasses.
    """

    def __init__(self, own: Encoders) -> None:
        self._own = own

    @cached_property
    def _module(self) -> ModuleType | None:
        return orjson()

    def loads(self, data: bytes | bytearray | memoryview | str) -> Json:
        """Return the value of the JSON text ``data``. Raises ``ValueError`` if it is invalid."""
        try:
            if type(data) is not bytes:
                data = data.encode() if isinstance(data, str) else bytes(data)
            # orjson makes a float from an integer beyond 64 bits. Such a number has at least 19
            # digits. To find 19 digits in a row, first look at every fourth byte only, which is a
            # quarter of the work: 4 of these bytes in a row must be digits.
            module = self._module
            if module is None or (
                data[3::4].translate(_MARKS).find(b"0000") >= 0
                and data.translate(_MARKS).find(b"0" * 19) >= 0
                and _LONG_NUMBER.search(data)
            ):
                text = data.decode()
                value = _DECODER.decode(text)
                if "\\u" in text:
                    # raises ``UnicodeEncodeError`` for a lone surrogate
                    _ENCODER.encode(value).encode()
                return value
            return module.loads(data)
        except RecursionError:
            raise ValueError(_TOO_DEEP) from None
        except ValueError as error:
            if isinstance(data, bytes) and data.startswith(_BOM) and data[3:6] != _BOM:
                return self.loads(data[3:])
            # An error of ``int`` explains a setting of Python after a semicolon. Leave out this
            # explanation.
            reason = str(error).partition(";")[0]
            raise ValueError(f"The JSON is not valid: {reason}.") from None

    @cached_property
    def _encode(self) -> Callable[[object, Encoder], bytes] | None:
        from uuid import UUID  # imported here, because importing uuid is slow

        module = self._module
        # orjson encodes an Enum and a UUID without calling ``default``, so an application's own
        # encoders for them would be ignored.
        if module is None or any(
            kind is object or issubclass(kind, Enum | UUID) for kind in self._own
        ):
            return None
        # Without these options, orjson drops a dataclass's fields that begin with "_", and encodes
        # a subclass of dict without calling its method ``items``.
        options = (
            module.OPT_PASSTHROUGH_DATETIME
            | module.OPT_PASSTHROUGH_DATACLASS
            | module.OPT_PASSTHROUGH_SUBCLASS
        )
        return partial(module.dumps, option=options)

    def dumps(self, value: object) -> bytes:
        """Return a value encoded as JSON, in UTF-8."""
        kinds: dict[type, None] = {}
        try:
            if self._encode is not None:
                data = self._encode(value, partial(self._convert, kinds))
                # orjson writes null for None, but also for NaN and Infinity.
                if data.find(b"null") < 0 or not self._may_have_nan(value, kinds):
                    return data
        except (TypeError, ValueError):
            # The cause is a large integer, a key that is not a str, or an invalid value.
            # ``_dumps_plain`` handles all of them.
            pass
        return self._dumps_plain(value)

    def _convert(self, kinds: dict[type, None], value: object) -> object:
        """Return what ``_step`` returns, and add the object's class to ``kinds`` unless that is a
        str.
        """
        converted = self._step(value)
        if type(converted) is not str:
            kinds[type(value)] = None
        return converted

    def _may_have_nan(self, value: object, kinds: Iterable[type]) -> bool:
        """Return False if a value that orjson has encoded contains neither NaN nor Infinity.

        The value is encoded as MessagePack, which takes less time than to encode it as JSON and has
        the byte 0xcb and eight more for each float. These begin with 0x7f or 0xff for NaN, Infinity
        and numbers beyond 1e303. In text, neither of them follows 0xcb.

        ``kinds``: the classes of the objects in it that ``_convert`` has added.
        """
        with suppress(ImportError, OverflowError):  # a date whose time in UTC is before the year 1
            if not any(_hides(kind) or encoder_of(kind, self._own) for kind in kinds):
                packed: bytes = msgspec().msgpack.encode(value, enc_hook=self._step)
                return _LARGE_FLOAT.search(packed) is not None
        # the encoder of the standard library refuses NaN
        JSONEncoder(allow_nan=False, default=self._step).encode(value)
        return False

    def _dumps_plain(self, value: object) -> bytes:
        path: list[object] = []
        try:
            tree = self._tree_of(value, path)
        except RecursionError:
            too_deep = (
                f"A value with more than {_MAX_DEPTH_OUT} levels, or that contains itself, can't "
                "be written as JSON"
            )
            raise CodecError(too_deep) from None
        except CodecError as error:
            place = "".join(
                f".{one}" if str(one).isidentifier() else f"[{one!r:.80}]" for one in path
            )
            raise CodecError(f"${place}: {error}" if path else str(error)) from None
        return _encode_plain(tree)

    def _tree_of(self, value: Any, path: list[object]) -> object:
        """Return ``value`` converted to dicts with str keys, lists, strings, numbers, bools and
        None.

        ``path``: the keys under which ``value`` was found. After an error, it holds the keys of the
        value that can't be encoded.

        The standard library's encoder can't do this itself, because it has no limit for the depth,
        doesn't call ``default`` for keys, and encodes an Enum that is also a str as that str. This
        method uses one frame per level, so 254 levels are within Python's recursion limit.
        """
        steps = 0
        while type(value) not in BUILTINS:
            value = self._step(value)
            steps += 1
            if steps > _MAX_DEPTH_OUT:  # the application's encoders convert endlessly
                raise RecursionError
        kind = type(value)
        if kind in _ATOMS:
            if kind is float and not isfinite(value):
                raise CodecError(
                    "NaN and Infinity can't be written as JSON: return None or a str instead"
                )
            return value
        if len(path) == _MAX_DEPTH_OUT:
            raise RecursionError
        tree: Any = {} if kind is dict else []
        for key, item in value.items() if kind is dict else enumerate(value):
            path.append(key)
            if kind is dict:
                tree[self._name_of(key)] = self._tree_of(item, path)
            else:
                tree.append(self._tree_of(item, path))
            path.pop()
        return tree

    def _name_of(self, key: object) -> str:
        name = key if type(key) in _ATOMS else self._step(key)
        if type(name) not in _ATOMS:
            raise CodecError(
                f"A dict key of type {type(key).__name__} can't be written as JSON: make it a str"
            )
        return name if isinstance(name, str) else _encode_plain(name).decode()

    def _step(self, value: Any, is_read_back: bool = False) -> object:
        """Convert ``value`` one step towards the types of JSON: a dataclass to a dict, for example.
        Raises ``CodecError`` if that is impossible.

        ``is_read_back``: whether pydantic leaves out computed fields and writes ``Json`` as a text.
        """
        kind: type = type(value)
        if self._own and (encode := encoder_of(kind, self._own)) is not None:
            return encode(value)
        convert = _conversion_of(kind)
        if convert is not None:
            return convert(value)
        if hasattr(kind, "model_dump") or _is_pydantic_dataclass(kind):
            # the method of a class that isn't pydantic's may not take this argument
            is_model = hasattr(kind, "model_dump")
            if hasattr(kind, "__table__"):
                # pydantic would leave out the attributes of a SQLModel that a commit has expired.
                # Read them again, or fail if the session is closed.
                _reader([*getattr(kind, "model_fields", ())])(value)
            own: dict[str, Any] = {"fallback": self._step} if self._own or not is_model else {}
            if is_read_back:
                own["round_trip"] = True
            dump = getattr(value, "model_dump", None) or partial(
                kind.__pydantic_serializer__.to_python,  # type: ignore[attr-defined]
                value,
            )
            # An application's encoders apply to the fields of a dataclass. Use the aliases of the
            # fields, as in a request's body.
            mode = "python" if self._own and not is_model else "json"
            dumped: object = dump(mode=mode, by_alias=True, **own)
            return _refuse(value) if type(dumped) is kind else dumped
        # if ``value`` is a proxy, its ``__class__`` is the class of its target
        return (_conversion_of(value.__class__) or _refuse)(value)


def _is_pydantic_dataclass(kind: type) -> bool:
    """Return whether pydantic writes objects of a dataclass. Its subclasses may be others."""
    return "__pydantic_serializer__" in vars(kind) and is_dataclass(kind)


_LARGE_FLOAT = pattern(rb"\xcb[\x7f\xff]")


@lru_cache(maxsize=1024)
def _hides(kind: type) -> bool:
    """Return whether msgspec may leave out what ``_step`` writes for objects of a class."""
    is_own = issubclass(kind, dict | list | tuple | set | frozenset) and not (
        kind.__module__ in ("builtins", "collections") or hasattr(kind, "_fields")
    )
    return (
        is_own
        or _is_pydantic_dataclass(kind)
        or any(one.name.startswith("_") or not one.init for one in declared_fields(kind))
    )


def _encode_plain(tree: object) -> bytes:
    try:
        return _ENCODER.encode(tree).encode()
    except ValueError as error:  # for example a lone surrogate, or an int with too many digits
        raise CodecError(f"The value can't be written as JSON: {error}") from None


_ENCODER = JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
)


def _duration(value: timedelta) -> str:
    """Return a duration in ISO 8601, in days and seconds, as msgspec writes it."""
    size = abs(value)
    seconds = f"{size.seconds}.{size.microseconds:06}".rstrip("0").rstrip(".")
    days = f"{size.days}D" if size.days or not size else ""
    return f"{'-' if value.days < 0 else ''}P{days}{f'T{seconds}S' if seconds != '0' else ''}"


def members_of(value: object, own: Encoders) -> Mapping[str, object]:
    """Return the fields of a structure by the names that JSON has for them, as they are read again.
    Raises ``ValueError`` for a value without such names. ``own``: the application's encoders.
    """
    found = value if isinstance(value, dict) else Codec(own)._step(value, is_read_back=True)
    return found if isinstance(found, Mapping) else _refuse(value)


def url_text(value: object) -> str:
    """Return a value as text for a URL: an Enum's value, ISO 8601 for a duration, base64 for bytes.
    Binding converts the text back to the same value.
    """
    if isinstance(value, Enum):
        return url_text(value.value)
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, bytes | bytearray):
        text = b2a_base64(value, newline=False).decode()
        # only msgspec reads a bytearray, with the standard alphabet
        return text.translate(_FOR_URLS) if isinstance(value, bytes) else text
    return str(value)


_FOR_URLS = str.maketrans("+/", "-_")  # RFC 4648, section 5


def link_text(value: object) -> str:
    """Return a value as text for a link. Raises ``ValueError`` for an object without a text of its
    own: its ``str`` would be an address in memory, show all its fields, or hide a secret.
    """
    if type(value) is str or type(value) is int:
        return str(value)
    has_text = isinstance(value, str | int | float) or type(value).__str__ is not object.__str__
    if not has_text or hasattr(value, "model_dump") or hasattr(value, "get_secret_value"):
        raise ValueError(
            f"no link can contain a {type(value).__name__}: pass a text or number, such as its id"
        )
    text = url_text(value)
    if hasattr(value, "__float__") and text.lower().removeprefix("-").startswith(_NOT_FINITE):
        raise ValueError(f"no link can contain {text}, because no number is read from it")
    return text


_NOT_FINITE = ("nan", "snan", "inf")


def _refuse(value: object) -> NoReturn:
    name = type(value).__name__
    if getattr(builtins, name, type(value)) is not type(value):  # such as NumPy's bool
        name = f"{type(value).__module__}.{name}"
    advice = (
        "return a str, number, dict, list or dataclass instead, or write "
        f"App(encoders={{{name}: ...}}) with a function that converts it to one of these"
    )
    if isawaitable(value):
        advice = "write await in front of the call that returns it"
    elif hasattr(value, "status_code"):  # a response of another framework
        advice = "return its body, or micropie's own Response(body, status=201)"
    raise CodecError(f"A value of type {name} can't be written as JSON: {advice}")


def _conversions() -> _Conversions:
    import ipaddress as ip
    from decimal import Decimal
    from uuid import UUID

    # The first two include ``IPv4Interface`` and ``IPv6Interface``, which are their subclasses.
    addresses = (ip.IPv4Address, ip.IPv6Address, ip.IPv4Network, ip.IPv6Network)
    zones = [module.ZoneInfo] if (module := sys.modules.get("zoneinfo")) is not None else []
    return (
        (datetime, datetime.isoformat),
        (date, date.isoformat),
        (time, time.isoformat),
        (UUID, str),
        (Decimal, lambda value: str(value) if value.is_finite() else _refuse(value)),
        (type, _refuse),
        (Enum, lambda value: value.value),  # before str: an Enum may also be a str or an int
        (str, str.__str__),
        (int, int.__int__),
        (float, float.__float__),
        (dict, lambda value: dict(value.items())),
        (list, list),
        (timedelta, _duration),
        ((PurePath, *addresses, *zones), str),
    )


@lru_cache(maxsize=1024)
def _conversion_of(kind: type) -> Encoder | None:
    """Return a function that converts values of a class one step towards JSON.

    Return None for models and unknown classes, for which there is no such function.
    """
    for kinds, convert in _conversions():
        if issubclass(kind, kinds):
            return convert
    if _is_pydantic_dataclass(kind):
        return None
    if is_dataclass(kind) or hasattr(kind, "__attrs_attrs__"):
        defaults = {field.name: type(field.default) for field in declared_fields(kind)}
        read = _reader([*defaults])
        unset = [one for one in defaults.values() if one.__name__ == "UnsetType"]
        if unset:
            return lambda value: {
                name: one
                for name, one in zip(defaults, read(value), strict=True)
                if type(one) not in unset
            }
        return lambda value: dict(zip(defaults, read(value), strict=True))
    if hasattr(kind, "__struct_fields__"):
        return _struct(kind)
    if hasattr(kind, "model_dump"):
        return None
    known = next((convert for kinds, convert in _COLLECTIONS if issubclass(kind, kinds)), None)
    # a row of a database, such as ``sqlite3.Row``; a named tuple may have a field of this name
    if known is list and callable(getattr(kind, "keys", None)):
        return dict
    is_pydantics = "pydantic" in sys.modules and hasattr(kind, "__get_pydantic_core_schema__")
    return _by_pydantic(kind) if known is None and is_pydantics else known


def declared_fields(kind: Any) -> Sequence[Any]:
    """Return the fields of a dataclass or an attrs class as ``dataclasses`` or attrs describes
    them, or () for any other class.
    """
    return fields(kind) if is_dataclass(kind) else getattr(kind, "__attrs_attrs__", ())


def _reader(names: Sequence[str]) -> Callable[[object], tuple[object, ...]]:
    """Return a function that returns the attributes ``names`` of an object."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _struct(kind: Any) -> Encoder:
    """Return the function that converts a msgspec.Struct to a dict or list of its values, by
    msgspec's rules for the names of the fields, the tag, defaults and unset values.
    """
    library = msgspec()
    config, names, unset = kind.__struct_config__, kind.__struct_encode_fields__, library.UnsetType
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    read = _reader(kind.__struct_fields__)
    fields = library.structs.fields(kind) if config.omit_defaults else ()
    defaults = {one.encode_name: (one.default, one.default_factory) for one in fields}

    def convert(value: object) -> object:
        tree = {**tag, **dict(zip(names, read(value), strict=True))}
        if unset in map(type, tree.values()):
            tree = {name: one for name, one in tree.items() if type(one) is not unset}
        for name, (default, make) in defaults.items():
            one = tree.get(name)
            is_empty = make in (list, dict, set) and type(one) is make and not one
            if one is default or is_empty:
                tree.pop(name, None)
        return tree

    return (lambda value: [*tag.values(), *read(value)]) if config.array_like else convert


def isolated(_call: Callable[..., Any], *_arguments: object) -> Any:
    """Call a class or a method of pydantic, and return the result.

    pydantic looks up the names in annotations among its caller's variables, too. So this function
    has none that an annotation might name.
    """
    return _call(*_arguments)


def _by_pydantic(kind: type) -> Encoder:
    """Return the function that encodes values of a pydantic type such as ``HttpUrl``."""
    adapter = isolated(sys.modules["pydantic"].TypeAdapter, kind)

    def dump(value: object) -> object:
        dumped: object = adapter.dump_python(value, mode="json", fallback=_refuse)
        return _refuse(value) if type(dumped) is kind else dumped

    return dump


_COLLECTIONS: _Conversions = (
    # Check these classes after dataclasses, structs and models, which may also be collections.
    (tuple, list),
    ((bytes, bytearray, memoryview), lambda value: b2a_base64(value, newline=False).decode()),
    (Mapping, lambda value: dict(value.items())),
    ((Set, Sequence, ValuesView), list),
)


# -- decoding -------------------------------------------------------------------------------------


_TOO_DEEP = "The JSON is not valid: it is nested too deeply."
_BOM = b"\xef\xbb\xbf"
# "0" for each digit or point, "," for what may follow a number, "e" and "-" for what precedes a
# negative exponent. Searches in such a text take a tenth of those with a regular expression.
_KINDS = {
    **dict.fromkeys(b"0123456789.", b"0"),
    **dict.fromkeys(b"eE", b"e"),
    **dict.fromkeys(b"-", b"-"),
    **dict.fromkeys(b",]} \t\n\r", b","),
}
_MARKS = b"".join(_KINDS.get(byte, b"x") for byte in range(256))
_LONG_NUMBER = pattern(rb"-[0-9]{19}|[0-9]{20}")


def _read_float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError("a number is too large for a float")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no number {name}")


_DECODER = JSONDecoder(parse_float=_read_float, parse_constant=_refuse_constant)


def exact(data: bytes) -> Json:
    """Return the value of a JSON text that ``loads`` has accepted, with a Decimal for each number
    that a float can't represent with all its digits. Return None if a quick search finds no number
    that may need a Decimal.

    Raises ``ValueError`` if the text is nested too deeply, and for a number that is so close to
    zero that even a Decimal can't represent it.
    """
    # Floats represent all numbers exactly if each has up to 15 digits and is not close to zero.
    marks = data.translate(_MARKS)
    if marks.find(b"0" * 16) < 0 and not any(
        one.lstrip(b"0")[:1] == b"," for one in (marks + b",").split(b"e-000")[1:]
    ):
        return None
    try:
        return _exact_decoder().decode(data.decode("utf-8-sig"))
    except RecursionError:  # orjson, which ``loads`` may have used, accepts deeper nesting
        raise ValueError(_TOO_DEEP) from None


@cache
def _exact_decoder() -> JSONDecoder:
    from decimal import Decimal, InvalidOperation

    def read(text: str) -> float | Decimal:
        value = float(text)
        if len(text) < 16 and "-" not in text[1:]:  # a float represents 15 digits exactly
            return value
        try:
            number = Decimal(text)
        except InvalidOperation:  # the exponent is too large for the decimal module
            raise ValueError("The JSON is not valid: a number is too close to zero.") from None
        return value if number == Decimal(repr(value)) else number

    return JSONDecoder(parse_float=read)


_CODEC = Codec({})
_dumps = _CODEC.dumps
loads = _CODEC.loads
"""Return the value of a JSON text: ``bytes`` in UTF-8, or ``str``.

Raises ``ValueError`` for any other text, as ``json.loads`` and ``orjson.loads`` do, and for NaN and
Infinity, because the text comes from a client. The message of the error may be sent to the client.
"""


def count_values(document: object) -> int:
    """Return about how many values a parsed document has, at any depth. Each 20 characters of its
    JSON count as another value.
    """
    text = b""
    try:
        text = _CODEC._encode(document, str)  # type: ignore[misc]
    except TypeError:  # orjson is missing, or the document has a large integer or many levels
        with suppress(RecursionError):
            text = repr(document).encode(errors="replace")
    return _count(text) + len(text) // 20


def dumps_with(own: Encoders) -> Dumps:
    """Return the ``dumps`` for an application with the encoders ``own``, which may be empty."""
    return Codec(own).dumps if own else _dumps


def dumps(value: object) -> bytes:
    """Return a value encoded as JSON, in UTF-8. During a request, use the encoders of the
    application that handles it.

    Raises ``ValueError`` for a value that can't be encoded.
    """
    return getattr(getattr(current_exchange(), "config", None), "dumps", _dumps)(value)
