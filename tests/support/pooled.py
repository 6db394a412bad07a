"""Handlers that run in other processes, which import them by name."""

from __future__ import annotations

import copyreg
import functools
import importlib
import math
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import micropie
from micropie import (
    App,
    HTTPError,
    MethodNotAllowed,
    Progress,
    Redirect,
    Response,
    RetireProcess,
    WebSocket,
    check_cancelled,
    event,
    get,
    pool_index,
    post,
    progress,
    run_async,
    run_in,
    where,
)
from micropie._core.execution.call_steps import in_this_thread
from micropie._core.execution.pool import inside
from micropie._core.execution.pool.connection import _HEADER
from micropie._core.execution.pool.remote import RESULT
from micropie._core.execution.process_pool import CancelToken
from micropie.channels import Channels
from micropie.middleware import Timeout, ends_with_client
from tests.support.waiting import PATIENCE


class SoldOut(Exception):
    def __init__(self, pie: str, left: int) -> None:
        super().__init__(f"{left} {pie} pies left")
        self.pie = pie


class Custom(Exception):
    pass


class Holding(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def call_in(
    pool: Any, seconds: float, function: Any, *arguments: object, token: CancelToken | None = None
) -> Any:
    """Call a function in a pool, and wait in this thread."""
    return in_this_thread(pool.steps(seconds, function, arguments, token or CancelToken()))


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


@dataclass
class Locked:
    """A body that can't be pickled."""

    def __post_init__(self) -> None:
        self.lock = threading.Lock()


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

    @post
    @run_in("process")
    def takes(self, thing: Locked) -> None: ...

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
            lambda: request.accepts("html"),
            lambda: request.not_modified(etag="1"),
            lambda: request.state.user,
            lambda: request.user,
        ):
            try:
                attempt()
            except (RuntimeError, AttributeError) as error:
                said.append(str(error))
        return said

    @run_in("process")
    def keeps(self, colour: str) -> Any:
        self.request.state.colour = self.request.colour = colour  # type: ignore[attr-defined]
        state, request = self.request.state, self.request
        return [state.colour, "size" in state, getattr(state, "size", 3), request.colour]  # type: ignore[attr-defined]

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
        if kind == "sold_out":
            raise SoldOut("plum", 0)
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

    @run_in("process")
    def waits_for(self, file: str) -> None:
        """Return when ``file`` exists."""
        while not Path(file).exists():
            time.sleep(0.01)

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


def twice(function: Any) -> Any:
    @functools.wraps(function)
    def called(*args: Any) -> Any:
        return function(*args) * 2

    return called


class Proxy:
    """What wrapt makes of a function: each access to a method returns a new and equal object."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)

    def __get__(self, instance: object, owner: type) -> Any:
        return Proxy(self.__wrapped__.__get__(instance, owner))

    def __call__(self, *arguments: Any) -> Any:
        return self.__wrapped__(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __eq__(self, other: object) -> bool:
        return bool(self.__wrapped__ == other)

    __hash__ = object.__hash__
    __wrapped__: Any


class Decorated(App):
    @twice
    @run_in("process")
    def word(self) -> str:
        return where()

    @Proxy
    @run_in("process")
    def proxied(self) -> str:
        return where()


class Plain(App):
    def here(self) -> str:
        return where()

    async def there(self) -> str:
        return where()


def product(a: int, b: int) -> Any:
    return [where(), a * b]


class Remembering:
    """What joblib makes of a function: an object that has its name, and can't be pickled."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


@Remembering
def remembered(number: int) -> Any:
    return product(number, 4)


def counted(number: int) -> Iterator[int]:
    yield from range(number)


async def waits() -> None: ...


def checks(begun: str) -> None:
    """Go on until nobody waits for the result."""
    Path(begun).touch()
    while True:
        time.sleep(0.01)
        check_cancelled()


def ignores(begun: str) -> None:
    """Go on for longer than any test, and write the process's number."""
    unfinished = Path(begun + ".unfinished")
    unfinished.write_text(str(os.getpid()))
    unfinished.replace(begun)  # whoever sees the file can read the number
    time.sleep(600)


def ends_its_children() -> list[int | None]:
    """Start a program and a forked process, end both by SIGTERM, and return their statuses."""
    program = subprocess.Popen(["sleep", "60"])
    forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    forked.start()
    for child in (program, forked):
        child.terminate()
    forked.join(PATIENCE)
    return [program.wait(PATIENCE), forked.exitcode]


