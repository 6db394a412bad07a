"""Jinja2's environment as micropie wants it. This is the only file that knows Jinja2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import jinja2
from jinja2 import meta, nodes


def open_environment(
    directory: str, filters: Mapping[str, Callable[..., Any]], names: Mapping[str, Any], *, reload: bool, is_async: bool
) -> jinja2.Environment:
    """The environment of the templates in ``directory``, an absolute path."""
    environment = _Environment(
        loader=_Loader(directory),
        # Always: by file name, as other frameworks decide, "a.txt", "a.html.j2" and sources would not be escaped.
        autoescape=True,
        auto_reload=reload,
        enable_async=is_async,
    )
    environment.filters.update(filters)
    environment.globals.update(names)
    return environment


def names_in(environment: jinja2.Environment, name: str) -> frozenset[str]:
    """The names in a template, and in those that it extends, includes and imports by name.

    Not those of ``{% include page %}``, which may be any.
    """
    assert environment.loader is not None  # noqa: S101
    found: set[str] = set()
    templates: list[str | None] = [name]
    for part in templates:  # which grows meanwhile
        try:
            tree = environment.parse(environment.loader.get_source(environment, part or "")[0], part)
        except jinja2.TemplateError:  # missing, not named, or broken: that is for whoever renders it
            continue
        found.update(node.name for node in tree.find_all(nodes.Name))
        templates += set(meta.find_referenced_templates(tree)).difference(templates)
    return frozenset(found)


class _Environment(jinja2.Environment):
    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """A plain dict: it is copied for each rendering, and copying Jinja2's own chain of two takes 3 µs more."""
        return super().make_globals(d) if d else self.globals


class _Loader(jinja2.FileSystemLoader):
    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """A template's text and file. What goes wrong is named in full, for the log."""
        try:
            return super().get_source(environment, template)
        except jinja2.TemplateNotFound:  # or a name that leads out of the directory
            directory = self.searchpath[0]
            raise jinja2.TemplateNotFound(template, f"there is no template {template!r} in {directory}") from None
        except UnicodeDecodeError as error:
            error.add_note(f"The template {template!r} in {self.searchpath[0]} must be UTF-8.")
            raise
