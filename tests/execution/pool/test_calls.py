"""The life of a call and of a process: stopping, start functions, retiring, large bytes."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any, NoReturn
from weakref import ref

import anyio
import anyio.lowlevel
import pytest

from micropie import App, UploadFile, check_cancelled, pool_index, run_in
from micropie._core.execution import TookTooLong
from micropie._core.execution.placement import importable
from micropie._core.execution.pool import Pool, RetireProcess, connection, processes
from micropie._core.execution.process_pool import CancelToken, PoolError
from micropie.config import Settings
from micropie.middleware import ends_with_client
from tests.asgi.calls import Call, every_loop, http_scope, piece, run
from tests.asgi.calls import get as asgi_get
from tests.support import pooled
from tests.support.clients import MakeClient
from tests.support.commands import ended
from tests.support.pooled import Caller, Custom, Readable, call_in
from tests.support.waiting import PATIENCE, until, until_async

pytestmark = pytest.mark.processes

MIB = 1024 * 1024
PoolOf = Callable[..., Pool]


@pytest.fixture
def pool_of() -> Iterator[PoolOf]:
    pools: list[Pool] = []

    def made(size: int = 1, startup: Sequence[Any] = (), **settings: Any) -> Pool:
        pools.append(Pool(size, Settings(**settings), startup))
        return pools[-1]

    yield made
    for pool in pools:
        pool.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def stopped(pool: Pool, function: Any, begun: Path, seconds: float = 60.0) -> None:
    """Call a function, and cancel the call when it has begun."""
    token = CancelToken()
    with ThreadPoolExecutor(1) as others:
        called = others.submit(partial(call_in, pool, token=token), seconds, function, str(begun))
        until(begun.exists)
        token.cancel()
        with pytest.raises(PoolError, match="the call has been cancelled"):
            called.result(PATIENCE)


# -- stopping a call -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"startup": [pooled.load]}])
def test_a_function_that_calls_check_cancelled_keeps_its_process(
    pool_of: PoolOf, tmp_path: Path, options: Any
) -> None:
    pool = pool_of(cancel_grace=PATIENCE, **options)
    pid = call_in(pool, PATIENCE, os.getpid)
    stopped(pool, pooled.checks, tmp_path / "begun")
    assert call_in(pool, PATIENCE, os.getpid) == pid
    check_cancelled()  # it does nothing here
    assert pool_index() == 0


@pytest.mark.parametrize("options", [{}, {"startup": [pooled.load], "pool_kill": True}])
def test_a_process_whose_cancelled_function_continues_is_replaced(
    pool_of: PoolOf, tmp_path: Path, options: Any
) -> None:
    pool = pool_of(cancel_grace=0.01, **options)
    stopped(pool, pooled.ignores, tmp_path / "begun")
    pid = int((tmp_path / "begun").read_text())
    assert not is_alive(pid)
    assert pool._lost == 1
    assert call_in(pool, PATIENCE, os.getpid) != pid
    assert pool._lost == 0


def test_with_start_functions_a_cancelled_call_runs_until_its_time_limit(
    pool_of: PoolOf, tmp_path: Path
) -> None:
    pool = pool_of(startup=[pooled.load], cancel_grace=0.001)
    stopped(pool, pooled.ignores, tmp_path / "begun", seconds=1.0)
    assert not is_alive(int((tmp_path / "begun").read_text()))


def test_a_caller_that_waits_too_long_need_not_wait_for_the_end(
    pool_of: PoolOf, tmp_path: Path
) -> None:
    pool = pool_of(cancel_grace=PATIENCE)
    pid = call_in(pool, PATIENCE, os.getpid)
    token = CancelToken()
    with pytest.raises(TookTooLong):
        call_in(pool, 0.2, pooled.checks, str(tmp_path / "begun"), token=token)
    token.cancel()  # too late
    assert call_in(pool, PATIENCE, os.getpid) == pid  # the function has stopped itself


def test_a_stream_with_start_functions_has_time_to_close(pool_of: PoolOf) -> None:
    pool = pool_of(startup=[pooled.load])
    chunks = call_in(pool, PATIENCE, pooled.Pooled.chunks, None, 100)
    next(chunks)
    assert chunks._patience(1.0) == PATIENCE
    chunks.close()


def test_a_stream_interrupted_after_its_last_chunk_has_ended(pool_of: PoolOf) -> None:
    pool = pool_of()
    pid = call_in(pool, PATIENCE, os.getpid)
    chunks = call_in(pool, PATIENCE, pooled.counted, 1)
    assert next(chunks) == 0
    until(chunks._worker.connection.poll)
    chunks.interrupt_next()
    assert [*chunks] == []
    chunks.drop()
    assert call_in(pool, PATIENCE, os.getpid) == pid


@every_loop
def test_the_queue_for_handlers_that_end_with_their_client_is_limited(backend: str) -> None:
    app = Caller(processes=1, thread_queue=1)
    statuses: list[int | None] = []

    async def stay() -> None:
        statuses.append((await asgi_get(app, "/stays")).status)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(stay)
        app.pool.close()

    run(backend, main)
    assert statuses == [503, 503, 200, 200]


class Receives(App):
    @ends_with_client
    @run_in("process")
    def receives(self, file: UploadFile) -> None: ...


@every_loop
def test_an_upload_that_a_left_call_uses_is_closed_later(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is being pickled when the client disconnects."""
    app, seen, goes_on = Receives(processes=1), list[bytes](), Event()

    def pickled_slowly(upload: UploadFile, _: Any) -> Any:
        seen.append(b"begun")
        goes_on.wait(PATIENCE)
        seen.append(upload.read())
        return bytes, ()

    monkeypatch.setattr(UploadFile, "__reduce_ex__", pickled_slowly)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    headers = [(b"content-type", b"multipart/form-data; boundary=x")]

    async def main() -> None:
        call = Call(piece(head + b"pie\r\n--x--\r\n"))
        async with anyio.create_task_group() as tasks:
            scope = http_scope("POST", "/receives", headers=headers)
            tasks.start_soon(app, scope, call.receive, call.send)
            await until_async(lambda: seen)
            call.leave()
        goes_on.set()
        await until_async(lambda: seen == [b"begun", b"pie"])
        app.pool.close()

    run(backend, main)


