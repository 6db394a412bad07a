"""``MultiDict``: the fields of a query or form, or its files. A name may have several values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar, overload

from micropie._core.on_demand import Value

Default = TypeVar("Default")


class MultiDict(Mapping[str, Value]):  # noqa: PLW1641 - like any mapping it has no hash
    """A read-only mapping of names to values, in the order in which the client sent them.

    It returns the first value of each name: ``form["colour"]``, ``form.get("colour", "red")``,
    ``items()``. ``getlist`` returns all values of a name. ``form("colour", "red")`` is an older
    spelling of ``get``.
    """

    __slots__ = ("_lists",)

    def __init__(self, lists: Mapping[str, list[Value]]) -> None:
        self._lists = lists

    def __getitem__(self, name: str) -> Value:
        values = self._lists.get(name)
        if not values:  # an empty JSON array counts as no value
            raise KeyError(name)
        return values[0]

    def __iter__(self) -> Iterator[str]:
        return (name for name, values in self._lists.items() if values)

    def __len__(self) -> int:
        return sum(map(bool, self._lists.values()))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MultiDict):
            return {name: self.getlist(name) for name in self} == {
                name: other.getlist(name) for name in other
            }
        return super().__eq__(other)

    def getlist(self, name: str) -> list[Value]:
        """Return all values of ``name`` in a new list, which is empty if there are none."""
        return [*self._lists.get(name, ())]

    @overload
    def __call__(self, name: str) -> Value | None: ...

    @overload
    def __call__(self, name: str, default: Default) -> Value | Default: ...

    def __call__(self, name: str, default: object = None) -> object:
        """Return the first value of ``name``, or ``default``. This is an older spelling of
        ``get``.
        """
        return self.get(name, default)

    def __repr__(self) -> str:
        # Leave out the values, which may be secret, because logs and error pages show this text.
        return f"<MultiDict {[*self]!r}>"
