"""What an author says of the OpenAPI document of an application."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Docs:
    """The document of an application, and who may see it:
    ``App(docs=Docs(title="Pies", requires=[members]))``.

    ``path``: that of its page. ``title``: by default the class's name; ``description``: its
    docstring. ``servers``: the addresses of the application, by default the one below which it is
    asked. ``requires``: checks as those of ``@requires``, for the page and the document alone.
    """

    path: str = "/docs"
    title: str | None = None
    version: str = "1.0.0"
    description: str | None = None
    servers: Sequence[str] = ()
    requires: Sequence[Callable[..., object]] = ()
