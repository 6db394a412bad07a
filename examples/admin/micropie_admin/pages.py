"""The admin page: an application to mount in another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

import anyio

from micropie import (
    App,
    EventStream,
    HTTPError,
    Redirect,
    Response,
    SetupError,
    event,
    get,
    post,
    requires,
    run_in,
)
from micropie.middleware import CSRFMiddleware, SecurityHeaders

from .listing import load_of, shown_routes
from .subscribers import Subscribers

# A function that takes the request, and resources.
Check: TypeAlias = Callable[..., Any]

_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Admin(App):
    """A page that shows a site's routes, load and subscribers: ``app.mount("/admin",
    Admin(check))``.

    - ``log_in_check``: an access check as for ``@requires``. It returns True for users who may see
      the page, and a response such as a ``Redirect`` to the log-in for others.
    - ``every``: the number of seconds between updates of the load.

    Raises ``SetupError`` if there is no check, and for invalid values.
    """

    def __init__(self, log_in_check: Check | None = None, *, every: float = 2) -> None:
        if log_in_check is None:
            raise SetupError(
                "the admin page is for those who are logged in: write Admin(check), where "
                "check(request) returns True for an administrator, and a Redirect for others"
            )
        if type(every) not in (int, float) or not 0 < every < inf:
            raise SetupError(f"Admin(every=...) takes seconds above 0, not {every!r}")
        super().__init__(templates=Path(__file__).parent)
        self._every = every
        self._subscribers = Subscribers()
        self.middlewares += [SecurityHeaders(csp=_POLICY), CSRFMiddleware()]
        requires(log_in_check)(self)

    @get
    @run_in("loop")  # the number of busy threads is known only on the event loop
    def index(self) -> Response:
        """Show the page."""
        page = self.render(
            "admin.html",
            # An open stream would occupy one of the few threads of a WSGI server.
            is_live=self.request.environ is None,
            process=self._subscribers.process,
            load=load_of(self),
            channels=self._subscribers.channels(self),
            routes=shown_routes(self),
        )
        # A label may contain half of a surrogate pair, which can't be encoded in a page.
        body = page.encode("utf-8", "replace")
        return Response(
            body, headers={"Cache-Control": "no-store"}, content_type="text/html; charset=utf-8"
        )

    @get
    async def live(self) -> EventStream:
        """Send the load as events. Each is a list of strings, in the order of the page's table."""
        if self.request.environ is not None:
            raise HTTPError(404, "This server has no live figures. Reload the page instead.")
        return EventStream(self._loads())

    async def _loads(self) -> AsyncIterator[object]:
        while True:
            yield event([self._subscribers.process, *load_of(self).values()])
            await anyio.sleep(self._every)

    @post
    @run_in("loop")
    def close(self, subscriber: str) -> Redirect:
        """Close a subscriber."""
        self._subscribers.close(subscriber)
        return Redirect(self.url_for("index"), 303)

    @post
    @run_in("loop")
    def close_all(self, channel: str) -> Redirect:
        """Close all subscribers of a channel."""
        self._subscribers.close_all(self, channel)
        return Redirect(self.url_for("index"), 303)
