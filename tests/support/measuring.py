"""Where coverage looks: at what is imported, and at those tests with their fixtures whose lines count.

While Python 3.11 traces, all code takes two to three times as long, of whatever package it is. So pytest's own work is
not traced, and neither are the tests that look at the framework from ``OUTSIDE``: their clients' threads and the
processes that they start are not measured. Fixtures that several tests share always are.

Where coverage has set no trace function (without it, or from Python 3.14 on) there is nothing to switch.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, TypeVar

import pytest

import micropie

T = TypeVar("T")

# Where servers and whole programs run, where sources are read, and what shows how long something takes. Tests of the
# rooms reach all lines without them.
OUTSIDE = (
    "tests/cluster/",
    "tests/examples/",
    "tests/fuzz/",
    "tests/http/test_hostile_input.py",
    "tests/openapi/test_schemathesis.py",
    "tests/servers/",
    "tests/test_benchmarks.py",
    "tests/test_layers.py",
    "tests/test_private_names.py",
    "tests/test_readme.py",
    "tests/test_risks.py",
    "tests/test_security_page.py",
    "tests/test_site.py",
    "tests/test_tutorial.py",
    "tests/typing/",
)

# By it coverage measures the processes that are started.
OF_PROCESSES = "COVERAGE_PROCESS_CONFIG"


class Measuring:
    """A plugin that takes over the trace functions of coverage while tests run, but for those from ``OUTSIDE``."""

    def __init__(self) -> None:
        self._counts = True
        self._of_processes = os.environ.get(OF_PROCESSES)
        self._trace = sys.gettrace()
        self._trace_of_threads = threading.gettrace()
        threading.settrace(self._trace_thread if self._trace else self._trace_of_threads)
        if self._trace is not None:  # a module that a test from outside imports first would never be measured
            for module in pkgutil.walk_packages(micropie.__path__, "micropie."):
                if not module.name.endswith("__main__"):
                    import_module(module.name)

    def _trace_thread(self, frame: FrameType, event: Any, argument: object) -> Any:
        """Begin to trace a thread, unless it is a client's of a test from outside: the client ends with it.

        Other threads may go on in a test that counts.
        """
        if self._counts or not threading.current_thread().name.startswith("test client's"):
            return self._trace_of_threads(frame, event, argument)  # type: ignore[misc]
        sys.settrace(None)
        return None

    def _measure(self, *, is_on: bool) -> Generator[None, T, T]:
        before = sys.gettrace()
        sys.settrace(self._trace if is_on else None)
        try:
            return (yield)
        finally:
            sys.settrace(before)

    @contextmanager
    def _counting(self, *, counts: bool) -> Iterator[None]:
        """Measure threads and processes that start in the block, or don't."""
        before = self._counts
        self._switch(counts=counts)
        try:
            yield
        finally:
            self._switch(counts=before)

    def _switch(self, *, counts: bool) -> None:
        self._counts = counts
        if counts and self._of_processes is not None:
            os.environ[OF_PROCESSES] = self._of_processes
        else:
            os.environ.pop(OF_PROCESSES, None)

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makeitem(self) -> Generator[None, T, T]:
        return (yield from self._measure(is_on=False))

    @pytest.hookimpl(wrapper=True, trylast=True)  # coverage ends around it
    def pytest_runtestloop(self) -> Generator[None, T, T]:
        return (yield from self._measure(is_on=False))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, T, T]:
        with self._counting(counts=not item.nodeid.startswith(OUTSIDE)):
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, T, T]:
        counts = self._counts or fixturedef.scope != "function"
        with self._counting(counts=counts):
            return (yield from self._measure(is_on=counts))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_pyfunc_call(self) -> Generator[None, T, T]:
        return (yield from self._measure(is_on=self._counts))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self) -> Generator[None, T, T]:
        return (yield from self._measure(is_on=self._counts))