def dies_before_its_child(child: str, pid: str) -> None:
    """Start a child, write its number to the file ``pid``, and kill this process."""
    if child == "forked":
        forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        forked.start()
        number = forked.pid
    else:
        number = os.posix_spawn(
            sys.executable, ["python", "-c", "import time; time.sleep(60)"], os.environ
        )
    Path(pid).write_text(str(number))
    os.kill(os.getpid(), signal.SIGKILL)


def steps_in_a_child(number: int) -> int:
    """Report steps in a forked child, then one here."""
    child = multiprocessing.get_context("fork").Process(target=steps, args=(number,))
    child.start()
    child.join(PATIENCE)
    progress(1, note="own")
    assert child.exitcode == 0
    return pool_index()


def steps(number: int) -> str:
    """Report that many steps."""
    for done in range(1, number + 1):
        progress(done, number, f"pie {done}")
    return "baked"


def steps_then_fails() -> None:
    progress(0.5)
    raise Custom("burnt")


def steps_until_cancelled(begun: str) -> None:
    """Report steps until nobody waits for them, and say so."""
    try:
        while True:
            progress(1)
            Path(begun).touch()
            time.sleep(0.01)
    finally:
        Path(begun + ".ended").touch()


def steps_without_end() -> None:
    while True:
        progress(1, note="x" * 1000)


def reports_too_late(number: int) -> int:
    """Leave a thread that reports when this call has ended, before and during the next ones."""

    def report() -> None:
        while True:
            progress(number, note="of another call")
            time.sleep(0.001)

    threading.Thread(target=report, daemon=True).start()
    return number


loaded: list[int] = []  # a process of the pool appends to it when it starts


def load() -> None:
    loaded.append(pool_index())


def never_loads() -> None:
    threading.Event().wait()


def fails_to_load() -> None:
    raise ValueError("no device")


def seen_there() -> Any:
    return [loaded, pool_index(), os.getpid()]


def meets(directory: str, others: int) -> int:
    """Wait until this function runs in all processes at once, and return the process's index."""
    Path(directory, str(os.getpid())).touch()
    while len([*Path(directory).iterdir()]) < others:
        time.sleep(0.01)
    return pool_index()


def uses_memory(mebibytes: int) -> int:
    kept.append(b"x" * mebibytes * 1024 * 1024)
    return os.getpid()


kept: list[bytes] = []


def retires(how: str) -> None:
    if how == "exit":
        sys.exit(3)
    raise RetireProcess("the device failed") if how == "ours" else Custom("listed")


def made(size: int) -> bytes:
    return b"x" * size


def limits_memory(mebibytes: int) -> int:
    """Let this process use so much more memory."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + mebibytes * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return os.getpid()


def is_stopped_as_it_sends(size: int) -> None:
    """Send a part of a message, and stop this process."""
    connection = inside._calls[0]._connection
    connection._socket.sendall(_HEADER.pack(RESULT, size, 0) + b"x")
    os.kill(os.getpid(), signal.SIGSTOP)


def doubled(data: Any) -> Any:
    return {"data": data, "pair": (200, data)}


def refuses(data: bytes) -> None:
    raise Custom(data)


class Readable:
    """Can be unpickled in one place only: where ``where()`` is that place."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return readable, (self.place,)


def readable(place: str) -> Readable:
    if where() != place:
        raise OSError("no file")
    return Readable(place)


class Noting:
    """Notes the thread in which it is pickled."""

    def __init__(self, seen: list[object]) -> None:
        self.seen = seen

    def __reduce__(self) -> tuple[object, ...]:
        self.seen.append(threading.current_thread())
        return int, ()


class NotingByProtocol(Noting):
    __reduce__: Any = object.__reduce__

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return Noting.__reduce__(self)


class NotingState(Noting):
    __reduce__: Any = object.__reduce__

    def __getstate__(self) -> object:
        self.seen.append(threading.current_thread())
        return None


class Registered(Noting):
    __reduce__: Any = object.__reduce__


copyreg.pickle(Registered, Noting.__reduce__)  # type: ignore[arg-type]


class Empty: ...


def takes(value: object) -> None: ...


