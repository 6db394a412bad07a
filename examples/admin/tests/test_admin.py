"""The tests of the extension under WSGI, asyncio and trio."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from typing import Annotated, Any

import anyio
import pytest

from examples.admin.app import News
from examples.admin.micropie_admin import Admin
from examples.admin.micropie_admin.subscribers import MOST_SHOWN
from micropie import (
    App,
    Body,
    EventStream,
    Header,
    Redirect,
    Request,
    SetupError,
    WebSocket,
    get,
    post,
    route,
    run_in,
)
from micropie.channels import Channels, Subscription
from micropie.testing import TestClient, WebSocketClosed, WebSocketRefused
from tests.support.waiting import PATIENCE, until

ROOT = Path(__file__).parents[3]
ANN = {"Authorization": "Bearer sesame"}
BROWSING = {"Authorization": "Basic YW5uOnNlc2FtZQ=="}  # a browser adds this automatically
HOSTILE = """<script>alert("1")</script>'&amp;"""

Connect = Callable[..., TestClient]


def is_ann(request: Request) -> Redirect | bool:
    given = request.headers.get("Authorization")
    return given in {ANN["Authorization"], BROWSING["Authorization"]} or Redirect("/log_in")


async def is_ann_slowly(request: Request) -> Redirect | bool:
    await anyio.sleep(0.001)
    return is_ann(request)


@pytest.fixture(
    params=[{"protocol": "wsgi"}, {"backend": "asyncio"}, {"backend": "trio"}],
    ids=["wsgi", "asyncio", "trio"],
)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Return a function ``connect(app)`` that returns a client for an application, under WSGI,
    asyncio or trio.
    """
    with ExitStack() as clients:
        yield lambda app: clients.enter_context(
            TestClient(app, app_timeout=PATIENCE, **request.param)
        )


@pytest.fixture(params=["asyncio", "trio"])
def connect_to_loop(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with ExitStack() as clients:
        yield lambda app: clients.enter_context(
            TestClient(app, app_timeout=PATIENCE, backend=request.param)
        )


class Colour:
    pass


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Order:
    pies: int


class Blog(App):
    def show(self, number: int, *words: str) -> str:
        return f"{number} {words}"


class Shop(App):
    blog = Blog()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.mount("/admin", Admin(is_ann, every=0.01))

    @get("/pies/<kind>")
    def pies(self, kind: str, page: int = 1, token: Annotated[str, Header("X-Token")] = "") -> str:
        return f"{kind} {page} {token}"

    @post
    def bake(self, order: Annotated[dict[str, int], Body()], request: Request) -> str:
        return f"{order} {request.method}"

    @post
    def sell(self, order: Order, size: Size | None = None) -> str:
        return f"{order} {size}"

    @post
    def paint(self, colour: Colour, words) -> str:  # type: ignore[no-untyped-def]
        return f"{colour} {words}"

    @get
    @run_in("process")
    def compute(self, number: int) -> int:
        return number * number

    async def news(self, name: str = "") -> EventStream:
        return EventStream(self.channels.subscribe("news", label=name), heartbeat=0.05)

    async def ws_news(self, ws: WebSocket) -> None:
        async with self.channels.subscribe("news") as messages:
            await ws.accept()
            async for message in messages:
                await ws.send_json(message)


def shop(**settings: Any) -> Shop:
    app = Shop(**settings)
    app.provides(Colour)(Colour)
    return app


class Page(HTMLParser):
    """A parsed page: its rows of cells, its forms with their fields, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.forms: list[dict[str, str]] = []
        self.actions: list[str] = []
        self.buttons: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag == "tr":
            self.rows.append([])
        elif tag in {"th", "td"}:
            self.rows[-1].append("")
        elif tag == "form":
            self.forms.append({})
            self.actions.append(found["action"])
        elif tag == "input":
            self.forms[-1][found["name"]] = found["value"]
        elif tag == "button":
            self.buttons.append(found.get("aria-label", ""))

    def handle_data(self, data: str) -> None:
        tag = self.tags[-1][0] if self.tags else ""
        if tag in {"th", "td", "li"} and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()
        elif tag == "button" and not self.buttons[-1]:
            self.buttons[-1] = data

    def row(self, *begin: str) -> list[str]:
        """Return the row that begins with these cells."""
        [found] = [row for row in self.rows if row[: len(begin)] == [*begin]]
        return found


