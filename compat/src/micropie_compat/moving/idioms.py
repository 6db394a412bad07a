"""Find idioms of Bottle and CherryPy that must be changed but can't be found by a name alone: calls
with certain arguments, imports in templates, and objects in sessions.
"""

from __future__ import annotations

import ast
import re
from codecs import lookup
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from importlib import import_module
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

from micropie_compat.missing import SERVERS
from micropie_compat.moving.names import (
    Names,
    Trees,
    derived,
    dotted_name,
    imported_names,
    nodes_of,
    source_of,
    statements_of,
)
from micropie_compat.overrides import NEVER_CALLED
from micropie_compat.results import words
from micropie_compat.stand_in import FRAMEWORKS

Idiom: TypeAlias = tuple[int, str, str]
"""The line number, the code on that line, and advice on what to write instead."""

Idioms: TypeAlias = Iterator[Idiom]

_PLAIN = (
    "only sessions in memory store objects: store numbers, text, dates, lists and dicts, or set "
    "tools.sessions.serializer = pickle for sessions in files"
)
_MONITOR = (
    "under ASGI, New Relic knows no handlers of CherryPy: name the transaction in a hook, "
    "newrelic.agent.set_transaction_name(name)"
)
RECODED = "leave out encode and decode: the text is decoded as UTF-8 already"

# Matches an import in a template. A statement there begins with "%" in SimpleTemplate and Mako, "#"
# in Cheetah.
IN_TEMPLATE = r"(?:^|[%#!;])\s*(?:from|import)\s+{}\b"
TEMPLATES = frozenset(words(".htm .html .mak .mako .stpl .thtml .tmpl .tpl"))
# Matches the choice of memcached by name, which may be the only option.
IN_MEMCACHED = r"^[^#]*\bstorage_type\W+(?i:memcached)\b"


def idioms_of(framework: str, tree: ast.Module, names: Names) -> Idioms:
    """Yield the idioms of a module. ``names``: see ``imported_names``."""
    yield from refused_overrides(tree, names)
    if framework == "cherrypy":
        for statement in statements_of(tree, "newrelic.agent"):
            yield statement.lineno, source_of(statement), _MONITOR
    else:
        for one in tree.body:  # such as a function, in which a variable has one meaning
            yield from _recoded(one, names)
        for call in nodes_of(tree, ast.Call):
            yield from _server(call)


def _server(call: ast.Call) -> Idioms:
    """Yield a call such as ``run(server="paste")`` or ``app.run(server="paste")`` if the server
    isn't supported.
    """
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = [keyword.value for keyword in call.keywords if keyword.arg == "server"]
    for value in [*call.args[1:2], *given] if name == "run" else ():
        server = getattr(value, "value", None)
        if isinstance(server, str) and server in SERVERS:
            yield call.lineno, f"run(server={server!r})", SERVERS[server]


# The texts of a request that Bottle decodes as latin-1.
_FIELDS = re.compile(r"bottle\.request\.(?:cookies|forms|GET|get_cookie|params|POST|query)\b")


def _recoded(statement: ast.stmt, names: Names) -> Idioms:
    """Yield the texts in a statement that are encoded as latin-1 although they are UTF-8 already:
    fields of ``bottle.request``, variables with such fields, and variables that are then decoded as
    UTF-8.
    """
    encoded: list[tuple[ast.Call, ast.expr]] = []
    wholes: set[ast.AST] = set()
    fields: set[str] = set()

    def is_field(text: ast.expr) -> bool:
        # Strings in the environ are decoded as latin-1, so for these strings the code is correct.
        return "environ" not in source_of(text) and any(
            _FIELDS.match(dotted_name(node, names)) or getattr(node, "id", "") in fields
            for node in ast.walk(text)
        )

    for node in ast.walk(statement):
        match node:
            case ast.Assign([ast.Name(variable)], value) if is_field(value):
                fields.add(variable)
            case ast.Call(ast.Attribute(text, "encode"), codecs) | ast.Call(
                ast.Name("bytes" | "tob") | ast.Attribute(_, "tob"), [text, *codecs]
            ) if _is_codec(node, codecs, "iso8859-1"):
                encoded.append((node, text))
            case ast.Call(ast.Attribute(whole, "decode"), codecs) | ast.Call(
                ast.Name("str"), [whole, *codecs]
            ) if _is_codec(node, codecs, "utf-8"):
                wholes.add(whole)
    for call, text in encoded:
        if is_field(text) or (call in wholes and isinstance(text, ast.Name)):
            yield call.lineno, f"latin-1 of {source_of(text)}", RECODED


