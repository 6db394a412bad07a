"""``AnswerState``: the answer to one request, from the first thing that is set for it until it is
over.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import AsyncGeneratorType, GeneratorType

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

_MERE_BODIES = BODIES | {GeneratorType, AsyncGeneratorType, FileReference}


class AnswerState:
    """What the framework keeps of an answer. Its methods alone change it."""

    has_more = False
    """Whether more than a result has a say in the answer: hooks, the session, what was set on
    ``self.response``, or a header that names the client."""
    response: Response | None = None
    """The one response, which is ``self.response``; None as long as nothing is set."""
    stream: ChunkedBody | None = None
    """The body in chunks, for the driver to close if nothing else does."""

    depends_on: Sequence[str] = ()
    """The headers that name the client and were read: no cache may give the answer to another."""

    session: Session | None = None
    is_without_session = False
    """Whether neither the handler nor a hook needs the session, so that no backend was asked for
    it."""
    csrf_secret: str | None = None
    """That was made for a client without a session."""
    csrf_salt: str | None = None
    """Of the token that the answer shows; None if it shows none."""

    # For functions of ``on_close``.
    status: int | None = None
    length: int | None = None
    is_broken_off = False
    is_accepted = False
    """Whether the answer is an accepted WebSocket."""
    is_over = False
    """Whether the answer is over and functions of ``after_response`` run."""

    @property
    def has_content(self) -> bool:
        """Whether no status is set that has none, as by ``not_modified``."""
        return self.response is None or self.response.status not in WITHOUT_CONTENT

    def set_result(self, result: object) -> Response:
        """Make the response that of a handler's result, with what was set before, and return it."""
        response, self.has_more = self.response, True
        if type(result) in _MERE_BODIES:  # as most results are
            if response is None:
                self.response = response = Response()
            response.body = result
        elif response is None and type(result) is Response and type(result.body) in _MERE_BODIES:
            # a copy, as the author may return it again
            pairs, content_type = result.pairs, result.content_type
            self.response = response = Response(result.body, result.status, pairs, content_type)
        else:
            self.response = response = as_response(result, response)
        return response

    def begin_response(self) -> Response:
        """Make an empty response, for status, headers and cookies, and return it."""
        self.response = response = Response()
        self.has_more = True
        return response

    def replace(self, response: Response | None) -> Response | None:
        """Put another response, or none, instead of the one that is returned."""
        self.has_more = True
        replaced, self.response = self.response, response
        return replaced

    def keep_headers(self, is_expected: bool) -> None:
        """Keep for the answer to an expected exception the headers, but those that describe another
        body.
        """
        pairs = self.response.pairs if self.response is not None and is_expected else ()
        kept = [pair for pair in pairs if not pair[0].lower().startswith("content-")]
        self.response = Response(headers=kept) if kept else None

    def depend_on(self, header: str) -> None:
        """Note that a header was read that names the client: "cookie" or "authorization"."""
        if header not in self.depends_on:
            self.has_more = True
            self.depends_on = (*self.depends_on, header)

    def begin(self, stream: ChunkedBody | None) -> None:
        """Send the body in these chunks, or in one piece."""
        self.stream = stream

    def continue_stream(self, stream: ChunkedBody) -> None:
        """Send the body in these chunks. What is set from now on is set by their generator."""
        self.stream, self.response = stream, None

    def end(self, answer: Answer) -> None:
        """Note status and length, which are known now."""
        self.status = None if self.is_broken_off else answer[0]
        self.length = answer[2]

    def accept(self) -> None:
        """Note that the handshake of a WebSocket is accepted (RFC 6455, section 4.2.2)."""
        self.is_accepted, self.status = True, 101

    def break_off(self) -> None:
        """Note that the client does not get the answer, or not all of it."""
        self.is_broken_off = True

    def close(self) -> None:
        """End the answer: from now on the session can't be changed."""
        self.is_over = True
        if self.session is not None:
            self.session.seal()

    # -- the session -------------------------------------------------------------------------------

    def keep_session(self, session: Session | None) -> None:
        """Make this the session of the request."""
        self.session, self.has_more = session, True

    def take_session(self) -> Session | None:
        """Return the session, and keep none: it is saved once, and an error's answer must not try
        that again.
        """
        session, self.session = self.session, None
        return session

    def need_no_session(self) -> None:
        """Leave the session in its backend."""
        self.is_without_session = True

    def leave_session_unopened(self) -> None:
        """Show an empty session until the backend is asked."""
        self.session, self.has_more = UnopenedSession(), True

    def make_csrf_token(self, secret: str | None, salt: str | None) -> None:
        """Keep the secret that a visitor gets by a cookie, or the salt of the token that the answer
        shows.
        """
        self.csrf_secret = secret or self.csrf_secret
        self.csrf_salt = salt or self.csrf_salt
