"""Messages for the next page: ``flash("Saved.")`` before a redirect, ``get_flashed_messages()`` in
the template.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from micropie._core.http.request import Request, current_request

_KEY = "_flashes"

# The maximum number of messages that wait to be shown. Without a limit, a client that never
# requests a page would fill the session.
_MOST = 100
_LONGEST = 500  # characters


def flash(message: object, category: str = "message") -> None:
    """Store a message in the session until a page shows it. Escape its text where you show it.

    Only the first 500 characters are stored, because the text may come from a client. A template
    can use ``category``, such as "error" or "success", to choose a style; the default is "message".
    If more than 100 messages have not been shown, the oldest are dropped. Raises ``LookupError``
    outside a request, and ``ValueError`` if the text and the category are swapped.
    """
    is_word = isinstance(message, str) and message in ("success", "error", "info", "warning")
    is_text = isinstance(category, str) and " " in category and category[:1].isupper()
    if (is_word and is_text) or isinstance(message, Request):
        raise ValueError("flash takes the text first: write flash(text, category)")
    added = [category, str(message)[:_LONGEST]]
    # Two requests at the same time may each add a message.
    current_request().session.update_atomic(_KEY, lambda stored: [*(stored or ()), added][-_MOST:])


def get_flashed_messages(
    with_categories: bool = False, category_filter: Iterable[str] = ()
) -> list[Any]:
    """Return the messages that no page has shown yet, and remove them from the session.

    All calls during one request return the same messages.

    The list contains strings or, if ``with_categories`` is true, (category, text) pairs.
    ``category_filter``: the categories to return, or a single one; all by default.
    """
    request = current_request()
    if _KEY not in request.state:
        session = request.session
        request.state[_KEY] = session.pop(_KEY) if _KEY in session else []
    is_single = isinstance(category_filter, str) and category_filter
    wanted = {category_filter} if is_single else set(category_filter)
    shown = [
        (category, text)
        for category, text in request.state[_KEY]
        if not wanted or category in wanted
    ]
    return shown if with_categories else [text for _, text in shown]
