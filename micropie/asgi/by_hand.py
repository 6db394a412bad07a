"""``Request(scope)``: a request that a test makes by hand, to call a hook or a function that takes one."""

from __future__ import annotations

from functools import cache

from micropie.asgi.request import ASGIRequest
from micropie.channels import Channels
from micropie.execution.shutdown import ShutdownSignal
from micropie.http.types import Message, Receive, Scope
from micropie.routing.config import AppConfig
from micropie.routing.inheritance import AppDefinition, root_config
from micropie.sessions import InMemorySessionBackend


async def _receive_nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


class RequestByHand(ASGIRequest):
    """A request with this ASGI scope, of which all may be left out: a GET of ``/`` without headers and body.

    ``receive`` gives the messages of the body. The settings are the defaults, and the session is a new one.
    """

    __slots__ = ()

    def __init__(self, scope: Scope, receive: Receive = _receive_nothing) -> None:
        defaults = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        super().__init__({**defaults, **scope}, receive)
        self.config = _default_config()


@cache
def _default_config() -> AppConfig:
    nothing = AppDefinition(
        app=None,
        framework=(),
        settings={},
        session_backend=InMemorySessionBackend(),
        channels=Channels(),
        middlewares=[],
        error_handlers={},
        functions=[],
        ws_middlewares=[],
        socket_functions=[],
        providers={},
        template_names={},
        children={},
        mounts=[],
    )
    return root_config(nothing, ShutdownSignal())