class Restored:
    """Notes the thread in which it is unpickled."""

    thread: object = None

    def __setstate__(self, state: object) -> None:
        self.thread = threading.current_thread()

    def __getstate__(self) -> object:
        return True


class Reduced(Restored):
    def __reduce__(self) -> tuple[object, ...]:
        return restored, (Reduced,)


class Traced(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        return restored, (Traced,)


def restored(kind: type[Any]) -> Any:
    made: Any = kind()
    made.thread = threading.current_thread()
    return made


def made_of(kind: type[object]) -> Any:
    return kind()


def fails_with(kind: type[Exception]) -> None:
    raise kind


def made_late(name: str) -> Any:
    """Return an object whose module this process alone has imported."""
    return importlib.import_module(name).Late()


def raises_with(value: object) -> None:
    raise Custom(value)


def yields_around(value: object) -> Iterator[object]:
    yield from (1, value, *range(30))


def reports(value: Any) -> None:
    """Go on until the call is stopped."""
    while True:
        progress(1, None, value)
        time.sleep(0.001)


def big_chunks(count: int, size: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number]) * size


class Factor:
    """An object whose method can be pickled together with it."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, number: int) -> int:
        return self.factor * number


class Caller(App):
    """Handlers and other code that run functions in the pool."""

    colour = "green"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.provides(Product)(self._product)

    async def _product(self) -> Any:
        return await self.pool.run(product, 6, 7)

    async def runs(self, a: int, b: int) -> Any:
        return await self.pool.run(product, a, b)

    def runs_from_def(self, a: int, b: int) -> Any:
        return run_async(self.pool.run, product, a, b)

    @run_in("process")
    def heavy(self, number: int) -> Any:
        return [where(), self.colour, self._helped(number)]

    @run_in("process")
    def _helped(self, number: int) -> int:
        return number + 1

    async def runs_a_method(self) -> Any:
        return await self.pool.run(self.heavy, 1)

    async def runs_many(self) -> Any:
        calls: list[tuple[Any, ...]] = [
            (Factor(3).times, 5),
            (math.factorial, 5),
            (pow, 2, 3),
            (functools.partial(product, b=3), 2),
            (functools.partial(self.heavy, 1),),
            (str.upper, "pie"),  # has no ``__module__``
            (remembered, 2),
        ]
        return [await self.pool.run(*call) for call in calls]

    def calls_directly(self) -> Any:
        return self._helped(1)

    async def calls_directly_on_loop(self) -> Any:
        return self._helped(1)

    async def runs_what_it_cant(self, what: str) -> Any:
        tried: dict[str, tuple[Any, ...]] = {
            "lambda": (lambda: 1,),
            "async": (waits,),
            "called": (product(1, 2),),
            "partial": (functools.partial(lambda number: number, 1),),
            "generator": (counted, 2),
            "argument": (product, threading.Lock(), 2),
            "argument of another": (math.factorial, threading.Lock()),
            "function": (threading.Lock().acquire,),
            "result": (threading.Lock,),
            "failure": (plain, "one"),
        }
        return await self.pool.run(*tried[what])

    async def follows(self, number: int) -> Any:
        async with self.pool.start(steps, number) as call:
            seen = [step async for step in call]
            return [await call, seen[-1]]

    def follows_from_def(self, number: int) -> Any:
        seen: list[Progress] = []

        async def follow() -> str:
            return await self.pool.run(steps, number, on_progress=seen.append)

        return [run_async(follow), seen[-1]]

    async def runs_for_long(self) -> None:
        await self.pool.run(time.sleep, 60)

    @ends_with_client
    @run_in("process")
    def ends(self, begun: str) -> str:
        ignores(begun)
        return "not reached"

    @ends_with_client
    @run_in("process")
    def stays(self) -> str:
        return where()

    @Timeout(0.2)
    @run_in("process")
    def limited(self, begun: str) -> None:
        checks(begun)

    @run_in("process")
    def uses_pool(self) -> Any:
        return self.pool

    def afterwards(self, number: int) -> str:
        async def runs() -> None:
            changed.append(str(await self.pool.run(product, number, 10)))

        self.request.after_response(runs)
        return "begun"

    async def provided(self, value: Product) -> Any:
        return value

    async def ws_socket(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_json(await self.pool.run(product, int(message), 2))


class Product(list[Any]): ...
