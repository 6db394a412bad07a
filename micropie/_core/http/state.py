"""``State``: attributes that an application sets on a request, on a WebSocket or on itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any


class State:
    """An object on which you can set any attribute: ``request.state.user = ...``, ``app.state.pool
    = ...``; ``state["user"]`` works too. ``vars(state)`` is a dict of its own attributes.

    A missing attribute is looked up in ``_outer``, the state of the enclosing application.
    """

    __slots__ = ("__dict__", "_outer")

    _outer: State | None

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            """Declare for type checkers that any attribute can be set."""

    def __getattr__(self, name: str) -> Any:
        # ``_outer`` may be missing, because an ``__init__`` that sets it would double the time to
        # create a state.
        if name == "_outer":
            return None
        if self._outer is not None:
            return getattr(self._outer, name)
        raise AttributeError(
            f"state has no {name!r}: set app.state.{name} = ... for all requests, or "
            f"request.state.{name} = ... for one request; an outer application doesn't see the "
            "state of inner ones"
        )

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dict__ and self._outer is not None:
            return self._outer[name]
        return self.__dict__[name]

    def __setitem__(self, name: str, value: object) -> None:
        self.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        del self.__dict__[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.__dict__, *(self._outer or ())]))

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__ or (self._outer is not None and name in self._outer)

    def __len__(self) -> int:
        return sum(1 for _ in self)  # a list of itself would ask for the length

    def __repr__(self) -> str:
        return f"State({ {name: self[name] for name in self}!r})"


class StateOf(State):
    """Stands for the state of the application that contains another one, if this is a different one
    in different requests.

    ``_find``: returns the state.
    """

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[], State]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)

    def __getitem__(self, name: str) -> Any:
        return self._find()[name]

    def __contains__(self, name: str) -> bool:
        return name in self._find()

    def __iter__(self) -> Iterator[str]:
        return iter(self._find())
