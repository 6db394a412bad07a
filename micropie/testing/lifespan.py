"""ASGI's lifespan protocol: start-up and shut-down of the application, around everything else."""

from __future__ import annotations

from typing import Any

from micropie.testing.app_call import AppCall, ASGIApp, Message
from micropie.testing.errors import LifespanFailed, ProtocolViolation, is_only_disconnect
from micropie.testing.exchange import Signal
from micropie.testing.loop import LoopThread

__all__ = ["Lifespan"]

LIFESPAN_VERSIONS = {"version": "3.0", "spec_version": "2.0"}


class LifespanCall(AppCall[Message]):
    def __init__(self, loop: LoopThread, app: ASGIApp, state: dict[str, Any]) -> None:
        scope = {"type": "lifespan", "asgi": dict(LIFESPAN_VERSIONS), "state": state}
        super().__init__(loop, app, scope, "lifespan", ahead=1)

    def goodbye(self) -> Message:
        return {"type": "lifespan.shutdown"}

    def accept(self, message: Message) -> Message:
        return message


class Lifespan:
    """Start-up and shut-down.

    An application may raise on the scope's type: it has no lifespan. An application that raises after it received
    ``lifespan.startup`` has failed. Servers ignore that silently, which in a test would hide a broken start-up.
    """

    def __init__(self, loop: LoopThread, app: ASGIApp, state: dict[str, Any], timeout: float) -> None:
        self._call = LifespanCall(loop, app, state)
        self._timeout = timeout
        self._supported = False

    def startup(self) -> None:
        self._call.start()
        self._supported = self._ask("startup")

    def shutdown(self) -> None:
        if self._supported:
            self._ask("shutdown")
            self._finish()
            if self._app_error() is not None:
                raise LifespanFailed("the application raised after its shut-down") from self._app_error()

    def _ask(self, phase: str) -> bool:
        """Return True if the phase is complete, False if the application has no lifespan. Raises ``LifespanFailed``."""
        self._call.put({"type": f"lifespan.{phase}"})
        try:
            event = self._call.next_event(self._timeout, f"answer lifespan.{phase}")
        except BaseException:
            self._call.give_up(self._timeout)
            raise
        if isinstance(event, Signal):
            return self._ended(phase)
        self._call.taken()
        if event["type"] == f"lifespan.{phase}.complete":
            return True
        self._finish()
        if event["type"] == f"lifespan.{phase}.failed":
            raise LifespanFailed(event.get("message", "")) from self._app_error()
        raise ProtocolViolation(f"the application answered lifespan.{phase} with {event['type']!r}")

    def _ended(self, phase: str) -> bool:
        if self._call.error is not None and self._call.received:
            raise LifespanFailed(f"the application raised in its {phase}: {self._call.error!r}") from self._call.error
        if phase == "shutdown":
            raise LifespanFailed("the application ended without an answer to lifespan.shutdown")
        return False

    def _finish(self) -> None:
        self._call.hang_up()
        self._call.wait_for_end(self._timeout)

    def _app_error(self) -> BaseException | None:
        error = self._call.error
        return None if error is None or is_only_disconnect(error) else error
