"""The exceptions of micropie, and functions that check the arguments of its public functions.

    Exception
    ├── HTTPError               respond with a status and one sentence; may be raised anywhere
    │   ├── BadRequest          400, with the reason
    │   └── MethodNotAllowed    405, with the allowed methods
    ├── Redirect                respond with another location; may be raised or returned
    ├── ClientDisconnect        the client has disconnected, so there is no response
    ├── ConnectionClosed        a WebSocket is closed, by either side or by a limit
    ├── SetupError              an application can't be built because of an error in its code; nothing is served
    └── ResponseError           a response can't be sent (a bad header, a late change); the client gets a 500

``HTTPError`` and ``Redirect`` may be raised in a handler, a hook or any function that they call.
The framework also raises ``HTTPError`` for an invalid request, such as a malformed query or a
missing parameter, so one ``@app.error(400)`` handles the errors of the framework and of the
application.

A catalogue can translate the sentences of these errors. If a sentence contains values, such as a
field's name, it is an object of the class ``Sentence``, which keeps the values apart.

The functions that check arguments are here because every layer needs them, and this is the lowest
layer.
"""  # noqa: E501

from __future__ import annotations

import contextlib
import copyreg
import inspect
import logging
import math
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from types import AsyncGeneratorType, CodeType, GeneratorType, TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar

from micropie._core.on_demand import by_name

Raised = TypeVar("Raised", bound=BaseException)

HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

# The logger for everything that operators should see.
logger = logging.getLogger("micropie")

# The phrases of RFC 9110. Before 3.13, Python has older phrases for these four statuses.
PHRASES: dict[int, str] = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


class Catalog(Protocol):
    """A catalogue of translations, such as ``gettext.NullTranslations`` and Babel's
    ``Translations``.
    """

    def gettext(self, message: str, /) -> str: ...

    def ngettext(self, msgid1: str, msgid2: str, n: int, /) -> str: ...


class Sentence(str):
    """A string that contains values: ``Sentence("There is no page {number}.", number=5)``.

    ``several``: the text to use instead if the value ``count`` is not 1. If you pass ``several``,
    pass ``count`` as well. The setting ``translations`` looks up the text before the values are
    inserted. Raises ``KeyError`` if a placeholder has no value.
    """

    def __new__(cls, text: str, several: str = "", /, **values: object) -> Sentence:
        self = super().__new__(
            cls, (several if several and values["count"] != 1 else text).format(**values)
        )
        self._parts = text, several, values
        return self

    _parts: tuple[str, str, dict[str, Any]]

    # Needed because errors that are raised in worker processes are pickled.
    def __getnewargs_ex__(self) -> tuple[tuple[str, str], dict[str, object]]:
        return self._parts[:2], self._parts[2]


def translate(catalog: Catalog, sentence: str) -> str:
    """Return a sentence translated by a catalogue. If the catalogue doesn't have the sentence,
    return it unchanged.
    """
    if not isinstance(sentence, Sentence):
        # Don't look up "", under which the catalogue has its own metadata.
        return catalog.gettext(sentence) if sentence else sentence
    text, several, values = sentence._parts
    text = catalog.ngettext(text, several, values["count"]) if several else catalog.gettext(text)
    return text.format(**values)


def pairs_of(headers: HeadersLike) -> list[tuple[str, str]]:
    """Return headers as a new list of (name, value) pairs."""
    return [*(headers.items() if isinstance(headers, Mapping) else headers)]


class RaisedAnswer(Exception):
    """The base class of exceptions that become a response. Headers and cookies that the handler has
    set on ``self.response`` are sent with it.
    """

    is_foreign = False
    """Whether the exception belongs to another framework, so that ``as_native`` converts it."""

    def as_native(self, in_socket: bool = False) -> Exception:
        """Return the exception that determines the response: this one or, if it belongs to another
        framework, micropie's equivalent.

        ``in_socket``: whether the exception was raised for a WebSocket, which can't respond with a
        page.
        """
        return self


# The default messages of ``HTTPError``, by status.
_MESSAGES = {status: f"{status} {PHRASES.get(status, 'Error')}" for status in range(400, 600)}
SENTENCES = frozenset({str, Sentence})


