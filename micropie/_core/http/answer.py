"""``AnswerState``: the response to one request, while it is built and sent."""

from __future__ import annotations

import re
from types import AsyncGeneratorType, GeneratorType

from micropie._core.errors import HeadersLike, pairs_of
from micropie._core.http.protocols import ChunkedBody
from micropie._core.http.response import (
    BODIES,
    WITHOUT_CONTENT,
    Answer,
    FileReference,
    Response,
    as_response,
)
from micropie._core.http.session import Session, UnopenedSession
from micropie._core.on_demand import pattern, reserve

# Headers that describe a body. With the ETag of the page, a cache would take a later 304 for a
# confirmation of the error.
_OF_A_BODY = pattern(
    "content-(?!security-policy)|(etag|last-modified|accept-ranges)$", re.IGNORECASE
)
_OF_CACHES = frozenset({"cache-control", "expires"})
_MERE_BODIES = BODIES | {GeneratorType, AsyncGeneratorType, FileReference}


class AnswerState:
    """The state of a response. Only its own methods change it."""

    has_more = False
    """Whether anything besides the handler's result affects the response: hooks, the session, a
    value set on ``self.response``, a request header that was read and identifies the client, a
    function that reads the final status, or the request's method.
    """
    has_response = False
    """Whether hooks, values set on ``self.response`` or the request's method affect the response.
    """
    response: Response | None = None
    """The object that ``self.response`` returns; None until it is first needed."""
    stream: ChunkedBody | None = None
    """The stream that yields the body's chunks; None if the body is sent in one piece. The driver
    closes the stream if nothing else does.
    """

    depends_on: tuple[str, ...] = ()
    """The request headers that were read and identify the client: "cookie" and "authorization". If
    there are any, caches must not send the response to other clients.
    """

    shared_as: tuple[str, str] | None = None
    """The Cache-Control of a file that shared caches may store; None for any other response."""

    session: Session | None = None
    is_without_session = False
    """Whether neither the handler nor a hook needs the session, so it isn't loaded from the
    backend.
    """
    csrf_secret: str | None = None
    """The secret of the CSRF token that was made for a client without a session; None if no token
    was made.
    """
    csrf_salt: str | None = None
    """The salt of the CSRF token in this response; None if the response has no token."""

    # Functions passed to ``request.on_close`` read these attributes.
    status: int | None = None
    length: int | None = None
    is_broken_off = False
    is_accepted = False
    """Whether this is an accepted WebSocket."""
    is_over = False
    """Whether the response has ended. The functions passed to ``after_response`` run after that."""

    @property
    def has_content(self) -> bool:
        """Whether the response may have content. A response with the status 204 or 304 must not
        have any. For example, ``not_modified`` sets the status 304.
        """
        return self.response is None or self.response.status not in WITHOUT_CONTENT

    def set_result(self, result: object) -> Response:
        """Build the response from a handler's result and the values set on ``self.response``.
        Return the response.
        """
        response, self.has_more = self.response, True
        if type(result) in _MERE_BODIES:  # true for most results
            if response is None:
                self.response = response = Response(result)
            else:
                response.body = result
        elif response is None and type(result) is Response and type(result.body) in _MERE_BODIES:
            # Make a copy, because a handler may return the same object for several requests.
            pairs, content_type = result.pairs, result.content_type
            self.response = response = Response(result.body, result.status, pairs, content_type)
        else:
            self.response = response = as_response(result, response)
        return response

    def set_error(self, status: int, headers: HeadersLike) -> None:
        """Set the status and the headers of an error for which an error handler makes the body. So
        the Content-Type of the error's message doesn't apply, but others do: a 416 needs
        Content-Range.
        """
        kept = headers and [one for one in pairs_of(headers) if one[0].lower() != "content-type"]
        self.set_result(Response(None, status, kept))

    def begin_response(self) -> Response:
        """Create and return an empty response, on which status, headers and cookies can be set."""
        self.response = response = Response()
        self.has_more = self.has_response = True
        return response

    def replace(self, response: Response | None) -> Response | None:
        """Replace the response with another one, or with None, and return the old one."""
        self.has_more = True
        replaced, self.response = self.response, response
        return replaced

    def take_back(self, result: object) -> None:
        """Remove the headers of a result that can't be sent, because its file is missing, for
        example. Headers that were set before remain for the error response, unless they tell caches
        how long to keep the result.
        """
        response = self.response
        assert response is not None  # noqa: S101
        of_result = result.pairs if isinstance(result, Response) and result is not response else ()
        kept = response.pairs[: len(response.pairs) - len(of_result)]
        response.pairs[:] = [pair for pair in kept if pair[0].lower() not in _OF_CACHES]
        response.content_type = None

    def keep_headers(self, is_expected: bool) -> None:
        """Drop the response because of an exception. ``is_expected``: whether the exception becomes
        a response. If so, keep the headers set so far that don't describe the body.
        """
        pairs = self.response.pairs if self.response is not None and is_expected else ()
        kept = [pair for pair in pairs if not _OF_A_BODY.match(pair[0])]
        self.response = Response(headers=kept) if kept else None

    def depend_on(self, header: str) -> None:
        """Record that a header that identifies the client was read: "cookie" or "authorization"."""
        if header not in self.depends_on:
            self.has_more = True
            self.depends_on += (header,)

    def share(self, cache_control: tuple[str, str]) -> None:
        """Record that the response is a file that shared caches may store. If a hook then reads a
        header that identifies the client, ``cache_control`` must be replaced.
        """
        self.shared_as = cache_control

    def begin(self, stream: ChunkedBody | None) -> None:
        """Record that the body is sent as ``stream``, or in one piece if ``stream`` is None."""
        self.stream = stream

    def continue_stream(self, stream: ChunkedBody) -> None:
        """Record that the body is sent as ``stream``, and drop the response object. Until the
        stream's generator has produced its first chunk, it may set headers and cookies on a new
        response object.
        """
        self.stream, self.response = stream, None

    def note_method(self) -> None:
        """Record that the response differs from that to a GET, because the method is HEAD or
        OPTIONS.
        """
        self.has_more = self.has_response = True

    def note_reader(self) -> None:
        """Record that a function reads the final status and length."""
        self.has_more = True

    def end(self, answer: Answer) -> None:
        """Record the final status and length of the response."""
        self.status = None if self.is_broken_off else answer[0]
        self.length = answer[2]

    def accept(self) -> None:
        """Record that the handshake of a WebSocket was accepted (RFC 6455, section 4.2.2)."""
        self.is_accepted, self.status = True, 101

    def break_off(self) -> None:
        """Record that the client does not get the response, or not all of it."""
        self.is_broken_off = True

    def close(self) -> None:
        """End the response: from now on the session can't be changed."""
        self.is_over = True
        if self.session is not None:
            self.session.seal()

    # -- the session -------------------------------------------------------------------------------

    def keep_session(self, session: Session | None) -> None:
        """Make ``session`` the session of this request."""
        self.session, self.has_more = session, True

    def take_session(self) -> Session | None:
        """Return the session and remove it from this object, so that it is saved only once. The
        response to an error must not save the session again.
        """
        session, self.session = self.session, None
        return session

    def need_no_session(self) -> None:
        """Record that nothing needs the session, so it isn't loaded from its backend."""
        self.is_without_session = True

    def leave_session_unopened(self) -> None:
        """Use an empty session until the session is loaded from its backend."""
        self.session, self.has_more = UnopenedSession(), True

    def make_csrf_token(self, secret: str | None, salt: str | None) -> None:
        """Store the parts of the response's CSRF token: ``secret``, which the visitor gets as a
        cookie, and ``salt``, which differs in each response. An argument that is None changes
        nothing.
        """
        self.csrf_secret = secret or self.csrf_secret
        self.csrf_salt = salt or self.csrf_salt


reserve(AnswerState, "has_more has_response response stream depends_on session")
