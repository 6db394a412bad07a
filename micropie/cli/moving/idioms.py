"""What programs write of Bottle and CherryPy, beside names, that they have to write otherwise here:
calls with certain arguments, middleware around an application, templates.
"""

from __future__ import annotations

import ast
import re
from codecs import lookup
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from micropie.cli.moving.names import COMPAT, dotted_name

Idiom: TypeAlias = tuple[int, str, str]
"""A line, what stands there, and what to write."""

RECODED = "leave out encode and decode: text is UTF-8 already"
WRAPPED = "it is WSGI alone: for ASGI servers write app = micropie.dual({}(...))"

# What makes an application of the original, or is one.
_APPLICATIONS = frozenset(
    {
        *("bottle.Bottle", "bottle.app", "bottle.app.push", "bottle.default_app"),
        *("cherrypy.Application", "cherrypy.tree", "cherrypy.tree.mount"),
    }
)
_OF_TESTS = frozenset({"TestApp", "TestClient"})  # which wrap an application, too

# What a template language has before a statement: "%" in SimpleTemplate and Mako, "#" in Cheetah.
_IN_TEMPLATE = r"(?:^|[%#!;])\s*(?:from|import)\s+{}\b"
_TEMPLATES = frozenset([".htm", ".html", ".mak", ".mako", ".stpl", ".thtml", ".tmpl", ".tpl"])


def idioms_of(framework: str, tree: ast.Module, names: Mapping[str, str]) -> Iterator[Idiom]:
    """Yield the idioms of a module. ``names``: see ``imported_names``."""
    yield from _middleware(tree, names)
    if framework == "bottle":
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield from _server(node)
                yield from _recoding(node, names)


def _server(call: ast.Call) -> Iterator[Idiom]:
    """Yield ``run(server="paste")``, of the module or of an application."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    for keyword in call.keywords if name in ("run", "Bottle.run") else ():
        if keyword.arg == "server" and isinstance(keyword.value, ast.Constant):
            server = str(keyword.value.value)
            if server in COMPAT.SERVERS:
                yield call.lineno, f"run(server={server!r})", COMPAT.SERVERS[server]


def _recoding(call: ast.Call, names: Mapping[str, str]) -> Iterator[Idiom]:
    """Yield ``text.encode("latin1").decode("utf8")``, and the first half of it for text of the
    request.
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
    # the text of the environ is in latin-1
    if codecs and _is_codec(codecs, "iso8859-1") and "environ" not in ast.unparse(text):
        inside = (dotted_name(node, names) for node in ast.walk(text))
        if is_whole or any(name.startswith("bottle.request") for name in inside):
            yield call.lineno, f"latin-1 of {ast.unparse(text)}", RECODED


def _is_codec(arguments: list[ast.expr], wanted: str) -> bool:
    """Return whether the first of some arguments is a name of a codec; without any, UTF-8 is."""
    if not arguments:
        return wanted == "utf-8"
    if isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str):
        with suppress(LookupError):
            return lookup(arguments[0].value).name == wanted
    return False


def _middleware(tree: ast.Module, names: Mapping[str, str]) -> Iterator[Idiom]:
    """Yield ``app = SessionMiddleware(app, options)`` at the top of a module, unless ``dual``
    follows.
    """
    applications: set[str] = set()
    found: dict[str, Idiom] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign([ast.Name(target)], ast.Call() as call):
                inner = _wrapped(call, applications, names)
            case _:
                continue
        if dotted_name(call.func, names) in _APPLICATIONS:
            applications.add(target)
        elif inner is not None and target.lower().endswith(("app", "application")):
            applications.add(target)
            found.pop(getattr(inner, "id", ""), None)
            if dotted_name(call.func, names) != "micropie.dual":
                wrapper = ast.unparse(call.func)
                found[target] = call.lineno, f"{wrapper}(...)", WRAPPED.format(wrapper)
    yield from found.values()


def _wrapped(call: ast.Call, applications: set[str], names: Mapping[str, str]) -> ast.expr | None:
    """Return the application that a call is given, None without one."""
    if ast.unparse(call.func).rpartition(".")[2] in _OF_TESTS:
        return None
    for given in (*call.args[:1], *(keyword.value for keyword in call.keywords)):
        if isinstance(given, ast.Name) and given.id in applications:
            return given
        maker = dotted_name(given.func if isinstance(given, ast.Call) else given, names)
        if maker in _APPLICATIONS:
            return given
        if isinstance(given, ast.Call) and _wrapped(given, applications, names) is not None:
            return given
    return None


def template_imports(framework: str, folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the lines of templates below a folder that import the framework."""
    statement = re.compile(_IN_TEMPLATE.format(framework))
    for file in sorted(one for one in folder.rglob("*") if one.suffix in _TEMPLATES):
        if file.is_file():
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
                if statement.search(line):
                    yield file, number
