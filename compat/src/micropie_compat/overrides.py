"""``Overridable``: refuse to override what the original framework calls and this package doesn't.

A method that is silently never called would switch off what a program has put there, such as access
control.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable
from typing import Any, Final

from micropie import SetupError


class Overridable(ABCMeta):
    """The class of classes that programs derive from, and whose methods they replace.

    It is derived from ``ABCMeta``, so that a program's other base classes may be abstract.
    """

    uncalled: Iterable[str] = ()
    """The methods of the original class that are never called."""

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        for base in bases:
            for one in getattr(base, "uncalled", ()):
                if one in namespace:
                    refuse(cls, one)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name in cls.uncalled:
            refuse(cls, name)
        super().__setattr__(name, value)


NEVER_CALLED: Final = (
    "would never be called: use a hook, a tool or a plugin instead, or wrap the application: "
    "micropie.dual(YourMiddleware(app))"
)


def refuse(cls: type, name: str) -> None:
    """Raise ``SetupError`` for an override of the method ``name``."""
    raise SetupError(f"{cls.__name__}.{name} {NEVER_CALLED}")
