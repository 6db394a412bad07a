"""``bottle.ext.x`` imports the plugin module ``bottle_x``.

The plugin's own ``import bottle`` must get this package, so ``install`` has to be called first.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__path__: list[str] = []


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return import_module(f"bottle_{name}")
