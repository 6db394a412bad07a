"""Type aliases and protocols that several modules share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from micropie._core.execution.steps import Flow

if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem

ServerMessage: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = ServerMessage
Receive: TypeAlias = Callable[[], Awaitable[ServerMessage]]
Send: TypeAlias = Callable[[ServerMessage], Awaitable[None]]

Piece: TypeAlias = tuple[bytes, bool]
"""A piece of a body, and whether more may follow."""
Environ: TypeAlias = dict[str, Any]
ON_FAILURE = "micropie.on_failure"
"""The key, in a scope or an environ, of the function with which a test client collects failures."""
Json: TypeAlias = Any
"""A value from a JSON text. It is ``Any``, because applications know the structure of their
documents and index them without type checks.
"""

if TYPE_CHECKING:

    class JsonDocument(SupportsKeysAndGetItem[str, Any], Iterable[Any], Any):  # type: ignore[misc]
        """The type of a JSON document, for type checkers. It allows everything that ``Any`` allows,
        except ``await request.json()``, which is right in other frameworks and an error here. The
        operators are listed because pyright needs their types.
        """

        __await__: LeaveAwaitOut

        def __neg__(self) -> Any: ...
        def __add__(self, other: Any) -> Any: ...

        __radd__ = __sub__ = __mul__ = __truediv__ = __or__ = __add__
        __lt__ = __le__ = __gt__ = __ge__ = __add__

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Any: ...
        def __iter__(self) -> Iterator[Any]: ...
        def keys(self) -> Any: ...

    class LeaveAwaitOut:
        """Can't be awaited. mypy's error for an ``await`` contains this name."""


ReceivedJson: TypeAlias = "JsonDocument | Any"
Encoder: TypeAlias = Callable[[Any], object]
"""A function that encodes the values of one class."""
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]

Texts: TypeAlias = list[str] | tuple[str, ...] | Set[str]
"""A collection of strings. ``Iterable[str]`` would also accept a single string, which is an
iterable of characters.
"""

HeaderPairs: TypeAlias = list[tuple[str, str]]
Pairs: TypeAlias = Sequence[tuple[str, str]]
"""Headers that are not changed."""
RawPairs: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Headers as a server passes them."""
Parameters: TypeAlias = dict[str, list[str]]


class ChunkedBody(Protocol):
    """The attributes of ``Stream`` that requests and responses use."""

    @property
    def length(self) -> int | None:
        """The length of the body, if it is known."""

    @property
    def is_text(self) -> bool:
        """Whether the first chunk was text. Text is sent in UTF-8."""

    @property
    def has_begun(self) -> bool:
        """Whether the status and headers are final, because the first chunk has been fetched."""

    def close(self) -> Flow[None]:
        """Close the stream, unless it is closed already."""
