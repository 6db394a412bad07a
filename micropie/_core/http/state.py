"""``State``: attributes that an application sets on a request, on a WebSocket or on itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import NoneType
from typing import TYPE_CHECKING, Any


class State:
    """An object on which you can set any attribute: ``request.state.user = ...``, ``app.state.pool
    = ...``; ``state["user"]`` works too. ``vars(state)`` is a dict of its own attributes.

    A missing attribute is looked up in the state of the enclosing application, which ``_find``
    returns, or None if there is none.
    """

    __slots__ = ("__dict__", "_find")

    _find: Callable[[], State | None]

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            """Declare for type checkers that any attribute can be set."""

    def __getattr__(self, name: str) -> Any:
        # ``_find`` may be missing, because an ``__init__`` that sets it would double the time to
        # create a state.
        if name == "_find":
            return NoneType  # whose call returns None
        outer = self._find()
        if outer is not None:
            return getattr(outer, name)
        if hasattr(dict, name):
            raise AttributeError(
                f'state is no dict: write getattr(state, "name", None), not {name}'
            )
        raise AttributeError(
            f"state has no {name!r}: set app.state.{name} = ... for all requests, or "
            f"request.state.{name} = ... for one request; an outer application doesn't see the "
            "state of inner ones"
        )

    def __getitem__(self, name: str) -> Any:
        outer = None if name in self.__dict__ else self._find()
        return self.__dict__[name] if outer is None else outer[name]

    def __setitem__(self, name: str, value: object) -> None:
        self.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        del self.__dict__[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.__dict__, *(self._find() or ())]))

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__ or name in (self._find() or ())

    def __len__(self) -> int:
        return sum(1 for _ in self)  # a list of itself would ask for the length

    def __repr__(self) -> str:
        return f"State({ {name: self[name] for name in self}!r})"
