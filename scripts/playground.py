"""Hooks of mkdocs for the playground: they add the button "Try it" below examples that a browser
can run, and the sections of the tour.

The playground needs Pyodide, which `make docs` downloads from npm into build/pyodide. Without
Pyodide the site has no buttons, and the playground's page explains why.
"""

from __future__ import annotations

import ast
import html
import json
import logging
import re
import shutil
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import files as files_of
from pathlib import Path
from typing import Any, NamedTuple

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from examples.tour import app as the_tour
from examples.tour.page import Feature, source_of

ROOT = Path(__file__).parent.parent
PYODIDE = ROOT / "build" / "pyodide" / "node_modules" / "pyodide"
FILES = [
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "pyodide-lock.json",
    "python_stdlib.zip",
]
FOLDER = "assets/playground"

# Packages that an application imports in the browser in addition to the standard library. All are
# pure Python.
PACKAGES = [
    "micropie",
    "anyio",
    "multipart",
    "idna",
    "typing_extensions",
    "jinja2",
    "markupsafe",
    "itsdangerous",
]
# If an example imports one of these modules, or matches ``UNABLE``, it gets no button, because a
# browser can't run it, or runs it with other results.
WITHOUT = {
    "asyncio",
    "dbm",
    "multiprocessing",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
}
UNABLE = re.compile(
    r"@dataclass|TypedDict|Meta\(|"  # these need msgspec, which is compiled for each platform
    r"run_async|\bwhere\(|\"process\"|"  # threads and processes
    r"\.static\(|templates=|__file__|"  # files beside the application
    r"micropie_compat|micropie\.testing|docs=|"  # other packages
    r"request\.(read|chunks|parts)\(|testserver"  # bodies that need a thread; another host
)
# Parts of the tour that a browser can't run.
TOUR = the_tour.Tour
UNABLE_PARTS = (
    *(the_tour.Order, TOUR.order, TOUR.book),  # these need msgspec
    *(TOUR.on_loop, TOUR.in_thread, TOUR.quick, TOUR.primes),  # a browser has no threads
    TOUR.upload,  # the playground can't send a file
)

# Matches a listing, the text after it, and the list of its requests.
EXAMPLE = re.compile(
    r"^```python\n(?P<source>(?:(?!```).*\n)*)```\n(?P<between>(?:(?!```|#).*\n)*)```http\n(?P<asked>(?:(?!```).*\n)*)```$",
    re.MULTILINE,
)
INCLUDED = re.compile(r'--8<-- "(.+)"\n')


def is_there() -> bool:
    """Return whether Pyodide has been downloaded, which the playground needs."""
    return all((PYODIDE / name).exists() for name in FILES)


# -- the hooks of mkdocs ---------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out the script if Pyodide is missing."""
    if not is_there():
        logging.getLogger("mkdocs.playground").info(
            "no playground: `make docs` fetches Pyodide from npm, if npm is there"
        )
        config.extra_javascript = [one for one in config.extra_javascript if FOLDER not in str(one)]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Leave out the playground's files if Pyodide is missing."""
    if not is_there():
        for file in [file for file in files if file.src_uri.startswith(FOLDER)]:
            files.remove(file)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mark the examples that a browser can run; the script puts a button there."""
    if page.file.src_uri == "playground.md":
        starts = json.dumps([start._asdict() for start in tour()]).replace("<", "\\u003c")
        block = f'<div class="playground"><script type="application/json">{starts}</script></div>'
        missing = (
            "**This copy of the site was built without Pyodide, so there "
            "is nothing to play with here.**"
        )
        return markdown.replace("<!-- the playground -->", block if is_there() else missing)
    return EXAMPLE.sub(_marked, markdown) if is_there() else markdown


def on_post_build(config: MkDocsConfig) -> None:
    """Copy Pyodide and the packages to the folder of the playground's script."""
    if is_there():
        folder = Path(config.site_dir, FOLDER)
        for name in FILES:
            shutil.copyfile(PYODIDE / name, folder / name)
        pack(folder / "packages.zip")


# -- the examples of the pages ---------------------------------------------------------------------


def is_playable(source: str) -> bool:
    """Return whether a module's source runs in the browser with the same results as elsewhere."""
    return not lacking(source) and not UNABLE.search(source)


def lacking(source: str) -> set[str]:
    """Return the packages that a module's source imports and that aren't available in the
    browser.
    """
    known = (sys.stdlib_module_names | set(PACKAGES)) - WITHOUT
    return set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE)) - known


