"""Import the plugin module ``bottle_x`` for ``bottle.ext.x``.

Call ``install`` first, so that the plugin's own ``import bottle`` imports this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__path__: list[str] = []


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return import_module(f"bottle_{name}")
