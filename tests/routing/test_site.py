"""The site's short cuts through its tables lead where the walk through them does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from micropie import App, HTTPError, get
from micropie._core.http.request import Request
from micropie._core.routing.routes import Refusal
from micropie.wsgi.exchange import WSGIExchange
from tests.support.clients import MakeClient


class ShortCut(App):
    def greet(self, *names: str) -> str:
        return f"greet {names}"

    def one(self, name: str) -> str:
        return f"one {name}"

    def none(self) -> str:
        return "none"

    @get
    def read(self, name: str) -> str:
        return f"read {name}"


def _found(by: Callable[[], Any]) -> Any:
    try:
        found = by()
    except HTTPError as error:  # the path is malformed
        return error.status, error.headers
    route, arguments, values = found
    if isinstance(route, Refusal):
        return arguments[0].status, arguments[0].headers
    return route.name, list(arguments), values


@given(
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    head=st.sampled_from(["greet", "one", "none", "read", "index", "", ".", "other"]),
    rest=st.lists(st.text(alphabet="ab./\0%", max_size=4), max_size=2),
)
def test_the_short_cut_for_one_argument_finds_the_same_route(
    method: str, head: str, rest: list[str]
) -> None:
    path = "/".join(["", head, *rest])
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": ""}
    site = ShortCut()._micropie.compiled()
    request, walked = Request(WSGIExchange(environ)), WSGIExchange(environ)
    short = _found(lambda: site.find(request))
    assert short == _found(lambda: site.router.find(method, walked.segments()))
    if isinstance(short[0], str):
        assert list(request.path_params) == short[1]


def test_route_lists_describe_each_route(tmp_path: Path) -> None:
    class Root(App):
        async def ws_echo(self, ws: Any) -> None: ...

    app = Root()
    app.static("/files", tmp_path)
    site = app._micropie.site
    [file] = site.entries()
    assert repr(file.route) == "<Route static, micropie>"
    [echo] = site.entries(takes_socket=True)
    assert (echo.methods, echo.route.methods) == (["GET", "HEAD"], ("GET",))
    assert re.fullmatch(
        r"<Route echo, .*test_site\.py:[0-9]+>|<Route ws_echo, .*test_site\.py:[0-9]+>",
        repr(echo.route),
    )


def test_an_error_handler_takes_the_request_by_its_name_or_by_its_type(
    make_client: MakeClient,
) -> None:
    class Root(App):
        pass

    app = Root()
    app.error(404)(lambda request: f"{request.path} is missing")

    @app.error(405)
    def refused(asked: Request) -> str:
        return f"{asked.method} is refused"

    app.get("/")(lambda: "here")
    client = make_client(app)
    assert client.get("/nowhere").text == "/nowhere is missing"
    assert client.delete("/").text == "DELETE is refused"
