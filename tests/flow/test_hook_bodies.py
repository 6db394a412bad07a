"""The body in hooks: what MicroPie's names give there, and that none of them is silently empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from micropie import (
    App,
    HttpMiddleware,
    Request,
    UploadFile,
    WebSocket,
    WebSocketMiddleware,
    post,
    reads_body,
)
from tests.support.clients import MakeClient


class Csrf(HttpMiddleware):
    """As programs for MicroPie check a form's token."""

    async def before_request(self, request: Request) -> Any:
        if request.method == "POST" and request.body_params.get("token", [""])[0] != "good":
            return {"status_code": 403, "body": "no"}
        return None


class CsrfInThread(HttpMiddleware):
    def before_request(self, request: Request) -> Any:
        names = [name for one in [1] for name in request.body_params]  # in a function of its own
        return None if "token" in names else {"status": 403}


class Noting(HttpMiddleware):
    """Notes the fields after the response."""

    def __init__(self) -> None:
        self.noted: list[Any] = []

    async def after_request(self, request: Request, *given: Any) -> None:
        self.noted.append(dict(request.body_params))


class Form(App):
    def index(self) -> Any:
        return dict(self.request.body_params)

    @post
    def named(self, token: str = "") -> str:
        return token

    @post
    def sent(self, token: str, file: UploadFile | None = None) -> str:
        return token + ("" if file is None else file.read().decode())

    @post
    @reads_body
    async def left(self) -> bytes:
        return await self.request.body()


def hooked(*hooks: Any, **settings: Any) -> Form:
    app = Form(**settings)
    app.middlewares.extend(hooks)
    return app


GOOD: list[dict[str, Any]] = [
    {"data": {"token": "good"}},
    {"json": {"token": "good"}},
    {"files": {"file": ("a.txt", b"!")}, "data": {"token": "good"}},
]
KINDS = ["form", "json", "multipart"]


@pytest.mark.parametrize("sent", GOOD, ids=KINDS)
def test_a_hook_sees_the_form_fields(make_client: MakeClient, sent: dict[str, Any]) -> None:
    noting = Noting()
    client = make_client(hooked(Csrf(), noting))
    assert client.post("/named", **sent).text == "good"
    assert client.post("/sent", **sent).text in ("good", "good!")
    assert client.get("/").json() == {}
    assert client.post("/named").status_code == 403
    assert client.post("/named", data={"token": "bad"}).status_code == 403
    assert client.post("/unknown", **sent).status_code == 404
    assert [one.get("token") for one in noting.noted] == [
        *(["good"], ["good"], None, None, ["bad"], ["good"])
    ]


def test_a_hook_in_a_thread_sees_the_form_fields(make_client: MakeClient) -> None:
    client = make_client(hooked(CsrfInThread()))
    assert client.post("/named", data={"token": "a"}).text == "a"
    assert client.post("/named", data={"token": "a" * 100_000}).text == "a" * 100_000


@pytest.mark.parametrize("sent", GOOD, ids=KINDS)
def test_a_hook_that_responds_early_needs_no_body(
    make_client: MakeClient, sent: dict[str, Any]
) -> None:
    """A hook after it still sees the fields."""
    noting = Noting()

    class Closed(HttpMiddleware):
        def before_request(self, request: Request) -> Any:
            return {"status_code": 403, "body": "closed"}

    client = make_client(hooked(noting, Closed()))
    assert client.post("/named", **sent).status_code == 403
    client = make_client(hooked(Closed(), noting))
    assert client.post("/named", **sent).status_code == 403
    assert noting.noted[1] == noting.noted[0]
    assert noting.noted[0]["token"] == ["good"]


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"x", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=%ff", 400),
        ({"Content-Type": "application/json"}, b"{", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=" + b"b" * 2000, 413),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"b" * 2000, 413),
    ],
)
def test_an_unreadable_body_raises_in_hooks(
    make_client: MakeClient, headers: dict[str, str], content: bytes, status: int
) -> None:
    client = make_client(hooked(Noting(), Csrf(), max_body_size=1000))
    assert client.post("/named", headers=headers, content=content).status_code == status


def look(request: Request, name: str) -> Any:
    """Stands outside of the hook's class, so nothing tells that the hook needs the body."""
    value = getattr(request, name)
    return value("token", "none") if name == "json" else value


