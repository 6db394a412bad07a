"""What watches an application: logs, metrics, traces, error trackers."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from micropie import App, HttpMiddleware, Request, get
from micropie.testing import TestClient
from tests.works_with.listed import World, client_of, works
from tests.works_with.running import serving


@works("structlog", what="context variables")
def structlog(world: World) -> None:
    import structlog
    from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

    app = App()

    @app.get("/")
    def index(name: str) -> Any:
        assert structlog.get_logger() is not None
        clear_contextvars()
        bind_contextvars(name=name)
        return get_contextvars()

    @app.get("/stream")
    async def stream() -> Any:
        bind_contextvars(name="bob")
        yield str(get_contextvars()["name"])

    with client_of(app, world) as client:
        assert client.get("/?name=ann").json() == {"name": "ann"}
        assert client.get("/stream").text == "bob"


@works("loguru", what="micropie's log, context")
def loguru(world: World) -> None:
    import logging

    from loguru import logger

    lines: list[str] = []
    logger.remove()
    logger.add(lambda line: lines.append(str(line)), format="{extra} {message}")

    class Intercept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logger.opt(exception=record.exc_info).log(record.levelname, record.getMessage())

    logging.getLogger("micropie").addHandler(Intercept())
    app = App()

    @app.get("/")
    def index() -> None:
        with logger.contextualize(pie="plum"):
            logger.info("baked")
        raise ValueError("burnt")

    with client_of(app, world, raise_app_exceptions=False) as client:
        assert client.get("/").status_code == 500
    assert any("plum" in line and "baked" in line for line in lines), lines
    assert any("burnt" in line for line in lines), lines


class Failing(App):
    @get("/pies/<number:int>")
    def crash(self, number: int) -> str:
        raise ValueError("crash")

    @get("/stream")
    def stream(self) -> Iterator[str]:
        yield "a"
        raise ValueError("broken off")


@contextmanager
def sending_to(transactions: list[Any], errors: list[Any]) -> Iterator[None]:
    """Have Sentry append what it would send."""
    import sentry_sdk

    def once(event: Any, hint: Any) -> None:  # as docs/how-to/logging.md has it
        error = hint.get("exc_info", (None, None))[1]
        if not getattr(error, "is_reported", False):
            errors.append(event)
        if error is not None:
            error.is_reported = True

    def keep(event: Any, hint: Any) -> None:
        transactions.append(event)

    sentry_sdk.init(
        "https://key@sentry.example/1",
        before_send=once,
        before_send_transaction=keep,
        traces_sample_rate=1.0,
        auto_enabling_integrations=False,
    )
    yield
    sentry_sdk.get_global_scope().set_client(None)


def around_by_sentry(app: App, world: World) -> Any:
    import sentry_sdk
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
    from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

    class Names(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            if request.route is not None:
                scope = sentry_sdk.get_current_scope()
                scope.set_transaction_name(request.route.path, source="route")

    if world == "wsgi":
        app.middlewares.append(Names())
        return SentryWsgiMiddleware(app)
    return SentryAsgiMiddleware(app, transaction_style="url")


@works("sentry-sdk", what="by route, streams")
def sentry(world: World) -> None:
    import sentry_sdk

    transactions: list[Any] = []
    errors: list[Any] = []
    with sending_to(transactions, errors):
        around = around_by_sentry(Failing(on_error=sentry_sdk.capture_exception), world)
        protocol: Any = "wsgi" if world == "wsgi" else "asgi"
        with TestClient(around, protocol=protocol, raise_app_exceptions=False) as client:
            assert client.get("/pies/3").status_code == 500
            with suppress(Exception):
                client.get("/stream")
    assert [one["transaction"] for one in transactions] == ["/pies/<number:int>", "/stream"]
    found = [one["exception"]["values"][-1]["value"] for one in errors]
    assert found == ["crash", "broken off"], found


class NameTransactions(HttpMiddleware):
    def __init__(self, name: Callable[[str], object]) -> None:
        self._name = name

    def before_request(self, request: Request) -> None:
        if request.route is not None:
            self._name(f"{request.method} {request.route.path}")


class NameTransactionsInTask(HttpMiddleware):
    def __init__(self, name: Callable[[str], object]) -> None:
        self._name = name

    async def before_request(self, request: Request) -> None:
        if request.route is not None:
            self._name(f"{request.method} {request.route.path}")


def crash_in(app: Any, world: World) -> None:
    protocol: Any = "wsgi" if world == "wsgi" else "asgi"
    with TestClient(app, protocol=protocol, raise_app_exceptions=False) as client:
        assert client.get("/pies/3").status_code == 500


@works("newrelic", "asyncio", "wsgi", what="by route")
def newrelic(world: World) -> None:
    os.environ |= {"NEW_RELIC_DEVELOPER_MODE": "true", "NEW_RELIC_LICENSE_KEY": "0" * 40}
    import newrelic.agent

    seen: list[object] = []

    def name(text: str) -> None:
        newrelic.agent.set_transaction_name(text)
        seen.append(newrelic.agent.current_transaction().name)

    def report(error: Exception) -> None:
        newrelic.agent.notice_error((type(error), error, error.__traceback__))
        seen.append(str(error))

    newrelic.agent.initialize()
    newrelic.agent.register_application(timeout=10)
    app = Failing(on_error=report)
    # New Relic finds its transaction in the task of the request, or else in its thread.
    kind = NameTransactions if world == "wsgi" else NameTransactionsInTask
    app.middlewares.append(kind(name))
    wrapper = (
        newrelic.agent.WSGIApplicationWrapper
        if world == "wsgi"
        else newrelic.agent.ASGIApplicationWrapper
    )
    crash_in(wrapper(app), world)
    assert seen == ["GET /pies/<number:int>", "crash"], seen


@works("elastic-apm", "asyncio", "wsgi", what="by route")
def elastic(world: World) -> None:
    import elasticapm
    from elasticapm.contrib.asgi import ASGITracingMiddleware
    from elasticapm.middleware import ElasticAPM

    sent: list[str] = []

    class Client(elasticapm.Client):
        def queue(self, event_type: str, data: Any, flush: bool = False) -> None:
            if event_type == "transaction":
                sent.append(data["name"])
            elif event_type == "error":
                sent.append(data["exception"]["message"])

    client = Client(service_name="pies", cloud_provider="none", central_config="false")
    app = Failing(
        on_error=lambda error: client.capture_exception((type(error), error, error.__traceback__))
    )
    app.middlewares.append(NameTransactions(elasticapm.set_transaction_name))
    around = ElasticAPM(app, client) if world == "wsgi" else ASGITracingMiddleware(app)
    crash_in(around, world)
    client.close()
    # its WSGI middleware makes no transactions
    names = {"GET /pies/<number:int>"} if world == "asyncio" else set()
    assert {*sent} == {"ValueError: crash", *names}, sent


@works("prometheus-client", "wsgi", what="two processes")
def prometheus(world: World) -> None:
    import httpx2

    with (
        tempfile.TemporaryDirectory() as folder,
        serving(
            *(
                "gunicorn",
                "tests.works_with.shop:app",
                "--bind",
                "127.0.0.1:{port}",
                "--workers",
                "2",
            ),
            path="/pies/3",
            PROMETHEUS_MULTIPROC_DIR=folder,
        ) as url,
    ):
        for number in range(20):
            httpx2.get(f"{url}/pies/{number}")
        text = httpx2.get(f"{url}/metrics").text
    counted = re.search(r'duration_seconds_count{.*route="/pies/<number:int>"} (\d+)', text)
    assert counted, text
    assert float(counted[1]) >= 20
