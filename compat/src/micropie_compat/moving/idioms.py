"""Find idioms of Bottle and CherryPy that must be changed but can't be found by a name alone: calls
with certain arguments, and imports in templates.
"""

from __future__ import annotations

import ast
import re
from codecs import lookup
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from micropie_compat.missing import SERVERS
from micropie_compat.moving.names import Names, dotted_name

Idiom: TypeAlias = tuple[int, str, str]
"""The line number, the code on that line, and advice on what to write instead."""

Idioms: TypeAlias = Iterator[Idiom]

RECODED = "leave out encode and decode: the text is decoded as UTF-8 already"

# Matches an import in a template. A statement there begins with "%" in SimpleTemplate and Mako, "#"
# in Cheetah.
_IN_TEMPLATE = r"(?:^|[%#!;])\s*(?:from|import)\s+{}\b"
_TEMPLATES = frozenset([".htm", ".html", ".mak", ".mako", ".stpl", ".thtml", ".tmpl", ".tpl"])


def idioms_of(framework: str, tree: ast.Module, names: Names) -> Idioms:
    """Yield the idioms of a module. ``names``: see ``imported_names``."""
    if framework == "bottle":
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield from _server(node)
                yield from _recoding(node, names)


def _server(call: ast.Call) -> Idioms:
    """Yield a call such as ``run(server="paste")`` or ``app.run(server="paste")`` if the server
    isn't supported.
    """
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    for keyword in call.keywords if name in ("run", "Bottle.run") else ():
        if keyword.arg == "server" and isinstance(keyword.value, ast.Constant):
            server = str(keyword.value.value)
            if server in SERVERS:
                yield call.lineno, f"run(server={server!r})", SERVERS[server]


def _recoding(call: ast.Call, names: Names) -> Idioms:
    """Yield calls such as ``text.encode("latin1").decode("utf8")``, and ``.encode("latin1")`` alone
    if the text comes from ``bottle.request``.
    """
    is_whole = False
    match call:
        case ast.Call(ast.Attribute(ast.Call(ast.Attribute(text, "encode"), codecs), "decode"), to):
            is_whole = _is_codec(to, "utf-8")
        case ast.Call(ast.Attribute(text, "encode"), codecs):
            pass
        case ast.Call(ast.Name("bytes" | "tob") | ast.Attribute(_, "tob"), [text, *codecs]):
            pass
        case _:
            return
    # Strings in the environ are decoded as latin-1, so for these strings the code is correct.
    if codecs and _is_codec(codecs, "iso8859-1") and "environ" not in ast.unparse(text):
        inside = (dotted_name(node, names) for node in ast.walk(text))
        if is_whole or any(name.startswith("bottle.request") for name in inside):
            yield call.lineno, f"latin-1 of {ast.unparse(text)}", RECODED


def _is_codec(arguments: list[ast.expr], wanted: str) -> bool:
    """Return whether a call's first argument is a name of the codec ``wanted``. A call without
    arguments uses UTF-8.
    """
    if not arguments:
        return wanted == "utf-8"
    if isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str):
        with suppress(LookupError):
            return lookup(arguments[0].value).name == wanted
    return False


def template_imports(framework: str, files: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Search the templates among ``files`` for lines that import the framework, and yield each line
    as (file, line number).
    """
    statement = re.compile(_IN_TEMPLATE.format(framework))
    for file in (one for one in files if one.suffix in _TEMPLATES):
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            if statement.search(line):
                yield file, number
