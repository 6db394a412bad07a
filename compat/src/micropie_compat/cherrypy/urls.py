"""``cherrypy.url``: build URLs for pages of this site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from micropie_compat.addresses import join, resolved
from micropie_compat.cherrypy.serving import serving
from micropie_compat.core import current
from micropie_compat.results import Values

bases: list[Callable[[], str]] = []
"""Contains the function that returns the scheme and host for URLs built outside of requests.
``cherrypy.server`` adds it.
"""


class Place(NamedTuple):
    """The parts of a page's URL. Unlike ``cherrypy.request``, these parts are also available in
    native handlers.
    """

    base: str
    script_name: str
    path_info: str
    query_string: str


def place() -> Place | None:
    """Return the parts of the current request's URL, or None outside of requests."""
    request = serving.request
    if request.app is not None:
        return Place(request.base, request.script_name, request.path_info, request.query_string)
    native = current.get(None)
    if native is None:
        return None
    return Place(
        f"{native.scheme}://{native.host}",
        native.root_path,
        native.path,
        native._exchange.query_string,
    )


def url(
    path: str = "",
    qs: str | Values | Sequence[tuple[str, object]] = "",
    script_name: str | None = None,
    base: str | None = None,
    relative: bool | str | None = None,
) -> str:
    """Return an absolute URL for ``path``. A path with a leading slash begins at the application's
    root; any other is relative to the current page.

    ``qs``: the query, as a string, a dict or pairs.
    ``script_name``: replaces the path of the application.
    ``base``: replaces scheme and host.
    ``relative``: True for a URL relative to the current page, "server" for a URL without scheme and
        host.
    """
    request = serving.request
    if not isinstance(qs, str):
        qs = urlencode(qs)
    query = f"?{qs}" if qs else ""
    here = place()
    if here is None:
        base = bases[-1]() if base is None else base
        path = join((script_name or "").rstrip("/") + "/", path.lstrip("/"))
    else:
        page = here.path_info
        if not path.startswith("/"):
            # Relative links are resolved against the page's directory. An index page is its own
            # directory, even without a trailing slash.
            if request.is_index is True and not page.endswith("/"):
                page += "/"
            elif request.is_index is False and page.endswith("/") and page != "/":
                page = page[:-1]
            path = join(page, path) if path else page
        path = (here.script_name if script_name is None else script_name) + path
        base = here.base if base is None else base
    address = f"{base}{_normal(path)}{query}"
    if relative is None:
        relative = getattr(request.app, "relative_urls", False)
    if relative == "server":
        return "/" + "/".join(address.split("/", 3)[3:])
    if not relative:
        return address
    old, new = url(relative=False).split("/")[:-1], address.split("/")
    while old and new and old[0] == new[0]:
        old.pop(0)
        new.pop(0)
    return "/".join([".."] * len(old) + new)


def _normal(path: str) -> str:
    """Return a path with ``.`` and ``..`` resolved. As in CherryPy, the result has no slash for one
    of these at the end.
    """
    found = resolved("/", path)
    return found.removesuffix("/") if path.endswith(("/.", "/..")) else found
