"""The building blocks of middleware: the base classes, and the steps with which it waits.

The base classes are defined in the flow, which calls them.
"""

from http import HTTPMethod
from typing import Final

from micropie._core.errors import takes
from micropie._core.execution import TookTooLong
from micropie._core.execution.placement import ServiceThreads, Threads
from micropie._core.execution.steps import Call, Flow, call, call_within, kind_of
from micropie._core.flow import FlowMiddleware, HttpMiddleware, WebSocketMiddleware

# In names and labels "OTHER" stands for any other method, because clients must not be able to
# choose these texts.
STANDARD_METHODS: Final = frozenset(HTTPMethod) | {"QUERY"}

# fmt: off
__all__ = [
    "STANDARD_METHODS", "Call", "Flow", "FlowMiddleware", "HttpMiddleware", "ServiceThreads",
    "Threads", "TookTooLong", "WebSocketMiddleware", "call", "call_within", "kind_of",
    "takes",
]
# fmt: on
