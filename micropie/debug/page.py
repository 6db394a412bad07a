"""The pages that ``debug=True`` shows to a developer: for an exception, the traceback with source
and variables; for a 404, the routes with similar paths.

``access.py`` decides who sees the pages. A browser gets HTML, a client that accepts or sent JSON
gets a problem document (RFC 9457), and all others get plain text. The HTML has no scripts and loads
nothing. The Content-Security-Policy forbids scripts and loading, so text that is left unescaped by
accident does no harm. ``_hide_secrets`` is applied to each value that is shown.
"""

from __future__ import annotations

import inspect
import linecache
import logging
import os
import platform
import re
import reprlib
import sys
import traceback
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from hashlib import sha256
from html import escape
from itertools import groupby
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from micropie import App, HTTPError, Request, Response
from micropie.extensions import Inspector, RouteEntry

logger = logging.getLogger("micropie")

# How many lines of source are shown before and after the failing line.
_LINES_AROUND = 5
# How many of an exception's innermost frames are shown. An endless recursion has 1000 frames.
_MOST_FRAMES = 40
_MOST_VARIABLES = 50  # how many variables of a frame are shown
_LONGEST_VALUE = 1000  # how many characters of a value are shown
_LONGEST_REPR = 10_000  # how many characters of a value are searched for secrets
_MASK = "********"

_WORDS = "pass(?:word|wd|phrase)|pwd|secret|token|credential|authori[sz]ation|cookie|session|api[_-]?key|private|signature"  # noqa: E501
_SECRET_NAME = re.compile(rf"{_WORDS}|(?:^|[_-])(?:auth|key|dsn)s?(?:$|[_-])", re.IGNORECASE)
# Matches the value after a secret's name in a repr, as in "password='x'", "{'token': 'x'}" and
# "(b'cookie', b'x')". If a quote or a bracket is not closed, the expression matches everything
# after the quote or the bracket.
_SECRET_VALUE = re.compile(
    rf"""((?:{_WORDS}|\b(?:auth|key|dsn)s?\b)\w{{0,40}}(?:['"]?\s*[=:]|['"]\s*,)\s*)"""
    r"""(?:b?'(?:\\.|[^'\\])*+'?|b?"(?:\\.|[^"\\])*+"?|\[[^\]]*+\]?|\([^)]*+\)?|\{[^}]*+\}?|[^\s,)}\]]++)""",
    re.IGNORECASE | re.DOTALL,
)
_CREDENTIALS = re.compile(r"\b(Basic|Bearer|Digest)\s++[^\s'\"]++", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^/@\s:]{0,200}:)[^/@\s]{1,200}@")

