"""Where a handler runs: the setting ``run_in``, and ``@run_in`` above a handler. Their values are:

- ``"loop"``: on the event loop, where every ``async def`` handler runs. Use it for a ``def``
  handler that never blocks.
- ``"thread"``: in a thread, where the handler may block.
- ``"process"``: in another process, where the handler may compute for long without delaying other
  requests. That process imports the handler by its name.

The setting applies only to ``def`` handlers. ``@run_in`` overrides it. If a handler can't run in
the chosen place, a ``SetupError`` says what to write instead.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from threading import Condition, get_ident
from types import CodeType
from typing import Any, Final, NamedTuple, TypeAlias
from weakref import WeakSet

from micropie._core.errors import SetupError, is_async
from micropie._core.execution.standing_queue import Refusals

# A function of the application, such as a handler, with any parameters and any result.
AnyFunction: TypeAlias = Callable[..., object]

LOOP: Final = "loop"
THREAD: Final = "thread"
PROCESS: Final = "process"

ALL_WAIT = "no thread became free in time, because too many calls are waiting"

MARK = "__micropie_run_in__"  # the attribute that ``@run_in`` sets on a function


def layers(function: AnyFunction) -> Iterator[AnyFunction]:
    """Yield a function, then the functions that it wraps, if it is a partial or was made by a
    decorator. The innermost function comes last.
    """
    while True:
        yield function
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return


def innermost(function: AnyFunction) -> Any:
    """Return the function inside all decorators and partials around it; see ``layers``."""
    *_, inner = layers(function)
    return inner


def names_in(function: AnyFunction) -> set[str]:
    """Return the names of the attributes and variables that the code of a function, or of a
    function inside it, uses.
    """
    codes, names = [getattr(innermost(function), "__code__", None)], set[str]()
    for code in codes:  # the list grows during the loop
        if isinstance(code, CodeType):
            codes += code.co_consts
            names.update(code.co_names, code.co_varnames)
    return names


def check_placement(function: AnyFunction, placement: str, name: str) -> None:
    """Raise ``SetupError`` if a handler can't run at its ``placement``: LOOP, THREAD or PROCESS."""
    inner = innermost(function)
    if is_async(inner) and placement != LOOP:
        raise SetupError(
            f"{name} is an async def, which can run only on the event loop: write def to run it "
            f"in a {placement}"
        )
    if placement == LOOP and inspect.isgeneratorfunction(inner):
        raise SetupError(
            f"{name} is a generator written with def, which can't run on the event loop: write "
            'async def, or leave out @run_in("loop")'
        )


class Rank(IntEnum):
    """The priority of a call that waits for a thread. The highest rank is served first."""

    QUEUED = 0  # the first call of a request, which is refused if too many calls wait
    WAITING = 1  # a call that waits in the same queue, but is never refused
    BEGUN = 2  # a call of a request that has used a thread before
    HOLDING = 3  # like BEGUN, but the request may hold something that others wait for
    RELEASING = 4  # a call that releases what others wait for


class Given(NamedTuple):
    """A resource that a request neither enters nor closes, although it may have the methods."""

    resource: object


class Threads:
    """A limit of ``size`` worker threads. An application and the applications inside it share one
    ``Threads`` object for their handlers, unless an inner application sets its own.

    - ``queue``: how many new requests may wait for a thread. Other calls may always wait.
    - ``wait``: how many seconds a new request may wait while the queue doesn't grow; None means no
      limit. While the queue grows, the limit is 0.25 seconds.
    - ``reserve``: how many threads beyond ``size`` may run for requests that hold something that
      others may be waiting for, such as a connection of a pool.
    """

    patience: float | None = None
    """Seconds that a call waits for a thread before it fails; None means no limit."""

    def __init__(
        self, size: int, queue: int = 0, reserve: int = 0, wait: float | None = None
    ) -> None:
        self.size = size
        self.queue = queue
        self.reserve = reserve
        self.wait = wait
        self.refusals = Refusals()

    @functools.cached_property
    def turns(self) -> Threads:
        """A limit of another ``size`` threads, which make every chunk of a stream except the first.
        A stream may hold a connection that new requests wait for. If these requests occupied all
        threads, the stream could never end.
        """
        return Threads(self.size)

    def call(self, function: AnyFunction, arguments: Sequence[object]) -> object:
        """Call a function in the current thread. This method is used under WSGI only, where the
        current thread is one of the server's.
        """
        return function(*arguments)


