"""A session's data as JSON, for backends outside of this process. Never pickle: it runs what it reads."""

from __future__ import annotations

import json
from typing import Any

from micropie.errors import ResponseError


def dumps(data: Any) -> str:
    """``data`` as JSON. Raises ``ResponseError`` for what JSON has no word for."""
    try:
        return json.dumps(data, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise ResponseError(f"this session backend stores JSON (text, numbers, lists, dicts): {problem}")


def loads(text: str | bytes) -> Any:
    """What ``dumps`` made of."""
    return json.loads(text)
