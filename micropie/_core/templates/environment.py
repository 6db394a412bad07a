"""``Environment``: Jinja2's environment with micropie's settings.

Only this module imports Jinja2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.runtime import Context

from micropie._core.errors import logger
from micropie._core.http.json import dumps, loads

# The maximum number of entries in each of the three caches: for compiled sources, for the variables
# in templates, and for their layouts. This is enough for the sources that a program contains. If a
# program builds new sources at run time, the maximum keeps them from filling the memory.
_SOURCES = 256

# As usual in Jinja2, ``row.items`` in a template is the method of the dict ``row``, not the item
# "items".
_DICT_ATTRIBUTES = frozenset(dir(dict))


def _as_result(value: object) -> object:
    return loads(dumps(value))


def _dumps(value: object, **options: Any) -> str:
    """Encode a value for ``tojson``, which writes dates, dataclasses and the like, also as keys, as
    a result is written.
    """
    with suppress(TypeError):  # a key isn't a str, or the keys can't be sorted
        return json.dumps(value, default=_as_result, **options)
    return json.dumps(_as_result(value), **options)


class Environment(jinja2.Environment):
    """The environment for the templates in ``directories``. These are absolute paths, which are
    searched one after the other.
    """

    def __init__(self, directories: list[str], *, reload: bool, is_async: bool) -> None:
        super().__init__(
            loader=_Loader(directories),
            # Escape always. Other frameworks decide by the file's name, which leaves "a.txt",
            # "a.html.j2" and templates without a file unescaped.
            autoescape=True,
            auto_reload=reload,
            enable_async=is_async,
            undefined=_LoggedUndefined if reload else jinja2.Undefined,
            finalize=_refuse_coroutine if reload and not is_async else None,
        )
        self.policies["json.dumps_function"] = _dumps
        self.compiled = lru_cache(maxsize=_SOURCES)(self.from_string)
        self.known_names = self.names_in if reload else lru_cache(maxsize=_SOURCES)(self.names_in)
        self.known_layout = lru_cache(maxsize=_SOURCES)(self.layout_of)

    def find(self, name: str, block: str | None, source: str | None = None) -> jinja2.Template:
        """Return the template ``name``, or the template compiled from the string ``source``.

        ``block``: return a template that renders only this block. Raises ``LookupError`` if the
        template or the block doesn't exist.
        """
        template = self.get_template(name) if source is None else self.compiled(source)
        if block is None:
            return template
        if block not in template.blocks:
            known = ", ".join(template.blocks)
            raise LookupError(
                f"{template.name or 'the source'} has no block "
                f"{block!r} of its own; it has: {known}"
            )
        own = template.blocks[block]

        def root(context: Context) -> object:
            # super() needs the inherited blocks, so collect them, as Jinja2 does for a whole page.
            for parent in self._parents(template, source, context):
                for name, inherited in parent.blocks.items():
                    context.blocks.setdefault(name, []).append(inherited)
            return own(context)

        parts = {
            "name": template.name,
            "__file__": template.filename,
            "blocks": template.blocks,
            "root": root,
            "debug_info": "",
        }
        return template.from_module_dict(self, parts, template.globals)

    def _parents(
        self, template: jinja2.Template, source: str | None, context: Context
    ) -> Iterator[jinja2.Template]:
        """Yield the templates that ``template`` extends: its layout, the layout of its layout, and
        so on.

        Stop at a layout whose expression is neither a string nor a variable in ``context``, as in
        ``{% extends a if b else c %}``. Such a layout is only known when the page is rendered.
        """
        seen = [template]
        for child in seen:  # the list grows during the loop
            layout: Any = self.known_layout(child, source if child is template else None)
            if isinstance(layout, nodes.Name):
                layout = context.get(layout.name)
            if layout is not None:
                parent = self.get_or_select_template(layout)
                if parent not in seen:
                    seen.append(parent)
                    yield parent

    def names_in(self, name: str) -> frozenset[str]:
        """Return the names of the variables in a template, and in the templates that it extends,
        includes and imports by name.

        ``{% include page %}`` is left out, because it may be any template.
        """
        assert self.loader is not None  # noqa: S101
        names: set[str] = set()
        templates: list[str | None] = [name]
        for template in templates:  # the list grows during the loop
            try:
                tree = self.parse(self.loader.get_source(self, template or "")[0], template)
            except jinja2.TemplateError:
                # Skip a template that is missing, invalid or not given by name. If there is an
                # error, rendering raises it.
                continue
            names.update(node.name for node in tree.find_all(nodes.Name))
            templates += set(meta.find_referenced_templates(tree)).difference(templates)
        return frozenset(names)

    def layout_of(self, template: jinja2.Template, source: str | None) -> object:
        """Return the argument of a template's ``{% extends ... %}``: the name of another template,
        or a variable (``nodes.Name``). Return None for anything else.
        """
        if source is None and template.name is not None and self.loader is not None:
            source, _, _ = self.loader.get_source(self, template.name)
        stated = [*self.parse(source or "").find_all(nodes.Extends)]
        layout: object = stated[0].template if len(stated) == 1 else None
        if isinstance(layout, nodes.Const):
            layout = layout.value
        return layout if isinstance(layout, str | nodes.Name) else None

    def getattr(self, obj: object, attribute: str) -> object:
        """Return an attribute or, if ``obj`` is a dict, the item with this name. For a dict, Jinja2
        itself would first raise and catch an ``AttributeError``, which is slower.
        """
        if type(obj) is dict and attribute in obj and attribute not in _DICT_ATTRIBUTES:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def make_globals(self, d: MutableMapping[str, object] | None) -> MutableMapping[str, object]:
        """Return the global names of a template: a plain dict, unless the template has names of its
        own (``d``). The names are copied for each rendering, and copying Jinja2's chain of two
        mappings would take longer.
        """
        return super().make_globals(d) if d else self.globals


def _refuse_coroutine(value: object) -> object:
    """Return ``value``, which a template is about to show. Raises ``TypeError`` for a coroutine
    that was never awaited.
    """
    if isinstance(value, Coroutine):
        value.close()
        raise TypeError(
            "a template can't show a coroutine: in the handler, write "
            '"return await self.render_async(...)"'
        )
    return value


class _LoggedUndefined(jinja2.make_logging_undefined(logger)):  # type: ignore[misc]
    """The value of a name that was not passed to the template. The template shows nothing in place
    of the name. A warning is logged, unless the template only tests the name with ``if``.
    """

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        """For a missing attribute of an object, create a plain ``Undefined``, which logs nothing. A
        template that reads a missing attribute usually does so on purpose.
        """
        if "obj" in named:
            return jinja2.Undefined(*arguments, **named)
        return super().__new__(cls)

    __bool__ = jinja2.Undefined.__bool__


class _Loader(jinja2.FileSystemLoader):
    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        """Return a template's source, its file, and a function that returns whether the file is
        unchanged.

        If the template can't be read, the error's message contains the template's name and the
        directories, so that these are logged.
        """
        places = " or ".join(self.searchpath)
        if not isinstance(template, str) or not template or ".." in template.split("/"):
            raise jinja2.TemplateNotFound(
                template,
                f"{template!r} is not a template name: write a path relative to {places}, without "
                "'..', and never take the name from a client",
            )
        try:
            return super().get_source(environment, template)
        except jinja2.TemplateNotFound:
            raise jinja2.TemplateNotFound(
                template, f"there is no template {template!r} in {places}"
            ) from None
        except UnicodeDecodeError as error:
            error.add_note(f"The template {template!r} in {places} must be UTF-8.")
            raise