def page_of(client: TestClient) -> Page:
    answer = client.get("/admin", headers=ANN)
    assert answer.status_code == 200
    return Page(answer.text)


# -- who may see it --------------------------------------------------------------------------------


def test_the_page_is_for_those_who_pass_the_check(connect: Connect) -> None:
    client = connect(shop())
    for path in ("/admin", "/admin/live", "/admin/nothing"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/log_in")
    for path in ("/admin/close", "/admin/close_all"):
        answer = client.post(path, data={"subscriber": "a-1"})
        assert answer.headers["Location"] == "/log_in"
    assert client.get("/admin", headers=ANN).status_code == 200
    assert client.get("/pies/apple").text == "apple 1 "


def test_a_check_may_wait_or_say_no(connect: Connect) -> None:
    app = App()
    app.mount("/slow", Admin(is_ann_slowly))
    app.mount("/never", Admin(lambda request: False))
    client = connect(app)
    assert client.get("/slow").status_code == 303
    assert client.get("/slow", headers=ANN).status_code == 200
    assert client.get("/never", headers=ANN).status_code == 403


def test_a_websocket_below_the_page_is_refused(connect_to_loop: Connect) -> None:
    with pytest.raises(WebSocketRefused), connect_to_loop(shop()).websocket("/admin/live"):
        pass


def test_wrong_values_are_refused_at_the_start() -> None:
    with pytest.raises(SetupError, match=r"write Admin\(check\), where check\(request\) returns"):
        Admin()
    not_a_check: Any = "ann"
    with pytest.raises(SetupError):
        Admin(not_a_check)
    for every in (0, -1, float("inf")):
        with pytest.raises(SetupError, match=r"Admin\(every=...\) takes seconds above 0"):
            Admin(is_ann, every=every)


# -- routes ----------------------------------------------------------------------------------------


def test_the_routes_of_the_whole_site_are_listed(connect: Connect) -> None:
    app = shop()
    app.mount("/old", lambda environ, start_response: [], kind="wsgi")
    app.mount("/alone", Blog(), isolated=True)
    inner = App()
    inner.mount("/older", lambda environ, start_response: [], kind="wsgi")
    app.mount("/inner", inner)
    page = page_of(connect(app))

    def shown(path: str, methods: str) -> list[str]:
        [found] = [row for row in page.rows if row[:2] == [methods, path]]
        return found[2:]

    assert shown("/pies/<kind>", "GET HEAD")[:2] == [
        "pies",
        "kind: str (path)page: int (path or query)token: str (header X-Token)",
    ]
    assert shown("/pies/<kind>", "GET HEAD")[3] == "Shop at /"
    assert shown("/bake", "POST")[1] == "order: dict[str, int] (body)request: Request (request)"
    assert shown("/sell", "POST")[1] == (
        "order: Order (body)size: Size | None (path, query or body)"
    )
    assert shown("/paint", "POST")[1] == (
        "words: text (path, query or body)colour: Colour (provider)"
    )
    assert shown("/blog/show", "any")[:2] == [
        "blog.show",
        "number: int (path, query or body)words: str (path)",
    ]
    assert shown("/blog/show", "any")[3] == "Blog at /blog"
    assert shown("/news", "WebSocket")[0] == "ws_news"
    assert shown("/admin/close", "POST")[3] == "Admin at /admin"
    assert shown("/old/...", "any") == ["function", "", "wsgi", "Shop at /"]
    assert shown("/inner/older/...", "any")[3] == "App at /inner"
    assert shown("/alone/...", "any")[0] == "Blog"


def test_a_route_says_where_it_runs(connect: Connect) -> None:
    rows = {row[1]: row for row in page_of(connect(shop())).rows if len(row) == 6}
    assert [rows[path][4] for path in ("/admin", "/compute")] == ["loop", "process"]


# -- load ------------------------------------------------------------------------------------------


def test_the_load_is_that_of_the_process_that_answers(connect: Connect) -> None:
    app = shop(threads=7, processes=3)
    client = connect(app)
    with app.channels.subscribe("one", "two"), app.channels.subscribe("two"):
        page = page_of(client)
    assert str(os.getpid()) in page.row("Process")[1]
    assert page.row("Processes")[1] == "0 of 3 busy"
    assert (page.row("Channels")[1], page.row("Subscribers")[1]) == ("2", "2")
    assert "ms at most" in page.row("Lag of the loop")[1]


def test_threads_are_counted_where_they_are_the_applications(connect_to_loop: Connect) -> None:
    page = page_of(connect_to_loop(shop(threads=7)))
    # the busy thread is the one in which the page's own check ran
    assert page.row("Threads")[1] == "1 of 7 busy, 0 handlers waiting"


def test_a_loop_that_is_not_watched_is_named(connect: Connect) -> None:
    page = page_of(connect(shop(loop_watchdog=False)))
    assert page.row("Lag of the loop")[1] == "not watched: loop_watchdog is off"


def test_the_figures_are_renewed(connect_to_loop: Connect) -> None:
    app = shop()
    client = connect_to_loop(app)
    with client.sse("/admin/live", headers=ANN) as events:
        of_events = (json.loads(one.data) for one in events)
        first = next(of_events)
        figures = [row for row in page_of(client).rows if len(row) == 2]
        assert (len(first), first[0]) == (len(figures), figures[0][1])
        assert first[4:] == ["0", "0"]
        with app.channels.subscribe("news", "sports"):
            assert any(one[4:] == ["2", "1"] for one in of_events)


def test_a_server_with_few_threads_is_left_alone() -> None:
    with TestClient(shop(), protocol="wsgi") as client:
        assert client.get("/admin/live", headers=ANN).status_code == 404
        page = page_of(client)
        assert page.row("Threads")[1] == "those of the server, which are not counted"
        assert "script" not in {tag for tag, _ in page.tags}
        assert ("a", {"href": "/admin/"}) in page.tags


# -- subscribers -----------------------------------------------------------------------------------


def subscribed(app: App, count: int) -> list[Subscription]:
    """Wait until ``news`` has ``count`` subscribers, and return them."""
    until(lambda: len(app.channels.subscriptions().get("news", [])) == count)
    return list(app.channels.subscriptions().get("news", []))


def listening(client: TestClient, ended: list[str], name: str) -> threading.Thread:
    def listen() -> None:
        client.get(f"/news?name={name}")  # returns when the stream has ended
        ended.append(name)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    return thread


def test_one_subscriber_is_closed(connect: Connect) -> None:
    app = shop()
    client, ended = connect(app), list[str]()
    with closing(app.channels):
        ann = listening(client, ended, "ann")
        subscribed(app, 1)
        bob = listening(client, ended, "bob")
        subscribed(app, 2)
        page = page_of(client)
        [name] = [row[0] for row in page.rows if row[1:] == ["ann", "news", "0", "0", ""]]
        [form] = [one for one in page.forms if one.get("subscriber") == name]
        answer = client.post("/admin/close", data=form, headers=ANN)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/")
        ann.join(PATIENCE)
        assert ended == ["ann"]
        assert [one.label for one in subscribed(app, 1)] == ["bob"]
        # sending the form again, for a subscriber that is closed, does nothing
        assert client.post("/admin/close", data=form, headers=ANN).status_code == 303
        assert [one.label for one in subscribed(app, 1)] == ["bob"]
        subscribed(app, 1)[0].close()
        bob.join(PATIENCE)
        assert ended == ["ann", "bob"]


def test_all_subscribers_of_a_channel_are_closed(connect: Connect) -> None:
    class Inner(Blog):
        def __init__(self) -> None:
            super().__init__(channels=Channels())

    app, inner = shop(), Inner()
    app.mount("/inner", inner)
    client = connect(app)
    with (
        app.channels.subscribe("news", "other") as both,
        app.channels.subscribe("other") as other,
        inner.channels.subscribe("news") as namesake,
        app.channels.subscribe("news") as news,
    ):
        page = page_of(client)
        forms = [
            form for form, label in zip(page.forms, page.buttons, strict=True) if "all" in label
        ]
        assert page.buttons.count("Close all of news") == 2
        client.post("/admin/close_all", data=forms[0], headers=ANN)
        assert app.channels.subscriptions() == {"other": [other]}
        assert inner.channels.subscriptions() == {"news": [namesake]}
        assert [list(both), list(news)] == [[], []]


def test_a_websocket_is_closed(connect_to_loop: Connect) -> None:
    app = shop()
    client = connect_to_loop(app)
    with client.websocket("/news") as ws:
        page = page_of(client)
        [form] = [one for one in page.forms if "subscriber" in one]
        client.post("/admin/close", data=form, headers=ANN)
        with pytest.raises(WebSocketClosed) as closed:
            ws.receive_json()
    assert closed.value.code == 1000


def test_a_channel_with_many_subscribers_shows_some_and_closes_all(connect: Connect) -> None:
    app = shop()
    client = connect(app)
    with ExitStack() as stack:
        for _ in range(MOST_SHOWN + 3):
            stack.enter_context(app.channels.subscribe("news"))
        answer = client.get("/admin", headers=ANN)
        page = Page(answer.text)
        assert "3 more are not shown." in answer.text
        assert len([form for form in page.forms if "subscriber" in form]) == MOST_SHOWN
        client.post("/admin/close_all", data=page.forms[-1], headers=ANN)
        assert app.channels.subscriptions() == {}


def test_names_that_look_alike_are_told_apart(connect: Connect) -> None:
    app = shop()
    client = connect(app)
    with app.channels.subscribe("new  pies") as other, app.channels.subscribe("new pies"):
        page = page_of(client)
        assert {"Close all of new  pies", "Close all of new pies"} <= {*page.buttons}
        client.post("/admin/close_all", data=page.forms[-1], headers=ANN)
        assert app.channels.subscriptions() == {"new  pies": [other]}


def test_a_form_of_another_process_closes_nobody(connect: Connect) -> None:
    app = shop()
    client = connect(app)
    with app.channels.subscribe("news"):
        page = page_of(client)
        for action, form in zip(page.actions, page.forms, strict=True):
            field = "subscriber" if "subscriber" in form else "channel"
            form[field] = re.sub("^[^-]+", "another", form[field])
            answer = client.post(action, data=form, headers=ANN)
            assert answer.status_code == 409
            assert str(os.getpid()) in answer.text
        assert len(page.actions) == 2
        subscribed(app, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_names_of_its_own() -> None:
    fork = """
import os
from examples.admin.micropie_admin.subscribers import Subscribers
from micropie import App, HTTPError
app, subscribers = App(), Subscribers()
with app.channels.subscribe("news"):
    [channel] = subscribers.channels(app)
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        subscribers.close_all(app, channel.in_forms)
        assert subscribers.channels(app) == []
    else:
        assert str(os.getpid()) in subscribers.process
        try:
            subscribers.close_all(app, channel.in_forms)
        except HTTPError as error:
            assert error.status == 409
        else:
            raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", fork], cwd=ROOT, timeout=PATIENCE, check=False)
    assert done.returncode == 0


# -- security --------------------------------------------------------------------------------------


def test_a_form_of_another_site_closes_nobody(connect: Connect) -> None:
    app = shop()
    client = connect(app)
    with app.channels.subscribe("news"):
        page = page_of(client)
        for action, form in zip(page.actions, page.forms, strict=True):
            assert form.pop("csrf_token")
            assert client.post(action, data=form, headers=BROWSING).status_code == 403
            cross = BROWSING | {"Sec-Fetch-Site": "cross-site"}
            assert client.post(action, data=form, headers=cross).status_code == 403
            assert client.get(action, params=form, headers=BROWSING).status_code == 405
        assert len(page.actions) == 2
        subscribed(app, 1)


@pytest.mark.parametrize("odd", [HOSTILE, "\x00\u2028\U0001f967", "half \ud800", "a\nb"], ids=ascii)
def test_hostile_names_are_shown_as_text(connect: Connect, odd: str) -> None:
    app = shop()
    app.mount("/odd", type(f"Odd{HOSTILE}", (Blog,), {})())
    client = connect(app)
    plain = {tag for tag, _ in page_of(client).tags} | {"form", "input", "button", "caption"}
    with app.channels.subscribe(odd.replace("\ud800", "?"), label=odd):
        answer = client.get("/admin", headers=ANN)
        page = Page(answer.text)
        assert answer.status_code == 200
        assert {tag for tag, _ in page.tags} <= plain
        assert "<script>" not in answer.text
        assert any(f"Odd{HOSTILE}" in cell for row in page.rows for cell in row)
        client.post("/admin/close_all", data=page.forms[-1], headers=ANN)
        assert app.channels.subscriptions() == {}


def test_a_hostile_path_of_a_route_is_shown_as_text(connect: Connect) -> None:
    class Odd(App):
        admin = Admin(is_ann)

        @route(
            f"/odd{HOSTILE.replace('/', '').replace('<', '&lt;').replace('>', '')}", name="<b>odd"
        )
        def odd(self, kind: "Annotated[str, '<script>']" = "") -> str:  # noqa: UP037
            return kind

    answer = connect(Odd()).get("/admin", headers=ANN)
    assert "&amp;lt;script" in answer.text
    assert "&lt;b&gt;odd" in answer.text
    assert "<script>" not in answer.text


def test_only_the_pages_own_script_and_style_may_run(connect: Connect) -> None:
    client = connect(shop())
    policies = set()
    for _ in range(2):
        answer = client.get("/admin", headers=ANN)
        policy = answer.headers["Content-Security-Policy"]
        policies.add(policy)
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        [nonce] = {*re.findall("'nonce-([^']+)'", policy)}
        own = [found for tag, found in Page(answer.text).tags if tag in {"script", "style"}]
        assert own
        assert {found["nonce"] for found in own} == {nonce}
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        attributes = {name for _, found in Page(answer.text).tags for name in found}
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    assert len(policies) == 2


def test_the_page_can_be_used_with_a_screen_reader(connect: Connect) -> None:
    app = shop()
    client = connect(app)
    with app.channels.subscribe("news"), app.channels.subscribe("news"):
        page = page_of(client)
    assert ("html", {"lang": "en"}) in page.tags
    tables = [number for number, (tag, _) in enumerate(page.tags) if tag == "table"]
    assert len(tables) == 3
    for number in tables:
        is_named = "aria-labelledby" in page.tags[number][1]
        assert is_named or page.tags[number + 1][0] == "caption"
    headers = [found for tag, found in page.tags if tag == "th"]
    assert {found.get("scope") for found in headers} == {"row", "col"}
    assert len(page.buttons) == len({*page.buttons}) == 3  # each button has a different name
    ids = {found["id"] for _, found in page.tags if "id" in found}
    assert {found["aria-labelledby"] for _, found in page.tags if "aria-labelledby" in found} <= ids


@pytest.mark.parametrize(
    "world", [{"protocol": "wsgi"}, {"backend": "asyncio"}, {"backend": "trio"}], ids=str
)
def test_guesses_of_the_password_are_limited(world: dict[str, Any]) -> None:
    """Passwords in the path are counted too, because the path fills the parameter."""
    # A different address for each protocol, because all objects of a class are counted together.
    host = f"192.0.2.{len(str(world))}"
    with TestClient(
        News(),
        base_url="http://localhost",
        client=(host, 1),
        headers={"Sec-Fetch-Site": "same-origin"},
        **world,
    ) as client:
        statuses = [client.post(f"/log_in/{number}").status_code for number in range(11)]
        assert statuses == [403] * 10 + [429]
        assert client.post("/log_in", data={"password": "guess"}).status_code == 429
        assert client.get("/").status_code == 200