_PACKAGE = f"{Path(__file__).parent.parent}{os.sep}"
_STANDARD_LIBRARY = str(Path(os.__file__).parent)
_INSTALLED = re.compile(r".*[/\\](?:site|dist)-packages[/\\](\w+)")  # captures the package's name

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--bad:light-dark(#b00020,#ff8a80)}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem}
h1{color:var(--bad);font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}
pre,code,td,th{font:13px/1.5 ui-monospace,monospace}pre{background:var(--soft);overflow-x:auto;padding:.5rem}
mark{background:light-dark(#ffd54f,#7a5c00);color:inherit}details{border-top:1px solid var(--line);padding:.3rem 0}
summary{cursor:pointer;overflow-wrap:anywhere}details details{margin-left:1rem}
table{border-collapse:collapse;width:100%}
th,td{border-top:1px solid var(--line);overflow-wrap:anywhere;padding:.2rem .5rem;text-align:left;vertical-align:top}
th{min-width:14ch}
th{width:min(12rem,33%)}#text{-webkit-user-select:all;user-select:all}
"""  # noqa: E501
_POLICY = (
    "default-src 'none'; style-src "
    f"'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}


def error_page(request: Request, failure: Exception, plain: Response) -> Response:
    """Return the 500 for an unhandled exception: the response ``plain`` with the traceback
    added.
    """
    lines = _encodable(_hide_secrets(Inspector.traceback_of(failure)))
    title = _encodable(f"{type(failure).__name__}: {_text_of(failure)}")
    parts = [
        _heading(title, f"{request.method} {request.path}"),
        '<p><a href="#text">Copy the traceback</a></p>',
    ]
    # Never collapse the frames of the application's package and of the handler's package, even if
    # these are installed like libraries.
    owners = type(request.app), getattr(request.route, "function", None)
    own = {str(getattr(owner, "__module__", "")).partition(".")[0] for owner in owners}
    for relation, exception in _chain(failure):
        parts.append(f"<h2>{escape(relation)}: {escape(type(exception).__name__)}</h2>")
        if exception is not failure:  # the heading shows the failure's own text already
            parts.append(f"<p>{escape(_text_of(exception))}</p>")
        parts.append(_frames(exception, own))
    del exception
    parts += [
        _about_request(request),
        "<h2>As text: a click selects all of it</h2>",
        f'<pre id="text" tabindex="0">{escape(lines)}</pre>',
    ]
    members = {"detail": title, "traceback": lines.splitlines()}
    return _filled(plain, title, parts, lines, members)


def not_found_page(
    request: Request, failure: HTTPError, plain: Response, entries: Sequence[RouteEntry]
) -> Response:
    """Return the 404 for a path without a route: the response ``plain``, to which a list of all
    routes is added. The routes with similar paths come first.
    """
    entries = [entry for entry in entries if not entry.hidden]
    table = {f"{entry.route.pattern} ({entry.route.name})": entry for entry in entries}
    by_path = {entry.route.pattern: entry for entry in entries}
    near = [
        by_path[path] for path in get_close_matches(request.path[:200], by_path, n=3, cutoff=0.5)
    ]
    names, routes = (
        [
            f"{','.join(sorted(entry.methods)):<8} {entry.route.pattern}  {entry.route.name}"
            for entry in entries
        ]
        for entries in (near, table.values())
    )
    title = str(failure.message)
    lines = [title, "", *(["Did you mean:", *names, ""] if near else ()), "Routes:", *routes, ""]
    parts = [_heading(title, f"No route matches {request.method} {request.path}.")]
    if near:
        parts.append(f"<h2>Did you mean</h2>{_routes(near)}")
    parts += [f"<h2>Routes</h2>{_routes(table.values())}", _about_request(request)]
    return _filled(plain, title, parts, "\n".join(lines), {"near": names, "routes": routes})


def warn_of_attribute(request: Request) -> None:
    """If a path without a route is the name of one of the application's attributes, or of a
    function in the application's module, log why the attribute or function has no route.
    """
    inspector = Inspector(request.app, inside=True)
    own = inspector.applications()[0]
    below = request.path.removeprefix(own.path.removeprefix(own.host))
    name = below.strip("/").partition("/")[0]
    value = inspect.getattr_static(own.app, name, None)
    with suppress(Exception):  # a module may be changing while it is being imported
        _warn_of_functions(own.app)
    patterns = [one.route.pattern for one in inspector.routes() if not one.hidden]
    for near in get_close_matches(request.path[:200], patterns, n=1, cutoff=0.75):
        logger.info("no route matches %r: did you mean %s?", request.path[:200], near)
    is_page = name.removesuffix("_") in [one.name for one in own.handlers]
    is_other = name.startswith("_") or hasattr(App, name) or isinstance(value, App)
    if value is None or is_other or is_page:
        return
    kind, advice = type(value).__name__, f"a method, def {name}(self)"
    if type(value).__module__ == type(own.app).__module__:
        advice = f"class {kind}(App)"
    if isinstance(value, type):
        kind, advice = "class", f"{name} = {value.__name__}(), an object"
    elif inspect.isfunction(value):
        advice = "@get above it, and remove any @hidden"
    sentence = f"{type(own.app).__name__}.{name} ({kind}) is not a page: write {advice}"
    logger.warning("%s", sentence)


def _warn_of_functions(app: Any) -> None:
    """Log the functions in an application's module that have a route decorator but belong to no
    application.
    """
    for name, module in [*sys.modules.items()]:
        if type(module) is ModuleType and any(one is app for one in [*vars(module).values()]):
            for function in Inspector.lost_functions(app, name):
                sentence = f"{function.__name__} belongs to no application: write @app.get above it"
                logger.warning("%s: %s", Inspector.place_of(function), sentence)


def _filled(
    plain: Response, title: str, parts: Iterable[str], text: str, members: Mapping[str, object]
) -> Response:
    """Return the response ``plain`` with more content, in the same format: an HTML page of
    ``parts``, a problem document with ``members``, or ``text``.
    """
    plain.headers.update(_HEADERS)
    if isinstance(plain.body, dict):
        plain.body |= members
    elif plain.content_type == "text/html; charset=utf-8":
        plain.body = _encodable(
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
            f"<style>{_STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>"
        )
    else:
        plain.body = text
    return plain


def _encodable(text: str) -> str:
    """Return ``text`` with its surrogates escaped, because UTF-8 can't encode them. File names may
    contain surrogates.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _heading(title: str, where: str) -> str:
    return f"<h1>{escape(title)}</h1><p><code>{escape(where)}</code></p>"


def _routes(entries: Iterable[RouteEntry]) -> str:
    return _table(
        (entry.route.pattern, f"{', '.join(sorted(entry.methods))}: {entry.route.name}")
        for entry in entries
    )


def _about_request(request: Request) -> str:
    """Return tables with facts about the request and its route.

    A malformed query, header or cookie is omitted.
    """
    route = request.route
    facts = {
        "method": request.method,
        "path": request.path,
        "scheme": request.scheme,
        "client": str(request.client),
    }
    if route is not None:
        facts |= {
            "route": f"{route.pattern} ({route.name})",
            "arguments in the path": _repr(request.path_params),
        }
    facts |= {"application": type(request.app).__name__, "Python": platform.python_version()}
    parts = [f"<h2>Request</h2>{_table(facts.items())}"]
    for title in ("query", "headers", "cookies"):
        with suppress(HTTPError):
            source = getattr(request, title)
            values = {one: source.getlist(one) for one in source} if title == "query" else source
            if values:
                parts.append(f"<h2>{title.title()}</h2>{_values(values.items())}")
    return "".join(parts)


def _values(values: Iterable[tuple[str, object]]) -> str:
    """Return a table of variables, headers or parameters. A value is masked if its name suggests
    that it is secret.
    """
    return _table(
        (name, _MASK if _SECRET_NAME.search(name) else _repr(value)) for name, value in values
    )


def _table(pairs: Iterable[tuple[str, str]]) -> str:
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in pairs)
    return f"<table>{''.join(rows)}</table>"


def _chain(failure: BaseException) -> Iterator[tuple[str, BaseException]]:
    """Yield an exception, its causes and contexts, and the members of exception groups, each
    once.
    """
    waiting = [("Exception", failure)]
    seen = set[int]()
    while waiting:
        relation, exception = waiting.pop()
        if id(exception) in seen:
            continue
        seen.add(id(exception))
        yield relation, exception
        if exception.__cause__ is not None:
            waiting.append(("Raised from", exception.__cause__))
        elif exception.__context__ is not None and not exception.__suppress_context__:
            waiting.append(("Raised while handling", exception.__context__))
        if isinstance(exception, BaseExceptionGroup):
            waiting += [("In the group", member) for member in exception.exceptions[:10]]


def _library_of(frame: FrameType, own: Collection[str]) -> str:
    """Return the name of the library whose code a frame runs, or "" for the application's own
    code.
    """
    file = frame.f_code.co_filename
    if file.startswith(_PACKAGE):
        return "micropie"
    if installed := _INSTALLED.match(file):
        return "" if installed[1] in own else installed[1]
    return "Python's library" if file.startswith((_STANDARD_LIBRARY, "<frozen ")) else ""


def _frames(exception: BaseException, own: Collection[str]) -> str:
    """Return the frames of a traceback, the innermost last.

    Frames of libraries are collapsed, except the last frame.
    """
    frames = [*traceback.walk_tb(exception.__traceback__)][-_MOST_FRAMES:]
    parts = []
    for is_open, group in groupby(
        frames, lambda found: found is frames[-1] or not _library_of(found[0], own)
    ):
        calls = [*group]
        shown = "".join(_frame(frame, line, is_open) for frame, line in calls)
        if not is_open and len(calls) > 1:
            names = " and ".join(dict.fromkeys(_library_of(frame, own) for frame, _ in calls))
            summary = f"{len(calls)} calls in {escape(names)}"
            shown = f"<details><summary>{summary}</summary>{shown}</details>"
        parts.append(shown)
    return "".join(parts)


def _frame(frame: FrameType, line: int, is_open: bool) -> str:
    """Return the HTML of one frame: its file and line, lines of source, and variables."""
    code = frame.f_code
    lines = linecache.getlines(code.co_filename, frame.f_globals)
    first = max(line - _LINES_AROUND, 1)
    source = []
    for number, text in enumerate(lines[first - 1 : line + _LINES_AROUND], start=first):
        shown = f"{number:>5}  {escape(text.rstrip())}"
        source.append(f"<mark>{shown}</mark>" if number == line else shown)
    variables = [*frame.f_locals.items()][:_MOST_VARIABLES]
    # Show the path relative to the directory where the server was started, as an editor does.
    file = code.co_filename.removeprefix(f"{Path.cwd()}{os.sep}")
    place = f"{file}, line {line}, in {code.co_qualname}"
    return (
        f"<details{' open' if is_open else ''}><summary><code>{escape(place)}</code></summary>"
        f'<pre tabindex="0">{chr(10).join(source)}</pre>{_values(variables)}</details>'
    )


class _Repr(reprlib.Repr):
    """Creates short reprs, even of objects whose ``__repr__`` raises."""

    def repr_instance(self, x: object, level: int) -> str:
        return _text_of(x, repr)


_reprs = _Repr()
vars(_reprs).update(
    dict.fromkeys(["maxlist", "maxtuple", "maxset", "maxfrozenset", "maxdeque", "maxarray"], 30),
    maxdict=50,
    maxlevel=4,
    maxstring=_LONGEST_REPR,
    maxother=_LONGEST_REPR,
    maxlong=_LONGEST_REPR,
)


def _repr(value: object) -> str:
    """Return a value's repr without secrets, cut to a readable length."""
    text = _text_of(value, _reprs.repr)
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[:_LONGEST_VALUE]}... ({len(text)} characters)"


def _hide_secrets(text: str) -> str:
    """Mask the secrets in ``text``: credentials, passwords in URLs, and values that follow the name
    of a secret.
    """
    text = _CREDENTIALS.sub(rf"\1 {_MASK}", text)
    return _URL_PASSWORD.sub(rf"\1{_MASK}@", _SECRET_VALUE.sub(rf"\1{_MASK}", text))


def _text_of(value: object, convert: Callable[[object], str] = str) -> str:
    """Return a value's text without secrets."""
    try:
        text = convert(value)
    except Exception as error:  # a subclass of dict or list may raise when its items are read
        text = f"<{type(value).__name__}, whose {convert.__name__} raises {type(error).__name__}>"
    return _hide_secrets(text[:_LONGEST_REPR])