def examples(markdown: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the source of each playable example of a page, and the lines with its requests and
    responses.
    """
    for found in EXAMPLE.finditer(markdown):
        source = _source_of(found["source"])
        if is_playable(source):
            yield source, found["asked"].splitlines()


def _source_of(block: str) -> str:
    included = INCLUDED.fullmatch(block)
    return block if included is None else (ROOT / included[1]).read_text()


def _marked(found: re.Match[str]) -> str:
    if not is_playable(_source_of(found["source"])):
        return found[0]
    requests = [line.partition("->")[0].strip() for line in found["asked"].splitlines()]
    mark = f'<div class="playable" data-requests="{html.escape(json.dumps(requests))}"></div>'
    return f"```python\n{found['source']}```\n\n{mark}\n\n{found['between']}```http\n{found['asked']}```"  # noqa: E501


# -- the sections of the tour ----------------------------------------------------------------------


class Start(NamedTuple):
    """An application that the playground offers as a start."""

    title: str
    source: str
    requests: list[str]


@cache
def tour() -> list[Start]:
    """Return an application for each section of the tour that runs in the browser."""
    starts = []
    for feature in the_tour.FEATURES:
        if parts := [part for part in feature.parts if part not in UNABLE_PARTS]:
            requests = [f"{one.method} {one.path} {one.body}".strip() for one in feature.tries]
            requests += [f"GET {feature.events}"] if feature.events else []
            requests += [f"WS {feature.socket} Pie?"] if feature.socket else []
            starts.append(Start(feature.title, _section(feature, parts), requests))
    return starts


def _section(feature: Feature, parts: list[Any]) -> str:
    """Return the source of the tour's module, reduced to these parts and the code that they use."""
    linked = [name for part in parts for name in re.findall(r'url_for\("(\w+)"', source_of(part))]
    asked = [one.path.split("?")[0].split("/")[1] for one in feature.tries]
    more = [vars(TOUR).get(name) for name in [*asked, *linked]]
    methods = [
        part
        for part in dict.fromkeys([*parts, *filter(callable, more)])
        if "Tour." in part.__qualname__
    ]
    methods = [method for method in methods if method not in UNABLE_PARTS]
    named = {part.__name__ for part in parts if part not in methods}
    text = Path(the_tour.__file__).read_text()
    texts = [(node, _text(node, text, methods, named)) for node in ast.parse(text).body]
    used = named | {"Tour", "app"}
    while True:  # until no more code is found that the code uses
        kept = [
            (node, text)
            for node, text in texts
            if text and (not _defines(node) or _defines(node) & used)
        ]
        more_used = used.union(*(_names(text) for _, text in kept))
        if more_used == used:
            break
        used = more_used
    imports = [line for node, _ in kept if (line := _imported(node, used))]
    rest = [text for node, text in kept if not isinstance(node, ast.Import | ast.ImportFrom)]
    source = "\n".join(imports) + "\n\n\n" + "\n\n\n".join(rest) + "\n"
    return re.sub(r"\n\n\n(app\.mount)", r"\n\1", source)


def _defines(node: ast.stmt) -> set[str]:
    """Return the name that a statement of the tour's module defines."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return {name}
        case ast.Assign(targets=[ast.Name(id=name)]):
            return {name}
    return set()


def _text(node: ast.stmt, text: str, methods: list[Any], named: set[str]) -> str:
    """Return the source of a statement of the tour's module, reduced to these methods and names."""
    match node:
        case ast.ClassDef(name="Tour"):
            begin = next(one for one in node.body if isinstance(one, ast.FunctionDef))
            lines = [line for line in begin.body[1:] if _names(ast.unparse(line)) & named]
            bodies = [textwrap.indent(source_of(method).strip(), "    ") for method in methods]
            if lines:
                more = "".join(f"        {ast.unparse(line)}\n" for line in lines)
                bodies.insert(
                    0, f"    def __init__(self):\n        super().__init__()\n{more}".rstrip()
                )
            return "class Tour(App):\n" + ("\n\n".join(bodies) or "    pass")
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return source_of(getattr(the_tour, name)).strip()
        case ast.Expr(value=ast.Call()) if not _names(ast.unparse(node)) & named:
            return ""
        case ast.Expr(value=ast.Constant()) | ast.If():
            return ""
    return "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])


@cache
def _names(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def _imported(node: ast.stmt, used: set[str]) -> str:
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return ""
    names = [alias.name for alias in node.names if (alias.asname or alias.name) in used]
    if not names or getattr(node, "module", "") in ("__future__", "examples.tour.page"):
        return ""
    line = ", ".join(names)
    return (
        f"from {node.module} import {line}"
        if isinstance(node, ast.ImportFrom)
        else f"import {line}"
    )


# -- what the browser loads ------------------------------------------------------------------------


def pack(target: Path) -> None:
    """Write micropie and the playground's packages, with their licences, into a zip file."""
    sources = [
        (path, path.relative_to(ROOT))
        for path in (ROOT / "micropie").rglob("*.py")
        # the playground doesn't use these packages
        if path.relative_to(ROOT).parts[1] not in ("cli", "testing")
    ]
    for package in PACKAGES[1:]:
        for file in files_of(package) or ():
            is_source = file.parts[0] in (package, f"{package}.py") and file.suffix in (
                ".py",
                ".typed",
            )
            if is_source or "licenses" in file.parts:
                sources.append((Path(str(file.locate())), Path(file)))
    with zipfile.ZipFile(target, "w") as archive:
        for path, name in sorted(sources, key=lambda pair: pair[1]):
            archive.writestr(
                zipfile.ZipInfo(name.as_posix(), (1980, 1, 1, 0, 0, 0)),
                path.read_bytes(),
                zipfile.ZIP_DEFLATED,
            )
