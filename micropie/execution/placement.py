"""Where a handler runs: the words for it, and what is possible. A mistake is a ``SetupError`` that says what to write.

``loop``: on the event loop, as every ``async def`` does and a ``def`` that never blocks may. ``thread``: where it may
block. ``process``: where it may compute for long and hold up nobody; there it is found by its name.

What a decorator said of a function comes first, unless its route says something; then the application's setting
``run_in``, which is for ``def`` handlers.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from micropie.errors import SetupError

LOOP: Final = "loop"
THREAD: Final = "thread"
PROCESS: Final = "process"
PLACES: Final = (LOOP, THREAD, PROCESS)

MARK: Final = "__micropie_run_in__"  # what ``@run_in`` leaves on a function


def checked_placement(placement: object, setting: str) -> str:
    """``place``, if it is one. Raises ``SetupError`` that names ``setting``."""
    if not isinstance(placement, str) or placement not in PLACES:
        raise SetupError(f'{setting} takes "loop", "thread" or "process", not {placement!r}')
    return placement


def innermost(function: Any) -> Any:
    """What decorators and partials wrap."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = function.func
    return function


def check_placement(function: Callable[..., Any], placement: str, name: str, reads_body: bool = False) -> None:
    """Raise ``SetupError`` if a handler can't run where its author wants it."""
    inner = innermost(function)
    is_async = inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)
    if is_async and placement != LOOP:
        raise SetupError(
            f"{name} is async, which runs on the event loop only: write def instead of async def to have it run in a "
            f"{placement}"
        )
    if placement == PROCESS and reads_body:
        raise SetupError(f"{name}: @reads_body leaves the body to the handler, and a process has none: leave it out")
    if placement == LOOP and inspect.isgeneratorfunction(inner):
        raise SetupError(
            f"{name} is a generator, whose chunks are made in a thread: write async def to have them made on the event "
            'loop, or leave "loop" out'
        )


class Threads:
    """What shares one number of worker threads: a tree of applications, or an inner one that states its own.

    ``queue`` is how many handlers may wait for one of them; what else may block always waits.
    """

    def __init__(self, size: int, queue: int = 0) -> None:
        self.size = size
        self.queue = queue


# -- by its name in another process ------------------------------------------------------------------------------------


class HandlerName(NamedTuple):
    """What another process imports: a function, or ``method`` of the class that is named."""

    module: str
    qualname: str
    method: str | None


def name_of(function: Callable[..., Any], label: str) -> HandlerName:
    """The name of a handler for the pool. Raises ``SetupError`` if nothing can be found by it."""
    while isinstance(function, functools.partial) and not function.args and not function.keywords:
        function = function.func  # a staticmethod's marks are on one
    owner = getattr(function, "__self__", None)
    target: Any = function if owner is None else owner if isinstance(owner, type) else type(owner)
    method = None if owner is None else getattr(function, "__name__", "")
    name = HandlerName(getattr(target, "__module__", ""), getattr(target, "__qualname__", ""), method)
    try:
        found: Any = _walked(sys.modules[name.module], name)
    except (KeyError, AttributeError):
        found = None
    if getattr(found, "__func__", found) is not getattr(function, "__func__", function):
        raise SetupError(
            f"{label} can't run in a process: it would be found there by its name, and {name.module}.{name.qualname} "
            "is not what it is; define it with def at a module's top level, or as a method of a class there"
        )
    return name._replace(module=_importable(name.module, label))


def _importable(module: str, label: str) -> str:
    """The name under which another process finds what is ``__main__`` here: ``python app.py``, ``python -m app``."""
    if module != "__main__":
        return module
    main = sys.modules[module]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is None and file is None:
        raise SetupError(f"{label} can't run in a process: no other process can import what was typed in here")
    return Path(file).stem if spec is None else spec.name  # type: ignore[arg-type]


def _walked(module: Any, name: HandlerName) -> Any:
    for part in name.qualname.split("."):
        module = getattr(module, part)
    return module if name.method is None else getattr(module, name.method)


@lru_cache(maxsize=1024)
def handler_named(name: HandlerName) -> Callable[..., Any]:
    """The handler, in a process that may not have imported its module. A method gets a new, bare object for ``self``:
    that of the application, with what ``__init__`` opened and start-up handlers put there, lives in the other process.
    """
    module = import_module(name.module)
    if name.method is None:
        function: Callable[..., Any] = _walked(module, name)
        return function
    cls = _walked(module, name._replace(method=None))
    method: Callable[..., Any] = getattr(cls.__new__(cls), name.method)
    return method
