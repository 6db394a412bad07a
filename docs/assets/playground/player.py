"""The server of the playground: it runs an application in the browser, and asks it as an ASGI
server would.

``worker.js`` makes one ``Player`` for a page. An application is a text; when it changes, it is
started anew. ``tell(id, kind, value)`` brings what happens to the page: "head", "chunk", "end",
"failed" and "log".
"""

import asyncio
import json
import linecache
import logging
import sys
import traceback
from contextlib import suppress
from http.cookies import SimpleCookie
from pathlib import Path
from time import perf_counter
from types import ModuleType
from urllib.parse import unquote

import micropie  # noqa: F401 - before the first request, which then waits for less

HOST = "127.0.0.1:8000"
SERVED = {
    "server": ("127.0.0.1", 8000),
    "client": ("127.0.0.1", 50_000),
    "root_path": "",
    "http_version": "1.1",
}
FOLDER = Path("/home/pyodide")


class Log(logging.Handler):
    """Bring records to the page."""

    def __init__(self, tell):
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        self._tell = tell

    def emit(self, record):
        self._tell(0, "log", self.format(record))


class Player:
    """Runs one application at a time."""

    def __init__(self, tell):
        self._tell = tell
        self._source = self._app = self._life = None
        self._state, self._cookies, self._asked = {}, {}, {}
        logging.basicConfig(level=logging.INFO, handlers=[Log(tell)])

    async def ask(self, number, source, method, target, body):
        """Answer one request, or talk to a WebSocket until somebody leaves."""
        begun = perf_counter()
        messages = self._asked[number] = asyncio.Queue()
        try:
            await self._start(source)
            path, _, query = target.partition("?")
            scope = self._scope(method, path, query, body)
            exchange = self._talk if scope["type"] == "websocket" else self._answer
            status = await exchange(number, scope, messages, body)
            spent = (perf_counter() - begun) * 1000
            self._tell(0, "log", f"{method} {target} {status} {spent:.1f} ms")
            self._tell(number, "end", spent)
        except StartFailed as error:
            self._tell(number, "failed", str(error))
        except Exception as error:
            self._tell(number, "failed", traceback_of(error))
        finally:
            del self._asked[number]

    def say(self, number, text):
        """Send a message to a WebSocket."""
        if number in self._asked:
            self._asked[number].put_nowait({"type": "websocket.receive", "text": text})

    def leave(self, number):
        """Close a request or a WebSocket, as a browser does that goes to another page."""
        if number in self._asked:
            self._asked[number].put_nowait({"type": "http.disconnect", "code": 1001})

    async def _start(self, source):
        """Start the application of this source instead of the one before, unless it is the
        same.
        """
        if source == self._source:
            return
        self._source, life, self._life = None, self._life, None
        if life is not None:
            await life.stop()
        self._cookies.clear()
        (FOLDER / "app.py").write_text(source)  # for tracebacks and the debug page
        linecache.checkcache()
        module = sys.modules["app"] = ModuleType("app")
        module.__file__ = "app.py"
        code = compile(source, "app.py", "exec", dont_inherit=True)
        exec(code, vars(module))  # noqa: S102 - the visitor's own
        if not hasattr(module, "app"):
            raise NameError("The playground serves the name app. End the file by: app = Root()")
        self._app, self._state = module.app, {}
        life = Lifespan(self._app, self._state)
        await life.start()
        self._life, self._source = life, source

    def _scope(self, method, path, query, body):
        headers = {
            "host": HOST,
            "user-agent": "playground",
            "accept": "*/*",
            "sec-fetch-site": "same-origin",
        }
        if method not in ("GET", "HEAD"):
            headers["origin"] = f"http://{HOST}"
        if body and method != "WS":
            headers["content-type"] = type_of(body)
            headers["content-length"] = str(len(body.encode()))
        if self._cookies:
            headers["cookie"] = "; ".join(
                f"{name}={value}" for name, value in self._cookies.items()
            )
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "state": dict(self._state),
            **SERVED,
        }
        if method == "WS":
            return {**scope, "type": "websocket", "scheme": "ws", "subprotocols": []}
        return {**scope, "method": method, "scheme": "http"}

    async def _answer(self, number, scope, messages, body):
        requested = [{"type": "http.request", "body": body.encode(), "more_body": False}]
        status = None

        async def receive():
            return requested.pop() if requested else await messages.get()

        async def send(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in message["headers"]
                ]
                self._keep_cookies(value for name, value in headers if name == "set-cookie")
                self._tell(number, "head", [status, headers])
            elif message.get("body"):
                self._tell(number, "chunk", message["body"].decode(errors="replace"))
                await asyncio.sleep(0)  # so that a click on Stop is read

        await self._app(scope, receive, send)
        return status

    async def _talk(self, number, scope, messages, text):
        messages.put_nowait({"type": "websocket.connect"})
        code = 1000

        async def receive():
            message = await messages.get()
            return {**message, "type": "websocket.disconnect"} if "code" in message else message

        async def send(message):
            nonlocal code
            if message["type"] == "websocket.accept":
                self._tell(number, "head", ["open", []])
                if text:  # as late as over a network: the handler has begun to listen to others
                    asyncio.get_running_loop().call_later(0.02, self.say, number, text)
            elif message["type"] == "websocket.send":
                data = message.get("text")
                self._tell(
                    number, "chunk", (repr(message["bytes"]) if data is None else data) + "\n"
                )
            elif message["type"] == "websocket.close":
                code = message.get("code", 1000)
                self._tell(number, "head", [f"closed {code}", []])

        await self._app(scope, receive, send)
        return code

    def _keep_cookies(self, lines):
        for line in lines:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self._cookies.pop(name, None)
                else:
                    self._cookies[name] = morsel.coded_value


class StartFailed(Exception):
    """The application could not start or end; the message says why."""


class Lifespan:
    """An application's start and end, as a server calls them."""

    def __init__(self, app, state):
        self._app, self._state = app, state
        self._in, self._out = asyncio.Queue(), asyncio.Queue()
        self._task = None

    async def start(self):
        self._task = asyncio.create_task(self._run())
        await self._step("startup")

    async def stop(self):
        """End the application.

        What fails is logged by it, and is no reason not to start the next one.
        """
        with suppress(StartFailed):
            await self._step("shutdown")
        await self._task

    async def _run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}
        try:
            await self._app(scope, self._in.get, self._out.put)
        except Exception as error:
            await self._out.put({"type": "lifespan.failed", "message": traceback_of(error)})

    async def _step(self, name):
        self._in.put_nowait({"type": f"lifespan.{name}"})
        answer = await self._out.get()
        if answer["type"].endswith("failed"):
            raise StartFailed(answer.get("message", "").strip())


def type_of(body):
    """Return the media type of a body that somebody typed: JSON if it begins like it, otherwise a
    form.
    """
    try:
        json.loads(body)
    except ValueError:
        return "application/x-www-form-urlencoded"
    return "application/json"


def traceback_of(error):
    """Return the error with those frames alone that are of the application."""
    frames = traceback.TracebackException.from_exception(error)
    frames.stack = traceback.StackSummary.from_list(
        [one for one in frames.stack if one.filename == "app.py"]
    )
    return "".join(frames.format(chain=False))
