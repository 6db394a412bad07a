"""Code of an application may raise anything anywhere: wherever it begins, and wherever it ends. The
failure costs its own request only, is reported once, and whatever was opened is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

import anyio
import pytest

from micropie import App
from tests.asgi.calls import every_loop
from tests.execution.requests_that_open import (
    OPEN,
    OUTCOMES,
    PENDING,
    POINTS,
    REQUESTS,
    TEXTS,
    TYPES,
    Server,
    is_stream,
    open_files,
    with_mounts,
)
from tests.support.waiting import PATIENCE, until_async
from tests.wsgi.calls import get

FAILURES: dict[str, Callable[[], BaseException]] = {
    "exception": lambda: ZeroDivisionError("raised by the test"),
    "exit": lambda: SystemExit("raised by the test"),
    "group": lambda: ExceptionGroup("several", [ZeroDivisionError("raised by the test")]),
}


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The loggers that the failure was logged to."""
    as_text = logging.Formatter().format
    return [record.name for record in caplog.records if "raised by the test" in as_text(record)]


def has_at_most(files: int) -> bool:
    return open_files() <= files


class Outcome(NamedTuple):
    """What became of one request. ``status``: as in ``OUTCOMES``."""

    raised: BaseException | None
    status: object
    is_fit: bool
    """Whether a server may see this after a failure: a whole response or, if the application has
    raised something, one that is broken off.
    """


async def raise_everywhere(
    ask: Callable[[], Awaitable[Outcome]],
    expected: object,
    kind: str,
    caplog: pytest.LogCaptureFixture,
    *,
    is_mounted: bool = False,
) -> None:
    """Let a request fail at its first point, then at its second one, and so on, until it passes
    none that raises.

    ``is_mounted``: whether an application of another kind may raise, which reports it itself.
    """
    raise_at, files, is_over = 0, 0, False
    while not is_over:
        POINTS.begin(raise_at, FAILURES[kind]())
        caplog.clear()
        outcome: Outcome | None = None
        try:
            with anyio.fail_after(PATIENCE):
                outcome = await ask()
                await until_async(lambda: not OPEN)
                if not raise_at:  # it has started the application
                    files = open_files()
                await until_async(partial(has_at_most, files))
            is_over = POINTS.passed < raise_at
            if is_over or not raise_at:
                assert (outcome.raised, outcome.status) == (None, expected)
            elif isinstance(outcome.raised, Exception) and is_mounted:
                assert reports(caplog) == []
            else:
                await until_async(partial(reports, caplog))  # a thread may still log it
                # A migrated program has its framework's log, too.
                assert len(reports(caplog)) == len({*reports(caplog)})
                assert outcome.is_fit
        except BaseException as error:
            error.add_note(f"raised at {raise_at}: {OPEN} open, {outcome}")
            raise
        finally:
            OPEN.clear()
            PENDING.clear()
            POINTS.begin()
        raise_at += 1
    assert raise_at > 1


async def ask_asgi(app: Callable[..., Awaitable[None]], path: str, body: bytes) -> Outcome:
    server = Server(path, body, 0, "raise")
    try:
        await app(server.scope, server.receive, server.send)
    except BaseException as error:
        return Outcome(error, None, server.is_broken_off)
    return Outcome(None, server.outcome, server.is_answered)


def ask_wsgi(app: Any, path: str, body: bytes) -> Outcome:
    changes = {"CONTENT_TYPE": TYPES[body].decode()} if body else {}
    try:
        status, _ = get(app, path, "POST" if body else "GET", body, **changes)
    except BaseException as error:
        return Outcome(error, None, is_stream(path))
    return Outcome(None, status, True)


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize(
    ("make", "path", "body"),
    REQUESTS,
    ids=[f"{make.__name__}{path}-{len(body)}" for make, path, body in REQUESTS],
)
@every_loop
def test_any_exception_of_an_application_fails_one_request_only(
    backend: str,
    make: Callable[[], App],
    path: str,
    body: bytes,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check() -> None:
        expected = OUTCOMES.get(path, Server(path, body, 0, kind).usual)
        ask = partial(ask_asgi, app, path, body)
        await raise_everywhere(ask, expected, kind, caplog, is_mounted=make is with_mounts)

    app = make()
    anyio.run(check, backend=backend)


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize(
    ("make", "path", "body"),
    [one for one in REQUESTS if one[2] != TEXTS],
    ids=[f"{make.__name__}{path}-{len(body)}" for make, path, body in REQUESTS if body != TEXTS],
)
def test_any_exception_of_an_application_fails_one_request_only_under_wsgi(
    make: Callable[[], App], path: str, body: bytes, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    # in a thread, which has no event loop, like a server's
    in_thread = partial(anyio.to_thread.run_sync, ask_wsgi, make(), path, body)
    anyio.run(raise_everywhere, in_thread, OUTCOMES.get(path, 200), kind, caplog)
