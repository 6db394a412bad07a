"""Executors of other libraries, whose futures and threads have rules of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import gevent.threadpool
import pytest

from micropie import App, SetupError, run_in
from tests.support.clients import MakeClient


class Uncancellable(Future[Any]):
    """As Parsl's futures do."""

    def cancel(self) -> bool:
        raise NotImplementedError("Cancel not implemented")


class Inline(Executor):
    """Runs each call at once, or never."""

    def __init__(self, *, ends: bool = True) -> None:
        self.ends = ends

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        future = Uncancellable()
        if self.ends:
            future.set_result(function(*arguments, **options))
        return future


class Pooled(App):
    @run_in("process")
    def index(self) -> str:
        return "pies"


def test_a_finished_future_is_not_cancelled(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert make_client(Pooled(pool=Inline())).get("/").text == "pies"
    assert caplog.records == []


def test_a_future_that_cannot_be_cancelled_is_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Pooled(pool=Inline(ends=False), pool_timeout=0.01))
    with caplog.at_level(logging.WARNING, "micropie"):
        assert client.get("/").status_code == 503
    assert "can't cancel a call: NotImplementedError" in caplog.text


def test_an_executor_of_one_thread_is_refused() -> None:
    executor = gevent.threadpool.ThreadPoolExecutor(1)
    with pytest.raises(SetupError, match="gevent's ThreadPoolExecutor, which refuses calls from"):
        Pooled(pool=executor)
