"""Tests of behaviour run under WSGI, ASGI on asyncio, ASGI on trio.

    def test_greets(make_client: MakeClient) -> None:
        client = make_client(Root())   # is collected three times: wsgi, asyncio, trio

The first case of a function runs in every world, each other case in one, and so do all cases where
nothing depends on the world (tests/support/selection.py). Hypothesis makes 30 examples. With
``--all-worlds`` every case runs in every world, Hypothesis makes 100, and tests with
``@pytest.mark.in_test_all`` run: soaks, screenshots, and what a shorter test shows as well.

``make_client`` takes the options of ``TestClient``, ``validate=False`` for requests that no server
passes on (``wsgiref.validate`` refuses them before the application sees them), and
``reports=True`` for an application whose failures are raised in the test (``unreported``). ``connect``
takes the world as an argument, to compare worlds within one test. ``client`` is for modules that
define a fixture ``app``. Every client runs the application's startup, and its shutdown when the
test ends.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Generator, Iterable, Iterator, Set
from contextlib import suppress
from functools import partialmethod
from importlib import import_module
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from _pytest.runner import runtestprotocol

from tests.support.measuring import Measuring

# Tests that import micropie anew would have another key of debug pages each time.
os.environ["MICROPIE_DEBUG_KEY"] = "of-the-tests"

# isort: split
# What measures comes before what is measured.
from micropie._core.execution.steps.after_response import Ends
from micropie._core.execution.steps.redis_client import RedisClient
from micropie._core.http.settings import Settings
from micropie.channels.mailbox import Future
from micropie.testing import TestClient
from tests.support.clients import LOOPS, MakeClient, connecting
from tests.support.left_out import IS_FREE_THREADED, LEFT_OUT, lacking
from tests.support.processes import PLACES, Guard, is_chosen, mark
from tests.support.redis_server import redis_server
from tests.support.selection import WORLDS, chosen_cases, world_of, worlds_of
from tests.support.shares import Total, shared_out, sizes_below

# A shell's background job ignores SIGINT, and so would the servers that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[2]
SERVERS_OF_SEVERAL_FILES = ("basics_on", "site_on")  # tests/servers/conftest.py

# An example may take long on a busy machine: that is for the tests' own time limit.
hypothesis.settings.register_profile(
    "each run",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    max_examples=30,
)
hypothesis.settings.register_profile(
    "every world", hypothesis.settings.get_profile("each run"), max_examples=100
)


def pytest_configure(config: pytest.Config) -> None:
    GUARD.watch()
    hypothesis.settings.load_profile(
        "every world" if config.getoption("--all-worlds") else "each run"
    )
    config.addinivalue_line("markers", "in_test_all: skip it without --all-worlds")
    config.addinivalue_line("markers", "processes: it starts a process, or listens on a socket")
    config.addinivalue_line("markers", "smoke: make test runs it, although it starts a process")
    # it closes a socket that a test has left in its collector, which may run in another test
    if IS_FREE_THREADED:
        config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")


def leave_the_collector_alone() -> None:
    """Have Hypothesis not measure the garbage collector, which its first test begins with.

    A callback of the collector lets another thread go on in the middle of ``ast.parse``. If that
    one parses as well, Python 3.11 raises ``SystemError: AST constructor recursion depth mismatch``
    (CPython's issue 106905). Sources are parsed in threads by ``debug=True`` and by tracebacks.
    """

    @hypothesis.settings(max_examples=1, database=None)
    @hypothesis.given(hypothesis.strategies.none())
    def test(_: None) -> None: ...

    test()
    gc.callbacks.clear()


REDIS_CLIENTS: list[RedisClient] = []
GUARD = Guard()
ELSEWHERE = pytest.StashKey[Set[Path]]()  # the test files that other workers collect
STARTED_AGAIN = "started again"  # a property of a test's report


@pytest.fixture(scope="session", autouse=True)
def loops_end() -> Iterator[None]:
    """End the loops of clients, whose idle worker threads would keep this process from ending."""
    yield
    LOOPS.stop()


@pytest.fixture(scope="session", autouse=True)
def no_loop_is_watched() -> Iterator[None]:
    """Watch event loops in tests of that alone: on a busy machine any handler may take a tenth of a
    second.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "loop_patience", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def redis_clients_are_noted() -> Iterator[None]:
    """Note the clients of Redis that a test makes, which ``pytest_runtest_teardown`` closes."""
    make = RedisClient.__init__

    def note(client: RedisClient, *arguments: Any, **options: Any) -> None:
        make(client, *arguments, **options)
        REDIS_CLIENTS.append(client)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RedisClient, "__init__", note)
        yield


