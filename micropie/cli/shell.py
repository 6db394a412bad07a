"""``micropie shell app:app``: a Python shell in which the application has been started, with a
request, its resources and a test client.
"""

from __future__ import annotations

import ast
import code
import inspect
import sys
from argparse import Namespace
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from importlib import import_module
from importlib.util import find_spec
from types import CodeType, FunctionType
from typing import Any

from micropie import run_async
from micropie.cli.target import find_target
from micropie.extensions import Outside


def execute(arguments: Namespace) -> int:
    """Run an interactive interpreter, IPython's if it is installed, until the user leaves it."""
    target = find_target(arguments.target, arguments.factory)
    app = target.app
    with ExitStack() as stack:
        request = stack.enter_context(Outside(app)).request

        def resource(key: Any) -> object:
            """Open the resource for ``key``, usually a type, as for a handler's parameter.

            The resource is closed when the shell ends.
            """
            return stack.enter_context(request.resource(key))

        names: dict[str, object] = {"app": app, "request": request, "resource": resource}
        text = (
            f"Python {sys.version.split()[0]}, {target.name}. "
            "Use app, request, resource(Type), await"
        )
        if find_spec("httpx2") or find_spec("httpx"):
            client = import_module("micropie.testing").TestClient(
                app, protocol="wsgi", base_url="http://localhost", raise_app_exceptions=False
            )
            names["client"] = client
            stack.callback(client.close)
            text += ', client (client.get("/"))'
        if find_spec("IPython") is not None:
            settings = import_module("traitlets.config").Config()
            settings.InteractiveShell.loop_runner = _wait
            settings.TerminalInteractiveShell.banner1 = f"{text}\n"
            import_module("IPython").start_ipython(argv=[], user_ns=names, config=settings)
        else:
            with suppress(ImportError):  # Windows has no readline
                import_module("readline")  # lets ``input`` edit the line, and repeat earlier lines
            _Console(names).interact(banner=text, exitmsg="")
    return 0


def _wait(awaitable: Awaitable[object]) -> object:
    """Await ``awaitable`` on the application's event loop, and return the result."""
    return run_async(lambda: awaitable)


class _Console(code.InteractiveConsole):
    """Python's console with ``await`` at the top level."""

    def __init__(self, names: dict[str, object]) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._names = names

    def runcode(self, code: CodeType) -> None:
        """Run a statement. If it contains ``await``, wait for it."""
        if not code.co_flags & inspect.CO_COROUTINE:
            super().runcode(code)
            return
        try:
            _wait(FunctionType(code, self._names)())
        except SystemExit:
            raise
        except BaseException:
            self.showtraceback()
