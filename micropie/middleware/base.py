"""The public names for writing middleware: the base classes, and the steps that a middleware yields
when it has to wait.

The base classes are defined in ``_core/flow``, which calls their hooks.
"""

from collections.abc import Callable
from http import HTTPMethod

from micropie._core.errors import has_not_run, is_def, is_generator, takes
from micropie._core.execution import TookTooLong
from micropie._core.execution.placement import ServiceThreads, Threads
from micropie._core.execution.steps import Call, Flow, call, call_within, kind_of
from micropie._core.flow import FlowMiddleware, HttpMiddleware, WebSocketMiddleware
from micropie._core.http import Request, Response
from micropie._core.streams import stream_of

# For any other method, metrics use "OTHER" and spans "_OTHER", so that clients can't create any
# number of labels.
STANDARD_METHODS = frozenset(HTTPMethod) | {"QUERY"}

__all__ = [
    "STANDARD_METHODS",
    "Call",
    "Flow",
    "FlowMiddleware",
    "HttpMiddleware",
    "ServiceThreads",
    "Threads",
    "TookTooLong",
    "WebSocketMiddleware",
    "call",
    "call_at_start",
    "call_within",
    "credentials_in",
    "has_not_run",
    "is_def",
    "is_generator",
    "kind_of",
    "sees_first",
    "takes",
]


def credentials_in(request: Request) -> tuple[str, str]:
    """Split an Authorization header into the scheme, in lower case, and the rest: RFC 9110, section
    11.4.
    """
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), rest.strip(" ")


def sees_first(hook: FlowMiddleware, request: Request) -> bool:
    """Return whether this is the first time that ``hook`` sees a request. The same object may be in
    an outer and in an inner application, and above a handler, too.
    """
    # by its identity, because an author's subclass may define ``__eq__``
    seen: set[int] = vars(request).setdefault("_seen_by", set())
    is_first = id(hook) not in seen
    seen.add(id(hook))
    return is_first


def call_at_start(
    request: Request, response: Response, function: Callable[[Response], object]
) -> None:
    """Call ``function(response)`` when the response starts: now, or after the first chunk of a
    stream, because its generator works and sets headers until then.

    ``function`` isn't called if an error or an outer hook's response replaces the stream.
    """
    if stream_of(response.body):
        request._exchange.call_before_head(function)
    else:
        function(response)
