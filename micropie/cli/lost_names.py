"""The names of an application's templates and routes: those that code and templates use although
they don't exist, and a module that type checkers and editors complete them from.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from inspect import getsourcefile, getsourcelines
from pathlib import Path
from textwrap import dedent

from micropie import App
from micropie.extensions import Inspector

_RENDER = ("render", "render_async", "render_stream")
_URL_FOR = ("url_for", "absolute_url_for")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_IN_TEMPLATES = re.compile(
    r"""\{%[-+]?\s*(?:extends|include|import|from)\s+["'](?P<template>[^"']+)["']"""
    r"""(?!\s+ignore\ missing)"""
    r"""|(?<![\w.])url_for\(\s*["'](?P<route>[^"']+)["']"""
)
_BLOCK = re.compile(
    r"""\{%[-+]?\s*(?:block\s+(?P<block>\w+)|(?P<end>endblock)|extends\s+(?P<layout>[^%]+?)\s*[-+]?%\})"""
)
_PACKAGE = "package:"

# Its methods take fewer names than those of ``micropie.App``, which each checker would report.
_STUB = """# ty: ignore
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false, reportImplicitOverride=false
# pyrefly: ignore-errors
# ruff: noqa
# fmt: off
\"""Written by `micropie check --stub`: write it again when templates or routes change.\"""

from collections.abc import Awaitable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import micropie

Template = {templates}
Route = {routes}

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Root = TypeVar("Root", bound="App[Any]", default="App[Any]", covariant=True)

    class App(micropie.App[Root]):
        def url_for(
            self, name: Route, /, *segments: object, **values: object
        ) -> str: ...
        def absolute_url_for(
            self, name: Route, /, *segments: object, **values: object
        ) -> str: ...
        def render(
            self,
            name: Template,
            values: Mapping[str, object] = ...,
            /,
            *,
            block: str | None = None,
            **context: object,
        ) -> str: ...
        def render_async(
            self,
            name: Template,
            values: Mapping[str, object] = ...,
            /,
            *,
            block: str | None = None,
            **context: object,
        ) -> Awaitable[str]: ...
        def render_stream(
            self,
            name: Template,
            values: Mapping[str, object] = ...,
            /,
            *,
            block: str | None = None,
            **context: object,
        ) -> Iterator[str]: ...

else:
    App = micropie.App
"""


class Names:
    """The names of templates and routes in the tree of applications that contains ``app``."""

    def __init__(self, app: App) -> None:
        self._app = app

    @cached_property
    def _apps(self) -> list[App]:
        return [one.app for one in Inspector(self._app).applications() if isinstance(one.app, App)]

    @cached_property
    def _folders(self) -> Sequence[str]:
        """The folders with templates, in their order. If an application sets up Jinja2 itself,
        templates may come from elsewhere: none.
        """
        folders: dict[str, None] = {}  # most applications inherit the setting
        for settings in (one.settings for one in Inspector(self._app).applications()):
            if settings.template_setup is not None:
                return ()
            folders |= dict.fromkeys(map(str, settings.template_directories))
        return [*folders]

    def lost_packages(self) -> Iterator[str]:
        """Yield a finding for each package with templates that can't be imported."""
        for folder in self._folders:
            try:
                _path_of(folder)
            except (ImportError, AttributeError, ValueError) as error:
                yield f"templates={folder!r} is not a package that can be imported: {error}"

    @cached_property
    def templates(self) -> dict[str, Path]:
        """The template files of all applications by their names."""
        if any(self.lost_packages()):
            return {}
        return {
            file.relative_to(path).as_posix(): file
            # of two files, the first folder has it
            for path in map(_path_of, reversed(self._folders))
            for file in sorted(path.rglob("*"))
            if file.is_file()
        }

    @property
    def routes(self) -> list[str]:
        """The names that ``url_for`` takes in one of the applications: without the name of the
        application that calls it, then with a slash, from the outermost application.
        """
        inspector = Inspector(self._app)
        entries = inspector.all_routes()
        names = sorted({one.route.name for one in entries if not one.hidden})
        scopes = [one.scope for one in inspector.applications()]
        inner = {
            name.removeprefix(scope) for name in names for scope in scopes if name.startswith(scope)
        }
        return [*sorted(inner), *(f"/{name}" for name in names)]

    def stub(self) -> str:
        """Return the source of a module whose class ``App`` takes only these names. When the
        program runs, the class is ``micropie.App``.
        """
        return _STUB.format(
            templates=_literal(sorted(self.templates)), routes=_literal(self.routes)
        )

    def lost_in_code(self) -> Iterator[str]:
        """Yield a finding for each call such as ``self.render("page.html")`` or
        ``self.url_for("pie")`` in the class of an application, if the application has no such
        template or route.
        """
        for app in self._apps:
            for cls in type(app).__mro__[: type(app).__mro__.index(App)]:
                for method, name, place in _calls_in(cls):
                    if getattr(type(app), method, None) is not getattr(App, method, None):
                        continue  # the application's own method may take other names
                    if method in _URL_FOR and (sentence := _lost_route([app], name)):
                        yield f"{place}: {sentence}"
                    if method in _RENDER and self.templates and name not in self.templates:
                        yield f"{place}: {self._lost_template(name)}"

    def lost_in_templates(self) -> Iterator[str]:
        """Yield a note for each template that extends or includes a missing template, or links to a
        missing route. Another framework may use the template.
        """
        texts = {name: _text_of(file) for name, file in self.templates.items()}
        for template, text in texts.items():
            places = [*self._lost_in(text), *_lost_blocks(template, texts)]
            for start, sentence in sorted(places):
                line = text.count("\n", 0, start) + 1
                yield f"{os.path.relpath(self.templates[template])}:{line}: {sentence}"

    def _lost_in(self, text: str) -> Iterator[tuple[int, str]]:
        for found in _IN_TEMPLATES.finditer(text):
            name = found["template"]
            if name is None:
                sentence = _lost_route(self._apps, found["route"])
            else:
                sentence = "" if name in self.templates else self._lost_template(name)
            if sentence:
                yield found.start(), sentence

    def _lost_template(self, name: str) -> str:
        near = get_close_matches(name, self.templates, n=1)
        hint = f": write {near[0]!r}" if near else ""
        return f"there is no template {name!r}{hint}"


def _text_of(file: Path) -> str:
    """Return the text of a template with its lines, but without its comments."""
    text = file.read_text(errors="replace")
    return _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)


def _lost_blocks(template: str, texts: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield each block of a template that is never shown, because none of its layouts has a block
    of this name.
    """
    name, chain, known = template, [template], set[str]()
    while found := [one["layout"] for one in _BLOCK.finditer(texts[name]) if one["layout"]]:
        name = found[0][1:-1]
        if name not in texts or name in chain:  # it may be a variable
            return
        chain.append(name)
        known.update(re.findall(r"\{%[-+]?\s*block\s+(\w+)", texts[name]))
    depth = 0
    for one in _BLOCK.finditer(texts[template] if known else ""):
        if one["block"] and depth == 0 and one["block"] not in known:
            listed = ", ".join(sorted(known))
            sentence = f"is never shown, because {name} has no block of this name, but: {listed}"
            yield one.start(), f"block {one['block']} {sentence}"
        depth += bool(one["block"]) - bool(one["end"])


def _literal(names: Iterable[str]) -> str:
    listed = "".join(f"    {json.dumps(name, ensure_ascii=False)},\n" for name in names)
    return f"Literal[\n{listed}]" if listed else "str"


def _path_of(folder: str) -> Path:
    if not folder.startswith(_PACKAGE):
        return Path(folder)
    package = import_module(folder.removeprefix(_PACKAGE))
    return Path(next(iter(package.__path__)), "templates")


def _calls_in(cls: type) -> Iterator[tuple[str, str, str]]:
    """Yield the method, the first argument and the place of each ``self.method("text", ...)``."""
    with suppress(OSError, SyntaxError, TypeError):  # the source isn't available
        lines, first = getsourcelines(cls)
        file = os.path.relpath(getsourcefile(cls) or "")
        for node in ast.walk(ast.parse(dedent("".join(lines)))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="self"), attr=method),
                    args=[ast.Constant(value=str() as name), *_],
                ):
                    yield method, name, f"{file}:{first + node.lineno - 1}"


def _lost_route(apps: Sequence[App], name: str) -> str:
    """Return a sentence if none of the applications has the route ``name``, otherwise ""."""
    sentence = ""
    for app in apps:
        try:
            App.url_for(app, name)
        except LookupError as error:
            sentence = sentence or str(error)
        except ValueError:  # the route has parameters
            return ""
        else:
            return ""
    return sentence