def test_a_time_limit_includes_the_start_of_a_process(
    make_client: MakeClient, tmp_path: Path
) -> None:
    client = make_client(Caller(processes=1, pool_startup=[pooled.never_loads]))
    assert client.get(f"/limited?begun={tmp_path / 'begun'}").status_code == 503
    assert not (tmp_path / "begun").exists()


# -- the life of a process -------------------------------------------------------------------------


def test_start_functions_run_before_the_calls_of_each_process(
    pool_of: PoolOf, tmp_path: Path
) -> None:
    pool = pool_of(2, startup=[pooled.load])
    with ThreadPoolExecutor(2) as others:
        called = [
            others.submit(call_in, pool, PATIENCE, pooled.meets, str(tmp_path), 2) for _ in range(2)
        ]
        assert {one.result(PATIENCE) for one in called} == {0, 1}
    state, index, pid = call_in(pool, PATIENCE, pooled.seen_there)
    assert state == [index]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not all(worker.process.poll() is None for worker in pool._workers))
    again = [call_in(pool, PATIENCE, pooled.seen_there) for _ in range(2)]
    assert pid not in [one[2] for one in again]


def test_a_failing_start_function_raises_one_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Caller(processes=1, pool_startup=[pooled.fails_to_load])
    app.health("/readyz")
    client = make_client(app)
    assert client.get("/readyz").status_code == 200
    assert client.get("/runs/1/2").status_code == 500
    assert "pool_startup failed in a process of the pool: ValueError: no device" in caplog.text
    assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize("has_async_startup", [False, True])