class HTTPError(RaisedAnswer):
    """Respond with ``status`` (400 to 599) and ``message``: one sentence for the client, an
    exception with this sentence, or a dict or list for JSON.

    ``message`` is by default the status with its standard phrase. ``headers``, a dict or (name,
    value) pairs, are sent too: ``{"Retry-After": "5"}``. Raises ``ValueError`` for a status below
    400 or above 599.
    """

    is_usual = False
    """Whether the response only depends on the status or, for a 405, on the allowed methods."""

    def __init__(
        self,
        status: int,
        message: object = "",
        headers: HeadersLike = (),
    ) -> None:
        if (status.__class__ is not int and not isinstance(status, int)) or status not in _MESSAGES:
            raise ValueError(
                f"HTTPError(status, message) takes a status from 400 to 599, not {status!r}"
            )
        self.status = status
        if not message:
            self.message: Any = _MESSAGES[status]
            self.is_usual = not headers
        else:
            if message.__class__ not in SENTENCES:
                if isinstance(message, bytes):  # it would be sent as HTML
                    message = message.decode(errors="replace")
                elif isinstance(message, BaseException):
                    message = str(message)
                message = message or _MESSAGES[status]
            self.message = message
        self.args = (status, message)  # four times as fast as ``super().__init__``
        self.headers = pairs_of(headers) if headers else []

    def __str__(self) -> str:
        return str(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors that are raised in worker processes are pickled. By default, unpickling calls the
        # class with ``args``, but the constructors of subclasses take other arguments.
        make = copyreg.__newobj__  # type: ignore[attr-defined]
        return make, (type(self), *self.args), vars(self)


def too_many(most: int, sentence: str) -> HTTPError:
    """Return the exception, a 413, for a request that exceeds the limit ``most``. ``sentence``
    contains the limit as ``{most}``.
    """
    return HTTPError(413, Sentence(sentence, most=most))


class Unsatisfied(HTTPError):
    """Respond with 412 or 416, because the file that a handler has returned doesn't satisfy the
    client's conditions. The handler has succeeded, so its resources don't get this error.
    """


class BadRequest(HTTPError):
    """Respond with 400 and ``message``: one sentence that says what is malformed in the request."""

    def __init__(self, message: object = "") -> None:
        super().__init__(400, message)


class MethodNotAllowed(HTTPError):
    """Respond with 405 and the ``Allow`` header that RFC 9110, section 15.5.6, requires.

    ``allowed``: the methods that the resource supports.
    """

    is_usual = True

    def __init__(self, allowed: Iterable[str]) -> None:
        sentence, header = _supported(frozenset(allowed))
        super().__init__(405, sentence)
        self.headers = [header]


@lru_cache(maxsize=256)  # a site's routes support few different sets of methods
def _supported(methods: frozenset[str]) -> tuple[Sentence, tuple[str, str]]:
    """Return the sentence and the Allow header of a 405."""
    allow = ", ".join(sorted(methods))
    sentence = Sentence("This resource supports {methods} only.", methods=allow)
    return sentence, ("Allow", allow)


def websockets_need_asgi() -> HTTPError:
    """Return the exception, a 426, for a WebSocket handshake under WSGI.

    RFC 9110, section 15.5.22, requires an Upgrade header in a 426. This response lacks it, because
    PEP 3333 forbids this header.
    """
    return HTTPError(426, "This URL is for WebSockets, which this server does not support.")


def too_many_waiting() -> HTTPError:
    """Return the exception, a 503, for a request that arrives when too many requests are waiting
    for a thread, or that has waited too long.
    """
    # Ask the client to retry after one second. By then, a queue of the default length has become
    # empty if each handler takes 40 ms.
    return HTTPError(
        503,
        "Too many requests are waiting. Please try again later.",
        [("Retry-After", "1")],
    )


class Redirect(RaisedAnswer):
    """Send the client to ``location`` with ``status``: 301, 302, 303 (the default), 307 or 308.

    Raise it or return it. 303 turns a form's POST into a GET (RFC 9110, section 15.4.4).
    ``headers``, a dict or (name, value) pairs, are sent too.

    A location on another host is refused unless ``allow_external=True``, because a location from
    ``?next=`` must not lead to an attacker's log-in page. In a request over https, a location with
    ``http://`` on the same host is refused as well, unless ``allow_http=True``, and so is an empty
    one. For a refused location, the client gets a 400, and the reason is logged. Raises
    ``ValueError`` if ``status`` is not one of these five, and ``TypeError`` if ``location`` is not
    a str.
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
        if location.__class__ is not str and not isinstance(location, str):
            raise TypeError(f"Redirect takes a str, not {location!r}: write str(...) for a URL")
        self.args = (location, status)  # four times as fast as ``super().__init__``
        self.location = location
        self.status = status
        self.headers = pairs_of(headers) if headers else []
        self.allow_external = allow_external
        self.allow_http = allow_http


# For ``isinstance``. It is a tuple, because ``HTTPError | Redirect`` would create a union in each
# call.
ERRORS = (HTTPError, Redirect)


class ClientDisconnect(Exception):
    """Raised if the client has disconnected before its request was complete, its response was sent
    or the handler of its WebSocket had ended.
    """


class ConnectionClosed(Exception):
    """Raised when a WebSocket is closed by the client, a lost connection, the application, or one
    of its limits.

    ``code`` and ``reason`` come from the close frame (RFC 6455, section 7.4). The code 1005 means
    that the frame had no code, and 1006, the default, that the connection was lost without a close
    frame. ``message`` is by default a sentence with the code and the reason. If the handler of the
    closed WebSocket doesn't catch this exception, the handler ends as if it had returned. In the
    handler of another WebSocket, it is an error like any other.
    """

    def __init__(self, code: int = 1006, reason: str = "", message: str = "") -> None:
        super().__init__(message or f"the WebSocket is closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code, self.reason, *self.args)


class SetupError(ValueError):
    """Raised if an application can't be built, because of an error in its code. The message
    explains what to write instead.
    """


class ResponseError(Exception):
    """Raised if the handler's response can't be sent. The client gets a plain 500, and the message
    is logged.
    """


def check(argument: str, fine: bool, value: object, expected: str) -> None:
    """Raise ``SetupError`` unless ``fine`` is true. The message contains the name of the
    ``argument``, a description of its valid values (``expected``), and the ``value`` that was
    passed.

        check("RateLimit(per=...)", is_duration(per), per, "seconds above 0")

    The message: "RateLimit(per=...) takes seconds above 0, not -1".
    """
    if not fine:
        raise SetupError(f"{argument} takes {expected}, not {value!r}")


FLAG = bool, "True or False"
TEXT = str | None, "a string"


def check_each(called: str, kinds: Any, expected: str, **values: object) -> None:
    """Raise ``SetupError`` if an argument of the function named ``called`` is not an instance of
    ``kinds``. ``values``: the arguments by name. ``*FLAG`` passes ``kinds`` and ``expected`` for
    bools.

        check_each("mount", *FLAG, isolated=isolated, strip=strip)
    """
    for name, value in values.items():
        check(f"{called}({name}=...)", isinstance(value, kinds), value, expected)


def refuse_text(argument: str, value: object) -> None:
    """Raise ``SetupError`` unless ``value`` is an iterable. A string is refused as well, because it
    would be treated as a list of its characters.
    """
    if isinstance(value, str):
        raise SetupError(f'{argument} must be a list: write {argument}=["{value}"]')
    check(argument, isinstance(value, Iterable), value, "a list")


def refuse_others(called: str, others: Mapping[str, object], advice: Mapping[str, str]) -> None:
    """Raise ``SetupError`` for keyword arguments that the function named ``called`` doesn't take.

    ``advice``: a dict whose keys say what to write in micropie. Each value is the other frameworks'
    keywords for the same purpose, separated by spaces.
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

    If the function is decorated, this checks the signature of the decorator's wrapper.
    """
    # Counting the parameters is enough for most functions, and cheaper than reading a signature.
    code = getattr(function, "__code__", None)
    if (
        isinstance(code, CodeType)
        and not code.co_kwonlyargcount
        and code.co_argcount == count + inspect.ismethod(function)
    ):
        return True
    try:
        signature_of(function, follow_wrapped=False).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a built-in function without a signature
        pass
    return True


def parameters_of(function: Any) -> list[inspect.Parameter]:
    """Return the parameters of ``function`` itself, not those of a function that it wraps. Raises
    ``TypeError`` or ``ValueError`` if Python doesn't know them.
    """
    return [*signature_of(function, follow_wrapped=False).parameters.values()]


# Python 3.14 and newer evaluate annotations when they are read.
_FORMAT: Any = (
    import_module("annotationlib").Format.FORWARDREF if sys.version_info >= (3, 14) else None
)


def signature_of(function: Any, follow_wrapped: bool = True) -> inspect.Signature:
    """Return the signature of ``function``, as ``inspect.signature`` does. A name in an annotation
    that is imported for type checkers only becomes a ``ForwardRef``.

    ``follow_wrapped``: whether to return the signature of the function that a decorator wraps.
    Raises ``TypeError`` or ``ValueError`` if Python doesn't know the signature.
    """
    given: Any = {"annotation_format": _FORMAT} if _FORMAT else {}
    return inspect.signature(function, follow_wrapped=follow_wrapped, **given)


def annotations_of(function: Any) -> Mapping[str, Any]:
    """Return the annotations of ``function`` itself, as ``signature_of`` evaluates them. Return {}
    for an object that isn't callable.
    """
    given: Any = {"format": _FORMAT} if _FORMAT else {}
    return inspect.get_annotations(function, **given) if callable(function) else {}


def name_of(function: object) -> str:
    """Return the name of a function for errors and log lines."""
    return getattr(function, "__qualname__", None) or repr(function)


def has_yield(function: object) -> bool:
    """Return whether ``function`` itself is a generator function, ``def`` or ``async def``."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def is_async(function: object) -> bool:
    """Return whether ``function`` itself is an ``async def``, with or without a yield."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def is_generator(function: object) -> bool:
    """Return whether a call of ``function`` returns a generator, or a context manager that
    ``@contextmanager`` made of one. No line of the function has run by then, and both count as
    true.
    """
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType) and not hasattr(function, "__wrapped__"):
        return bool(code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR))
    return any(
        has_yield(one) or makes_context_manager(one) for one in (function, type(function).__call__)
    )


def makes_context_manager(function: Any) -> bool:
    """Return whether ``@contextmanager`` or ``@asynccontextmanager`` is written above a generator
    function.
    """
    # their wrappers are functions of contextlib
    inner = getattr(function, "__wrapped__", None)
    return getattr(function, "__globals__", None) is vars(contextlib) and is_generator(inner)


def check_manager(function: Any) -> None:
    """Raise ``SetupError`` if ``@contextmanager`` is written above an ``async def``, or
    ``@asynccontextmanager`` above a ``def`` with a yield or an ``async def`` without one.
    """
    if getattr(function, "__globals__", None) is vars(contextlib):
        inner = getattr(function, "__wrapped__", None)
        if (
            inspect.iscoroutinefunction(inner) or inspect.isgeneratorfunction(inner)
            if function.__code__.co_qualname.startswith("async")
            else is_async(inner)
        ):
            raise SetupError(
                f"{name_of(function)} can't be entered: write @contextmanager above a def, or "
                "@asynccontextmanager above an async def, with one yield in the function"
            )


def has_not_run(result: object) -> bool:
    """Return whether a function's result only shows that none of its lines has run, although
    ``is_generator`` can't find this out for some decorated functions.
    """
    return isinstance(result, _MADE_OF_YIELD)


_MADE_OF_YIELD = (
    GeneratorType,
    AsyncGeneratorType,
    contextlib.ContextDecorator,
    contextlib.AsyncContextDecorator,
)


def is_def(value: object, count: int) -> bool:
    """Return whether a value is a function of ``count`` arguments that isn't async and has no
    ``yield``.
    """
    return takes(value, count) and not (inspect.iscoroutinefunction(value) or is_generator(value))


def as_authors_see(
    error: BaseException,
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """Return the arguments for ``traceback.format_exception``: the type of ``error``, the exception
    itself, and its traceback, beginning with the first frame outside of micropie.

    If the traceback has no such frame, return the whole traceback.
    """
    step = error.__traceback__
    while step is not None and is_framework(step.tb_frame.f_globals.get("__name__")):
        step = step.tb_next
    return type(error), error, step or error.__traceback__


# The packages whose functions and classes belong to the framework, not to an application. A package
# that runs another framework's applications adds its own name.
FRAMEWORK = {"micropie"}


def is_framework(module: object) -> bool:
    """Return whether the module of this name belongs to the framework. ``module`` may be None."""
    return str(module).partition(".")[0] in FRAMEWORK


def failure_in(error: Exception | None) -> Exception | None:
    """Return ``error`` if it is a failure. Return None for a ``Redirect``, which is a response, and
    for the end of a WebSocket.
    """
    other = alone_in(error) if isinstance(error, ExceptionGroup) else error
    return None if isinstance(other, Redirect | ConnectionClosed) else other


_PLAIN_GROUPS = (ExceptionGroup, BaseExceptionGroup)


def alone_in(error: Raised) -> Raised:
    """Return the only exception in a group, even if it is in a group inside this group. Return
    anything else unchanged, including subclasses of ``ExceptionGroup``, because the class describes
    what has failed.

    Ignore ``ConnectionClosed`` exceptions if the group contains others: when a WebSocket ends, each
    task of its handler raises one.
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

    This function's frame doesn't keep the exception, because that would be a reference cycle.
    """
    try:
        if failure is not None:
            raise failure
    finally:
        del failure


def refuse_namesake(directory: Path) -> None:
    """Raise ``ImportError`` if the distribution "micropie" is also installed in ``directory``, this
    package's directory.

    That distribution is another project. pip silently installs both, and one overwrites files of
    the other.
    """
    if any(directory.glob("[mM]icro[pP]ie-*.dist-info")):
        raise ImportError(
            "micropie-dual and another project, micropie, are installed in one place and "
            "share the import name: "
            "run 'pip uninstall micropie micropie-dual', then install the one that you need"
        )
