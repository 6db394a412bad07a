"""Run a request through the methods of ``Bottle`` that monitors replace.

Monitors such as Sentry and New Relic replace ``Bottle.__call__``, ``wsgi`` or ``_handle`` with
functions that see each request and call the original. Servers don't call these methods, because an
ASGI server can't. So if one of them was replaced when the site is compiled, each request calls them
around its handler, in the handler's thread, under any server. Chunks of a stream come later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from micropie_compat.bottle.exchange import Exchange, to_response
from micropie_compat.bottle.responses import STATUS_LINES
from micropie_compat.carrier import Answer
from micropie_compat.core import EncodedAnswer
from micropie_compat.environs import WSGIApplication
from micropie_compat.results import AnyFunction, close_if_closable

# Stands for the response's body, which the driver sends.
_BODY: Final = b"The response is sent later."

STEP: Final = "micropie.bottle.step"
"""The key of the ``Step`` in the environ with which the methods are called."""


class Step:
    """A request's handler with its hooks, which ``_handle`` runs.

    ``run`` stores an exception instead of raising it, because monitors would report micropie's
    redirects and errors.
    """

    def __init__(self, exchange: Exchange, function: Callable[[], Any]) -> None:
        self._exchange = exchange
        self._function = function
        self._has_run = False
        self._answer: Any = None
        self._failure: Exception | None = None
        self.line = ""

    def run(self) -> Any:
        """Run the handler. Return its response, or None after an exception."""
        self._has_run = True
        try:
            self._answer = self._function()
        except Exception as error:
            self._failure = error
        return self._answer

    def start(self, out: object, start_response: AnyFunction) -> list[bytes]:
        """Call ``start_response`` with the response's status only. Return ``_BODY``.

        ``out``: the result of ``_handle``: the response, or the result of a program's own method.
        """
        if out is not self._answer:
            self._has_run, self._answer = True, to_response(self._exchange, out)
        answer = self._answer
        status = (
            answer[0]
            if isinstance(answer, EncodedAnswer)
            else getattr(answer, "status", 200 if self._failure is None else 500)
        )
        self.line = STATUS_LINES.get(status) or f"{int(status)} Unknown"
        start_response(self.line, [])
        return [_BODY]

    def result(self) -> Any:
        """Return the response, or an awaitable. Raises the handler's exception."""
        if not self._has_run:
            raise RuntimeError(
                "a function that replaces Bottle.__call__, wsgi or _handle must call the original: "
                "to respond without a handler, raise HTTPResponse in a before_request hook"
            )
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
            return self._answer
        finally:
            del failure  # avoids a reference cycle between the traceback and this frame


def run_monitored(
    call: WSGIApplication,
    exchange: Exchange,
    function: Callable[[], Any],
) -> Answer | Any:
    """Return the response of ``function``, which runs a handler, called inside of ``call``, the
    WSGI application ``Bottle.__call__``.
    """
    step = Step(exchange, function)
    method = exchange.environ["REQUEST_METHOD"]
    path = exchange.environ["PATH_INFO"].encode().decode("latin-1")
    environ = {**exchange.environ, "PATH_INFO": path, STEP: step}
    started: list[Any] = []
    try:
        returned = call(environ, lambda *arguments: started.extend(arguments))
        body = b"".join(returned)
        close_if_closable(returned)
        answer = step.result()
        place = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if [*started[:2], body, *place] != [step.line, [], _BODY, method, path]:
            raise RuntimeError(
                "a function that replaces Bottle.__call__, wsgi or _handle can't change the "
                "request or the response: use hooks, plugins or micropie.dual(YourMiddleware(app))"
            )
        return answer
    finally:
        del environ[STEP]  # a monitor may keep the environ