def test_an_eager_pool_starts_with_the_application(
    make_client: MakeClient, has_async_startup: bool
) -> None:
    app = Caller(processes=2, pool_startup=[pooled.load], pool_start="eager")
    if has_async_startup:  # under WSGI, startup then runs on the background loop
        app.startup_handlers.append(anyio.lowlevel.checkpoint)
    client: Any = make_client(app)
    client.get("/calls_directly")
    assert app.pool.usage() == (0, 2)
    workers = {worker.process.pid for worker in app.pool.made._workers}
    assert len(workers) == 2
    assert client.get("/heavy/1").status_code == 200
    assert {worker.process.pid for worker in app.pool.made._workers} == workers
    app.pool.ping()


def test_an_eager_pool_that_cannot_start_ends_all_processes(pool_of: PoolOf) -> None:
    pool = pool_of(2, startup=[pooled.fails_to_load], pool_start="eager")
    with pytest.raises(PoolError, match=r"pool_startup failed .* ValueError: no device"):
        pool.start()
    assert not pool._workers
    assert pool.failure is not None


def test_an_eager_pool_keeps_the_processes_that_run(pool_of: PoolOf) -> None:
    pool = pool_of(2, pool_start="eager")
    pid = call_in(pool, PATIENCE, os.getpid)  # before the pool starts, for example in ``lifespan``
    for _ in range(2):
        pool.start()
        assert len(pool._idle) == len(pool._workers) == 2
    assert pid in {worker.process.pid for worker in pool._workers}


