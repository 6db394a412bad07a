"""The flow's side of WebSocket middleware: called in order before the handler, in reverse order after it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from micropie.errors import ResponseError
from micropie.execution.steps import Flow, call, kind_of
from micropie.http.websocket import POLICY, check_code
from micropie.middleware.base import WebSocketMiddleware

if TYPE_CHECKING:
    from micropie.http.request import Request

logger = logging.getLogger("micropie")

_KEYS = frozenset({"code", "reason"})
_UNUSED = (WebSocketMiddleware.before_websocket, WebSocketMiddleware.after_websocket)


def run_before_websocket(hooks: list[Any], begun: list[Any], request: Request) -> Flow[tuple[int, str] | None]:
    """Run each ``before_websocket`` until one refuses: its code and reason. ``begun`` gets those that were called."""
    for hook in hooks:
        begun.append(hook)
        refusal = yield from _call(getattr(hook, "before_websocket", None), request)
        if refusal is not None:
            return _checked(refusal, hook)
    return None


def run_after_websocket(begun: list[Any], request: Request) -> Flow[None]:
    """Run the ``after_websocket`` of those that began, the last one first. What one raises is logged: all run."""
    while begun:
        hook = begun.pop()
        try:
            yield from _call(getattr(hook, "after_websocket", None), request)
        except Exception:
            logger.exception("after_websocket of %s failed", type(hook).__name__)


def _call(method: Callable[..., Any] | None, request: Request) -> Flow[Any]:
    if method is None or getattr(method, "__func__", method) in _UNUSED:
        return None
    return (yield from call(kind_of(method), method, request))


def _checked(refusal: Any, hook: object) -> tuple[int, str]:
    if not isinstance(refusal, dict) or not refusal.keys() <= _KEYS:
        raise ResponseError(
            f"{type(hook).__name__} returned {refusal!r}: before_websocket returns None or a dict with code, reason"
        )
    code, reason = refusal.get("code", POLICY), refusal.get("reason") or ""
    check_code(code)
    return code, str(reason)
