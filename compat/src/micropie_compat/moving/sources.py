"""Find the places in the source of a CherryPy or Bottle application that must be changed manually.

The source of the application and of the plugins that it imports is parsed but not run. Names that
``micropie_compat`` provides are not reported.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from importlib.machinery import PathFinder
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from micropie_compat.missing import ADVICE, SERVER_SETTINGS, UNKNOWN, advice_for
from micropie_compat.moving.applications import Applications
from micropie_compat.moving.idioms import (
    IN_MEMCACHED,
    IN_TEMPLATE,
    TEMPLATES,
    idioms_of,
    lines_with,
    stored_objects,
)
from micropie_compat.moving.names import (
    Trees,
    assigned_names,
    dotted_name,
    imported_names,
    imports,
    nodes_of,
    source_of,
    statements_of,
)
from micropie_compat.moving.of_micropie import differences
from micropie_compat.results import words


class Finding(NamedTuple):
    """A place in a source file, and advice on what to write there. ``is_note``: whether the code
    works unchanged.
    """

    file: Path
    line: int
    name: str
    advice: str
    is_note: bool = False


# Keys of CherryPy's configuration that must be changed, each with advice. All string constants in
# the source are compared with these keys.
CONFIG_KEYS: Mapping[str, str] = {
    "tools.sessions.servers": ADVICE["cherrypy.lib.sessions.MemcachedSession"],
    **{
        f"tools.{name}.": ADVICE[f"cherrypy.tools.{name}"]
        for name in words("cpstats basic_auth digest_auth nsgmls tidy")
    },
    **SERVER_SETTINGS,
    "wsgi.pipeline": ADVICE["cherrypy.Application.wsgiapp"],
}

# Attributes that are reported on any object, because the object's class isn't known.
ATTRIBUTES: Mapping[str, str] = {
    name: ADVICE[f"cherrypy.Application.{name}"]
    for name in ("get_serving", "release_serving", "wsgiapp")
}

# Functions of the compatibility module, each with a name that the function needs. The function is
# reported if that name is missing.
_NEEDED_BY = dict.fromkeys(("bottle.template", "bottle.view"), "bottle.SimpleTemplate")

# Values in a configuration file that leave a feature off.
_UNSET = ([""], ["None"], ["False"], ["''"], ['""'], ["0"])

CONFIG_FILES = frozenset({".conf", ".cfg", ".ini"})


def findings(
    framework: str, modules: Iterable[Path], files: Sequence[Path] = ()
) -> Iterator[Finding]:
    """Yield the places to change in a program and in the packages that it imports.

    ``framework``: "bottle", "cherrypy", "pixie_web" or "micropie".
    ``modules``: the program's Python files.
    ``files``: all its files, for templates and CherryPy's configuration.
    """
    trees: dict[Path, ast.Module] = {}
    unread = [*_read(modules, trees)]
    yield from unread
    if framework == "micropie":
        yield from (Finding(file, *idiom) for file, idiom in differences(trees))
        return
    for file in [file for file in trees if _is_original(file)]:
        del trees[file]  # skip the program's own copy of the framework
    plugins = dict(_plugins(framework, trees))
    read = chain(trees.values(), plugins.values())
    own = {name for tree in read for name in assigned_names(tree)}
    assigned = re.compile(rf"\b({framework}(?:\.\w+)+)\s*=(?!=)")
    own |= {name for one in unread for name in assigned.findall(one.file.read_text("latin-1"))}
    is_installed = any(_installs(tree, framework) for tree in trees.values())
    applications = Applications(trees)
    for file, tree in trees.items():
        found = {*_in_module(framework, file, tree, is_installed, own)}
        wrapped = (Finding(file, *idiom) for idiom in applications.wrapped_in(tree))
        notes = (Finding(file, *idiom, True) for idiom in applications.programs_in(tree))
        yield from sorted({*found, *wrapped, *notes})
    if not is_installed:
        yield from _forgotten(framework, trees)
        templates = [file for file in files if file.suffix in TEMPLATES]
        for file, line, _ in lines_with(IN_TEMPLATE.format(framework), templates):
            yield Finding(file, line, f"imports the original {framework}", _IN_TEMPLATE)
    if framework == "cherrypy":
        configured = [file for file in files if file.suffix in CONFIG_FILES]
        yield from _in_config_files(configured)
        for file, line, _ in lines_with(IN_MEMCACHED, [*trees, *configured]):
            yield Finding(file, line, "storage_type", CONFIG_KEYS["tools.sessions.servers"])
        stored = stored_objects(trees, [*trees, *configured])
        yield from sorted(Finding(file, *idiom) for file, idiom in stored)
    for file, tree in plugins.items():
        if not is_installed:
            line = next((node.lineno for node in statements_of(tree, framework)), 1)
            advice = _INSTALL.format(framework)
            yield Finding(file, line, f"imports the original {framework}", advice)
        yield from sorted(_in_module(framework, file, tree, is_installed=True, own=own))


def _is_original(file: Path) -> bool:
    """Return whether a file is part of Bottle or CherryPy itself. Bottle imports CherryPy."""
    if file.name == "bottle.py":
        return b"class Bottle(" in file.read_bytes()
    return any(one.name == "cherrypy" and (one / "_cptree.py").exists() for one in file.parents)


def _read(modules: Iterable[Path], trees: dict[Path, ast.Module]) -> Iterator[Finding]:
    """Parse modules and add them to ``trees``. Yield a finding for each module that this Python
    version can't parse.
    """
    for file in modules:
        try:
            trees[file] = ast.parse(file.read_bytes(), file.name)
        except (SyntaxError, ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None) or 1
            yield Finding(file, line, "syntax", f"this Python version can't parse it: {error}")


_IN_TEMPLATE = "in the template, import the framework from micropie_compat"
_INSTALL = (
    'put this line before all other imports: from micropie_compat import install; install("{0}"). '
    "Or start the program with micropie run --stand-in {0}"
)


def _installs(tree: ast.Module, framework: str) -> bool:
    """Return whether a module calls ``install`` with this framework."""
    names = imported_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func, [ast.Constant(given)], []):
                pass
            case ast.Call(func, [], [ast.keyword("framework", ast.Constant(given))]):
                pass
            case _:
                continue
        name = dotted_name(func, names).removeprefix("micropie_compat.")
        if given == framework and name in ("install", "stand_in.install"):
            return True
    return False


def _forgotten(framework: str, trees: Trees) -> Iterator[Finding]:
    """Yield the imports of the original framework in a program that also imports its compatibility
    module.
    """
    stand_in = f"micropie_compat.{framework}"
    if any(True for tree in trees.values() for _ in statements_of(tree, stand_in)):
        for file, tree in trees.items():
            for node in statements_of(tree, framework):
                for line in _replaced(framework, node):
                    original = f"imports the original {framework}"
                    yield Finding(file, node.lineno, original, f'write "{line}"')


def _replaced(framework: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield the statements to write instead of ``node``, an import of the original framework. They
    import the same names from the compatibility module.

    Yields nothing for ``import cherrypy.lib.static``, because no single import statement can
    replace it.
    """
    names = ", ".join(source_of(alias) for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        yield f"from micropie_compat.{node.module} import {names}"
    for alias in node.names if isinstance(node, ast.Import) else ():
        if alias.name == framework:
            yield f"from micropie_compat import {source_of(alias)}"
        elif alias.asname is not None and f"{alias.name}.".startswith(f"{framework}."):
            yield f"import micropie_compat.{source_of(alias)}"


def _plugins(framework: str, trees: Trees) -> Iterator[tuple[Path, ast.Module]]:
    """From the installed packages that the program imports, yield the files that import the
    framework.
    """
    statement = re.compile(rf"^\s*(?:import|from)\s+{framework}\b".encode(), re.MULTILINE)
    known = {file.resolve() for file in trees}
    places = [*dict.fromkeys(str(file.parent) for file in trees), *sys.path]
    left = [*trees.values()]
    seen = {framework, "bottle", "micropie", "micropie_compat", *sys.stdlib_module_names}
    while left:
        names = {
            name.partition(".")[0] for node in ast.walk(left.pop(0)) for name in imports(node)
        } - seen
        seen |= names
        for spec in filter(None, (PathFinder.find_spec(name, places) for name in sorted(names))):
            origin = Path(spec.origin or "")
            is_package = origin.name == "__init__.py"
            for file in sorted(origin.parent.rglob("*.py")) if is_package else [origin]:
                if (
                    file.suffix == ".py"
                    and file.resolve() not in known
                    and statement.search(source := file.read_bytes())
                ):
                    # The file is skipped if it is for another version of Python.
                    with suppress(SyntaxError, ValueError, RecursionError):
                        left.append(tree := ast.parse(source, file.name))
                        yield file, tree


def _in_module(
    framework: str, file: Path, tree: ast.Module, is_installed: bool, own: Set[str]
) -> Iterator[Finding]:
    """Yield the findings in a module.

    ``own``: the names that the program and its plugins assign in the framework's modules.
    """
    names = imported_names(tree)
    seen: set[tuple[int, str]] = set()
    unset = {
        key
        for node in nodes_of(tree, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(value, ast.Constant) and not value.value
    }
    for node in ast.walk(tree):
        dotted = dotted_name(node, names)
        line = getattr(node, "lineno", 1)
        # Check each name of the framework, and everything that an import statement imports.
        for name in [dotted] if f"{dotted}.".startswith(f"{framework}.") else imports(node):
            advice = _advice_for(framework, name, own)
            if advice is None and not is_installed and _binds_original(framework, node, name):
                advice = _INSTALL.format(framework)
            if advice is not None and (line, advice) not in seen:
                seen.add((line, advice))
                yield Finding(file, line, name, advice)
        match node:
            case ast.Constant(str() as key) if framework == "cherrypy" and node not in unset:
                yield from _in_key(file, line, key)
            case ast.Attribute(_, name) if framework == "cherrypy" and name in ATTRIBUTES:
                yield Finding(file, line, f".{name}", ATTRIBUTES[name])
    for line, name, advice in {*idioms_of(framework, tree, names)}:
        yield Finding(file, line, name, advice)


def _binds_original(framework: str, node: ast.AST, name: str) -> bool:
    """Return whether a statement such as ``import cherrypy.lib.static`` binds the name
    ``cherrypy``.
    """
    return (
        isinstance(node, ast.Import)
        and name.startswith(f"{framework}.")
        and any(alias.name == name and alias.asname is None for alias in node.names)
    )


def _advice_for(framework: str, name: str, own: Set[str]) -> str | None:
    """Return advice on what to write instead of a dotted name, or None if the name can stay.
    ``own``: see ``_in_module``.
    """
    advice = advice_for(framework, _NEEDED_BY.get(name, name))
    if advice is None:  # attributes of cherrypy.server are also configuration keys
        return CONFIG_KEYS.get(name.removeprefix("cherrypy."))
    is_own = any(f"{name}.".startswith(f"{one}.") for one in own)
    return None if is_own and advice.startswith(UNKNOWN) else advice


def _in_key(file: Path, line: int, key: str) -> Iterator[Finding]:
    """Yield a finding for a key of CherryPy's configuration that must be changed."""
    for beginning, advice in CONFIG_KEYS.items():
        if key.startswith(beginning):
            yield Finding(file, line, repr(key), advice)


def _in_config_files(files: Iterable[Path]) -> Iterator[Finding]:
    """Yield the findings in CherryPy's configuration files."""
    for file, number, line in lines_with("", files):
        key, *value = map(str.strip, re.split("[:=]", line, maxsplit=1))
        if value not in _UNSET:
            yield from _in_key(file, number, key)
