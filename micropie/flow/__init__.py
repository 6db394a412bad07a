"""The life of a request and of a WebSocket: synchronous generators that yield what may have to wait."""

from micropie.flow.http import respond
from micropie.flow.lifecycle import Application, Lifecycle, Lifespan, LifespanContext, lifespan_opener, log_failure
from micropie.flow.resources import clean_up, end_resources
from micropie.flow.websocket import CloseInfo, ask_guards, cleanup, converse

__all__ = [
    "Application",
    "CloseInfo",
    "Lifecycle",
    "Lifespan",
    "LifespanContext",
    "ask_guards",
    "clean_up",
    "cleanup",
    "converse",
    "end_resources",
    "lifespan_opener",
    "log_failure",
    "respond",
]