FORMS: list[dict[str, Any]] = [*GOOD[:2], {"files": {"file": ("a.txt", b"!")}}]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        *(("body_params", one) for one in FORMS),
        *(("form", one) for one in FORMS),
        ("get_json", FORMS[1]),
        ("json", FORMS[1]),
        ("files", FORMS[2]),
    ],
    ids=[
        *(f"{name} {kind}" for name in ("body_params", "form") for kind in KINDS),
        *("get_json", "json", "files"),
    ],
)
@pytest.mark.parametrize("hook", ["before_request", "after_request"])
def test_a_hook_never_takes_an_unread_body_for_an_empty_one(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, name: str, sent: Any, hook: str
) -> None:
    """Both hooks also run where no handler reads the body, here for a 404."""

    class Looks(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            if hook == "before_request":
                look(request, name)

        def after_request(self, request: Request, *given: Any) -> None:
            if hook == "after_request":
                look(request, name)

    client = make_client(hooked(Looks()))
    is_empty = name in ("form", "files")  # there is no handler that they would protect
    assert client.post("/unknown", **sent).status_code == (404 if is_empty else 500)
    assert ("hooks run" in caplog.text) is not is_empty
    if hook == "before_request":
        assert client.post("/named", **sent).status_code == 500
        assert "hooks run" in caplog.text


@pytest.mark.parametrize(
    ("name", "sent", "empty"),
    [
        ("get_json", FORMS[0], "None"),
        ("json", FORMS[2], "'none'"),
        ("files", FORMS[0], "<MultiDict []>"),
        ("body_params", {}, "{}"),
        ("form", {"content": b"text"}, "<MultiDict []>"),
        (
            "form",
            {"content": b"", "headers": {"Content-Type": "application/json"}},
            "<MultiDict []>",
        ),
    ],
)
def test_a_hook_sees_that_there_is_no_body(
    make_client: MakeClient, name: str, sent: Any, empty: str
) -> None:
    class Looks(HttpMiddleware):
        def before_request(self, request: Request) -> Any:
            return {"body": repr(look(request, name))}

    client = make_client(hooked(Looks()))
    assert client.post("/named", **sent).text == empty


@pytest.mark.parametrize("name", ["body_params", "form", "get_json", "json"])
@pytest.mark.parametrize("sent", [*GOOD[:2], {"content": iter([b"to", b"ken=good"])}])
def test_a_hook_may_read_the_body_itself(make_client: MakeClient, name: str, sent: Any) -> None:
    seen: list[Any] = []

    class Reads(HttpMiddleware):
        async def before_request(self, request: Request) -> Any:
            await request.body()
            seen.append(look(request, name))

    if "content" in sent:
        form = "application/x-www-form-urlencoded"
        sent = {"content": iter([b"to", b"ken=good"]), "headers": {"Content-Type": form}}
    client = make_client(hooked(Reads()))
    assert client.post("/named", **sent).text == "good"
    found = seen[0]["token"] if isinstance(seen[0], Mapping) else seen[0]
    is_none = "json" in name and "json" not in sent
    assert found in ((None, "none") if is_none else ("good", ["good"]))


def test_a_streamed_body_is_not_empty(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Streams(HttpMiddleware):
        async def before_request(self, request: Request) -> Any:
            async for _ in request.stream():
                pass
            return {"body": str(look(request, "body_params"))}

    client = make_client(hooked(Streams()))
    assert client.post("/named", **GOOD[0]).status_code == 500
    assert "another hook has read it as a stream" in caplog.text


def test_a_body_may_be_left_to_the_handler(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(hooked(Csrf()))
    assert client.post("/left", **GOOD[0]).status_code == 500
    assert "@reads_body leaves the body to the handler" in caplog.text


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_websocket_has_no_body(connect: MakeClient, world: str) -> None:
    seen: list[Any] = []

    class Looks(WebSocketMiddleware):
        async def before_websocket(self, request: Any) -> None:
            seen.append([request.body_params, request.files, request.get_json])

    class Talks(App):
        async def ws_talk(self, ws: WebSocket) -> None:
            await ws.accept()

    app = Talks()
    app.ws_middlewares.append(Looks())
    with connect(app, world).websocket("/talk"):
        assert seen == [[{}, {}, None]]


def test_an_empty_body_of_unknown_length_is_empty(make_client: MakeClient) -> None:
    class Reads(HttpMiddleware):
        async def before_request(self, request: Request) -> Any:
            await request.body()
            return {"body": str(look(request, "body_params"))}

    sent: dict[str, Any] = {
        "content": iter([b""]),
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    }
    assert make_client(hooked(Reads())).post("/named", **sent).text == "{}"


@pytest.mark.parametrize(
    ("content", "status", "shown"),
    [(b"", 400, "The JSON body is empty."), (b'{"a":1}', 200, '[{"a":1},{"a":1}]')],
)
@pytest.mark.parametrize("reads_in_hook", [False, True])
def test_json_that_a_hook_has_awaited_is_the_same_as_without_the_hook(
    make_client: MakeClient, content: bytes, status: int, shown: str, reads_in_hook: bool
) -> None:
    """Such hooks log bodies. An empty body is the client's error, not one of the hook."""

    class Awaits(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            await request.body()
            request.state.document = request.json() if reads_in_hook else {"a": 1}

    class Root(App):
        @post
        def index(self) -> Any:
            return [self.request.json(), self.request.state.document]

    app = Root(errors="text")
    app.middlewares.append(Awaits())
    answer = make_client(app).post(
        "/", content=content, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.text) == (status, shown)
