"""The flow's side of WebSocket middleware: called in order before the handler, in reverse order after it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from micropie.errors import ResponseError
from micropie.execution.steps import Flow, call, kind_of
from micropie.http.websocket import POLICY, check_code
from micropie.middleware.base import WebSocketMiddleware

if TYPE_CHECKING:
    from micropie.http.request import Request

logger = logging.getLogger("micropie")

_KEYS = frozenset({"code", "reason"})
_UNUSED = (WebSocketMiddleware.before_websocket, WebSocketMiddleware.after_websocket)


def run_before_websocket(hooks: list[object], begun: list[object], request: Request) -> Flow[tuple[int, str] | None]:
    """Run each ``before_websocket`` until one refuses, and return its code and reason.

    Every hook that is called is added to ``begun``.
    """
    for hook in hooks:
        begun.append(hook)
        refusal: object = yield from _call(hook, "before_websocket", request)
        if refusal is not None:
            if not isinstance(refusal, dict) or not refusal.keys() <= _KEYS:
                raise ResponseError(
                    f"{type(hook).__name__} returned {refusal!r}: "
                    "before_websocket returns None or a dict with code, reason"
                )
            code, reason = refusal.get("code", POLICY), refusal.get("reason") or ""
            check_code(code)
            return code, str(reason)
    return None


def run_after_websocket(begun: list[object], request: Request) -> Flow[None]:
    """Run ``after_websocket`` of each hook in ``begun``, last first. An error is logged, and the others still run."""
    while begun:
        hook = begun.pop()
        try:
            yield from _call(hook, "after_websocket", request)
        except Exception:
            logger.exception("after_websocket of %s failed", type(hook).__name__)


def _call(hook: object, name: str, request: Request) -> Flow[object]:
    method = getattr(hook, name, None)  # a hook need not inherit from ``WebSocketMiddleware``
    if method is None or getattr(method, "__func__", method) in _UNUSED:
        return None
    return (yield from call(kind_of(method), method, request))
