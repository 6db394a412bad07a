"""Messages that are kept in the session until a page shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micropie import App, flash, get_flashed_messages, post, template
from micropie.testing import TestClient
from tests.support.clients import MakeClient

PAGE = "{% for category, text in get_flashed_messages(with_categories=true) %}{{ category }}: {{ text }}\n{% endfor %}"


class Root(App):
    @post
    def save(self) -> Any:
        flash("Saved <b>.", "success")
        flash(5)
        return self._redirect("/page")

    def page(self) -> str:
        return template(source=PAGE)

    def twice(self) -> Any:
        return [
            get_flashed_messages(),
            get_flashed_messages(category_filter=["success"]),
            get_flashed_messages(True),
        ]


def test_a_flashed_message_is_shown_once_and_escaped(make_client: MakeClient) -> None:
    client = make_client(Root())
    found = client.post("/save", follow_redirects=True).text
    assert found == "success: Saved &lt;b&gt;.\nmessage: 5\n"
    assert client.get("/page").text == ""


def test_a_streamed_page_may_show_flashed_messages_at_its_end(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("{% for n in rows %}row {{ n }}\n{% endfor %}" + PAGE)

    class Pies(App):
        @post
        def save(self) -> None:
            flash("Saved.")

        def page(self) -> Any:
            return self.render_stream("page.html", rows=range(500))

    client = make_client(Pies(templates=tmp_path))
    client.post("/save")
    answers = [client.get("/page").text[-20:].partition("message: ")[2] for _ in range(2)]
    assert answers == ["Saved.\n", ""]


def test_R50_a_client_that_sees_no_page_keeps_only_the_newest_messages(
    make_client: MakeClient,
) -> None:
    class Pies(App):
        @post
        def bake(self) -> str:
            for number in range(120):
                flash(number)
            return "baked"

        def shown(self) -> Any:
            return get_flashed_messages()

    client = make_client(Pies())
    client.post("/bake")
    client.post("/bake")
    assert client.get("/shown").json() == [str(number) for number in range(20, 120)]


def test_R50_a_long_flashed_message_is_truncated(make_client: MakeClient) -> None:
    class Pies(App):
        @post
        def bake(self, name: str) -> str:
            flash(name)
            return "baked"

        def shown(self) -> Any:
            return get_flashed_messages()

    client = make_client(Pies())
    for length in (500, 501, 100_000):
        client.post("/bake", data={"name": "x" * length})
    assert client.get("/shown").json() == ["x" * 500] * 3


def test_R43_requests_at_the_same_time_lose_no_flashed_message(make_client: MakeClient) -> None:
    class Pies(App):
        @post
        def save(self, note: str, other: str = "") -> None:
            flash(note)
            if other:
                headers = {"Cookie": self.request.headers["cookie"]}
                with TestClient(self, protocol="wsgi", lifespan=False, headers=headers) as client:
                    client.post("/save", data={"note": other})

        def shown(self) -> Any:
            return get_flashed_messages()

    client = make_client(Pies())
    client.post("/save", data={"note": "first"})
    client.post("/save", data={"note": "slow", "other": "fast"})
    assert client.get("/shown").json() == ["first", "fast", "slow"]
    assert client.get("/shown").json() == []


def test_every_call_in_a_request_returns_the_flashed_messages(make_client: MakeClient) -> None:
    client = make_client(Root())
    client.post("/save")
    expected = [["Saved <b>.", "5"], ["Saved <b>."], [["success", "Saved <b>."], ["message", "5"]]]
    assert client.get("/twice").json() == expected
    assert client.get("/twice").json() == [[], [], []]


@pytest.mark.parametrize("wanted", ["error", ["error"], ["error", "info"]])
def test_a_filter_may_be_a_single_category(make_client: MakeClient, wanted: Any) -> None:
    class Pies(App):
        def page(self) -> Any:
            flash("Burnt.", "error")
            flash("Baked.", "success")
            return [get_flashed_messages(category_filter=one) for one in (wanted, "")]

    assert make_client(Pies()).get("/page").json() == [["Burnt."], ["Burnt.", "Baked."]]


def test_a_page_without_messages_does_not_change_the_session(make_client: MakeClient) -> None:
    assert "Set-Cookie" not in make_client(Root()).get("/page").headers


def test_flash_needs_a_request() -> None:
    with pytest.raises(LookupError, match="there is no current request"):
        flash("Saved.")
