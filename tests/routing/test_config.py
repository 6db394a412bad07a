"""What an application inside of another one inherits: threads, processes, keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from gettext import NullTranslations
from pathlib import Path
from typing import Any

import pytest

from micropie import App, InMemorySessionBackend, Request, SetupError, post, run_in
from micropie._core.routing.config import config_of
from micropie.channels import Channels
from tests.support.clients import MakeClient

OUTER_KEY, INNER_KEY = "o" * 32, "i" * 32


class Page(App):
    @run_in("loop")
    def index(self) -> Any:
        config = config_of(self.request._exchange)
        return [
            config.threads.size,
            config.threads.queue,
            config.threads.wait,
            config.pool.usage()[1],
            config.pool.threads.size,
        ]

    @run_in("loop")
    @post
    def remember(self) -> str:
        self.request.set_signed_cookie("name", "ann", path="/")
        return "remembered"

    @run_in("loop")
    def known(self) -> Any:
        return self.request.signed_cookie("name", "nobody")


class Site(Page):
    def __init__(self, inner: App, **settings: Any) -> None:
        super().__init__(**settings)
        self.inner = inner


@pytest.mark.parametrize(
    ("own", "numbers"),
    [
        ({}, [7, 9, 8, 2, 2]),
        ({"threads": 3}, [3, 9, 8, 2, 2]),
        ({"thread_queue": 5}, [7, 5, 8, 2, 2]),
        ({"thread_wait": None}, [7, 9, None, 2, 2]),
        ({"processes": 3}, [7, 9, 8, 3, 3]),
        ({"threads": 3, "processes": 4}, [3, 9, 8, 4, 4]),
        ({"pool": ThreadPoolExecutor(1)}, [7, 9, 8, 0, 7]),
    ],
)
def test_an_inner_application_may_have_its_own_threads_and_processes(
    make_client: MakeClient, own: dict[str, Any], numbers: list[int]
) -> None:
    site = Site(Page(**own), threads=7, thread_queue=9, thread_wait=8, processes=2)
    client = make_client(site)
    assert client.get("/").json() == [7, 9, 8, 2, 2]
    assert client.get("/inner/").json() == numbers


def test_shared_resources_are_the_same_objects() -> None:
    site: Any = Site(Page(), threads=7)
    site.other = Page(threads=7, processes=2)
    own = site.other.channels = Channels()
    outer, inner, other = (config for config in site._micropie.compiled().config.tree)
    seen = (inner.threads, inner.pool)
    assert seen == (outer.threads, outer.pool)
    assert (inner.channels, other.channels) == (outer.channels, own)
    assert isinstance(outer.channels, Channels)
    assert outer.channels is not own
    assert other.threads is not outer.threads
    assert other.pool is not outer.pool


def test_an_application_with_its_own_secret_key_accepts_no_other(make_client: MakeClient) -> None:
    client = make_client(Site(Page(secret_key=INNER_KEY), secret_key=OUTER_KEY))
    client.post("/inner/remember")
    assert (client.get("/inner/known").text, client.get("/known").text) == ("ann", "nobody")
    client.post("/remember")
    assert (client.get("/inner/known").text, client.get("/known").text) == ("nobody", "ann")
    without = make_client(Site(Page(), secret_key=OUTER_KEY))
    without.post("/inner/remember")
    assert (without.get("/inner/known").text, without.get("/known").text) == ("ann", "ann")


@pytest.mark.parametrize(
    ("outer", "own", "types"),
    [
        ({}, {}, ["html", "html"]),
        ({"text": "plain"}, {}, ["plain", "plain"]),
        ({"text": "plain"}, {"text": "html"}, ["plain", "html"]),
    ],
)
def test_text_has_the_content_type_of_the_nearest_setting(
    make_client: MakeClient, outer: dict[str, Any], own: dict[str, Any], types: list[str]
) -> None:
    client = make_client(Site(Page(secret_key=INNER_KEY, **own), secret_key=OUTER_KEY, **outer))
    found = [client.post(path).headers["content-type"] for path in ("/remember", "/inner/remember")]
    assert found == [f"text/{one}; charset=utf-8" for one in types]


@pytest.mark.parametrize(
    ("outer", "own", "is_refused"),
    [
        ("__Host-id", {}, True),
        ("__Host-id", {"session_cookie": "__Host-inner"}, False),
        ("__Host-id", {"host": "inner.example.com"}, False),
        ("id", {}, False),
        (None, {}, False),
    ],
)
def test_an_application_with_its_own_sessions_needs_its_own_cookie(
    outer: str | None, own: dict[str, Any], is_refused: bool
) -> None:
    """A cookie whose name begins with __Host- has the path /, so the browser keeps one alone."""
    site = Site(Page(InMemorySessionBackend(), **own), session_cookie=outer)
    with pytest.raises(SetupError, match="same name as the outer") if is_refused else nullcontext():
        site._micropie.compiled()


class Shouting(NullTranslations):
    def gettext(self, message: str) -> str:
        return message.upper()


def test_templates_are_translated_for_each_request(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ _('hello') }}")

    class Root(App):
        async def page(self) -> str:
            return await self.render_async("page.html")

    def translations(request: Request) -> NullTranslations:
        return Shouting() if "loud" in request.query else NullTranslations()

    client = make_client(Root(templates=tmp_path, translations=translations))
    assert [client.get(path).text for path in ("/page", "/page?loud=1")] == ["hello", "HELLO"]
