"""The exceptions of micropie, and the checks of an author's arguments that raise one of them.

    Exception
    ├── HTTPError               answer with a status and one sentence; may be raised anywhere
    │   ├── BadRequest          400, with the reason
    │   └── MethodNotAllowed    405, with the allowed methods
    ├── Redirect                answer with another location; may be raised or returned
    ├── ClientDisconnect        the client has gone, so there is no answer
    ├── ConnectionClosed        a WebSocket is closed, by either side or by a limit
    ├── SetupError              the author's mistake in building the application; nothing is served
    └── ResponseError           the author's mistake in an answer (a bad header, a late change); the client gets 500

``HTTPError`` and ``Redirect`` may be raised in a handler, a hook or any function that they call.
The framework's own refusals (a malformed query, a missing parameter) are ``HTTPError`` as well, so
one ``@app.error(400)`` sees both.

Their sentence may be worded by a catalogue, in another language: one with values in it is a
``Sentence``.

The functions at the end are here because every layer checks arguments, and this is the lowest one.
"""  # noqa: E501

from __future__ import annotations

import inspect
import logging
import math
import os
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from micropie._core.on_demand import by_name

Raised = TypeVar("Raised", bound=BaseException)

HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

# Of all that is told to an operator.
logger = logging.getLogger("micropie")

# By RFC 9110, which has renamed four of those that Python knew before 3.13.
PHRASES: dict[int, str] = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


class Catalog(Protocol):
    """A catalogue of sentences, such as ``gettext.NullTranslations`` and Babel's
    ``Translations``.
    """

    def gettext(self, message: str, /) -> str: ...

    def ngettext(self, msgid1: str, msgid2: str, n: int, /) -> str: ...


class Sentence(str):
    """A text with values in it: ``Sentence("There is no page {number}.", number=5)``.

    ``several`` is the text for any ``count`` but 1, which is then one of the values. A catalogue of
    the setting ``translations`` finds the text without its values. Raises ``KeyError`` for a value
    that is missing.
    """

    def __new__(cls, text: str, several: str = "", /, **values: Any) -> Sentence:
        self = super().__new__(
            cls, (several if several and values["count"] != 1 else text).format(**values)
        )
        self._parts = text, several, values
        return self

    _parts: tuple[str, str, dict[str, Any]]

    # errors of worker processes are pickled
    def __getnewargs_ex__(self) -> tuple[tuple[str, str], dict[str, Any]]:
        return self._parts[:2], self._parts[2]


def in_words_of(catalog: Catalog, sentence: str) -> str:
    """Return a sentence as a catalogue has it; as it is if the catalogue has nothing for it."""
    if not isinstance(sentence, Sentence):
        # "" is the catalogue's own description
        return catalog.gettext(sentence) if sentence else sentence
    text, several, values = sentence._parts
    text = catalog.ngettext(text, several, values["count"]) if several else catalog.gettext(text)
    return text.format(**values)


def pairs_of(headers: HeadersLike) -> list[tuple[str, str]]:
    """Return a new list of headers."""
    return [*(headers.items() if isinstance(headers, Mapping) else headers)]


class RaisedAnswer(Exception):
    """An exception that is an answer: what was set on ``self.response`` before is part of it."""

    is_foreign = False
    """Whether another framework made it, and ``as_native`` returns ours."""

    def as_native(self, in_socket: bool = False) -> Exception:
        """Return the exception to answer in its place.

        ``in_socket``: for a WebSocket, which has no page.
        """
        return self


