"""The application that a server of `behind` runs: which one, and whose micropie, is said by the
environment.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

MODULE, CASE, CHECKOUT = "BEHIND_MODULE", "BEHIND_CASE", "BEHIND_CHECKOUT"


def make_asgi() -> Any:
    """Return a contender's application for a case, with the micropie of a checkout, if one is
    named.
    """
    if checkout := os.environ.get(CHECKOUT):
        sys.path.insert(0, checkout)
        importlib.import_module("micropie")
        sys.path.remove(checkout)
    return applications(os.environ[MODULE])[os.environ[CASE]]


def applications(module: str) -> dict[str, Any]:
    """Return a contender's application for each case that it has."""
    from benchmarks.cases import CASES

    plain = importlib.import_module(f"benchmarks.apps.{module}").make_asgi()
    everyday: dict[str, Any] = importlib.import_module(
        f"benchmarks.apps.features.{module}"
    ).make_asgi()
    return {**dict.fromkeys([case.name for case in CASES], plain), **everyday}