def current_test() -> str:
    """The name of the test that runs, without its phase."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").partition(" (")[0]


@pytest.fixture(scope="session", autouse=True)
def no_test_hears_of_another() -> Iterator[None]:
    """Let the requests and the messages that a test leaves in a reference cycle log nothing if they
    are freed during another test, which may read the log.
    """
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Ends, Future):
            patch.setattr(kind, "__init__", partialmethod(_made, kind.__init__))
            patch.setattr(kind, "__del__", partialmethod(_freed, kind.__del__))
        yield


def _made(self: Any, make: Any, *arguments: Any) -> None:
    self.made_in = current_test()
    make(self, *arguments)


def _freed(self: Any, free: Any) -> None:
    if getattr(self, "made_in", "") == current_test():
        free(self)


def pytest_runtest_setup(item: pytest.Item) -> None:
    GUARD.forget()
    if item.get_closest_marker("in_test_all") and not item.config.getoption("--all-worlds"):
        pytest.skip("it runs in make test-all")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Close the connections to Redis of a test that has ended: the garbage collector would warn of
    them, in another test. Fail a test that has started a process without saying so.
    """
    try:
        result = yield
    finally:
        while REDIS_CLIENTS:
            client = REDIS_CLIENTS.pop()
            if os.getpid() in client._clients:
                client.close()
    GUARD.refuse(item)
    return result


# What applications of tests lack is no news; the tests of these warnings listen for themselves.
logging.getLogger("micropie.security").setLevel(logging.ERROR)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> str:
    """The protocol and event loop of this run: "wsgi", "asyncio" or "trio"."""
    name: str = request.param
    return name


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop of this run, for what is asked of ASGI alone."""
    name: str = request.param
    return name


@pytest.fixture(params=[False, True], ids=["alone", "lifespan"])
def with_lifespan(request: pytest.FixtureRequest) -> bool:
    """Whether the server runs the application's lifespan."""
    chosen: bool = request.param
    return chosen


@pytest.fixture
def connect() -> Iterator[MakeClient]:
    """The function of ``connecting``; its clients end with the test."""
    with connecting() as connect:
        yield connect


@pytest.fixture
def make_client(connect: MakeClient, world: str) -> MakeClient:
    """Return ``make_client(app, validate=True, **options)``, which makes a client in the world of
    this run.
    """

    def make_client(app: Any, **options: Any) -> TestClient:
        return connect(app, world, **options)

    return make_client


@pytest.fixture
def client(app: Any, make_client: MakeClient) -> TestClient:
    """A client of the module's fixture ``app``, in each world in turn."""
    return make_client(app)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a redis-server that all tests of this process share; each test uses its own
    keys.
    """
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a module that imports a library that has no build for this Python."""
    report = yield
    if report.failed and (name := lacking(str(report.longrepr))):
        report.outcome = "skipped"
        report.longrepr = str(collector.path), 0, _needs(name)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have a test that fails tell what the servers have written. Skip it if it fails because it
    needs such a library, itself or in a server. Note the servers that it has started again.
    """
    harness = sys.modules.get("tests.servers.harness")
    if harness is not None:
        item.user_properties += [(STARTED_AGAIN, why) for why in harness.STARTED_AGAIN]
        harness.STARTED_AGAIN.clear()
    report = yield
    if report.failed:
        report.sections += [
            (f"Output of {server.kind.command}", server.output()[-5000:])
            for server in (harness.RUNNING if harness else ())
        ]
        told = "\n".join([str(report.longrepr), *(text for _, text in report.sections)])
        if name := lacking(told):
            report.outcome = "skipped"
            report.longrepr = str(item.path), 0, _needs(name)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which tests have started a server a second time, and why."""
    for report in (one for many in terminalreporter.stats.values() for one in many):
        for name, why in getattr(report, "user_properties", ()):
            if name == STARTED_AGAIN:
                terminalreporter.line(f"{STARTED_AGAIN}: {report.nodeid}: {why}", yellow=True)


def _needs(name: str) -> str:
    return f"needs {name}, which has no build for this Python"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist how tests are distributed, which it can't ask."""
    node.workerinput["dist"] = node.config.getoption("dist")


