"""Find names of templates and routes, in an application's code and templates, that don't exist."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from inspect import getsourcefile, getsourcelines
from pathlib import Path
from textwrap import dedent

from micropie import App
from micropie.extensions import Application

_RENDER = ("render", "render_async", "render_stream")
_URL_FOR = ("url_for", "absolute_url_for")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_IN_TEMPLATES = re.compile(
    r"""\{%[-+]?\s*(?:extends|include|import|from)\s+["'](?P<template>[^"']+)["']"""
    r"""(?!\s+ignore\ missing)"""
    r"""|(?<![\w.])url_for\(\s*["'](?P<route>[^"']+)["']"""
)
_PACKAGE = "package:"


def lost_names_in_code(applications: Sequence[Application]) -> Iterator[str]:
    """Yield a finding for each call such as ``self.render("page.html")`` or ``self.url_for("pie")``
    in the class of an application, if the application has no such template or route.
    """
    templates = _templates_of(applications)
    for app in _apps(applications):
        for cls in type(app).__mro__[: type(app).__mro__.index(App)]:
            for method, name, place in _calls_in(cls):
                if method in _URL_FOR and (sentence := _lost_route([app], name)):
                    yield f"{place}: {sentence}"
                if method in _RENDER and templates and name not in templates:
                    yield f"{place}: {_lost_template(name, templates)}"


def lost_names_in_templates(applications: Sequence[Application]) -> Iterator[str]:
    """Yield a note for each template that extends or includes a missing template, or links to a
    missing route. Another framework may use the template.
    """
    apps = _apps(applications)
    templates = _templates_of(applications)
    for file in templates.values():
        text = _COMMENT.sub(
            lambda found: "\n" * found[0].count("\n"), file.read_text(errors="replace")
        )
        for found in _IN_TEMPLATES.finditer(text):
            name = found["template"]
            if name is None:
                sentence = _lost_route(apps, found["route"])
            else:
                sentence = "" if name in templates else _lost_template(name, templates)
            if sentence:
                line = text.count("\n", 0, found.start()) + 1
                yield f"{os.path.relpath(file)}:{line}: {sentence}"


def _apps(applications: Sequence[Application]) -> list[App]:
    return [one.app for one in applications if isinstance(one.app, App)]


def _templates_of(applications: Sequence[Application]) -> dict[str, Path]:
    """Return the template files of all applications by their names. If an application sets up
    Jinja2 itself, templates may come from elsewhere: return an empty dict.
    """
    found: dict[str, Path] = {}
    for settings in (one.settings for one in applications):
        if settings.template_setup is not None:
            return {}
        stated = settings.templates
        for folder in [stated] if isinstance(stated, str | os.PathLike) else stated:
            path = _path_of(str(folder))
            found |= {
                file.relative_to(path).as_posix(): file
                for file in sorted(path.rglob("*"))
                if file.is_file()
            }
    return found


def _path_of(folder: str) -> Path:
    if not folder.startswith(_PACKAGE):
        return Path(folder)
    package = import_module(folder.removeprefix(_PACKAGE))
    return Path(next(iter(package.__path__)), "templates")


def _calls_in(cls: type) -> Iterator[tuple[str, str, str]]:
    """Yield the method, the first argument and the place of each ``self.method("text", ...)``."""
    with suppress(OSError, SyntaxError):  # the source isn't available
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


def _lost_template(name: str, templates: dict[str, Path]) -> str:
    near = get_close_matches(name, templates, n=1)
    hint = f": write {near[0]!r}" if near else ""
    return f"there is no template {name!r}{hint}"
