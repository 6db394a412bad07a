"""Read and write plain values of Python: numbers, text, dates, and containers of these.

``dumps`` and ``loads`` use pickles, as Bottle's signed cookies and CherryPy's files do. Loading a
pickle can run any code that its author chose. So only the classes of ``_PLAIN`` are loaded: an
attacker who can write a pickle can forge values but can't run code. ``dumps`` refuses the same
classes that ``loads`` refuses, so that a program fails where it stores a value.

``to_json`` and ``from_json`` use JSON, for stores that native handlers share. A value that JSON
would change or can't contain is a pickle in Base64 there, and so is such a key.
"""

from __future__ import annotations

import codecs
import json
import pickle
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from io import BytesIO
from pickletools import genops
from time import struct_time
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from micropie_compat.results import AnyFunction

# Types that the loaded data may name. Numbers, text, tuples, lists and dictionaries have no name.
_PLAIN: Final[tuple[AnyFunction, ...]] = (
    *(set, frozenset, complex, int, float, str, list, dict, tuple, bytearray, range, slice),
    *(date, datetime, time, timedelta, timezone, ZoneInfo, struct_time),
    *(Decimal, UUID, OrderedDict, defaultdict, deque, Counter),
)
_BY_NAME: Final[dict[tuple[str, str], Any]] = {
    **{(one.__module__, one.__name__): one for one in _PLAIN},
    # a function, because a pickle can set attributes of a class that is written in Python
    ("collections", "Counter"): partial(Counter),
    ("_codecs", "encode"): codecs.encode,  # for bytes in the protocols 0 to 2
    # Pickles contain time zones as a call of this method with the key, and whether it is cached.
    ("builtins", "getattr"): lambda kind, name: {ZoneInfo: lambda key, _: ZoneInfo(key)}[kind],
}


def _refusal(module: str, name: str) -> pickle.PickleError:
    return pickle.PickleError(
        f"{module}.{name} is not a plain value: store numbers, text, dates, lists and dicts. For "
        "CherryPy's sessions in files, tools.sessions.serializer = pickle allows any value"
    )


class _Writer(pickle.Pickler):
    # called for all values except those that pickles contain without a name
    def reducer_override(self, obj: Any) -> Any:
        kind = obj if isinstance(obj, type) else type(obj)
        if isinstance(obj, ZoneInfo):
            return kind, (obj.key,)
        if kind not in _PLAIN:
            raise _refusal(kind.__module__, kind.__qualname__)
        return NotImplemented


class _Loader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _BY_NAME.get((module.replace("__builtin__", "builtins"), name))
        if found is None:
            raise _refusal(module, name)
        return found


def dumps(value: object) -> bytes:
    """Return a value as a pickle. Raises ``PickleError`` if it isn't plain."""
    file = BytesIO()
    _Writer(file, -1).dump(value)
    return file.getvalue()


def loads(content: bytes) -> Any:
    """Return the value in a pickle. Raises an exception of any type if it can't be read, and
    ``PickleError`` if it isn't plain.
    """
    return _Loader(BytesIO(content)).load()


_TAG: Final = "!python"
# ``dumps`` never writes these. They can make small pickles allocate much memory.
_UNUSED = {"PUT", "BINPUT", "LONG_BINPUT"}


def to_json(data: Mapping[Any, object]) -> dict[str, object]:
    """Return a dict that JSON doesn't change. Raises ``PickleError`` for values that aren't
    plain.
    """
    return {
        key if type(key) is str and not key.startswith(_TAG) else _TAG + _as_text(key): (
            value if _is_json(value) else {_TAG: _as_text(value)}
        )
        for key, value in data.items()
    }


def _is_json(value: object) -> bool:
    try:
        same = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return False
    return repr(same) == repr(value) and not (isinstance(value, dict) and _TAG in value)


def _as_text(value: object) -> str:
    return b64encode(dumps(value)).decode()


def from_json(data: Mapping[str, Any]) -> dict[Any, Any]:
    """Return the dict of which ``to_json`` has returned ``data``."""
    return {
        _from_text(key.removeprefix(_TAG), key) if key.startswith(_TAG) else key: (
            _from_text(value[_TAG], value) if type(value) is dict and _TAG in value else value
        )
        for key, value in data.items()
    }


def _from_text(text: Any, default: Any) -> Any:
    """Return the value of ``_as_text``, or ``default`` for another text: a client may have sent it
    in JSON that a native handler has stored.
    """
    try:
        content = b64decode(text)
        if _UNUSED & {code.name for code, *_ in genops(content)}:
            return default
        value = loads(content)
        if isinstance(default, str):
            hash(value)  # a key
    except Exception:
        return default
    return value
