"""Type aliases that several modules share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Set
from typing import Any, Protocol, TypeAlias

from micropie.steps import Flow

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = Message
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

Piece: TypeAlias = tuple[bytes, bool]
"""A piece of a body, and whether more may follow."""
Environ: TypeAlias = dict[str, Any]
Json: TypeAlias = Any
"""A value of a JSON text. Authors index it without a question about its type, as they know their
documents."""
Encoder: TypeAlias = Callable[[Any], object]
"""A function for the values of one class."""
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]

Texts: TypeAlias = list[str] | tuple[str, ...] | Set[str]
"""Several texts. ``Iterable[str]`` would be one text as well, which is an iterable of letters."""

HeaderPairs: TypeAlias = list[tuple[str, str]]
Parameters: TypeAlias = dict[str, list[str]]


class ChunkedBody(Protocol):
    """The part of a ``Stream`` that requests and responses use."""

    @property
    def length(self) -> int | None:
        """The length of the body, if it is known."""

    @property
    def has_begun(self) -> bool:
        """Whether the head is complete."""

    @property
    def is_empty(self) -> bool:
        """Whether the stream has ended before its first chunk."""

    def close(self) -> Flow[None]:
        """Close the stream, unless that has been done."""