def _is_codec(call: ast.Call, arguments: list[ast.expr], wanted: str) -> bool:
    """Return whether ``call`` names the codec ``wanted``, as the first of ``arguments`` or by
    keyword. A call without arguments uses UTF-8.
    """
    given = [*arguments, *(one.value for one in call.keywords if one.arg == "encoding")]
    if not given:
        return wanted == "utf-8"
    if isinstance(given[0], ast.Constant) and isinstance(given[0].value, str):
        with suppress(LookupError):
            return lookup(given[0].value).name == wanted
    return False


def lines_with(pattern: str, files: Iterable[Path]) -> Iterator[tuple[Path, int, str]]:
    """Yield each line of the files in which the regular expression is found, as (file, line number,
    line).
    """
    for file in files:
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            if re.search(pattern, line):
                yield file, number, line


def refused_overrides(tree: ast.Module, names: Names) -> Idioms:
    """Yield the methods that a program overrides, in a class or by assigning to a class of the
    framework, although they would never be called.
    """
    known = {**names}
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(cls, bases):
                for name in filter(None, [dotted_name(base, known) for base in bases]):
                    known[cls] = name
                    for one in node.body:
                        if getattr(one, "name", "") in _uncalled(name):
                            yield one.lineno, f"{cls}.{one.name}", NEVER_CALLED  # type: ignore[attr-defined]
            case ast.Attribute(owner, name, ast.Store()):
                if name in _uncalled(dotted_name(owner, known)):
                    yield node.lineno, source_of(node), NEVER_CALLED


def _uncalled(name: str) -> Iterable[str]:
    """Return the methods of a class of the framework that are never called, see ``Overridable``."""
    module, _, attributes = name.partition(".")
    if attributes and module in FRAMEWORKS:
        with suppress(AttributeError, ImportError):
            package = import_module(f"micropie_compat.{module}")
            found: Iterable[str] = attrgetter(attributes)(package).uncalled
            return found
    return ()


# Ways to write that sessions are stored elsewhere than in memory.
_STORED = re.compile(r"FileSession\b|sessions\.storage_type\W+file\b|sessions\.backend\b")
_ANY_VALUE = "tools.sessions.serializer"
# Makers of objects in the standard library that programs store.
_MAKERS = words("Fraction Path PurePath SimpleNamespace ip_address ip_interface ip_network")
_ENUMS = frozenset(words("enum.Enum enum.Flag enum.IntEnum enum.IntFlag enum.StrEnum"))


def stored_objects(trees: Trees, files: Iterable[Path]) -> Iterator[tuple[Path, Idiom]]:
    """If a program's sessions aren't in memory, yield the assignments that put an object of one of
    its classes into a session, or one of the standard library. ``files``: the files that may
    configure the sessions.
    """
    text = "".join(file.read_text(errors="replace") for file in files)
    if _ANY_VALUE in text or not _STORED.search(text):
        return
    nodes = {file: [*ast.walk(tree)] for file, tree in trees.items()}
    classes = {one.name for one in chain(*nodes.values()) if isinstance(one, ast.ClassDef)}
    enums = derived(trees.values(), _ENUMS)
    for file, tree in trees.items():
        names = imported_names(tree)
        objects = {*classes, *_MAKERS}
        for node in nodes[file]:
            match node:
                case ast.Assign([ast.Name(variable)], value) if _is_object(
                    value, {*classes, "namedtuple"}, enums
                ):
                    objects.add(variable)
                case ast.Assign([ast.Name(variable)], value) if dotted_name(value, names):
                    names[variable] = dotted_name(value, names)
        for node in nodes[file]:
            owner, stored = _stored(node)
            if dotted_name(owner, names) == "cherrypy.session" and any(
                _is_object(one, objects, enums) for one in stored
            ):
                yield file, (node.lineno, source_of(node), _PLAIN)  # type: ignore[attr-defined]


def _is_object(value: ast.AST, objects: Set[str], enums: Set[str]) -> bool:
    """Return whether an expression is one of ``objects``, calls it, or is a member of an enum."""
    owner, _, name = source_of(getattr(value, "func", value)).rpartition(".")
    return name in objects or owner.rpartition(".")[2] in enums


def _stored(node: ast.AST) -> tuple[ast.AST, Sequence[ast.AST]]:
    """Return the object in which a statement or a call stores values under keys, and the values."""
    match node:
        case ast.Assign([ast.Subscript(owner)], value):
            pass
        case ast.Call(ast.Attribute(owner, "setdefault"), [_, value]):
            pass
        case ast.Call(ast.Attribute(owner, "update"), [value]):
            pass
        case ast.Call(ast.Attribute(owner, "update"), [], keywords):
            return owner, [one.value for one in keywords]
        case _:
            return node, ()
    return owner, getattr(value, "elts", getattr(value, "values", [value]))
