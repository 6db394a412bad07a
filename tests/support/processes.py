"""Which tests start processes, and a guard that fails a test that does so without the mark.

A process is a child of any kind: a server, a browser, a type checker, ``redis-server``, a process of
the pool. A thread that listens on a socket counts as well. ``make test`` leaves these tests out
(``--processes=none``), so no other program decides how long it takes and whether it passes;
``make test-servers`` runs them alone (``--processes=only``). The ``smoke`` tests are the exception:
``make test`` starts each supported server once.

A test has the mark ``processes`` if it is in one of ``PLACES``, if it uses one of ``FIXTURES``, or
by ``@pytest.mark.processes`` on the function, the parameter or the module.
"""

from __future__ import annotations

import functools
import multiprocessing.util
import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

# Where tests start processes, or share those of their neighbours. make test doesn't import these files
# at all. The last three have cases that compute only, but import a library that takes seconds.
PLACES = (
    "tests/cli/test_bare.py",
    "tests/execution/pool/",
    "tests/execution/test_redis_",
    "tests/project/deploy/",
    "tests/project/examples/test_browser.py",
    "tests/project/examples/test_queued.py",
    "tests/servers/",
    "tests/works_with/",
    "tests/openapi/test_generated_",
    "tests/openapi/test_schemathesis.py",
    "tests/project/test_benchmarks.py",
)

# Seconds after which such a test counts as hung. It shares the processors with what it starts and
# with the processes of other tests, so how long it takes says little.
HUNG_AFTER = 900

# Fixtures that start a process, whatever test requests them.
FIXTURES = frozenset({"redis_url"})

# The parameter of a fixture that uses a real Redis for one of its kinds.
REDIS = pytest.param("redis", marks=pytest.mark.processes)

# What starts a process or binds a socket, for everything that is written in Python.
STARTS: tuple[tuple[Any, str], ...] = (
    (subprocess.Popen, "__init__"),
    (multiprocessing.util, "spawnv_passfds"),
    (os, "fork"),
    (os, "forkpty"),
    (os, "posix_spawn"),
    (socket.socket, "bind"),
)


def mark(item: pytest.Item) -> None:
    """Mark a test that starts a process because of its place or its fixtures, and let each test
    with the mark take as long as it needs.
    """
    if item.nodeid.startswith(PLACES) or not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.processes)
    if item.get_closest_marker("processes") and not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(HUNG_AFTER))


def is_chosen(item: pytest.Item, processes: str | None) -> bool:
    """Return whether a test runs with ``--processes=none``, with ``only`` or, for None, without the
    option.
    """
    starts = item.get_closest_marker("processes") is not None
    is_smoke = item.get_closest_marker("smoke") is not None
    if processes == "none":
        return is_smoke or not starts
    return processes is None or (starts and not is_smoke)


class Guard:
    """Records what the running test starts, from ``watch`` on.

    It takes the place of the functions, because an audit hook would slow down all tests by a tenth.
    """

    def __init__(self) -> None:
        self._started: list[str] = []

    def watch(self) -> None:
        """Record the calls of ``STARTS`` as long as this process runs."""
        for owner, name in STARTS:
            setattr(owner, name, self._recorded(getattr(owner, name)))

    def _recorded(self, start: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(start)
        def recorded(*arguments: Any, **options: Any) -> Any:
            self._started.append(start.__qualname__)
            return start(*arguments, **options)

        return recorded

    def forget(self) -> None:
        """Begin with the next test."""
        self._started.clear()

    def refuse(self, item: pytest.Item) -> None:
        """Fail a test without the mark that has started something."""
        started = self._started[:]
        self.forget()
        if started and item.get_closest_marker("processes") is None:
            pytest.fail(
                f"this test starts a process or listens on a socket ({started[0]}), but has no "
                "mark: add @pytest.mark.processes, and make test-servers runs it instead of make "
                "test. Or write the test without a process.",
                pytrace=False,
            )
