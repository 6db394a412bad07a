"""The Cookie header as the stand-ins read it: what ``http.cookies`` has written, and no more."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie._core.http.headers.cookies import parse_cookies
from micropie_compat import bottle, cherrypy
from micropie_compat.environs import read_cookies
from tests.support.clients import MakeClient

SANDWICH = 'a="x; session_id=SECRET; b=y"'


class Pages:
    @cherrypy.expose
    def index(self) -> str:
        return str(cherrypy.request.cookie["a"].value)


def pages() -> Any:
    app = bottle.Bottle()
    app.get("/")(lambda: bottle.request.get_cookie("a"))
    return app


@pytest.mark.parametrize("application", [pages(), cherrypy.Application(Pages(), "")])
def test_R49_a_cookie_ends_where_the_next_begins(make_client: MakeClient, application: Any) -> None:
    """Whoever can set two cookies around one that scripts can't read does not get it shown."""
    client = make_client(application)
    for header in (SANDWICH, "b=1; " + SANDWICH, SANDWICH.replace("a=", "a =  ")):
        assert client.get("/", headers={"Cookie": header}).text == '"x'


@given(st.dictionaries(st.text("abc", min_size=1), st.text(st.characters(max_codepoint=255))))
def test_cookies_written_by_the_standard_library_are_read(values: dict[str, str]) -> None:
    written = SimpleCookie(values)
    header = "; ".join(f"{name}={cookie.coded_value}" for name, cookie in written.items())
    assert read_cookies(header) == values


@given(st.text('a="; \\0145,', max_size=40))
def test_R49_the_package_has_one_cookie_parser(header: str) -> None:
    """Both halves of an application that moves see the same cookies."""
    assert read_cookies(header).keys() == parse_cookies(header).keys()
    if "\\" not in header and len(read_cookies(header)) == header.count("="):
        assert read_cookies(header) == parse_cookies(header)