@pytest.hookimpl(trylast=True)  # when coverage has begun
def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    is_worker, dist = hasattr(config, "workerinput"), config.getoption("dist", "no")
    config.pluginmanager.register(Measuring(runs_tests=is_worker or dist == "no"))
    if dist == "each":
        config.pluginmanager.register(Total(session))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--world", choices=WORLDS, help="of the tests that run in each world, run all of this one"
    )
    parser.addoption("--all-worlds", action="store_true", help="run every case in every world")
    parser.addoption(
        "--processes",
        choices=("none", "only"),
        help="leave out the tests that start processes, or run only them",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no test of a folder that ``--processes=none`` leaves out, nor of the share of another
    worker.
    """
    is_elsewhere = collection_path in config.stash.get(ELSEWHERE, frozenset())
    return True if is_elsewhere or _is_left_out(config, collection_path) else None


def _is_left_out(config: pytest.Config, path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return config.getoption("--processes") == "none" and f"{name}/".startswith(PLACES)


# the choice before the order is shuffled, the order after it
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    """Deselect what the options leave out, and begin with the tests that may take long.

    One process would end with these alone. Tests that share a server follow each other: one process
    gets most of them.
    """
    for item in items:
        mark(item)
    processes, world = config.getoption("--processes"), config.getoption("--world")
    deselected = {
        item
        for item in items
        if not is_chosen(item, processes) or (world and _world_of(item) not in (None, world))
    }
    config.hook.pytest_deselected(items=[item for item in items if item in deselected])
    items[:] = [item for item in items if item not in deselected]
    yield
    first = {place: index for index, place in reversed([*enumerate(map(_place_of, items))])}
    items.sort(key=lambda item: (-_timeout_of(item), first[_place_of(item)], _server_of(item)))


def _world_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return world_of(callspec) if callspec else None


def _timeout_of(item: pytest.Item) -> float:
    """Return the time limit that a test states, 0 without one."""
    marker = item.get_closest_marker("timeout")
    seconds: float = marker.args[0] if marker else 0.0
    return seconds


def _place_of(item: pytest.Item) -> str:
    """Return the fixture that starts servers for several files, or the file."""
    shared = (
        name for name in getattr(item, "fixturenames", ()) if name in SERVERS_OF_SEVERAL_FILES
    )
    return next(shared, item.nodeid.partition("::")[0])


def _server_of(item: pytest.Item) -> str:
    """Return the name of the server that a test asks for, "" without one."""
    callspec = getattr(item, "callspec", None)
    named = (
        [callspec.params[name] for name in ("server", "name") if name in callspec.params]
        if callspec
        else []
    )
    return next(
        (
            name
            for name in named
            if item.nodeid.startswith("tests/servers/") and isinstance(name, str)
        ),
        "",
    )


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None]:
    """Collect a test in each world of its folder, if it names none, and of its cases those that
    run: an item takes as long to make if it is left out.
    """
    function = metafunc.definition.nodeid
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    option = metafunc.config.getoption
    is_each = option("--all-worlds") or option("--world")
    if "world" in metafunc.fixturenames and not any("world" in names for names in named):
        worlds = WORLDS if is_each else worlds_of(function, WORLDS)
        metafunc.parametrize("world", worlds, indirect=True)
    yield
    if not is_each:
        # pytest has no public name for them
        metafunc._calls[:] = chosen_cases(function, metafunc._calls)


def import_share(folders: Iterable[Path]) -> None:
    """In a worker of pytest-xdist, import its share of the test modules before all others.

    pytest takes longer to rewrite the assertions of a new module than to import it, and keeps the
    result. Workers that begin with the same module would each rewrite all of them.

    Not where libraries are missing: SQLAlchemy's async module can be imported the second time
    without greenlet, and workers would collect different tests.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and not LEFT_OUT:
        number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
        count = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        paths = sorted(path for folder in folders for path in folder.rglob("test_*.py"))
        for path in paths[number::count]:
            # collection imports a module that fails once more, and tells of it
            with suppress(Exception, pytest.skip.Exception):
                import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """In a worker of pytest-xdist, report a test that passes by one message instead of five.

    They take a millisecond for each of twenty thousand tests. ``--durations`` needs all of them.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or item.config.getoption("durations") is not None:
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.passed and report.when != "call":
            continue
        if report.passed:
            report.keywords = {}
        item.ihook.pytest_runtest_logreport(report=report)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect tests without the garbage collector, which finds nothing there and takes a quarter of
    the time.
    """
    gc.disable()
    folders = [(ROOT / name).resolve() for name in session.config.args]
    worker = getattr(session.config, "workerinput", {})
    if worker.get("dist") == "each":
        sizes = sizes_below(folders)
        collected = {one: sizes[one] for one in sizes if not _is_left_out(session.config, one)}
        shares = shared_out(collected, worker["workercount"])
        own = int(worker["workerid"].removeprefix("gw"))
        session.config.stash[ELSEWHERE] = {path for path in shares if shares[path] != own}
    else:
        import_share(folders)
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Keep what was collected, and all modules, from being looked through by each run of the
    garbage collector.

    With all tests a run takes half a second, and some tests ask for one. A run before this would
    free a few megabytes.

    It runs a seventh as often as by default: each run looks through what the running test uses
    once more, which is a twentieth of the time of most tests.
    """
    leave_the_collector_alone()
    gc.freeze()
    gc.set_threshold(5000, 20, 20)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a value without its address: every worker process has to collect the same test ids."""
    return getattr(val, "__qualname__", type(val).__qualname__) if " at 0x" in repr(val) else None


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Leave what is a cycle unfreed: a generator that the collector ends was left open."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def no_collector(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Leave what is a cycle unfreed. Free-threaded Python counts some references of exceptions and
    frames only in its collector, so it frees nothing of a failed request without it.
    """
    if IS_FREE_THREADED:
        pytest.skip("needs Python's own collector, which is off here")
    caplog.set_level(100)  # a record keeps the exception, which keeps the frames
    gc.disable()
    yield
    gc.enable()
