"""``bottle.ext.x``: the plugin ``bottle_x``.

Its own ``import bottle`` has to be the stand-in, see ``install``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__path__: list[str] = []


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return import_module(f"bottle_{name}")
