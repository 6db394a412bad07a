"""The tests that search for faults can fail: each fault that is put into a copy of the package is
found. They end requests anywhere, let them raise anywhere, walk through WebSockets and sessions, and
compare responses to mutated requests.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.commands import ended
from tests.support.environment import unmeasured

ROOT = Path(__file__).parents[2]


class Fault(NamedTuple):
    """``text`` of a module is replaced. ``searcher``: the file of tests in which those of ``finds``
    have to fail.
    """

    module: str
    text: str
    replacement: str
    searcher: str
    finds: str


SUSPENSION = "tests/execution/test_every_suspension.py"
CALLBACK = "tests/execution/test_every_callback.py"
SOCKETS = "tests/asgi/websocket/test_walks.py"
SESSIONS = "tests/sessions/test_walks.py"
REQUESTS = "tests/flow/test_mutated_requests.py"

FAULTS = {
    "resources stay open": Fault(
        "asgi/steps.py",
        "        await perform_cleanup(exchange, exchange.cleanup_steps())\n        raise\n",
        "        raise\n",
        SUSPENSION,
        "asyncio and plain/chunks_on_close and cancel",
    ),
    "the end of a provider is not shielded": Fault(
        "_core/execution/steps/generators.py",
        "        scope.shield = True\n",
        "",
        SUSPENSION,
        "trio and plain/plain_async and cancel",
    ),
    "functions after the response are cancelled": Fault(
        "asgi/steps.py",
        "TASKS.get().start_soon(run_tasks, exchange, ends, seconds, ended.set, context=ends.context)",
        "await run_tasks(exchange, ends, seconds, ended.set)",
        SUSPENSION,
        "asyncio and plain/after_def and cancel",
    ),
    "a cancelled request is not cleaned up": Fault(
        "asgi/driver.py",
        "        await _clean_up(exchange, error)\n",
        "",
        SUSPENSION,
        "asyncio and plain/async_chunks and cancel",
    ),
    "on_close is forgotten": Fault(
        "_core/http/exchange.py",
        "        while self.ends.closers:  # one of these functions may add another\n",
        "        while self.ends.closers and False:\n",
        SUSPENSION,
        "asyncio and plain/on_close and cancel",
    ),
    "a stream's generator is not closed": Fault(
        "_core/streams/source.py",
        "            scope.protect(CLEAN_UP_WITHIN)\n            return await self._close_after(failure)\n",
        "            return failure\n",
        SUSPENSION,
        "trio and plain/async_chunks and cancel",
    ),
    "an exit is lost": Fault(
        "_core/mounts/wsgi_call.py",
        '                self._failed("close() of the mounted application\'s response failed", error)\n',
        "                del error\n",
        CALLBACK,
        "asyncio and with_mounts/wsgi and exit",
    ),
    "an exit reaches the server": Fault(
        "_core/execution/containment.py",
        "isinstance(error, SystemExit) and",
        "False and",
        CALLBACK,
        "asyncio and plain/plain_async and exit",
    ),
    "a failure of a clean-up is not logged": Fault(
        "_core/flow/resources.py",
        "            if failure is not None:\n                exchange.log_cleanup_failure(failure)\n",
        "",
        SUSPENSION,
        "asyncio and def_failing_end and cancel",
    ),
    "a failure of a hook is not logged": Fault(
        "_core/flow/websocket.py",
        '            logger.exception("after_websocket of %s failed", type(middleware).__name__)\n',
        "            pass\n",
        CALLBACK,
        "asyncio and with_middleware/talk and exception",
    ),
    # -- walks through WebSockets
    "messages that came before a disconnect are lost": Fault(
        "asgi/websocket_connection.py",
        "            self._start_grace()\n        else:\n            self._messages.clear()\n",
        "            self._start_grace()\n        self._messages.clear()\n",
        SOCKETS,
        "asyncio and not many",
    ),
    "a subscription outlives its handler": Fault(
        "asgi/websocket_connection.py",
        "                forward.stop()\n",
        "                pass\n",
        SOCKETS,
        "asyncio and not many",
    ),
    "a WebSocket is closed twice": Fault(
        "asgi/websocket_connection.py",
        "            if self.may(FINISH):\n",
        "            if True:\n",
        SOCKETS,
        "trio and not many",
    ),
    "a shutdown during the handshake is not noticed": Fault(
        "asgi/websocket_connection.py",
        "                if self._exchange.config.shutdown.is_over:",
        "                if False:",
        SOCKETS,
        "asyncio and not many",
    ),
    "a cancelled WebSocket is not closed": Fault(
        "asgi/websocket_connection.py",
        '        if self.state is OPEN:\n            self.end(CLOSE, GOING_AWAY, "")\n',
        '        if False:\n            self.end(CLOSE, GOING_AWAY, "")\n',
        SOCKETS,
        "trio and not many",
    ),
    "a handler goes on after its client has left": Fault(
        "asgi/websocket_connection.py",
        "            self._leave_scope.cancel_after(",
        "            (lambda *_: None)(",
        SOCKETS,
        "asyncio and not many",
    ),
    "a client that reads nothing is waited for": Fault(
        "asgi/websocket_connection.py",
        "            await resume(steps, waits_for, None if self._is_trio else seconds)\n",
        "            await resume(steps, waits_for, None)\n",
        SOCKETS,
        "asyncio and not many",
    ),
    "a message is sent after the close frame": Fault(
        "asgi/websocket_connection.py",
        "                if self.state not in SENDING:\n                    raise",
        "                if False:\n                    raise",
        SOCKETS,
        "asyncio and not many",
    ),
    "messages are sent at once while another one waits": Fault(
        "asgi/websocket_connection.py",
        "            if turn is not None and not turn.value:\n",
        "            if False:\n",
        SOCKETS,
        "trio and not many",
    ),
    "a message is received after the close": Fault(
        "asgi/websocket_connection.py",
        "                if self.state is CLOSING:\n                    continue\n",
        "",
        SOCKETS,
        "asyncio and not many",
    ),
    # -- walks through sessions
    "a session is stored again after its log-out": Fault(
        "_core/sessions/memory.py",
        "            if expires <= time.monotonic():\n                return {}\n            # Copy",
        "            # Copy",
        SESSIONS,
        "wsgi-memory and not many",
    ),
    "a change discards what others have stored": Fault(
        "_core/http/session.py",
        "        data = {} if self.emptied else {**stored}\n",
        "        data: dict[str, object] = {}\n",
        SESSIONS,
        "asyncio-memory and not many",
    ),
    "the old id is valid after a log-in": Fault(
        "_core/sessions/memory.py",
        "        self._sessions.pop(old_id, None)\n",
        "",
        SESSIONS,
        "wsgi-memory and not many",
    ),
    "a change inside of a value is lost": Fault(
        "_core/http/session.py",
        "data if is_flat else copied(data)",
        "data",
        SESSIONS,
        "wsgi-memory and not many",
    ),
    "a failed request changes the session": Fault(
        "_core/sessions/store.py",
        "        return status // 100 != 5 or self._settings.session_save_on_error\n",
        "        return True\n",
        SESSIONS,
        "wsgi-cookie and not many",
    ),
    "a deleted key stays": Fault(
        "_core/http/session.py",
        "frozenset(loaded.keys() - self.keys())",
        "frozenset()",
        SESSIONS,
        "asyncio-memory and not many",
    ),
    "a count of a request under way is lost": Fault(
        "_core/http/session.py",
        "            if _is_same(self.get(key, _MISSING), value)\n",
        "            if False\n",
        SESSIONS,
        "wsgi-memory and not many",
    ),
    # -- mutated requests
    "what follows a short read is lost": Fault(
        "wsgi/exchange.py",
        "        self._left = left - len(piece)\n",
        "        self._left = 0\n",
        REQUESTS,
        "test_a_mutated",
    ),
    "a chunked body is read once": Fault(
        "wsgi/exchange.py",
        "                    return piece, bool(piece)\n",
        "                    return piece, False\n",
        REQUESTS,
        "test_a_mutated",
    ),
    "the second piece of a body is lost": Fault(
        "asgi/exchange.py",
        '        return message.get("body") or b"", message.get("more_body", False)\n',
        '        return message.get("body") or b"", False\n',
        REQUESTS,
        "test_a_mutated",
    ),
    "an escaped slash separates": Fault(
        "wsgi/exchange.py",
        "        if raw is not None and unescaped(raw) == mount + path:\n",
        "        if False:\n",
        REQUESTS,
        "test_a_mutated",
    ),
    "the second Cookie header is lost": Fault(
        "asgi/exchange.py",
        '                    return Headers(self.scope["headers"]).get(name)\n',
        "                    continue\n",
        REQUESTS,
        "test_a_mutated",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in ("micropie", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    waiting = folder / "tests" / "support" / "waiting.py"
    waiting.write_text(waiting.read_text().replace("PATIENCE = 30.0", "PATIENCE = 2.0"))
    walking = folder / "tests" / "support" / "walking.py"
    walking.write_text(walking.read_text().replace(", Phase.shrink", ","))
    return folder


SEARCHES = 10
"""Trio runs tasks in a random order, a busy machine changes when threads end, and the walks of a
repeatable search change with the constants in the source, which Hypothesis collects. So one search
may miss a fault, and the next ones draw other walks.
"""


def searched(copy: Path, searcher: str, tests: str) -> int:
    """Run tests of the copy. Return pytest's exit code: 0 if all have passed, 1 if one has failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "--all-worlds", "-k", tests]
    return ended(*command, searcher, folder=copy, environ=unmeasured()).returncode


