"""Templates by Jinja2, an optional dependency: it is imported when the first of them is needed.

The text is found, compiled and kept once for each application; without ``debug`` nothing looks at the files again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import cached_property, lru_cache, partial
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment, Template


DIRECTORY = "templates"  # relative to the working directory

# Compiled sources that are kept: those in a program's text are few, those made up as it goes must not pile up.
_SOURCES = 256


class Templates:
    """The templates of one ``App``, for any number of threads.

    ``directory`` is relative to the working directory of the moment when the first one is needed. ``names`` are
    seen in every template, macros too; what a rendering is given goes first. ``reload``: notice changed files.

    Every method raises ``RuntimeError`` if Jinja2 is not installed, ``LookupError`` if there is no such template,
    and what Jinja2 and the template itself raise, with the template's line in the traceback.
    """

    def __init__(
        self,
        directory: str | PathLike[str],
        filters: Mapping[str, Callable[..., Any]] | None = None,
        names: Mapping[str, Any] | None = None,
        *,
        reload: bool = False,
    ) -> None:
        self._directory = directory
        self._filters = filters or {}
        self._names = names or {}
        self._reload = reload

    def render(self, name: str, context: dict[str, Any]) -> str:
        """The template ``name`` as text; every value is escaped."""
        return self._sync.get_template(name).render(context)

    def render_async(self, name: str, context: dict[str, Any]) -> Awaitable[str]:
        """The same to be awaited, on any event loop: values, calls and iterators may be async."""
        return Rendering(self._async.get_template(name), context)

    def stream(self, name: str, context: dict[str, Any]) -> Iterator[str]:
        """The same in chunks, each made when it is asked for."""
        pieces: Any = self._sync.get_template(name).generate(context)
        return in_chunks(pieces)

    def mentions(self, name: str, words: frozenset[str]) -> bool:
        """Whether ``name``, or a template that it extends, includes or imports by name, uses one of ``words``."""
        return not words.isdisjoint(self._find_names(name))

    def render_source(self, source: str, context: dict[str, Any]) -> str:
        """``source``, a template's text, rendered; it may extend and include those of the directory."""
        return self._compile(source).render(context)

    # Two threads that come first at once may open one each, which costs a moment and nothing else.

    @cached_property
    def _sync(self) -> Environment:
        return self._open(is_async=False)

    @cached_property
    def _async(self) -> Environment:
        return self._open(is_async=True)

    @cached_property
    def _compile(self) -> Callable[[str], Template]:
        return lru_cache(maxsize=_SOURCES)(self._sync.from_string)

    @cached_property
    def _find_names(self) -> Callable[[str], frozenset[str]]:
        find = partial(_environment_module().names_in, self._sync)
        return find if self._reload else lru_cache(maxsize=_SOURCES)(find)

    def _open(self, *, is_async: bool) -> Environment:
        directory = str(Path(self._directory).absolute())
        environment: Environment = _environment_module().open_environment(
            directory, self._filters, self._names, reload=self._reload, is_async=is_async
        )
        return environment


def _environment_module() -> Any:
    try:
        return import_module("micropie.templates.environment")
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise RuntimeError('templates need Jinja2: pip install "micropie[standard]"') from None


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


# Characters. The first chunk goes early, as a page's head (style sheets, scripts) is what a browser waits for: with
# the answer's own head it fills one packet. Each further one costs a worker thread's turn under ASGI, some 50 µs.
FIRST_CHUNK = 1024
CHUNK = 8 * 1024


def in_chunks(pieces: Generator[str, None, None]) -> Iterator[str]:
    """``pieces`` joined. Whatever they hold is released when this is closed."""
    chunk: list[str] = []
    size, enough = 0, FIRST_CHUNK
    with closing(pieces):
        for piece in pieces:
            chunk.append(piece)
            size += len(piece)
            if size >= enough:
                yield "".join(chunk)
                chunk.clear()
                size, enough = 0, CHUNK
    if chunk:
        yield "".join(chunk)
