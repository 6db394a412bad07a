"""What every template sees without being given it, and ``template``, which renders without an ``App`` at hand.

The names are the same objects for every request and look at the current one when they are used: a page that does not
mention its session touches none, and macros, which see no context, see them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any, NoReturn

from micropie import csrf
from micropie.execution.context import current, current_request, request
from micropie.templates import DIRECTORY, Templates


def template(name_or_source: str, /, **context: Any) -> str:
    """A template rendered with ``context``; every value is escaped.

    Text with ``{{``, ``{%`` or a line end in it is the template itself; anything else is the name of one in the
    ``templates`` directory of the ``App`` that answers the current request, or without a request in ``templates``
    below the working directory. Either is compiled once. What a client sent must never be part of the source.

    Raises ``LookupError`` if there is no such template.
    """
    answered = current.get(None)
    templates = _alone(Path(DIRECTORY).absolute()) if answered is None else answered.config.templates
    if any(mark in name_or_source for mark in _OF_SOURCES):
        return templates.render_source(name_or_source, context)
    return templates.render(name_or_source, context)


_OF_SOURCES = ("{{", "{%", "\n")


@lru_cache(maxsize=4)
def _alone(directory: Path) -> Templates:
    return Templates(directory, names=names_of(_url_for_nobody))


def _url_for_nobody(*_: Any, **__: Any) -> NoReturn:
    raise LookupError("url_for belongs to an App, and no request is being answered: use app.render(...) here")


def stream(templates: Templates, name: str, context: dict[str, Any]) -> Iterator[str]:
    """A template in chunks. A CSRF token in it is made ahead: it can't be stored once the first chunk is sent."""
    chunks = templates.stream(name, context)
    answered = current.get(None)
    if answered is not None and templates.mentions(name, _CSRF_NAMES - context.keys()):
        csrf.csrf_token(answered)
    return chunks


_CSRF_NAMES = frozenset({"csrf_token", "csrf_input"})


def names_of(url_for: Callable[..., str]) -> dict[str, Any]:
    """What the templates of the application with this ``url_for`` see."""
    return {
        "request": request,
        "session": _CurrentSession(),
        "csrf_token": _CsrfToken(),
        "csrf_input": _CsrfInput(),
        "url_for": url_for,
    }


class _CurrentSession(Mapping[str, Any]):
    """Stands for the current request's session, which is asked for when this is used."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        return current_request().session[key]

    def __iter__(self) -> Iterator[str]:
        return iter(current_request().session)

    def __len__(self) -> int:
        return len(current_request().session)

    def __getattr__(self, name: str) -> Any:
        return getattr(current_request().session, name)

    def __repr__(self) -> str:
        return repr(current_request().session)


class _CsrfToken:
    """``{{ csrf_token }}`` and ``{{ csrf_token() }}`` are the token."""

    __slots__ = ()

    def __call__(self) -> str:
        return csrf.csrf_token(current_request())

    __str__ = __call__


class _CsrfInput:
    """``{{ csrf_input }}`` and ``{{ csrf_input() }}`` are a form's hidden field with the token."""

    __slots__ = ()

    def __call__(self) -> _CsrfInput:
        return self

    def __html__(self) -> str:
        token = escape(csrf.csrf_token(current_request()))
        return f'<input type="hidden" name="{csrf.FIELD}" value="{token}">'

    __str__ = __html__