@contextmanager
def other_walks(copy: Path) -> Iterator[None]:
    """Let each search draw other walks."""
    walking = copy / "tests" / "support" / "walking.py"
    source = walking.read_text()
    walking.write_text(source.replace("derandomize=True", "derandomize=False"))
    try:
        yield
    finally:
        walking.write_text(source)


@pytest.mark.processes
@pytest.mark.parametrize("name", FAULTS)
def test_each_injected_fault_is_found(copy: Path, name: str) -> None:
    fault = FAULTS[name]
    module = copy / "micropie" / fault.module
    source = module.read_text()
    assert fault.text in source
    try:
        module.write_text(source.replace(fault.text, fault.replacement))
        if searched(copy, fault.searcher, fault.finds) != 1:
            with other_walks(copy):
                searches = (searched(copy, fault.searcher, fault.finds) for _ in range(SEARCHES))
                assert 1 in searches
    finally:
        module.write_text(source)


@pytest.mark.processes
@pytest.mark.parametrize("searcher", [SUSPENSION, CALLBACK, SOCKETS, SESSIONS, REQUESTS])
def test_without_an_injected_fault_nothing_is_found(copy: Path, searcher: str) -> None:
    found = {fault.finds for fault in FAULTS.values() if fault.searcher == searcher}
    assert searched(copy, searcher, " or ".join(f"({tests})" for tests in found)) == 0
