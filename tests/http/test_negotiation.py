"""The type that a client prefers: RFC 9110, section 12.5.1."""

from __future__ import annotations

from typing import Any

import pytest

from micropie import App, HTTPError, Response
from micropie._core.http.headers.media_types import choose_type
from tests.support.clients import MakeClient

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"

AXIOS = "application/json, text/plain, */*"  # the default of axios and Angular
CHOICES: list[tuple[str | None, tuple[str, ...], str | None]] = [
    (None, ("json", "html"), "json"),
    ("", ("json", "html"), "json"),
    ("*/*", ("html", "json"), "html"),
    (BROWSER, ("json", "html"), "html"),
    (BROWSER, ("json", "xml"), "xml"),
    (BROWSER, ("json",), "json"),
    ("application/json", ("html", "json"), "json"),
    ("application/json", ("html",), None),
    ("application/*", ("html", "json"), "json"),
    ("text/*;q=0.3, text/html;q=0.7, */*;q=0.5", ("text", "html", "json"), "html"),
    ("text/*;q=0.3, text/html;q=0.7, */*;q=0.5", ("text", "json"), "json"),
    ("text/html;q=0, */*", ("html",), None),
    ("text/html;q=0, */*", ("html", "text"), "text"),
    ("TEXT/HTML;Q=0.5, application/json ; q = 0.6", ("html", "json"), "json"),
    ("text/html;level=1;q=0.2, application/json;q=0.1", ("json", "html"), "html"),
    ("text/html, image/gif, *; q=.2, */*; q=.2", ("json", "html"), "html"),  # old JDKs
    ("text/html;q=.5, application/json;q=0.25555", ("json", "html"), "html"),
    ("text/html;q=0., application/json;q=.0000", ("json", "html"), None),
    ("text/html;q=., application/json;q=0.9", ("json", "html"), "html"),
    ("text/html;q=2, application/json;q=0.1", ("json", "html"), "html"),
    ("nonsense, ;;, q=1, application/json", ("html", "json"), "json"),
    ("text/calendar", ("html", "text/calendar"), "text/calendar"),
    ("text/html, text/html;q=0", ("html",), "html"),
    (BROWSER, (), None),
    (AXIOS, ("html", "json"), "json"),
    (AXIOS, ("html", "xml"), "html"),
    ("*/*, text/*, application/json", ("html", "json"), "json"),
    ("*/*, text/*", ("json", "html"), "html"),
    ("*/*;q=0.9, application/json;q=0.8", ("json", "html"), "html"),
]


@pytest.mark.parametrize(("header", "offered", "chosen"), CHOICES)
def test_accept_chooses_among_offered_types(
    header: str | None, offered: tuple[str, ...], chosen: str | None
) -> None:
    assert choose_type(header, offered) == chosen


def test_an_invalid_media_type_raises_an_error_with_a_hint() -> None:
    with pytest.raises(
        ValueError,
        match="'jsn' is not a media type: write one with a slash, such as "
        "text/calendar, or one of css, csv",
    ):
        choose_type(None, ["jsn"])


@pytest.mark.parametrize("name", ["text/html; charset=utf-8", 'application/ld+json;profile="/a"'])
def test_a_media_type_with_a_parameter_raises_an_error_instead_of_matching_nothing(
    name: str,
) -> None:
    with pytest.raises(ValueError, match="leave out parameters"):
        choose_type(name, [name])
    plain = name.partition(";")[0]
    assert choose_type(name, [plain]) == plain


class Root(App):
    async def pie(self) -> Any:
        if self.request.accepts("html", "json") == "json":
            return {"pie": "apple"}
        return "<p>apple"

    def stream(self) -> Any:
        yield "a"
        yield str(self.request.accepts("json"))


def test_a_handler_may_respond_in_the_client_s_preferred_type(make_client: MakeClient) -> None:
    client = make_client(Root())
    page = client.get("/pie", headers={"Accept": BROWSER})
    document = client.get("/pie", headers={"Accept": "application/json"})
    assert (page.text, page.headers["Vary"]) == ("<p>apple", "Accept")
    assert (document.json(), document.headers["Vary"]) == ({"pie": "apple"}, "Accept")
    assert client.get("/stream").text == "ajson"  # it has started, so Vary can't change


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (AXIOS, "application/problem+json"),
        ("text/plain, application/json, */*", "application/problem+json"),  # Spring
        ("application/*, text/plain", "text/plain; charset=utf-8"),
        ("application/json;q=0.5, text/plain", "text/plain; charset=utf-8"),
        ("image/png, */*;q=0.8", "text/plain; charset=utf-8"),
        ("application/json;q=0, text/plain", "text/plain; charset=utf-8"),
        (BROWSER, "text/html; charset=utf-8"),
    ],
)
def test_an_error_s_format_follows_accept(make_client: MakeClient, header: str, kind: str) -> None:
    answer = make_client(App()).get("/nowhere", headers={"Accept": header})
    assert answer.headers["content-type"] == kind


@pytest.mark.parametrize("path", ["/chosen", "/both", "/several"])
def test_an_error_names_accept_once_in_vary(make_client: MakeClient, path: str) -> None:
    class Root(App):
        def chosen(self) -> Any:
            self.request.accepts("html", "json")
            raise HTTPError(406)

        def both(self) -> Any:
            self.response.headers["Vary"] = "Accept"
            return Response("none", 406, {"Vary": "Accept"})

        def several(self) -> Any:
            self.response.headers["Vary"] = "Origin, Accept"
            return Response("none", 406, {"Vary": "accept, Cookie"})

    answer = make_client(Root()).get(path, headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert answer.headers["Vary"].lower().count("accept") == 1
    assert ("Cookie" in answer.headers["Vary"]) == (path == "/several")
