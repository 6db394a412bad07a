"""The names that are available in every template, and ``template``, which renders without access to
an ``App``.

The objects behind these names are the same for all requests. They look up the current request when
they are used. So a page that doesn't use the session doesn't open it. The names are also available
in macros, to which Jinja2 doesn't pass the context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from micropie._core.errors import SetupError
from micropie._core.execution import current
from micropie._core.http import (
    CSRF_FIELD,
    Request,
    bound_request,
    csrf,
    current_request,
    get_flashed_messages,
)
from micropie._core.http.escaping import html
from micropie._core.http.settings import DIRECTORY
from micropie._core.templates.rendering import Templates

NO_VALUES: Mapping[str, object] = {}


def template(
    name: str = "",
    values: Mapping[str, object] = NO_VALUES,
    /,
    *,
    source: str | None = None,
    block: str | None = None,
    **context: object,
) -> str:
    """Render a template with ``values`` and ``context``, and return the result:
    ``template("page.html", title=title)``. All values are escaped.

    - ``name``: the name of a file in the ``templates`` directories of the ``App`` that handles the
      current request; outside a request, in ``templates`` in the working directory.
    - ``source``: a template as a string, instead of a file: ``template(source=PAGE, title=title)``.
    - ``block``: render only the block of this name; see ``App.render``.

    Files and sources are compiled once. Neither the name nor the source may contain anything that a
    client sent: a source is code, and a client that chooses the name could read any template. Pass
    a client's strings in ``context``.

    Raises ``LookupError`` if the template or the block doesn't exist, and ``SetupError`` if a
    source is passed as the name.
    """
    is_source = isinstance(name, str) and any(mark in name for mark in ("{{", "{%", "\n"))
    if is_source or (name and source is not None):
        raise SetupError(
            "template takes the name of a file: for the text of a template, write "
            "template(source=...)"
        )
    active_request = current.get(None)
    if active_request is None:
        templates = _without_app(Path(DIRECTORY).absolute())
    else:
        templates = active_request._exchange.config.templates
    return templates.render(name, {**values, **context}, block, source)


@lru_cache(maxsize=4)
def _without_app(directory: Path) -> Templates:
    def link(*_: object, **__: object) -> str:
        raise LookupError(
            "links need an App, and template() has none outside a request: render the template "
            "with app.render(...)"
        )

    return Templates(
        [directory],
        names=names_of(dict.fromkeys(("url_for", "absolute_url_for", "static_url"), link)),
    )


def stream(
    templates: Templates, name: str, context: dict[str, object], block: str | None = None
) -> Iterator[str]:
    """Return an iterator that renders a template in chunks.

    The session can't be changed after the first chunk. So if the template uses the CSRF token or
    the flashed messages, the token is created, and the messages are removed from the session,
    before the first chunk.
    """
    chunks = templates.stream(name, context, block)
    active_request = current.get(None)
    if active_request is not None:
        names = templates.names_in(name) - context.keys()
        if not names.isdisjoint({"csrf_token", "csrf_input"}):
            csrf.csrf_token(active_request)
        if "get_flashed_messages" in names:
            get_flashed_messages()
    return chunks


def names_of(links: Mapping[str, Callable[..., str]]) -> dict[str, object]:
    """Return the values that are available in every template of an application: name -> value.
    ``links``: ``url_for`` and similar functions, by name.
    """
    return {
        "request": bound_request,
        "session": _CurrentSession(),
        "csrf_token": _ForRequest(csrf.csrf_token),
        # the HTML of a form's hidden field with the CSRF token
        "csrf_input": _ForRequest(
            lambda request: html(
                '<input type="hidden" name="{}" value="{}">', CSRF_FIELD, csrf.csrf_token(request)
            )
        ),
        **links,
        "get_flashed_messages": get_flashed_messages,
    }


class _CurrentSession(Mapping[str, object]):
    """A proxy for the current request's session, which is opened when the proxy is used."""

    __slots__ = ()

    def __getitem__(self, key: str) -> object:
        return current_request().session[key]

    def __iter__(self) -> Iterator[str]:
        return iter(current_request().session)

    def __len__(self) -> int:
        return len(current_request().session)

    def __getattr__(self, name: str) -> object:
        session = current_request().session
        # A key takes precedence, because keys such as "id" are also names of attributes.
        return session[name] if name in session else getattr(session, name)

    def __repr__(self) -> str:
        return repr(current_request().session)


class _ForRequest:
    """HTML that is created for the current request when a template uses it, as ``{{ csrf_token }}``
    or as ``{{ csrf_token() }}``.
    """

    def __init__(self, make: Callable[[Request], str]) -> None:
        self._make = make

    def __call__(self) -> str:
        return self._make(current_request())

    __str__ = __html__ = __call__
