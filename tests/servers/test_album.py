"""A browser's way through the album of ``examples/``, on real servers: sign in, upload, a message
after a redirect.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.servers.harness import ANSWER_WITHIN, KINDS, Server, start

PICTURE = b"\x89PNG\r\n\x1a\n" + os.urandom(300_000)


@pytest.fixture(scope="module", params=["uvicorn", "hypercorn-trio", "gunicorn-gthread"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path]]:
    directory = tmp_path_factory.mktemp("album")
    with tempfile.TemporaryFile() as log:
        environ = {"ALBUM_DIRECTORY": str(directory)}
        server = start(
            KINDS[request.param], "examples.album.app:app", log, workers=2, environ=environ
        )
        yield server, directory / "pictures"
        server.end()


@pytest.fixture
def browser(server: tuple[Server, Path]) -> Iterator[httpx.Client]:
    with new_browser(server[0]) as client:
        yield client


def new_browser(server: Server) -> httpx.Client:
    """Return a client that follows redirects and keeps cookies."""
    url = f"http://127.0.0.1:{server.port}"
    return httpx.Client(
        base_url=url, follow_redirects=True, timeout=ANSWER_WITHIN, headers={"Host": "localhost"}
    )


def fields_of(page: str) -> dict[str, str]:
    """Return the hidden fields of a page's forms."""
    return {
        name: unescape(value)
        for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page)
    }


def sign_in(browser: httpx.Client, name: str = "Ann") -> httpx.Response:
    fields = fields_of(browser.get("/door").text)
    return browser.post("/door", data={**fields, "name": name, "password": "pie"})


def said(page: str) -> list[str]:
    return [unescape(sentence) for sentence in re.findall(r'role="status">([^<]*)<', page)]


def test_a_visitor_without_a_login_is_redirected_to_the_login_page(browser: httpx.Client) -> None:
    for path in ("/", "/picture/a.png", "/nowhere", "/door"):
        answer = browser.get(path)
        assert (answer.status_code, answer.url.path) == (200, "/door")
    style = browser.get(re.findall(r'href="(/static/[^"]+)"', answer.text)[0])
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert (
        browser.get(style.url, headers={"If-None-Match": style.headers["etag"]}).status_code == 304
    )


def test_a_wrong_password_is_refused(browser: httpx.Client) -> None:
    fields = fields_of(browser.get("/door").text)
    answer = browser.post("/door", data={**fields, "name": "Ann", "password": "cake"})
    assert answer.status_code == 403
    assert "That is not the password." in answer.text
    assert browser.get("/").url.path == "/door"


def test_a_user_can_sign_in_and_sign_out(browser: httpx.Client) -> None:
    browser.get("/door")
    token = browser.cookies["csrf_token"]
    page = sign_in(browser, "<Ann>")
    assert page.url.path == "/"
    assert "The album of &lt;Ann&gt;" in page.text
    assert said(page.text) == ["Welcome, <Ann>!"]
    assert "csrf_token" not in browser.cookies
    assert fields_of(page.text)["csrf_token"] != token
    assert said(browser.get("/").text) == []  # once
    stolen = {"Cookie": f"session_id={browser.cookies['session_id']}"}
    assert browser.post("/sign_out", data=fields_of(page.text)).url.path == "/door"
    browser.cookies.clear()
    assert browser.get("/", headers=stolen).url.path == "/door"


def test_a_picture_can_be_uploaded_viewed_and_deleted(
    browser: httpx.Client, server: tuple[Server, Path]
) -> None:
    page = sign_in(browser).text
    sent = {"picture": ("../my pie.png", PICTURE, "image/png")}
    page = browser.post("/hang", data=fields_of(page), files=sent).text
    assert said(page) == [f"my pie.png hangs now ({len(PICTURE)} bytes)."]
    assert (server[1] / "my pie.png").read_bytes() == PICTURE

    url = re.findall(r'<img src="([^"]+)"', page)[0]
    seen = browser.get(url)
    assert (seen.content, seen.headers["content-type"]) == (PICTURE, "image/png")
    part = browser.get(url, headers={"Range": "bytes=100000-199999"})
    assert (part.status_code, part.content) == (206, PICTURE[100_000:200_000])

    again = browser.post("/hang", data=fields_of(page), files=sent)
    assert (again.status_code, again.text) == (409, "There is a picture called my pie.png already.")
    page = browser.post("/take-down", data={**fields_of(page), "name": "my pie.png"}).text
    assert said(page) == ["my pie.png is gone."]
    assert browser.get(url).status_code == 404
    assert list(server[1].iterdir()) == []


def test_a_file_that_is_not_a_picture_is_refused(browser: httpx.Client) -> None:
    fields = fields_of(sign_in(browser).text)
    for name, content, stated in (
        ("a.html", b"<script>", "text/html"),
        ("a.html", b"<script>", "image/png"),
        ("a.html", PICTURE + b"<script>", "image/png"),
        ("a.svg", PICTURE, "image/png"),
        ("a.png", b"<script>", "image/png"),
        ("a.gif", PICTURE, "image/gif"),
        ("png", PICTURE, "image/png"),
    ):
        answer = browser.post("/hang", data=fields, files={"picture": (name, content, stated)})
        assert (answer.status_code, answer.text) == (
            415,
            "Only pictures hang here: PNG, JPEG, GIF or WebP.",
        )


def test_another_site_s_form_is_refused(browser: httpx.Client) -> None:
    fields = fields_of(sign_in(browser).text)
    assert (
        browser.post(
            "/sign_out", data=fields, headers={"Origin": "http://evil.example"}
        ).status_code
        == 403
    )
    # an old browser, and a page that does not know the token
    assert browser.post("/sign_out").status_code == 403
    assert browser.get("/").url.path == "/"
    assert browser.post("/sign_out", headers={"Origin": "http://localhost"}).url.path == "/door"


def test_two_users_see_their_own_albums(server: tuple[Server, Path]) -> None:
    with new_browser(server[0]) as one, new_browser(server[0]) as other:
        sign_in(one, "One")
        sign_in(other, "Other")
        for _ in range(10):  # whichever worker answers
            assert "The album of One" in one.get("/").text
            assert "The album of Other" in other.get("/").text
