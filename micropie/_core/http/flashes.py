"""Messages for the next page: ``flash("Saved.")`` before a redirect, ``get_flashed_messages()`` in
the template.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from micropie._core.http.request import Request, current_request

_KEY = "_flashes"

# That no page has shown: a client that never asks for one must not fill the session with its texts.
_MOST = 100
_LONGEST = 500  # characters


def flash(message: object, category: str = "message") -> None:
    """Keep a message in the session until a page shows it. Its text is escaped where it is shown.

    Of a longer text the first 500 characters are kept: it may be a client's. ``category`` is for
    the style sheet: "message", "error", "success". Of more than 100 messages that no page has shown
    the oldest go. Raises ``LookupError`` outside of a request, and ``ValueError`` for a
    category instead of the text.
    """
    is_word = isinstance(message, str) and message in ("success", "error", "info", "warning")
    is_text = isinstance(category, str) and " " in category and category[:1].isupper()
    if (is_word and is_text) or isinstance(message, Request):
        raise ValueError("the text comes first: write flash(text, category)")
    session = current_request().session
    session[_KEY] = [*session.get(_KEY, ()), [category, str(message)[:_LONGEST]]][-_MOST:]


def get_flashed_messages(
    with_categories: bool = False, category_filter: Iterable[str] = ()
) -> list[Any]:
    """Return the messages that no page has shown, and remove them.

    All calls of one request return the same ones.

    The list has texts, or ``(category, text)`` pairs ``with_categories``. ``category_filter``:
    these categories only.
    """
    request = current_request()
    if _KEY not in request.state:
        session = request.session
        request.state[_KEY] = session.pop(_KEY) if _KEY in session else []
    wanted = set(category_filter)
    shown = [
        (category, text)
        for category, text in request.state[_KEY]
        if not wanted or category in wanted
    ]
    return shown if with_categories else [text for _, text in shown]
