"""``Template``: renders templates, which contain ``{{values}}`` and lines of Python that begin with
``%``.

    % for message in messages:
    <li>{{message}}</li>
    % end

A template with neither of these is in the format of pixie_web's first versions, with ``{name}`` for
a value. ``% include header.html`` inserts another file of the directory.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from micropie import escape

_LINE = re.compile(r"^[ \t]*%", re.MULTILINE)
_VALUE = re.compile(r"\{\{(!?)\s*(.+?)\s*\}\}")
_INCLUDE = re.compile(r"^[ \t]*%[ \t]*include[ \t]+(\S+)[ \t]*$", re.MULTILINE)
_OPENS = re.compile(r"(if|elif|for|while|try|except|else|finally|with|def|class)\b")
_CONTINUES = re.compile(r"(elif|else|except|finally)\b")


class Literal:
    """Text that templates insert unescaped. ``esc`` is the escaped text."""

    def __init__(self, data: object) -> None:
        self.data = str(data)

    @property
    def esc(self) -> str:
        """The text, escaped for HTML."""
        return escape(self.data)

    def __str__(self) -> str:
        return self.data


class Unsafe(Literal):
    """Text that is escaped for HTML wherever it is inserted."""

    def __str__(self) -> str:
        return self.esc


def _text_of(value: object) -> str:
    return str(value) if isinstance(value, Literal) else escape(value)


@lru_cache(maxsize=256)
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _included(text: str, folder: Path, read: Callable[[Path], str]) -> str:
    """Return a template with the files in it, of lines such as ``% include header.html``."""
    return _INCLUDE.sub(lambda one: _included(read(folder / one[1]), folder, read), text)


@lru_cache(maxsize=256)
def _compiled(text: str, name: str) -> Callable[..., str]:
    """Compile a template to a function that takes the values and returns the rendered template."""
    if not _LINE.search(text) and not (_VALUE.search(text) and not re.search(r"(?<!\{)\{\w", text)):
        return lambda values: text.format_map({key: _text_of(one) for key, one in values.items()})
    lines, depth = ["_lines = []"], 0
    statements = re.findall(r"^[ \t]*%+[ \t]*(.*?)[ \t]*$", text, re.MULTILINE)
    # pixie_web needs an end before "% else:", too. Other templates have one end for both.
    is_closed = statements.count("end") == sum(map(bool, map(_OPENS.match, statements)))
    for line in text.split("\n"):
        statement = line.strip()
        if not statement.startswith("%"):
            pieces = _VALUE.split(line)
            parts = [repr(piece) for piece in pieces[::3]]
            for place, (mark, value) in enumerate(zip(pieces[1::3], pieces[2::3], strict=True)):
                parts[place] += f", {'str' if mark else '_escape'}({value})"
            lines.append(f"{'  ' * depth}_lines.append(''.join(({', '.join(parts)},)))")
            continue
        statement = statement.lstrip("%").strip()
        if statement == "end":
            depth -= 1
            continue
        goes_on = not is_closed and _CONTINUES.match(statement) is not None
        lines.append(f"{'  ' * (depth - goes_on)}{statement}")
        opens = _OPENS.match(statement) if is_closed else statement.endswith(":")
        depth += bool(opens) and not goes_on
    code = compile("\n".join(lines), f"<template {name}>", "exec")

    def render(values: dict[str, object]) -> str:
        names = {**values, "_escape": _text_of}
        exec(code, names)  # noqa: S102 - a template is a part of the program
        return "\n".join(names["_lines"])  # type: ignore[arg-type]

    return render


class SimpleTemplate:
    """A template with ``{{0}}``, or ``{0}``, for a value by its position, ``{{name}}`` by name."""

    def __init__(self, template: str) -> None:
        self.template = template.replace("{{", "{").replace("}}", "}")

    def render(self, *values: object, **named: object) -> str:
        """Return the template rendered with these values."""
        texts = {name: _text_of(value) for name, value in named.items()}
        return self.template.format(*map(_text_of, values), **texts)


class Template:
    """A template: ``Template(filename="page.html", path="pages").render(title="Pies")``.

    Values are escaped, except ``{{!value}}`` and a ``Literal``.

    ``template_str``: the template itself, or a file's name.
    ``file``: a file in the directory ``path``, by default ``pixie_web.TEMPLATE_PATH``.
    ``cached``: whether a file is read only once. If False, it is read at each rendering.
    """

    def __init__(
        self,
        template_str: str | None = None,
        path: str | None = None,
        cached: bool = True,
        *,
        name: str = "template",
        filename: str | None = None,
        file: str | None = None,
    ) -> None:
        is_text = template_str is not None and any(one in template_str for one in "\n{<%")
        self._text = template_str if is_text else None
        default = sys.modules[__package__].TEMPLATE_PATH if file else "."
        self._folder = Path(path or default)
        self._path = self._folder / (file or filename or template_str or "")
        self._name = name if is_text else str(self._path)
        self._cached = cached

    def render(self, **values: object) -> str:
        """Return the template rendered with these values."""
        read = _read if self._cached else _read.__wrapped__
        text = read(self._path) if self._text is None else self._text
        return _compiled(_included(text, self._folder, read), self._name)(values)
