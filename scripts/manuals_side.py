"""Run one code block of a manual for ``scripts/manuals``, in a separate process and folder: read
the task as JSON, execute the block, send requests to its application, and write the responses.
"""

from __future__ import annotations

import importlib
import io
import json
import random
import re
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
VERBS = frozenset({"GET", "POST", "PUT", "DELETE"})
FORM = b"name=pie&username=ann&password=x&length=7"
OTHERS = ("eventlet", "gevent", "tornado", "twisted")
SAMPLES = {":int": "7", ":float": "1.5", ":path": "a/b", ":re:": "pie"}


class Bottle:
    """Runs blocks for Bottle. ``run`` stores the application instead of starting a server."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.served: list[Any] = []
        module.run = lambda app=None, *_, **__: self.served.append(app)
        module.Bottle.run = lambda app, *_, **__: self.served.append(app)
        self.names: dict[str, Any] = {}
        exec("from bottle import *", self.names)  # noqa: S102
        self.names |= {"bottle": module, "app": module.default_app()}

    def begin(self) -> None:
        self.served.clear()
        self.names["app"] = self.module.app.push()

    def end(self) -> None:
        """Do nothing, because decorators have added the routes."""

    @property
    def app(self) -> Any:
        for app in (*self.served[-1:], self.names["app"]):
            if hasattr(app, "routes"):
                return app
        return self.module.default_app()

    def paths(self) -> set[str]:
        return {
            re.sub(r"<[^>]*>|:\w+(#[^#]*#)?", self._sample, route.rule) for route in self.app.routes
        }

    @staticmethod
    def _sample(wildcard: re.Match[str]) -> str:
        return next((text for kind, text in SAMPLES.items() if kind in wildcard[0]), "pie")


class CherryPy:
    """Runs blocks for CherryPy. ``quickstart`` only mounts, and the engine isn't started."""

    def __init__(self, module: Any) -> None:
        self.app = module.tree
        self.listeners = module.engine.listeners
        module.config.update({"log.screen": False})
        for owner, name in (
            (module.engine, "start"),
            (module.engine, "block"),
            (module.engine.signals, "subscribe"),
        ):
            setattr(owner, name, lambda *_: None)

        def quickstart(root: Any = None, script_name: str = "", config: Any = None) -> None:
            if config:
                module.config.update(config)
            module.tree.mount(root, script_name, config)

        module.quickstart = quickstart
        self.names: dict[str, Any] = {"cherrypy": module}
        self.before: dict[str, Any] = {}

    def begin(self) -> None:
        self.app.apps.clear()
        for channel in ("before_request", "after_request"):  # listeners of plugins that never start
            self.listeners.get(channel, set()).clear()
        self.before = dict(self.names)

    def end(self) -> None:
        """Mount the block's classes if the block doesn't mount anything itself."""
        for name, value in () if self.app.apps else [*self.names.items()]:
            is_test = isinstance(value, type) and issubclass(value, unittest.TestCase)
            if isinstance(value, type) and value is not self.before.get(name) and not is_test:
                with suppress(Exception):  # the class needs arguments, or is a tool
                    self.app.mount(value(), f"/{name}")

    def paths(self) -> set[str]:
        found: set[str] = set()
        for prefix, app in self.app.apps.items():
            root = getattr(app, "root", None)
            found |= {f"{prefix}/"} if root is None else {*self._below(root, prefix, [])}
            sections = [name for name in getattr(app, "config", {}) if name[:1] == "/"]
            found |= {prefix + path for path in (*sections, "/style.css", "/static/css/style.css")}
        return found

    def _below(self, node: Any, path: str, above: list[Any]) -> Iterator[str]:
        if node in above:
            return
        if getattr(node, "exposed", False) and not isinstance(node, type):
            yield from (path, f"{path}/pie")
        for name in dir(node):
            if name[:1] == "_" or name == "favicon_ico":  # CherryPy adds favicon_ico
                continue
            value = None
            with suppress(Exception):  # reading a property may raise
                value = getattr(node, name)
            below = path if name in ("index", "default") else f"{path}/{name}"
            if getattr(value, "exposed", False) and callable(value):
                below = path if name in VERBS else below
                yield from (below or "/", f"{below}/pie/7", f"{below}?name=pie&length=7&a_key=x")
            elif type(value).__module__ == "__main__":
                yield from self._below(value, below, [*above, node])


def respond(app: Callable[..., Any], requests: list[list[str]]) -> Iterator[list[Any]]:
    """Yield the status, headers and body of an application's responses. Cookies are sent back."""
    cookies: dict[str, str] = {}
    for method, target in requests:
        path, _, query = target.partition("?")
        body = FORM if method in ("POST", "PUT") else b""
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path or "/",
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/x-www-form-urlencoded" if body else "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if cookies:
            environ["HTTP_COOKIE"] = "; ".join(f"{key}={value}" for key, value in cookies.items())
        head: list[Any] = []
        try:
            result = app(environ, lambda *given, head=head: head.extend(given[:2]))
            data = b"".join(result)
            getattr(result, "close", int)()
        except BaseException as error:
            yield [0, [], f"raised {type(error).__name__}"]
            continue
        for name, value in head[1]:
            if name.lower() == "set-cookie":
                key, _, text = value.partition(";")[0].partition("=")
                cookies[key] = text
        yield [int(head[0][:3]), head[1], data.decode("latin-1")]


def main() -> None:
    framework, ours, block, files = json.load(sys.stdin)
    stdout, sys.stdout = sys.stdout, io.StringIO()
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    if ours:
        importlib.import_module("micropie_compat").install(framework)
    side = (Bottle if framework == "bottle" else CherryPy)(importlib.import_module(framework))
    side.names |= {"__name__": "__main__", "__file__": str(Path("block.py").resolve())}
    sys.modules |= dict.fromkeys(OTHERS)  # type: ignore[arg-type]  # their event loops would not end
    random.seed(1)
    for source in block["earlier"]:
        with suppress(BaseException):
            exec(source, side.names)  # noqa: S102
    side.begin()
    raised = ""
    try:
        code = compile(block["source"], "block.py", "exec", dont_inherit=True)
        exec(code, side.names)  # noqa: S102
    except BaseException as error:
        raised = f"{type(error).__name__}: {error}"
    side.end()
    requests = block.get("requests")
    if requests is None:
        paths = sorted(side.paths())[:40]
        requests = [[method, path] for path in paths for method in METHODS]
        requests += [["GET", "/none"]] if paths else []
    responses = [*respond(side.app, requests)]
    json.dump({"raised": raised, "requests": requests, "responses": responses}, stdout)


if __name__ == "__main__":
    main()