# The threads for files are separate, so that clients get a page's style sheet even while all
# threads for handlers are busy.
IO_THREADS = Threads(40)


class ServiceThreads(Threads):
    """Limits the threads that may wait for one service. So if the service hangs, requests that
    don't need it can still be handled.

    Pass the object as ``threads`` to the ``Call`` for a function that calls the service. Raises
    ``TimeoutError`` if no thread is free within ``patience`` seconds.

    Under WSGI, the function is called in the server's own threads, whose number is not known. So at
    most half of the threads that have made such calls may wait for the service at the same time. A
    further call fails if none of these calls ends within ``patience`` seconds.
    """

    # Seconds. If Redis is 200 ms away, saving a session that other requests also change takes 2 s.
    patience = 2.5

    def __init__(self) -> None:
        super().__init__(40)
        self._change = Condition()
        self._seen: set[int] = set()
        self._waiting = 0

    def call(self, function: AnyFunction, arguments: Sequence[object]) -> object:
        """Call a function in the current thread. First wait until fewer than half of the threads
        wait for the service.
        """
        with self._change:
            if len(self._seen) < 2 * self.size:
                self._seen.add(get_ident())
            # Each call that ends shows that the service is only slow and doesn't hang, so start a
            # new wait of ``patience`` seconds.
            while self._waiting >= max(1, len(self._seen) // 2):
                if not self._change.wait(self.patience):
                    raise TimeoutError(ALL_WAIT)
            self._waiting += 1
        try:
            return function(*arguments)
        finally:
            with self._change:
                self._waiting -= 1
                self._change.notify_all()


# -- functions in another process ----------------------------------------------------------------


class _Process:
    """What is known about this process. ``is_of_pool``: whether it is a process of a pool."""

    is_of_pool = False


this_process = _Process()

# Whether this code is a call that an executor makes in place of the pool, even in this process.
IN_JOB: ContextVar[bool] = ContextVar("micropie_in_job", default=False)


def is_in_pool() -> bool:
    """Return whether this code runs in a process of the pool, or in an executor's job."""
    return this_process.is_of_pool or IN_JOB.get()


def only_in_pool(function: AnyFunction) -> AnyFunction:
    """Return a function that does the same as ``function`` in the pool. Anywhere else, it raises
    ``RuntimeError``, because it would block everything that it was meant not to block. A later
    ``run_in`` with another placement ends this.
    """
    if not inspect.isfunction(function):
        return function

    @functools.wraps(function)
    def checked(*args: object, **kwargs: object) -> object:
        if not is_in_pool() and getattr(checked, MARK) == PROCESS:
            name = function.__qualname__
            raise RuntimeError(
                f"{name} runs in the process pool, so it can't be called directly: write await "
                f"app.pool.run({name}, ...), or run_async(app.pool.run, {name}, ...) in def code. "
                "For a method, write self.pool.run(self.method, ...)"
            )
        return function(*args, **kwargs)

    _CHECKED.add(checked)
    return checked


# What ``only_in_pool`` has returned.
_CHECKED: WeakSet[AnyFunction] = WeakSet()


class HandlerName(NamedTuple):
    """The name by which another process imports a function or a method.

    - ``module``: the module's name.
    - ``qualname``: the name of the function or, for a method, of its class.
    - ``method``: the method's name in the class, or None for a function.
    - ``takes_keywords``: whether the last argument of a call is a dict of keyword arguments.
    """

    module: str
    qualname: str
    method: str | None
    takes_keywords: bool = False


def pooled_name(function: AnyFunction, label: str) -> HandlerName:
    """Return the name by which processes of the pool import a function.

    Raises ``SetupError`` if importing by that name would not find the function.
    """
    while isinstance(function, functools.partial) and not function.args and not function.keywords:
        # Unwrap the handler: the attributes that decorators set on a staticmethod were copied to a
        # partial around the handler.
        function = function.func
    owner = getattr(function, "__self__", None)
    target: object = (
        function if owner is None else owner if isinstance(owner, type) else type(owner)
    )
    method = None if owner is None else getattr(function, "__name__", "")
    name = HandlerName(
        getattr(target, "__module__", ""), getattr(target, "__qualname__", ""), method
    )
    try:
        named = attrgetter(name.qualname)(sys.modules[name.module])
        if name.method is not None:
            named = getattr(named, name.method)
    except (KeyError, AttributeError):
        named = None
    inner: Any = getattr(function, "__func__", function)
    found = getattr(named, "__func__", named)
    # Compare by ``==``, because each access to a function of wrapt returns a new object.
    if found != inner and not (inner in _CHECKED and found is inner.__wrapped__):
        raise SetupError(
            f"{label} can't run in the process pool: the pool's processes import a function by "
            f"its name, but would not find this one at {name.module}.{name.qualname}. Define it "
            "with def at a module's top level, or as a method of a class at the top level"
        )
    if name.module != "__main__":
        return name
    main = main_name()
    if main is None:
        raise SetupError(
            f"{label} can't run in the process pool, because other processes can't import code "
            "that was typed in interactively, or that isn't in a .py file: put it into a module"
        )
    # Results that contain objects of the script's classes refer to the module by this name, too.
    # Unpickling them must find these classes, and not import the script a second time.
    sys.modules.setdefault(main, sys.modules["__main__"])
    return name._replace(module=main)


def main_name() -> str | None:
    """Return the name by which another process imports this one's module ``__main__``, or None if
    it can't. With ``python app.py``, this is the file's name.
    """
    main = sys.modules["__main__"]
    if main.__spec__ is not None:  # with ``python app.pyz``, its name is "__main__"
        return None if main.__spec__.name == "__main__" else main.__spec__.name
    name, _, suffix = Path(getattr(main, "__file__", None) or "").name.partition(".")
    return name if suffix in ("py", "pyc") else None


@lru_cache(maxsize=1024)
def handler_named(name: HandlerName) -> AnyFunction:
    """Return the handler with this name, importing its module if necessary.

    If the handler is a method, its ``self`` is a new object whose ``__init__`` was not called. The
    application itself, with the connections that ``__init__`` and startup handlers opened, exists
    only in the server's process.
    """
    target = attrgetter(name.qualname)(import_module(name.module))
    handler: AnyFunction = (
        target if name.method is None else getattr(target.__new__(target), name.method)
    )
    return handler


@dataclass(frozen=True)
class NamedFunction:
    """A function, pickled as its name. Unpickling it imports the function."""

    _name: HandlerName

    def __reduce__(self) -> tuple[object, ...]:
        return _found, (type(self), self._name)

    def __str__(self) -> str:
        module, qualname, method, _ = self._name
        return f"{module}.{qualname}" + (f".{method}" if method else "")

    def __call__(self, *arguments: object, **keywords: object) -> object:
        return handler_named(self._name)(*arguments, **keywords)

    @staticmethod
    def labelled(arguments: Sequence[object]) -> dict[str, object]:
        """Return the values of a call, by what an error calls them."""
        return {f"argument {number}": value for number, value in enumerate(arguments, 1)}


def _found(kind: type[NamedFunction], name: HandlerName) -> NamedFunction:
    handler_named(name)
    return kind(name)


def module_of(function: AnyFunction) -> str | None:
    """Return the name of the module that another process imports to find a function, or None for
    methods of built-in types, such as ``str.upper``.
    """
    inner = innermost(function)
    if isinstance(inner, NamedFunction):
        return inner._name.module
    return getattr(inner, "__module__", None)


def importable(function: AnyFunction) -> AnyFunction:
    """Return ``function`` in a form that can be pickled: functions, what decorators made of them,
    and methods of applications, by their names, also those in a partial; others as they are.

    Raises ``SetupError`` if a process of the pool could not import it, or if it can't be called.
    """
    if not callable(function):
        raise SetupError(
            f"the process pool calls functions, not {function!r}: write the function without "
            "parentheses, and then its arguments, as in pool.run(function, 5)"
        )
    if isinstance(function, functools.partial):
        return functools.partial(importable(function.func), *function.args, **function.keywords)
    owner, label = getattr(function, "__self__", None), getattr(function, "__qualname__", "")
    if not inspect.isfunction(function) and not hasattr(owner, "_micropie_is_framework"):
        named = getattr(sys.modules.get(getattr(function, "__module__", "")), label, None)
        if owner is not None or named is not function:
            return function
    check_placement(function, PROCESS, label)
    return NamedFunction(pooled_name(function, label))
