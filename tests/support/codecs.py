"""JSON with a given orjson, or without one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import patch

from micropie._core.http.json import Codec, Dumps, Encoders


def make_codec(
    module: ModuleType | None, own: Encoders | None = None
) -> tuple[Dumps, Callable[..., Any]]:
    """Return ``(dumps, loads)`` on this orjson, or on the standard library."""
    codec = Codec(own or {})
    with patch.dict(sys.modules, {"orjson": module}):  # None makes the import fail
        codec._module  # noqa: B018 - imports it
    return codec.dumps, codec.loads
