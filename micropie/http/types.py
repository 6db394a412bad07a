"""Type aliases that several modules share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]

HeaderPairs: TypeAlias = list[tuple[str, str]]
HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
Parameters: TypeAlias = dict[str, list[str]]