def test_a_pool_that_can_start_no_process_can_be_started_later(
    pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_of(2, pool_start="eager")
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", lambda *_, **__: too_many_open_files())
        for _ in range(3):
            with pytest.raises(OSError, match="too many"):
                pool.start()
    pool.start()
    assert len(pool._workers) == 2


def test_a_process_gets_the_options_of_the_interpreter(
    pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "interpreter", lambda: [sys.executable, "-OO"])
    found = call_in(pool_of(1), PATIENCE, eval, "__import__('sys').flags.optimize")
    assert (found, sys.flags.optimize) == (2, 0)


def test_a_process_runs_with_the_options_of_the_interpreter() -> None:
    program = """
import sys, warnings
from micropie._core.execution.pool import processes
print(processes.interpreter())
"""
    given = ["-OO", "-B", "-Xutf8", "-Werror::UserWarning"]
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    for options in ([], given, ["-Xdev"]):
        found = ended(sys.executable, *options, "-c", program, environ=environ).stdout
        assert all(one in found for one in options)
        assert ("-O" in found, "-Xdev" in found) == (options is given, options == ["-Xdev"])


@pytest.mark.parametrize("executable", ["/usr/bin/uwsgi", ""])
def test_a_server_that_embeds_python_starts_processes(
    pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    assert call_in(pool_of(), PATIENCE, pow, 2, 3) == 8


def too_many_open_files() -> NoReturn:
    raise OSError("too many open files")


@pytest.mark.parametrize(
    ("how", "error"), [("exit", PoolError), ("ours", RetireProcess), ("listed", Custom)]
)
def test_retire_process_replaces_the_process(pool_of: PoolOf, how: str, error: Any) -> None:
    pool = pool_of(pool_retire_on=[Custom])
    pid = call_in(pool, PATIENCE, os.getpid)
    with pytest.raises(error):
        call_in(pool, PATIENCE, pooled.retires, how)
    assert call_in(pool, PATIENCE, os.getpid) != pid


def test_the_processes_of_a_pool_end_at_the_same_time(
    pool_of: PoolOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for the other one."""
    monkeypatch.setattr("micropie._core.execution.pool.processes.GRACE", PATIENCE)
    pool = pool_of(2, startup=[partial(atexit.register, pooled.meets, str(tmp_path), 2)])
    pool.start()
    workers = [*pool._workers]
    pool.close()
    assert [worker.process.returncode for worker in workers] == [0, 0]


def test_an_import_that_retires_the_process_is_not_tried_again(
    pool_of: PoolOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "on_a_device.py").write_text(
        """
from pathlib import Path
from micropie import RetireProcess, where

def uses_device(): pass

if where() == "process":
    with open(Path(__file__).parent / "imports", "a") as file:
        file.write("x")
    raise RetireProcess("no device")
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    pool, function = pool_of(), importable(import_module("on_a_device").uses_device)
    pid = call_in(pool, PATIENCE, os.getpid)
    with pytest.raises(RetireProcess):
        call_in(pool, PATIENCE, function)
    assert (tmp_path / "imports").read_text() == "x"
    assert call_in(pool, PATIENCE, os.getpid) != pid


def test_a_process_is_replaced_after_a_number_of_calls(pool_of: PoolOf) -> None:
    pool = pool_of(pool_max_calls=2, pool_start="eager")
    pids = [call_in(pool, PATIENCE, os.getpid) for _ in range(4)]
    assert pids[0] == pids[1]
    assert pids[2] == pids[3] != pids[1]


def test_a_process_is_replaced_if_it_has_grown(
    pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_of(pool_max_memory=200)
    pid = call_in(pool, PATIENCE, pooled.uses_memory, 1)
    assert call_in(pool, PATIENCE, pooled.uses_memory, 250) == pid
    assert call_in(pool, PATIENCE, os.getpid) != pid
    (worker,) = pool._workers
    monkeypatch.setattr("micropie._core.execution.pool.processes.Path", lambda _: Path("/none"))
    assert not worker.is_worn(Settings(pool_max_memory=200))


def test_a_process_without_memory_fails_its_call_alone(pool_of: PoolOf) -> None:
    pool = pool_of()
    pid = call_in(pool, PATIENCE, pooled.limits_memory, 50)
    assert call_in(pool, PATIENCE, pooled.made, 10 * MIB) == b"x" * 10 * MIB
    for function, argument in ((pooled.made, 200 * MIB), (len, b"x" * 200 * MIB)):
        with pytest.raises(MemoryError):
            call_in(pool, PATIENCE, function, argument)
    assert call_in(pool, PATIENCE, os.getpid) == pid


@pytest.mark.parametrize("argument", [b"", b"x" * 10 * MIB, [b"x" * 20] * MIB])
def test_a_process_that_is_stopped_is_replaced(pool_of: PoolOf, argument: Any) -> None:
    """By a signal, a debugger or a frozen container: it takes no bytes, but its socket does."""
    pool = pool_of()
    call_in(pool, PATIENCE, len, b"")
    pid = call_in(pool, PATIENCE, os.getpid)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TookTooLong, match=r"for 0\.2 s: its process was terminated"):
        call_in(pool, 0.2, len, argument)
    assert call_in(pool, PATIENCE, os.getpid) != pid


@pytest.mark.parametrize("size", [100, MIB])
def test_a_process_that_is_stopped_as_it_sends_is_replaced(pool_of: PoolOf, size: int) -> None:
    pool = pool_of()
    pid = call_in(pool, PATIENCE, os.getpid)
    call_in(
        pool, PATIENCE, callable, pooled.is_stopped_as_it_sends
    )  # so it has imported the module
    with pytest.raises(TookTooLong, match=r"for 0\.2 s: its process was terminated"):
        call_in(pool, 0.2, pooled.is_stopped_as_it_sends, size)
    assert call_in(pool, PATIENCE, os.getpid) != pid


def test_an_eager_pool_replaces_lost_processes(
    pool_of: PoolOf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = pool_of(pool_start="eager", cancel_grace=0.001)
    pool.start()
    stopped(pool, pooled.ignores, tmp_path / "begun")
    until(lambda: pool._idle)  # without another call
    (worker,) = pool._workers
    pool._startup = [pooled.fails_to_load]
    worker.process.kill()
    with pytest.raises(PoolError):
        call_in(pool, PATIENCE, os.getpid)
    pool._free.acquire()
    pool._replace()
    assert "a process of the pool can't be replaced: pool_startup failed" in caplog.text
    pool.close()
    pool._free.acquire()
    pool._replace()
    assert not pool._workers
    with pytest.raises(PoolError, match="the pool has been closed"):
        pool._started(CancelToken(), is_replacement=True)


class Kept:
    """A large argument of a partial."""


@dataclass
class Multiplied:
    """A callable that has no hash."""

    number: int

    def __call__(self, other: int) -> int:
        return self.number * other


def test_a_process_keeps_no_callable_that_it_has_called(pool_of: PoolOf) -> None:
    pool, kept = pool_of(), Kept()
    assert call_in(pool, PATIENCE, partial(isinstance, kept), Kept) is True
    freed = ref(kept)
    del kept
    gc.collect()
    assert freed() is None
    assert [call_in(pool, PATIENCE, Multiplied(3), 4) for _ in range(2)] == [12, 12]


# -- large bytes -----------------------------------------------------------------------------------


class Buffer(bytearray):
    """Pickled as a buffer out of band, as an array of NumPy is."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        import pickle

        return bytearray, (pickle.PickleBuffer(self),)


@pytest.mark.parametrize("size", [1000, 300_000, 3 * MIB])
@pytest.mark.parametrize("kind", [bytes, bytearray, Buffer, lambda data: data.decode()])
def test_large_values_cross_between_processes(pool_of: PoolOf, size: int, kind: Any) -> None:
    pool = pool_of()
    data = kind(b"pie " * (size // 4))
    seen = call_in(pool, PATIENCE, pooled.doubled, data)
    assert seen == {"data": data, "pair": (200, data)}
    assert seen["data"] is seen["pair"][1]


def test_chunks_of_every_size_cross_between_processes(pool_of: PoolOf) -> None:
    pool = pool_of()
    for size in (10, 1000, 70_000, MIB):
        chunks = call_in(pool, PATIENCE, pooled.big_chunks, 40, size)
        assert [*chunks] == [*pooled.big_chunks(40, size)]


def test_a_pickle_is_not_split_into_lines() -> None:
    with pytest.raises(EOFError):
        connection._Reader(None, 0).readline()  # type: ignore[arg-type]


def unreadable(call: Callable[[], object]) -> OSError:
    """Make a call that fails because a ``Readable`` can't be unpickled. Return its exception."""
    with pytest.raises(OSError, match="no file") as caught:
        call()
    assert caught.value.__notes__ == ["A value from another process can't be unpickled."]
    return caught.value


@pytest.mark.parametrize("size", [10, MIB])
def test_an_argument_that_cannot_be_unpickled_ends_no_process(pool_of: PoolOf, size: int) -> None:
    pool = pool_of()
    pid = call_in(pool, PATIENCE, os.getpid)
    unreadable(lambda: call_in(pool, PATIENCE, pooled.doubled, [Readable("thread"), "x" * size]))
    assert call_in(pool, PATIENCE, os.getpid) == pid


@pytest.mark.parametrize("size", [10, MIB])
def test_a_result_that_cannot_be_unpickled_ends_no_process(pool_of: PoolOf, size: int) -> None:
    pool = pool_of()
    pid = call_in(pool, PATIENCE, os.getpid)
    unreadable(lambda: call_in(pool, PATIENCE, pooled.doubled, [Readable("process"), "x" * size]))
    assert call_in(pool, PATIENCE, os.getpid) == pid


def test_an_exception_that_cannot_be_unpickled_is_an_error_with_its_traceback(
    pool_of: PoolOf,
) -> None:
    pool = pool_of()
    error = unreadable(lambda: call_in(pool, PATIENCE, pooled.raises_with, Readable("process")))
    assert "raise Custom(value)" in str(error.__cause__)


@pytest.mark.parametrize("way", ["read", "closed", "interrupted"])
def test_a_chunk_that_cannot_be_unpickled_ends_its_stream_but_no_process(
    pool_of: PoolOf, way: str
) -> None:
    pool = pool_of(cancel_grace=PATIENCE)
    pid = call_in(pool, PATIENCE, os.getpid)
    chunks = call_in(pool, PATIENCE, pooled.yields_around, Readable("process"))
    assert next(chunks) == 1
    if way == "closed":
        chunks.close()
    elif way == "read":
        unreadable(lambda: next(chunks))
    else:
        chunks.interrupt_next()
        with pytest.raises(PoolError, match="the call has been cancelled"):
            next(chunks)
    assert [*chunks] == []
    assert call_in(pool, PATIENCE, os.getpid) == pid


def test_a_step_that_cannot_be_unpickled_ends_its_call_but_no_process(pool_of: PoolOf) -> None:
    pool, steps = pool_of(cancel_grace=PATIENCE), list[object]()
    pid = call_in(pool, PATIENCE, os.getpid)
    token = CancelToken(steps.append)
    unreadable(lambda: call_in(pool, PATIENCE, pooled.reports, Readable("process"), token=token))
    token.cancel()  # too late
    assert call_in(pool, PATIENCE, os.getpid) == pid
    assert not steps


def test_a_process_killed_while_it_sends_large_bytes_leaves_nothing_behind(
    pool_of: PoolOf, tmp_path: Path
) -> None:
    pool = pool_of()
    call_in(pool, PATIENCE, pooled.doubled, b"")

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def shared_memory() -> set[str]:
        """The segments of the machine, without those of servers and browsers of other tests."""
        foreign = ("PostgreSQL", ".org.chromium")
        return {name for name in os.listdir("/dev/shm") if not name.startswith(foreign)}

    pool.close()
    before, shared = descriptors(), shared_memory()
    (pid,) = {call_in(pool, PATIENCE, os.getpid)}
    (worker,) = pool._workers
    fill = worker.connection.fill

    def kill_first(view: memoryview) -> None:
        if len(view) > MIB:
            os.kill(pid, signal.SIGKILL)
        fill(view)

    worker.connection.fill = kill_first  # type: ignore[method-assign]
    with pytest.raises(PoolError, match="killed by SIGKILL"):
        call_in(pool, PATIENCE, pooled.made, 100 * MIB)
    assert not pool._workers
    until(lambda: descriptors() <= before)  # other tests' may be closed, or opened, meanwhile
    # Other tests have segments too, which end with them.
    left = shared_memory() - shared

    def all_ended() -> bool:
        left.intersection_update(shared_memory())
        return not left

    until(all_ended)


def test_calls_with_a_megabyte_leave_nothing_behind(pool_of: PoolOf) -> None:
    pool, data = pool_of(), b"x" * MIB

    def call() -> None:
        assert call_in(pool, PATIENCE, pooled.doubled, data)["pair"] == (200, data)
        with suppress(Custom):
            call_in(pool, PATIENCE, pooled.refuses, data)

    def used() -> tuple[int, int]:
        there: int = call_in(pool, PATIENCE, tracemalloc.get_traced_memory)[0]
        return tracemalloc.get_traced_memory()[0], there

    call_in(pool, PATIENCE, gc.disable)  # so that a reference cycle counts
    call_in(pool, PATIENCE, tracemalloc.start)
    gc.disable()
    tracemalloc.start()
    try:
        call()
        before = used()
        for _ in range(20):
            call()
        grown = [after - then for after, then in zip(used(), before, strict=True)]
    finally:
        tracemalloc.stop()
        gc.enable()
    # a process keeps a few values until later ones take their place
    assert max(grown) < 5 * MIB, grown
