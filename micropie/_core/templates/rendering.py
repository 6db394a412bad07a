"""``Templates``: find and render the templates of one ``App`` with Jinja2, an optional dependency
that is imported for the first template.

Each ``App`` of a tree has its own Jinja2 environment, because each ``App`` has a different
``url_for``. The environment is created for the first template. It reads and compiles a template
once, and checks the files for changes only with ``debug``. The request, the session and the CSRF
token are globals that look up the current request when they are used. So they are also available in
macros, and don't slow down a page that doesn't use them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from micropie._core.errors import Catalog
from micropie._core.execution.placement import AnyFunction
from micropie._core.http.escaping import in_chunks
from micropie._core.http.settings import DIRECTORY

if TYPE_CHECKING:
    from jinja2 import Template

    from micropie._core.templates.environment import Environment

Directory: TypeAlias = str | PathLike[str]


@dataclass(eq=False)
class Templates:
    """The templates of one ``App``. Any number of threads may use the object at the same time.

    - ``directories``: searched one after the other. Relative paths are resolved when the first
      template is needed, against the working directory.
    - ``filters``: filters in addition to Jinja2's, by name.
    - ``names``: values that are available in every template and macro; the ``context`` of a
      rendering overrides them.
    - ``reload``: whether changed files are read again.
    - ``setup``: a function that is called with each new Jinja2 environment.
    - ``catalog``: a function that returns the catalogue of translations for the current request.

    Every method raises ``RuntimeError`` if Jinja2 is not installed, and ``LookupError`` if the
    template doesn't exist. Errors of Jinja2 and of the template itself are raised unchanged, with
    the template's line in the traceback.
    """

    directories: Sequence[Directory]
    filters: Mapping[str, AnyFunction] | None = None
    names: Mapping[str, object] | None = None
    reload: bool = False
    setup: Callable[[Any], object] | None = None
    catalog: Callable[[], Catalog] | None = None

    def render(
        self,
        name: str,
        context: dict[str, object],
        block: str | None = None,
        source: str | None = None,
    ) -> str:
        """Render the template ``name``, or the template in the string ``source``, and return the
        result. Every value is escaped. ``block``: render only the block of this name.

        A source may extend and include templates in ``directories``.
        """
        if self.reload:
            _refuse_coroutines(context)
        return self._sync.find(name, block, source).render(context)

    def render_async(
        self, name: str, context: dict[str, object], block: str | None = None
    ) -> Awaitable[str]:
        """Return an awaitable whose result is the rendered template. It may be awaited on any event
        loop. Values, calls and iterators in the template may be async.
        """
        return Rendering(self._async.find(name, block), context)

    def stream(
        self, name: str, context: dict[str, object], block: str | None = None
    ) -> Iterator[str]:
        """Return an iterator over the rendered template in chunks. Each chunk is rendered when the
        iterator reaches it.
        """
        if self.reload:
            _refuse_coroutines(context)
        # ``generate`` returns a generator, but Jinja2 annotates it as an iterator.
        pieces: Any = self._sync.find(name, block).generate(context)
        return in_chunks(pieces, FIRST_CHUNK, CHUNK)

    def names_in(self, name: str) -> frozenset[str]:
        """Return the names of the variables in the template ``name``, and in the templates that it
        extends, includes and imports by name.
        """
        return self._sync.known_names(name)

    # If two threads need the same environment for the first time at once, each may create it. This
    # takes longer but does no harm.

    @cached_property
    def _sync(self) -> Environment:
        return self._open(is_async=False)

    @cached_property
    def _async(self) -> Environment:
        return self._open(is_async=True)

    def _open(self, *, is_async: bool) -> Environment:
        directories = [_absolute(directory) for directory in self.directories]
        try:
            module: Any = import_module("micropie._core.templates.environment")
        except ModuleNotFoundError as error:
            if error.name != "jinja2":
                raise
            raise RuntimeError(
                'templates need Jinja2: pip install "micropie-dual[standard]"'
            ) from None
        environment = module.Environment(directories, reload=self.reload, is_async=is_async)
        environment.filters.update(self.filters or {})
        environment.globals.update(self.names or {})
        catalog = self.catalog
        if catalog is not None:
            environment.add_extension("jinja2.ext.i18n")
            texts = lambda text: catalog().gettext(text), lambda *given: catalog().ngettext(*given)
            environment.install_gettext_callables(*texts, newstyle=True)
        if self.setup is not None:
            self.setup(environment)
        return environment  # type: ignore[no-any-return]


PACKAGE = "package:"  # as in "package:shop", for the templates in a package


def _absolute(directory: Directory) -> str:
    text = str(directory)
    if not text.startswith(PACKAGE):
        return str(Path(directory).absolute())
    package = import_module(text.removeprefix(PACKAGE))
    return str(Path(next(iter(package.__path__)), DIRECTORY))


def _refuse_coroutines(context: Mapping[str, object]) -> None:
    """Raise ``TypeError`` for a coroutine that was never awaited, because the template would show
    its repr.
    """
    for name, value in context.items():
        if isinstance(value, Coroutine):
            value.close()
            raise TypeError(
                f"{name} is a coroutine: write await in front of the call that returns it"
            )


class Rendering:
    """``await Rendering(template, context)`` returns the rendered template.

    ``template``: a template of an async environment.

    Jinja2 awaits the results of calls in a template, but not the values in ``context``. So
    awaitable values are awaited here.
    """

    __slots__ = ("_context", "_template")

    def __init__(self, template: Template, context: dict[str, object]) -> None:
        self._template = template
        self._context = context

    def __await__(self) -> Generator[object, object, str]:
        context = self._context
        for name, value in context.items():
            if hasattr(value, "__await__"):
                context[name] = yield from value.__await__()
        return (yield from self._template.render_async(context).__await__())


# The sizes of chunks, in characters. The first chunk is small, so that the browser soon has the
# page's head, with its style sheets and scripts. Together with the response's headers, it fills one
# network packet. The other chunks are larger, because under ASGI each of them needs a turn of a
# worker thread.
FIRST_CHUNK = 1024
CHUNK = 8 * 1024
