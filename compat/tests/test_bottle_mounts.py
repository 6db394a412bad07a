"""A ``Bottle`` that another ``Bottle`` calls as WSGI, as ``mount`` without a slash at the end does."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

# The original prefers a prefix with a slash at its end, which adds the routes themselves.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated feature:DeprecationWarning")


def site(bottle: Any) -> Any:
    """Return an application with a mounted one, both with these handlers of errors."""
    outer, inner = bottle.Bottle(), bottle.Bottle()
    outer.error(500)(lambda error: f"outer: {type(error.exception).__name__}")
    inner.error(500)(lambda error: f"inner: {error.body}")
    outer.mount("/inner", inner)
    return outer, inner


def test_an_exception_reaches_the_outer_application_s_error_handler(
    bottle: Any, clients: Any
) -> None:
    outer, inner = site(bottle)
    seen: list[str] = []
    inner.hook("after_request")(lambda: seen.append("inner"))
    outer.hook("after_request")(lambda: seen.append("outer"))
    inner.route("/fails", callback=lambda: 1 / 0)
    inner.route("/aborts", callback=lambda: bottle.abort(500, "aborted"))

    @inner.route("/streams")
    def streams() -> Iterator[str]:
        raise ValueError("in the first chunk")
        yield ""

    for client in clients(outer):
        answer = client.get("/inner/fails")
        assert (answer.status_code, answer.text) == (500, "outer: ZeroDivisionError")
        assert seen == ["inner", "outer"]
        seen.clear()
        assert client.get("/inner/aborts").text == "inner: aborted"
        assert client.get("/inner/streams").text == "inner: Unhandled exception"
        seen.clear()


def test_attributes_of_the_request_are_those_of_the_outer_application(
    bottle: Any, clients: Any
) -> None:
    outer, inner = site(bottle)
    request = bottle.request

    @outer.hook("before_request")
    def log_in() -> None:
        request.user = "ann"

    @inner.route("/user")
    def user() -> str:
        request.own = "own"
        return f"{request.user} {request.own} {hasattr(request, 'none')}"

    for client in clients(outer):
        assert client.get("/inner/user").text == "ann own False"


def test_middleware_sees_what_a_mounted_application_adds_to_the_environ(bottle: Any) -> None:
    outer, inner = site(bottle)

    @inner.route("/adds")
    def adds() -> str:
        bottle.request.environ["REMOTE_USER"] = "ann"
        return "x"

    @inner.route("/fails")
    def fails() -> None:
        adds()
        raise ValueError("after the change")

    for path in ("/inner/adds", "/inner/fails"):
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        environ |= {"PATH_INFO": path, "wsgi.errors": StringIO()}
        assert [*outer(environ, lambda *_: None)]
        assert environ["REMOTE_USER"] == "ann"
        assert "micropie.bottle.mounted" not in environ
