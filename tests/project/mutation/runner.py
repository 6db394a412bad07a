"""A plugin of pytest that runs the collected tests once for each mutant, in a forked child.

The parent collects the tests and runs none, so that it has no threads. A first child runs all of
them and notes which lines each one reaches, and how long it takes. A mutant's child runs the tests
that reach its line, until one fails: those first that have noticed most of the mutants before, then
by turns the quickest, and those that in a short time reach lines of the module that few others
reach. Each test of an application reaches most lines of its config, and few are about them.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from random import Random
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import coverage
import pytest

from tests.project.mutation.mutants import Mutant, mutants_of
from tests.support.measuring import clears_of

Item: Any = pytest.Item


class Result(NamedTuple):
    """``outcome`` is "killed", "survived", "timeout" or "no test"."""

    module: str
    mutant: Mutant
    outcome: str


class Runner:
    """``budget``: seconds of the processor for the tests of one mutant.

    ``share``: of the mutants, drawn at random but always the same ones.
    ``only``: mutants that are tried, by module and text before and after; None for all.
    """

    def __init__(
        self,
        modules: list[Path],
        budget: float,
        share: float = 1,
        only: set[tuple[str, ...]] | None = None,
    ) -> None:
        self._modules = modules
        self._budget = budget
        self._share = share
        self._only = only
        self._noticed: Counter[str] = Counter()
        self.results: list[Result] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        items = {item.nodeid: item for item in session.items}
        functions: dict[CodeType, list[FunctionType]] = defaultdict(list)
        # tests/support/plugin.py freezes what the tests have imported, and a frozen object is not found
        gc.unfreeze()
        gc.collect()
        for found in gc.get_objects():
            if type(found) is FunctionType and "/micropie/" in found.__code__.co_filename:
                functions[found.__code__].append(found)
        gc.freeze()
        reached, seconds = self._measured(session, items)
        for module in self._modules:
            name = module.as_posix()
            source = module.read_text()
            draw = Random(name)
            rarity: dict[str, float] = defaultdict(float)
            for (path, _), those in reached.items():
                for node in those if path == name else ():
                    rarity[node] += 1 / len(those)
            before = compile(source, str(module.resolve()), "exec", dont_inherit=True)
            for mutant in mutants_of(source):
                key = name, mutant.before, mutant.after
                if not (draw.random() < self._share if self._only is None else key in self._only):
                    continue
                nodes = self._in_order(reached.get((name, mutant.line), ()), seconds, rarity)
                outcome = "no test"
                if nodes:
                    after = compile(mutant.source, str(module.resolve()), "exec", dont_inherit=True)
                    changes = [*_changes(before, after)]
                    outcome, failed = self._try(
                        session, [items[node] for node in nodes], functions, changes
                    )
                    self._noticed[failed] += 1
                self.results.append(Result(name, mutant, outcome))
                if outcome != "killed":
                    print(
                        f"{outcome}: {name}:{mutant.line}: {mutant.before}  ->  {mutant.after}",
                        flush=True,
                    )
            done = [result for result in self.results if result.module == name]
            killed = sum(result.outcome in ("killed", "timeout") for result in done)
            print(f"== {name}: {killed} of {len(done)}", flush=True)
        return True

    def _in_order(
        self, nodes: Iterable[str], seconds: Mapping[str, float], rarity: Mapping[str, float]
    ) -> Sequence[str]:
        """Return tests in the order in which a mutant's child runs them."""
        quick = sorted(nodes, key=lambda node: seconds[node])
        special = sorted(quick, key=lambda node: seconds[node] / rarity[node])
        mixed = dict.fromkeys(chain.from_iterable(zip(quick, special, strict=True)))
        return sorted(mixed, key=lambda node: -self._noticed[node])

    def _measured(
        self, session: Any, items: dict[str, Any]
    ) -> tuple[dict[tuple[str, int], set[str]], dict[str, float]]:
        """Return the tests that reach each line of the modules, and the seconds that each test
        takes.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "measured.json")
            child = os.fork()
            if child == 0:
                _measure(session, [str(module.resolve()) for module in self._modules], file)
                os._exit(0)
            os.waitpid(child, 0)
            measured = json.loads(file.read_text())
        reached: dict[tuple[str, int], set[str]] = defaultdict(set)
        names = {str(module.resolve()): module.as_posix() for module in self._modules}
        for path, lines in measured["lines"].items():
            for line, nodes in lines.items():
                reached[names[path], int(line)] = {
                    node for node in nodes if node in measured["seconds"]
                }
        print(f"{len(measured['seconds'])} of {len(items)} tests pass", flush=True)
        return reached, measured["seconds"]

    def _try(
        self,
        session: Any,
        items: list[Any],
        functions: Any,
        changes: list[tuple[CodeType, CodeType]],
    ) -> tuple[str, str]:
        """Return the outcome, and the id of the test that has failed."""
        told, telling = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            code = 3
            try:
                _clear_caches()
                for old, new in changes:
                    for function in functions.get(old, ()):
                        try:
                            function.__code__ = new
                        except ValueError:
                            # a closure with other variables: the function that makes it has changed
                            continue
                failed = _first_that_fails(session, items, time.process_time() + self._budget)
                os.write(telling, failed.encode())
                code = 1 if failed else 0
            finally:
                os._exit(code)
        os.close(telling)
        deadline = time.monotonic() + 3 * self._budget + 60
        with os.fdopen(told, "rb", buffering=0) as pipe:
            while True:
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    _kill_group(child)
                    is_alive = os.waitstatus_to_exitcode(status) == 0
                    return (
                        ("survived", "")
                        if is_alive
                        else ("killed", (pipe.read(4096) or b"").decode())
                    )
                if time.monotonic() > deadline:
                    _kill_group(child)
                    os.waitpid(child, 0)
                    return "timeout", ""
                time.sleep(0.002)


def _kill_group(child: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _clear_caches() -> None:
    """Have functions of the framework forget their results, or a later test would not reach
    them.
    """
    for clear in clears_of("micropie"):
        clear()


def _first_that_fails(session: Any, items: list[Any], deadline: float) -> str:
    """Return the id of the first test that fails; "" if none does before the deadline, in time of
    this process.
    """
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return str(item.nodeid)
        if time.process_time() > deadline:
            break
    return ""


def _measure(session: Any, files: list[str], file: Path) -> None:
    data = coverage.Coverage(data_file=None, include=files, config_file=False, branch=False)
    data.start()
    seconds = {}
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        _clear_caches()
        data.switch_context(item.nodeid)
        before, began = session.testsfailed, time.monotonic()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed == before:
            seconds[item.nodeid] = time.monotonic() - began
    data.stop()
    found = data.get_data()
    lines = {path: found.contexts_by_lineno(path) for path in found.measured_files()}
    file.write_text(json.dumps({"lines": lines, "seconds": seconds}))


def _changes(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Yield each code of a function that has changed with what it has become, the outer ones
    first.
    """
    if before == after:
        return
    yield before, after
    inner = [
        [one for one in code.co_consts if isinstance(one, CodeType)] for code in (before, after)
    ]
    if len(inner[0]) == len(inner[1]):
        for pair in zip(*inner, strict=True):
            yield from _changes(*pair)
