"""Tools that look at one header of a request see what a hook has made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compat.tests.asking import basic
from compat.tests.conftest import Serve
from micropie_compat import cherrypy as ours


def checked(cherrypy: Any, hook: Any = None) -> Any:
    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return str(cherrypy.request.login)

    options = {
        "on": True,
        "realm": "here",
        "checkpassword": lambda realm, user, password: password == "x",
    }
    config = {f"tools.auth_basic.{name}": value for name, value in options.items()}
    if hook is not None:
        config["hooks.on_start_resource"] = hook
    return cherrypy.Application(Root(), "", {"/": config})


def test_a_hook_may_set_a_header_that_a_tool_reads(cherrypy: Any, serve: Serve) -> None:
    def sign_in() -> None:
        cherrypy.serving.request.headers["Authorization"] = basic("ann", "x")

    sign_in.priority = 0  # type: ignore[attr-defined]  # before the tool
    client = serve(checked(cherrypy, sign_in))
    assert client.get("/").text == "ann"
    client = serve(checked(cherrypy))
    assert client.get("/").status_code == 401
    assert client.get("/", headers={"Authorization": basic("bob", "x")}).text == "bob"


def test_tools_get_decoded_encoded_words(cherrypy: Any, serve: Serve) -> None:
    client = serve(checked(cherrypy))
    encoded = "=?utf-8?q?" + basic("bob", "x").replace("=", "=3D").replace(" ", "_") + "?="
    assert client.get("/", headers={"Authorization": encoded}).text == "bob"


def test_a_hook_may_remove_conditional_headers(cherrypy: Any, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    config: dict[str, Any] = {"tools.staticdir.on": True, "tools.staticdir.dir": str(tmp_path)}
    client = serve(cherrypy.Application(None, "", {"/": config}))
    modified = client.get("/a.txt").headers["Last-Modified"]
    assert client.get("/a.txt", headers={"If-Modified-Since": modified}).status_code == 304
    config |= {
        "tools.ignore_headers.on": True,
        "tools.ignore_headers.headers": ["If-Modified-Since"],
    }
    client = serve(cherrypy.Application(None, "", {"/": config}))
    assert client.get("/a.txt", headers={"If-Modified-Since": modified}).status_code == 200


def test_outside_a_request_there_is_no_header() -> None:
    with pytest.raises(ours.HTTPError) as error:
        ours.lib.auth_basic.basic_auth("here", lambda realm, user, password: True)
    assert error.value.code == 401
