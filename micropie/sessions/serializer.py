"""A session's data as JSON, for backends outside of this process.

Not pickle, because loading it can run any code.
"""

from __future__ import annotations

import json

from micropie.errors import ResponseError

# ``json.dumps`` makes one for each call
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def dumps(data: object) -> str:
    """Return ``data`` as JSON. Raises ``ResponseError`` for a value that JSON can't express."""
    try:
        return _encode(data)
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise ResponseError(
        f"this session backend stores JSON (text, numbers, lists, dicts): {problem}"
    )


def loads(text: str | bytes | None) -> dict[str, object]:
    """Return the data of which ``dumps`` made ``text``; ``{}`` if there is no text."""
    data: dict[str, object] = json.loads(text) if text else {}
    return data
