"""RequestId: an id for each request, in its answer, in the log, on the page of an error."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from micropie import App, HttpMiddleware, SetupError, WebSocket
from micropie.middleware import RequestId, RequestIdFilter, Timeout
from micropie.testing import WebSocketClosed, WebSocketRefused
from tests.support.clients import MakeClient

IS_ID = re.compile(r"[0-9a-f]{32}")

logger = logging.getLogger("tests.requestid")


class Root(App):
    def index(self) -> Any:
        logger.warning("in a def handler")
        return self.request.id

    async def asynchronous(self) -> Any:
        logger.warning("in an async handler")
        return self.request.id

    def crashes(self) -> Any:
        raise RuntimeError("secret")

    def breaks(self) -> Iterator[str]:
        yield "a"
        raise RuntimeError("secret")

    async def sleeps(self) -> Any:
        import anyio

        await anyio.sleep_forever()


def identified(app: App | None = None, **options: Any) -> App:
    app = app or Root()
    app.middlewares.insert(0, RequestId(**options))
    return app


def test_each_request_has_an_id_that_its_response_repeats(make_client: MakeClient) -> None:
    client = make_client(identified())
    answers = [client.get(path) for path in ("/", "/asynchronous", "/")]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert [answer.text for answer in answers] == ids
    assert len(set(ids)) == 3
    assert all(IS_ID.fullmatch(request_id) for request_id in ids)


def test_without_the_middleware_there_is_no_id(make_client: MakeClient) -> None:
    answer = make_client(Root()).get("/")
    assert (answer.text, "x-request-id" in answer.headers) == ("", False)


def test_errors_have_the_request_id_too(make_client: MakeClient) -> None:
    client = make_client(identified())
    assert all(
        IS_ID.fullmatch(client.get(path).headers["x-request-id"])
        for path in ("/nowhere", "/crashes")
    )


def test_R76_the_error_page_has_the_request_id_and_no_details(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = make_client(identified()).get("/crashes")
    request_id = answer.headers["x-request-id"]
    assert answer.text == f"500 Internal Server Error. Request id: {request_id}"
    (record,) = caplog.records
    assert record.getMessage() == f"GET '/crashes' [{request_id}] failed in crashes"
    assert record.exc_info is not None


def test_R76_an_error_of_an_error_handler_has_the_request_id_too(make_client: MakeClient) -> None:
    app = identified()

    @app.error(Exception)
    def fails() -> Any:
        raise RuntimeError("again")

    assert re.fullmatch(
        r"500 Internal Server Error\. Request id: [0-9a-f]{32}",
        make_client(app).get("/crashes").text,
    )


def test_log_lines_of_aborted_streams_and_late_handlers_have_the_request_id(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = identified(trust=True)
    app.middlewares.append(Timeout(0.01))
    client = make_client(app, raise_app_exceptions=False)
    with (
        pytest.raises(Exception, match="ended before its response"),
        client.stream("GET", "/breaks", headers={"X-Request-ID": "one"}) as answer,
    ):
        answer.read()
    client.get("/sleeps", headers={"X-Request-ID": "two"})
    messages = [record.getMessage() for record in caplog.records if record.name == "micropie"]
    assert messages == [
        "GET '/breaks' [one] failed after the response had started: the response was aborted",
        "GET '/sleeps' [two]: sleeps did not finish within 0.01 s: the client gets 503",
    ]


class Sockets(App):
    async def ws_crashes(self, ws: WebSocket) -> None:
        await ws.accept()
        raise RuntimeError("secret")

    async def ws_refuses(self, ws: WebSocket) -> None:
        raise RuntimeError("secret")


def test_a_websocket_s_failure_has_the_request_id_too(
    connect: MakeClient, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(identified(Sockets(), trust=True), backend, denial_response=True)
    with (
        client.websocket("/crashes", headers={"X-Request-ID": "one"}) as ws,
        pytest.raises(WebSocketClosed) as closed,
    ):
        ws.receive()
    assert (closed.value.code, closed.value.reason) == (1011, "Request id: one")
    with (
        pytest.raises(WebSocketRefused) as refused,
        client.websocket("/refuses", headers={"X-Request-ID": "two"}),
    ):
        pass
    assert refused.value.body == b"500 Internal Server Error. Request id: two"
    assert [
        record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR
    ] == [
        "WebSocket '/crashes' [one] failed in ws_crashes",
        "WebSocket '/refuses' [two] failed in ws_refuses",
    ]


@pytest.mark.parametrize("value", ["a", "A-1_b.2", "x" * 128])
def test_a_trusted_id_is_used(make_client: MakeClient, value: str) -> None:
    answer = make_client(identified(trust=True)).get("/", headers={"X-Request-ID": value})
    assert (answer.text, answer.headers["x-request-id"]) == (value, value)


@pytest.mark.parametrize(
    "value", ["", " ", "x" * 129, "a b", "a,b", "<b>", "é".encode(), 'a"', "a'", "a;b"]
)
def test_R76_a_malformed_id_is_replaced(make_client: MakeClient, value: Any) -> None:
    answer = make_client(identified(trust=True), validate=False).get(
        "/", headers={"X-Request-ID": value}
    )
    assert IS_ID.fullmatch(answer.text)


def test_two_ids_are_replaced(make_client: MakeClient) -> None:
    headers = [("X-Request-ID", "one"), ("X-Request-ID", "two")]
    assert IS_ID.fullmatch(make_client(identified(trust=True)).get("/", headers=headers).text)


def test_an_id_is_not_trusted_by_default(make_client: MakeClient) -> None:
    answer = make_client(identified()).get("/", headers={"X-Request-ID": "mine"})
    assert IS_ID.fullmatch(answer.text)


def test_the_header_may_have_another_name(make_client: MakeClient) -> None:
    client = make_client(identified(header="X-Trace", trust=True))
    answer = client.get("/", headers={"x-trace": "abc", "X-Request-ID": "def"})
    seen = (answer.text, answer.headers["X-Trace"], "x-request-id" in answer.headers)
    assert seen == ("abc", "abc", False)


def test_an_early_response_of_outer_middleware_still_has_an_id(make_client: MakeClient) -> None:
    class Refuses(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            return {"status_code": 403, "body": "no"}

    app = identified()
    app.middlewares.insert(0, Refuses())
    answer = make_client(app).get("/")
    seen = (answer.status_code, bool(IS_ID.fullmatch(answer.headers["x-request-id"])))
    assert seen == (403, True)


def test_a_second_request_id_middleware_has_no_effect(make_client: MakeClient) -> None:
    app = identified()
    app.inner = identified(Root(), trust=True)
    answer = make_client(app).get("/inner", headers={"X-Request-ID": "mine"})
    assert answer.text == answer.headers["x-request-id"] != "mine"


def test_an_inner_application_may_have_its_own_request_ids(make_client: MakeClient) -> None:
    app = Root()
    app.inner = identified(Root())
    client = make_client(app)
    assert ["x-request-id" in client.get(path).headers for path in ("/", "/inner")] == [False, True]


def test_a_filter_adds_the_request_id_to_the_author_s_log_lines(make_client: MakeClient) -> None:
    lines: list[str] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keeps()
    handler.setFormatter(logging.Formatter("[%(request_id)s] %(message)s"))
    handler.addFilter(RequestIdFilter())
    logger.addHandler(handler)
    try:
        client = make_client(identified())
        ids = [client.get(path).text for path in ("/", "/asynchronous")]
        logger.warning("outside of any request")
        logger.warning("of a request that is over", extra={"request_id": "given"})
        without = make_client(Root()).get("/").text
    finally:
        logger.removeHandler(handler)
    assert (lines, without) == (
        [
            f"[{ids[0]}] in a def handler",
            f"[{ids[1]}] in an async handler",
            "[-] outside of any request",
            "[given] of a request that is over",
            "[-] in a def handler",
        ],
        "",
    )


@pytest.mark.parametrize(
    "options",
    [{"header": ""}, {"header": "X Y"}, {"header": "X_Y"}, {"header": None}, {"trust": 1}],
)
def test_invalid_settings_are_refused(options: Any) -> None:
    with pytest.raises(SetupError, match=r"RequestId\((header|trust)=\.\.\.\) takes"):
        RequestId(**options)