class HTTPError(RaisedAnswer):
    """Answer with ``status`` (400 to 599) and ``message``: one sentence for the client, or a dict
    or list for JSON.

    ``message`` is by default the status with its standard phrase. ``headers``, a dict or (name,
    value) pairs, are sent along: ``{"Retry-After": "5"}``. Raises ``ValueError`` for any other
    status.
    """

    def __init__(
        self,
        status: int,
        message: object = "",
        headers: HeadersLike = (),
    ) -> None:
        if not (isinstance(status, int) and 400 <= status <= 599):
            raise ValueError(
                f"HTTPError takes a status from 400 to 599, not {status!r}, then the message"
            )
        self.args = (status, message)  # as ``super().__init__`` does, in a quarter of the time
        self.status = status
        self.message: Any = message or f"{status} {PHRASES.get(status, 'Error')}"
        self.headers = pairs_of(headers) if headers else []

    def __str__(self) -> str:
        return str(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors of worker processes are pickled, and by default that calls the class with ``args``:
        # the constructors of subclasses take other arguments.
        return _restore_http_error, (type(self), self.args), vars(self)


def _restore_http_error(kind: type[HTTPError], arguments: tuple[object, ...]) -> HTTPError:
    error = kind.__new__(kind)
    error.args = arguments
    return error


def too_many(most: int, sentence: str) -> HTTPError:
    """Return the 413 for more than ``most``, which ``sentence`` has as ``{most}``."""
    return HTTPError(413, Sentence(sentence, most=most))


class BadRequest(HTTPError):
    """Answer 400 with ``message``: one sentence that says what is malformed in the request."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class MethodNotAllowed(HTTPError):
    """Answer 405 with the ``Allow`` header that RFC 9110, section 15.5.6, requires.

    ``allowed``: the methods that the resource answers.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        allow = ", ".join(sorted(allowed))
        super().__init__(405, Sentence("This resource supports {methods} only.", methods=allow))
        self.headers = [("Allow", allow)]


def websockets_need_asgi() -> HTTPError:
    """Return the refusal of a WebSocket's handshake under WSGI.

    It has no Upgrade header, which RFC 9110, section 15.5.22, asks for: PEP 3333 forbids it.
    """
    return HTTPError(426, "This is for WebSockets, which need an ASGI server.")


def too_many_waiting() -> HTTPError:
    """Return the 503 for a request that would have to wait where too many do, or has waited too
    long.
    """
    # a second: what a queue of the default length takes if each handler needs 40 ms
    return HTTPError(
        503,
        "Too many requests are waiting. Please try again later.",
        [("Retry-After", "1")],
    )


class Redirect(RaisedAnswer):
    """Send the client to ``location`` with ``status``: 301, 302, 303 (the default), 307 or 308.

    Raise it or return it. 303 turns a form's POST into a GET (RFC 9110, section 15.4.4).
    ``headers``, a dict or (name, value) pairs, are sent along.

    A location on another host is refused (the client gets 400, the log the reason) unless
    ``allow_external=True``: a location from ``?next=`` must not lead to an attacker's log-in page.
    From https, ``http://`` and this host is refused as well, unless ``allow_http=True``. Raises
    ``ValueError`` for any other status.
    """

    def __init__(
        self,
        location: str,
        status: int = 303,
        *,
        headers: HeadersLike = (),
        allow_external: bool = False,
        allow_http: bool = False,
    ) -> None:
        if status not in {301, 302, 303, 307, 308}:
            raise ValueError(f"Redirect takes status 301, 302, 303, 307 or 308, not {status!r}")
        self.args = (location, status)  # as ``super().__init__`` does, in a quarter of the time
        self.location = location
        self.status = status
        self.headers = pairs_of(headers) if headers else []
        self.allow_external = allow_external
        self.allow_http = allow_http


# Not ``HTTPError | Redirect``, which would make a union with each call.
ERRORS: Final = (HTTPError, Redirect)


class ClientDisconnect(Exception):
    """The client has gone before its request was complete or its answer was sent."""


class ConnectionClosed(Exception):
    """A WebSocket is closed: by the client, by a lost connection, by the application, by one of its
    limits.

    ``code`` and ``reason`` are those of the close frame (RFC 6455, section 7.4). 1005: the frame
    had no code. 1006: there was no close frame, the connection was lost. ``message`` is by default
    a sentence with both. A handler need not catch it: it then ends as if it had returned.
    """

    def __init__(self, code: int = 1006, reason: str = "", message: str = "") -> None:
        super().__init__(message or f"the WebSocket is closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code, self.reason, *self.args)


class SetupError(ValueError):
    """The application can't be built as it is written. The message says what to write instead."""


class ResponseError(Exception):
    """The handler's answer can't be sent. The client gets a plain 500, the log the message."""


def check(argument: str, fine: bool, value: object, expected: str) -> None:
    """Raise ``SetupError`` unless ``fine``: ``argument`` takes what is ``expected``, in words, and
    ``value`` was given.

        check("RateLimit(per=...)", is_duration(per), per, "seconds above 0")

    A message: "RateLimit(per=...) takes seconds above 0, not -1".
    """
    if not fine:
        raise SetupError(f"{argument} takes {expected}, not {value!r}")


FLAG = bool, "True or False"
TEXT = str | None, "a text"


def check_each(called: str, kinds: Any, expected: str, **values: object) -> None:
    """Raise ``SetupError`` for an argument of ``called`` that is none of ``kinds``.

    check_each("mount", *FLAG, isolated=isolated, strip=strip)
    """
    for name, value in values.items():
        check(f"{called}({name}=...)", isinstance(value, kinds), value, expected)


def refuse_text(argument: str, value: object) -> None:
    """Raise ``SetupError`` for what is no list of texts, above all for one text: its letters would
    be taken for them.
    """
    if isinstance(value, str):
        raise SetupError(f'{argument} is a list: write {argument}=["{value}"]')
    check(argument, isinstance(value, Iterable), value, "a list")


def refuse_others(called: str, others: Mapping[str, object], advice: Mapping[str, str]) -> None:
    """Raise ``SetupError`` for keywords that ``called`` lacks.

    ``advice``: what to write, with the names that other frameworks have for it.
    """
    for name in others:
        instead = by_name(advice).get(name)
        raise SetupError(f"{called} takes no {name}" + (f": write {instead}" if instead else ""))


def is_count(value: object, least: int) -> bool:
    """Return whether ``value`` is an int of ``least`` or more, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_duration(value: object) -> bool:
    """Return whether ``value`` is a finite number of seconds above 0, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def takes(function: Any, count: int) -> bool:
    """Return whether ``function`` can be called with ``count`` arguments, as far as its signature
    can be read.

    A decorator's own signature counts, and not that of the function below it.
    """
    # of most functions: without the work that a signature is
    code: Any = getattr(function, "__code__", None)
    is_plain = isinstance(code, CodeType) and not code.co_kwonlyargcount
    if is_plain and code.co_argcount == count + inspect.ismethod(function):
        return True
    try:
        inspect.signature(function, follow_wrapped=False).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # some builtins have none
        pass
    return True


def as_authors_see(
    error: BaseException,
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """Return the type of ``error``, the exception itself, and its traceback from the author's first
    line on, as ``traceback.format_exception`` takes them.

    All of the traceback if there is no such line.
    """
    step = error.__traceback__
    while step is not None and step.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        step = step.tb_next
    return type(error), error, step or error.__traceback__


_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"


def failure_in(error: Exception | None) -> Exception | None:
    """Return what has failed: None for ``Redirect``, which is an answer, and for the client's end
    of a WebSocket.
    """
    other = alone_in(error) if isinstance(error, ExceptionGroup) else error
    return None if isinstance(other, Redirect | ConnectionClosed) else other


_PLAIN_GROUPS = (ExceptionGroup, BaseExceptionGroup)


def alone_in(error: Raised) -> Raised:
    """Return the exception that a group holds alone, also if that is in further groups; anything
    else as it is, subclasses of ``ExceptionGroup`` included: their class says what has failed.

    The client's end of a WebSocket, which each of a handler's tasks sees, counts only if nothing
    else is in the group.
    """
    alone: Any = error
    if isinstance(error, BaseExceptionGroup) and type(error) in _PLAIN_GROUPS:
        closed, rest = error.split(ConnectionClosed)
        alone = error if closed is None else rest or closed
        while type(alone) in _PLAIN_GROUPS and (rest is None or len(alone.exceptions) == 1):
            alone = alone.exceptions[0]
    return alone  # type: ignore[no-any-return]


def raise_any(failure: BaseException | None) -> None:
    """Raise ``failure`` if there is one.

    No frame keeps it, or the exception and its traceback would be a cycle.
    """
    try:
        if failure is not None:
            raise failure
    finally:
        del failure


def refuse_namesake(directory: Path) -> None:
    """Raise ``ImportError`` if the distribution "micropie" is installed in ``directory``, where
    this package is.

    That is another project. pip silently installs both, and the one overwrites files of the other.
    """
    if any(directory.glob("[mM]icro[pP]ie-*.dist-info")):
        raise ImportError(
            "micropie-dual and another project, micropie, are installed in one place and "
            "share the import name: "
            "run 'pip uninstall micropie micropie-dual', then install the one that you need"
        )
