"""A rendering that is awaited, without a word of which event loop awaits it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


class Rendering:
    """``await Rendering(template, context)`` is the text. The template comes from an async environment.

    Jinja2 awaits what a template calls; a value of ``context`` that is itself to be awaited is awaited here, ahead.
    """

    __slots__ = ("_context", "_template")

    def __init__(self, template: Template, context: dict[str, Any]) -> None:
        self._template = template
        self._context = context

    def __await__(self) -> Generator[Any, Any, str]:
        context = self._context
        for name, value in context.items():
            if hasattr(value, "__await__"):
                context[name] = yield from value.__await__()
        return (yield from self._template.render_async(context).__await__())
