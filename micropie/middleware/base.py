"""The public names for writing middleware: the base classes, and the steps that a middleware yields
when it has to wait.

The base classes are defined in ``_core/flow``, which calls their hooks.
"""

from http import HTTPMethod

from micropie._core.errors import has_not_run, is_def, is_generator, takes
from micropie._core.execution import TookTooLong
from micropie._core.execution.placement import ServiceThreads, Threads
from micropie._core.execution.steps import Call, Flow, call, call_within, kind_of
from micropie._core.flow import FlowMiddleware, HttpMiddleware, WebSocketMiddleware

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
    "call_within",
    "has_not_run",
    "is_def",
    "is_generator",
    "kind_of",
    "takes",
]
