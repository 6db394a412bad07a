"""The JSON functions of every contender whose documentation describes how to plug them in.

orjson if it is installed, else the standard library's: the same rule as in micropie.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

NAME: str
loads: Callable[[str | bytes], Any]
dumps: Callable[[Any], bytes]


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


try:
    import orjson
except ImportError:
    NAME = "json"
    loads = json.loads
    dumps = _dumps
else:
    NAME = "orjson"
    loads = orjson.loads
    dumps = orjson.dumps
