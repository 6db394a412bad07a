"""JSON with a given orjson, or without one."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from micropie._core.http.json import Codec, Dumps, Encoders


def make_codec(
    module: ModuleType | None, own: Encoders | None = None
) -> tuple[Dumps, Callable[..., Any]]:
    """Return ``(dumps, loads)`` on this orjson, or on the standard library."""
    codec = Codec(lambda: module, own or {})
    return codec.dumps, codec.loads
