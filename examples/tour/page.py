"""The contents of the tour's page: for each feature its source, its text, the requests to try, and
where its handler has run.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import keyword
import os
import platform
import re
import sys
import textwrap
import threading
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from html import escape
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from markupsafe import Markup

from micropie import Request, where

ROOT = Path(__file__).parent.parent.parent
SERVERS = ("gunicorn", "uvicorn", "hypercorn", "granian", "daphne", "waitress")

Function = TypeVar("Function", bound=Callable[..., Any])


# -- where a handler ran, and for how long ---------------------------------------------------------


def shown(function: Function) -> Function:
    """Add a header to the decorated handler's responses: where it ran, and for how many
    milliseconds. The page shows it.
    """

    def note(app: Any, begun: float) -> str:
        ran = {"where": where(), "thread": threading.current_thread().name, "process": os.getpid()}
        text = json.dumps({**ran, "ms": round((perf_counter() - begun) * 1000, 3)})
        if where() != "process":  # a process has no ``self.response``, so there the result has it
            app.response.headers["X-Ran"] = text
        return text

    @wraps(function)
    async def call_async(app: Any, *args: Any, **kwargs: Any) -> Any:
        begun = perf_counter()
        try:
            return await function(app, *args, **kwargs)
        finally:
            note(app, begun)

    @wraps(function)
    def call(app: Any, *args: Any, **kwargs: Any) -> Any:
        begun, text = perf_counter(), ""
        try:
            result = function(app, *args, **kwargs)
        finally:
            text = note(app, begun)
        return result if where() != "process" else (200, result, {"X-Ran": text})

    wrapped: Any = call_async if inspect.iscoroutinefunction(function) else call
    result: Function = wrapped
    return result


def facts(request: Request) -> dict[str, str]:
    """Return facts about the server and the process, for the page. Call this on an event loop."""
    server = next((name for name in SERVERS if name in sys.modules), None)
    try:
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    except RuntimeError:
        loop = "trio"
    return {
        "server": f"{server} {version(server)}"
        if server
        else (request.environ or {}).get("SERVER_SOFTWARE", "unknown"),
        "protocol": "ASGI" if request.environ is None else "WSGI",
        "loop": loop,
        "Python": platform.python_version(),
        "process": str(os.getpid()),
    }


# -- features --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Try:
    """A request that the page offers."""

    path: str
    method: str = "GET"
    body: str = ""


@dataclass(frozen=True)
class Form:
    """A form that the page shows, with the initial values of its fields."""

    path: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Feature:
    """A part of the page.

    Its title and its text come from the first docstring in ``parts`` that has both.
    """

    parts: Sequence[Any]
    tries: Sequence[Try] = ()
    form: Form | None = None
    events: str = ""
    socket: str = ""
    upload: str = ""
    _doc: tuple[str, str] = field(init=False)

    def __post_init__(self) -> None:
        docs = (inspect.cleandoc(part.__doc__ or "").partition("\n\n") for part in self.parts)
        title, _, text = next(doc for doc in docs if doc[2])
        object.__setattr__(self, "_doc", (title, text))

    @property
    def title(self) -> str:
        return self._doc[0]

    @property
    def anchor(self) -> str:
        return re.sub(r"\W+", "-", self.title.lower())

    @cached_property
    def text(self) -> Markup:
        """The text as HTML: `code` and [links](/docs) become elements."""
        text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(self._doc[1]))
        return Markup(re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r'<a href="\2">\1</a>', text))  # noqa: S704 - escaped above

    @cached_property
    def source(self) -> Markup:
        return Markup("\n").join(highlighted(source_of(part)) for part in self.parts)

    @cached_property
    def place(self) -> str:
        """The file and the line of the first part."""
        first = inspect.unwrap(self.parts[0])
        line = inspect.getsourcelines(first)[1]
        return f"{Path(inspect.getfile(first)).relative_to(ROOT)}:{line}"


def source_of(part: Any) -> str:
    """Return the source of a function or class, without the docstring and ``@shown``, which only
    the page needs.
    """
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(part)))
    lines = source.splitlines(keepends=True)
    definition: Any = ast.parse(source).body[0]
    if ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        end = docstring.end_lineno + (
            lines[docstring.end_lineno : docstring.end_lineno + 1] == ["\n"]
        )
        lines[docstring.lineno - 1 : end] = []
    return "".join(line for line in lines if line.strip() != "@shown")


def highlighted(source: str) -> Markup:
    """Return Python source as HTML. Its tokens are elements of the classes k, s, c, n, d and f."""
    starts = [0]  # the offset of each line
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    pieces, done = [], 0
    for kind, start, end in _tokens(source, starts):
        pieces.append(escape(source[done:start]))
        pieces.append(f'<span class="{kind}">{escape(source[start:end])}</span>')
        done = end
    return Markup("".join([*pieces, escape(source[done:])]))  # noqa: S704 - every piece is escaped


def _tokens(source: str, starts: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        kind = ""
        if name == "STRING" or name.startswith("FSTRING"):
            kind = "s"
        elif name == "COMMENT":
            kind = "c"
        elif name == "NUMBER":
            kind = "n"
        elif name == "NAME" and before == "@":
            kind = "d"
        elif name == "NAME" and before in ("def", "class"):
            kind = "f"
        elif name == "NAME" and keyword.iskeyword(token.string):
            kind = "k"
        if kind:
            yield (
                kind,
                starts[token.start[0] - 1] + token.start[1],
                starts[token.end[0] - 1] + token.end[1],
            )
        before = token.string
