"""What another module gives an application: a decorator that copies no marks, and a function that
isn't a method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def foreign(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of this module that calls ``function``."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def foreign_page(*_: object) -> str:
    return "foreign"
