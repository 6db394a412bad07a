"""Where coverage looks: at what is imported, and at those tests with their fixtures whose lines
count.

If coverage would watch by a trace function, this process and those that tests start mark by
themselves what they reach (tests/support/marks.py). Else coverage watches them, forks included.

The tests that look at the framework from ``OUTSIDE`` don't count: after each of them the marks are
as they were before, and the processes that they start are not measured. Fixtures that several tests
share always count. A function whose results are kept for the process runs once more for the tests
that follow, which might else never reach its lines.

Import this module before micropie: with it the marks begin. The compatibility modules, a package
beside micropie, are imported only if coverage watches.
"""

from __future__ import annotations

import os
import pickle
import pkgutil
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import BuiltinMethodType
from typing import Any, TypeVar, cast

import coverage
import pytest
from coverage.parser import PythonParser
from coverage.python import PythonFileReporter

from tests.support.environment import STARTED
from tests.support.marks import begin
from tests.support.started.sitecustomize import PACKAGES, VARIABLE

T = TypeVar("T")

# Where servers and whole programs run, where sources are read, and what shows how long something
# takes. Tests of the rooms reach all lines without them.
OUTSIDE = (
    "compat/tests/fuzz/",
    "compat/tests/test_hostile_input.py",
    "compat/tests/test_layers.py",
    "compat/tests/test_moved.py",
    "compat/tests/test_private_names.py",
    "compat/tests/test_security_page.py",
    "tests/project/examples/",
    "tests/project/fuzz/",
    "tests/http/test_hostile_input.py",
    "tests/openapi/test_schemathesis.py",
    "tests/servers/",
    "tests/project/test_benchmarks.py",
    "tests/project/test_costs.py",
    "tests/project/test_layers.py",
    "tests/project/test_private_names.py",
    "tests/project/test_readme.py",
    "tests/project/test_risks.py",
    "tests/project/test_security_page.py",
    "tests/project/test_site.py",
    "tests/project/test_tutorial.py",
    "tests/project/typing/",
)

# By it coverage watches the processes that are started.
OF_COVERAGE = "COVERAGE_PROCESS_CONFIG"

# By this name a worker of pytest-xdist passes its marks on.
OF_WORKERS = "marks of micropie"


def _trace_nothing() -> None:
    sys.settrace(None)
    threading.settrace(None)


CACHED = type(lru_cache(len))


def clears_of(package: str) -> list[Callable[[], object]]:
    """Return the functions that clear the results which functions of a package, which is imported,
    have kept.
    """
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{package}.")]
    values = [value for module in modules for value in vars(module).values()]
    clears = {id(value): value.cache_clear for value in values if type(value) is CACHED}
    methods = [value for value in values if type(value) is BuiltinMethodType]
    tables: list[Any] = [
        one.__self__ for one in methods if type(one.__self__).__name__ == "NameTable"
    ]
    clears |= {id(table): table.clear for table in tables}  # of ``cached_if_short``
    return [*clears.values()]


def _report_what_is_parsed(parsers: Mapping[str, bytes]) -> None:
    """Have coverage's report use these parsers, which are pickled."""
    make = PythonFileReporter.parser.fget  # type: ignore[attr-defined]

    def parser(reporter: PythonFileReporter) -> PythonParser:
        if reporter._parser is None and reporter.filename in parsers:
            reporter._parser = pickle.loads(parsers[reporter.filename])
        return cast(PythonParser, make(reporter))

    PythonFileReporter.parser = property(parser)  # type: ignore[assignment,method-assign]


MARKS = begin() if sys.gettrace() is not None else None
if MARKS is not None:
    _trace_nothing()


class Measuring:
    """A plugin that has coverage know what was reached, but for what only tests from ``OUTSIDE``
    have.
    """

    def __init__(self, *, runs_tests: bool) -> None:
        # variables by which the processes that are started are measured
        self._of_processes: dict[str, str] = {}
        self._before: bytes | None = None  # the marks before a test from outside, while one runs
        self._clears: list[Callable[[], object]] = []
        self._trace = sys.gettrace()  # for a worker of pytest-xdist coverage has begun once more
        if MARKS is not None:
            _trace_nothing()
            os.register_at_fork(after_in_child=_trace_nothing)  # where coverage has begun again
        if MARKS is not None and runs_tests:
            for package in filter(find_spec, PACKAGES):
                path = import_module(package).__path__
                for module in pkgutil.walk_packages(path, f"{package}."):
                    # one that a test from outside imports first would not count
                    own = module.name.rpartition(".")[2]
                    if own != "__main__" and own.isidentifier():  # no program, and no hook
                        import_module(module.name)
                self._clears += clears_of(package)

    @pytest.hookimpl(wrapper=True, trylast=True)  # coverage ends around it
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, T, T]:
        self._measure_processes()
        try:
            return (yield)
        finally:
            measured = coverage.Coverage.current()
            if MARKS is not None and measured is not None:
                MARKS.add_others()
                # the main process makes arcs of them once, for all workers
                if hasattr(session.config, "workeroutput"):
                    session.config.workeroutput[OF_WORKERS] = MARKS.reached[:]
                else:
                    measured.get_data().add_arcs(MARKS.arcs())
                    _report_what_is_parsed(MARKS.parsers())
                sys.settrace(self._trace)  # which coverage takes back

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the marks of a worker of pytest-xdist that has ended."""
        reached = getattr(node, "workeroutput", {}).get(OF_WORKERS)
        if MARKS is not None and reached is not None:
            MARKS.add(reached)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, T, T]:
        if not item.nodeid.startswith(OUTSIDE):
            return (yield)
        self._leave_out()
        try:
            return (yield)
        finally:
            self._count_again()
            if nextitem is not None and not nextitem.nodeid.startswith(OUTSIDE):
                for clear in self._clears:
                    clear()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, T, T]:
        """Fail a test that leaves a trace function: all tests that follow would take two to five
        times as long.
        """
        result = yield
        if MARKS is not None and (sys.gettrace() or threading.gettrace()):
            _trace_nothing()
            pytest.fail("the test has left a trace function")
        return result

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, T, T]:
        if self._before is None or fixturedef.scope == "function":
            return (yield)
        self._count_again()
        try:
            return (yield)
        finally:
            self._leave_out()

    def _measure_processes(self) -> None:
        """Have the processes that are started from now on mark what they reach, if this one does,
        or coverage watch them.
        """
        if MARKS is not None:
            os.environ.pop(OF_COVERAGE, None)
            path = os.environ.get("PYTHONPATH")
            os.environ |= {
                VARIABLE: MARKS.for_others,
                "PYTHONPATH": os.pathsep.join([STARTED, *([path] if path else [])]),
            }
        self._of_processes = {
            name: os.environ[name] for name in (OF_COVERAGE, VARIABLE) if name in os.environ
        }

    def _leave_out(self) -> None:
        self._before = MARKS.reached[:] if MARKS is not None else b""
        for name in self._of_processes:
            os.environ.pop(name, None)

    def _count_again(self) -> None:
        if MARKS is not None and self._before is not None:
            MARKS.reached[:] = self._before
        self._before = None
        os.environ |= self._of_processes
