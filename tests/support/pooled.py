"""Handlers that run in other processes, which import them by name."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import micropie
from micropie import (
    App,
    HTTPError,
    MethodNotAllowed,
    Redirect,
    Response,
    event,
    get,
    post,
    run_in,
    where,
)
from micropie.channels import Channels
from micropie.middleware import Timeout


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class Custom(Exception):
    pass


class Holding(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


changed: list[str] = []  # tests append to it in their own process


def plain(number: int) -> Any:
    return [where(), number, micropie.request.query("number")]


def computes(begun: str, work: str) -> None:
    """Compute for minutes: in C, which keeps the interpreter to itself, or in Python."""
    Path(begun).touch()
    if work == "in C":
        pow(3, 10**10)
    while True:
        pass


class Pooled(App):
    colour = "green"

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.lock = threading.Lock()  # can't be pickled

    @run_in("process")
    def process(self) -> Any:
        return [where(), os.getpid()]

    def here(self) -> Any:
        return [where(), os.getpid()]

    @run_in("process")
    def add(self, a: int, b: int = 1, *more: int, name: str = "sum", **others: str) -> Any:
        return {name: a + b + sum(more), **others}

    @get("/routed/<number:int>")
    @run_in("process")
    def routed(self, number: int) -> Any:
        return [where(), number]

    @staticmethod
    @run_in("process")
    def static_one(name: str = "") -> str:
        return where() + name

    @classmethod
    @run_in("process")
    def of_class(cls) -> str:
        return cls.colour

    @run_in("process")
    def uses_self(self) -> Any:
        return [self._helped(), self.colour, hasattr(self, "lock")]

    def _helped(self) -> str:
        return "helped"

    @post
    @run_in("process")
    def request_seen(self) -> Any:
        request = self.request
        assert request.path == micropie.request.path
        return {
            "method": request.method,
            "path": request.path,
            "url": request.url,
            "header": request.headers["x-colour"],
            "cookie": request.cookies["taste"],
            "query": request.query_params,
            "form": request.form("name"),
            "json": request.get_json,
            "is_json": request.is_json,
            "length": request.content_length,
            "client": request.client and request.client.host,
            "label": request._exchange.label,
            "segments": request._exchange.segments(),
        }

    @post
    @run_in("process")
    def json_seen(self) -> Any:
        try:
            return {"json": self.request.json()}
        except HTTPError as error:
            return {"status": error.status}

    def log_in(self, name: str) -> str:
        self.request.session["user"] = name
        return "in"

    @run_in("process")
    def reads(self, what: str) -> Any:
        if what == "stream":
            return iter(["a", "b"])
        if what == "cookie":
            return self.request.cookies.get("taste", "no taste")
        if what == "authorization":
            return self.request.headers.get(what, "nobody")
        if what == "failure":
            raise HTTPError(404, "no such pie")
        return what

    @run_in("process")
    def session(self) -> Any:
        try:
            self.request.session["user"] = "Eve"
        except RuntimeError as error:
            return [self.request.session.get("user"), str(error)]

    @run_in("process")
    def refused(self) -> Any:
        request: Any = self.request
        said = []
        for attempt in (
            lambda: self.response,
            lambda: request.after_response(print),
            lambda: setattr(request, "session", {}),
            lambda: request.session.pop("user", None),
            lambda: request.session.clear(),
            lambda: self.url_for("refused"),
            lambda: self.render("page.html"),
            lambda: self.channels,
            lambda: request.read(),
            lambda: request.body(),
            lambda: next(request.chunks()),
            lambda: request.stream(),
            lambda: request.parts(),
            lambda: request.scope,
        ):
            try:
                attempt()
            except RuntimeError as error:
                said.append(str(error))
        return said

    @run_in("process")
    def answers(self, kind: str) -> Any:
        if kind == "response":
            return Response("made", 201, {"X-Colour": "red"})
        if kind == "redirect":
            return Redirect("/there")
        return 202, "tuple", {"X-Colour": "red"}

    @run_in("process")
    def raises(self, kind: str) -> Any:
        if kind == "http":
            raise HTTPError(418, "short and stout", [("X-Pot", "tea")])
        if kind == "methods":
            raise MethodNotAllowed(["PUT"])
        if kind == "exit":
            sys.exit(3)
        if kind == "unpicklable":
            raise Unpicklable("a", "b")
        if kind == "self":
            return self.lock
        if kind == "none":
            return self.nothing  # type: ignore[attr-defined]
        if kind == "holding":
            raise Holding("oh")
        raise Custom("oh")

    @run_in("process")
    def unpicklable(self) -> Any:
        return threading.Lock()

    @run_in("process")
    def dies(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @run_in("process")
    def leaves(self) -> None:
        os._exit(7)

    @run_in("process")
    def sleeps(self, seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

    @Timeout(1)
    @run_in("process")
    def sleeps_a_second(self, seconds: float) -> str:
        return self.sleeps(seconds)

    @run_in("process")
    def chunks(self, count: int, file: str = "") -> Iterator[str]:
        try:
            for number in range(count):
                yield f"{number} "
                if file:
                    Path(file).write_text(str(number))
        finally:
            if file:
                Path(file + ".closed").touch()

    @run_in("process")
    def stream_fails(self, after: int) -> Iterator[str]:
        for _ in range(after):
            yield "chunk "
        raise Custom("in mid-stream")

    @run_in("process")
    def stream_dies(self) -> Iterator[str]:
        yield "chunk "
        os.kill(os.getpid(), signal.SIGKILL)

    @run_in("process")
    def stream_hangs(self) -> Iterator[str]:
        yield "chunk "
        time.sleep(60)

    @run_in("process")
    def stream_close_fails(self) -> Iterator[str]:
        try:
            for _ in range(100):
                yield "chunk "
        finally:
            raise Custom("while closing")

    @run_in("process")
    def chunk_unpicklable(self) -> Iterator[Any]:
        yield "chunk "
        yield threading.Lock()

    @run_in("process")
    def begins(self, file: str) -> None:
        """Create ``file``, then sleep for longer than any test."""
        Path(file).touch()
        time.sleep(60)

    @run_in("process")
    def stream_begins(self, after: int, file: str) -> Iterator[str]:
        yield from ["chunk "] * after
        Path(file).touch()
        time.sleep(60)

    @run_in("process")
    def stream_waits(self, file: str) -> Iterator[str]:
        """Continue when ``file`` exists."""
        yield from "abcdef"
        while not Path(file).exists():
            time.sleep(0.01)
        yield "g"

    @run_in("process")
    def events(self) -> Iterator[Any]:
        Channels().publish("room", {"number": 1})
        yield event({"number": 1})

    @run_in("process")
    def module_state(self) -> Any:
        return changed

    @run_in("process")
    def takes(self, thing: Any) -> str:
        return "taken"


def twice(function: Any) -> Any:
    @functools.wraps(function)
    def called(*args: Any) -> Any:
        return function(*args) * 2

    return called


class Decorated(App):
    @twice
    @run_in("process")
    def word(self) -> str:
        return where()


class Plain(App):
    def here(self) -> str:
        return where()

    async def there(self) -> str:
        return where()
