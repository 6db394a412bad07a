"""A session's data as JSON, for backends outside this process.

JSON is used instead of pickle, because loading a pickle can run any code.
"""

from __future__ import annotations

import json

from micropie._core.errors import ResponseError, logger

# Created once, because ``json.dumps`` would create an encoder for each call.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def dumps(data: object) -> str:
    """Return ``data`` as JSON. Raises ``ResponseError`` for a value that JSON can't express."""
    try:
        return _encode(data)
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise ResponseError(
        f"{_path_to_invalid(data)}this session backend can store only JSON (text, numbers, lists, "
        f"dicts): {problem}"
    )


# Values of these types are the same after they were encoded as JSON and decoded again. Floats are
# left out because they may be infinite, and integers because large ones can't be decoded.
_SIMPLE = frozenset({str, bool, type(None)})


def as_loaded(data: dict[str, object]) -> dict[str, object]:
    """Return a copy of ``data`` as ``loads`` would return it. Raises ``ResponseError`` for the same
    data as ``dumps``.
    """
    for key, value in data.items():
        is_simple = type(value) in _SIMPLE or (type(value) is int and -(2**63) <= value < 2**63)
        if not is_simple or type(key) is not str:
            return loads(dumps(data))
    return {**data}


def _path_to_invalid(data: object) -> str:
    """Return the path to the first value in a session that JSON can't express, or "" if there is no
    such value.

    ``data`` may also be a structure that contains the session's data, as in a cookie.
    """
    *_, session = data if isinstance(data, list) else [data]
    for key, value in session.items() if isinstance(session, dict) else ():
        try:
            _encode(value)
        except (TypeError, ValueError):
            return f"session[{key!r}]: "
    return ""


def loads(text: str | bytes | None) -> dict[str, object]:
    """Return the data that ``dumps`` has encoded as ``text``, or ``{}`` if ``text`` is empty or
    None.
    """
    data: dict[str, object] = json.loads(text) if text else {}
    return data


class Stored(dict[str, object]):
    """The data of a session, for a single request, with the ``text`` from which it was decoded."""

    __slots__ = ("text",)

    text: str | bytes | None


def loads_stored(text: str | bytes | None) -> dict[str, object]:
    """Return stored data like ``loads``, or ``{}`` if it can't be read, for example because another
    program has stored it. Backends then keep it, and the visitor gets a new session.
    """
    try:
        data: object = loads(text)
    except (ValueError, RecursionError) as error:
        problem = str(error)
    else:
        if isinstance(data, dict):
            stored = Stored(data)
            stored.text = text
            return stored
        problem = f"it is a {type(data).__name__}, not a dict"
    logger.warning(
        "a stored session can't be read: the visitor gets a new session, and the stored one is "
        "kept: %s",
        problem,
    )
    return {}
