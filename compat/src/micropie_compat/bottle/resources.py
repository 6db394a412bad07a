"""``ResourceManager``: finds an application's files in several directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import IO, Any


class ResourceManager:
    """A list of directories, ``path``, in which ``lookup`` and ``open`` look for a file by its
    relative name.
    """

    def __init__(
        self, base: str = "./", opener: Callable[..., IO[Any]] = open, cachemode: str = "all"
    ) -> None:
        self.base = base
        self.opener = opener
        self.cachemode = cachemode
        self.path: list[str] = []

    def add_path(
        self, path: str, base: str | None = None, index: int | None = None, create: bool = False
    ) -> bool:
        """Add the directory of ``path`` to the list, at position ``index`` or at the end.

        Return whether the directory exists.

        A relative ``path`` is resolved against the directory of ``base``, which may be a file:
        ``add_path("files/", __file__)``.
        """
        base = os.path.abspath(os.path.dirname(base or self.base))
        directory = os.path.join(os.path.abspath(os.path.join(base, os.path.dirname(path))), "")
        if directory in self.path:
            self.path.remove(directory)
        if create:
            os.makedirs(directory, exist_ok=True)
        self.path.insert(len(self.path) if index is None else index, directory)
        return os.path.exists(directory)

    def __iter__(self) -> Iterator[str]:
        for directory in self.path:
            for folder, _, names in os.walk(directory):
                yield from (os.path.join(folder, name) for name in names)

    def lookup(self, name: str) -> str | None:
        """Return the path of the first file with this name, or None."""
        return next(
            (found for each in self.path if os.path.isfile(found := os.path.join(each, name))), None
        )

    def open(self, name: str, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:
        """Open the first file with this name. Raises ``OSError`` if there is none."""
        found = self.lookup(name)
        if found is None:
            raise OSError(f"Resource {name!r} not found.")
        return self.opener(found, mode, *args, **kwargs)
