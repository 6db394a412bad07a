"""The tour in a real Chromium, clicked through on servers of three kinds; the pages of
``docs=True`` and ``debug=True``; the page of ``examples/admin``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement

from examples.tour.app import FEATURES
from tests.project.examples.broken import ENVIRON, KEY_PAGE
from tests.project.examples.screenshots import (
    seen_as,
    show_answers,
    take,
    wait,
    wait_over_pages,
)
from tests.project.examples.serving import browsing as browsing_examples
from tests.project.examples.serving import serving_examples
from tests.servers.harness import KINDS, Server, ServerOf, serving
from tests.support.chromium import browsing, complaints

# What the first request of each button is answered: the status, a part of the body, where the
# handler ran under ASGI.
ANSWERS = {
    "/greet": ("200", "Hello, World!", "loop"),
    "/greet/Ann": ("200", "Hello, Ann!", "loop"),
    "/greet/Ann?age=41": ("200", "Hello, Ann, 41!", "loop"),
    "/greet?age=old": ("400", "Please enter a whole number", None),
    "/order": ("200", '"price": 6', "thread"),
    "/order with a mistake": ("400", '"status": 400', None),
    "/users/7": ("200", '"path": "/users/7"', "thread"),
    "/users/x": ("404", "Not Found", None),
    "/blog": ("200", '["/blog/posts/0", "/blog/posts/1"]', "thread"),
    "/blog/posts/1": ("200", "Second thoughts", "thread"),
    "/blog/some/where": ("404", "Nothing is at some/where", "thread"),
    "/on_loop": ("200", "on the loop", "loop"),
    "/in_thread": ("200", "in a thread", "thread"),
    "/quick": ("200", "at once", "loop"),
    "/primes": ("200", '"ran in a": "process"', "process"),
    "/json": ("200", '"list": [1, 2.5, true, null]', "thread"),
    "/teapot": ("418", "short and stout", "thread"),
    "/old": ("200", "Hello, you!", "loop"),
    "/divide/7/2": ("200", "3", "thread"),
    "/divide/1/0": ("400", "Nobody can divide by zero.", None),
    "/crash": ("500", "Internal Server Error", None),
    "/card": ("200", "<h3>&lt;b&gt;Ann&lt;/b&gt;</h3>", "thread"),
    "/card?name=<script>": ("200", "<h3>&lt;script&gt;</h3>", "thread"),
    "/bake": ("200", '"degrees": 200', "thread"),
    "/bake?pie=plum": ("200", '"pie": "plum"', "thread"),
    "/like": ("200", "Your likes: 1", "loop"),
    "/countdown": ("200", "1 from the loop\nlift-off", None),
    "/closed": ("503", "At lunch.", None),
    "/shop/old/pie": ("200", "WSGI, below /shop/old", None),
    "/shop/new/pie": ("200", "ASGI, below /shop/new", None),
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    with browsing() as browser:
        browser.set_window_size(1280, 900)
        yield browser


@pytest.fixture(scope="module")
def tour_on() -> Iterator[ServerOf]:
    with serving("examples.tour.app:app") as server_of:
        yield server_of


@pytest.fixture(scope="module")
def broken() -> Iterator[Server]:
    with serving("tests.project.examples.broken:app", environ=ENVIRON) as server_of:
        yield server_of("hypercorn-asyncio")


def open_page(browser: webdriver.Chrome, server: Server, path: str = "/") -> None:
    browser.delete_all_cookies()
    browser.get(f"http://127.0.0.1:{server.port}{path}")
    complaints(browser)  # those of other tests


def real_complaints(browser: webdriver.Chrome) -> list[str]:
    """Return the console's messages, but those that a status of 400 or more is one."""
    return [
        text for text in complaints(browser) if "the server responded with a status of" not in text
    ]


def click(browser: webdriver.Chrome, element: WebElement) -> None:
    """Click it wherever it is: the page scrolls smoothly, and a real click may come while it
    does.
    """
    browser.execute_script("arguments[0].click()", element)


ASKED = """
    const [label] = arguments, found = [...document.querySelectorAll(".tries button")];
    const button = found.find((button) => button.textContent === label && !button.dataset.used);
    button.dataset.used = "yes";
    button.click();
    window.live = button.closest(".live");
    return getComputedStyle(button.closest("section")).display;
"""
ANSWERED = """
    const text = (name) => live.querySelector(`.${name}`).textContent;
    const place = live.querySelector(".ran b");
    return text("ran") && {status: text("status"), body: text("body"), where: place && place.dataset.where};
"""


def answer_to(browser: webdriver.Chrome, label: str) -> dict[str, Any]:
    browser.execute_script(ASKED, label)
    found: dict[str, Any] = wait(browser, ANSWERED)
    return found


@pytest.mark.parametrize("kind", ["uvicorn", "gunicorn-gthread"])
def test_each_button_of_the_tour_shows_its_response(
    kind: str, chromium: webdriver.Chrome, tour_on: ServerOf
) -> None:
    open_page(chromium, tour_on(kind))
    labels = chromium.execute_script(
        "return [...document.querySelectorAll('.tries button')].map((b) => b.textContent)"
    )
    assert set(labels) == set(ANSWERS)
    for label, (status, body, where) in ANSWERS.items():
        found = answer_to(chromium, label)
        assert found["status"].startswith(status), (label, found)
        assert body in found["body"], (label, found)
        on_loop = where == "loop" and (KINDS[kind].protocol == "asgi" or label != "/quick")
        assert found["where"] == ("thread" if where == "loop" and not on_loop else where), (
            label,
            found,
        )
    assert real_complaints(chromium) == []


@pytest.mark.parametrize("kind", ["hypercorn-trio", "gunicorn-gthread"])
def test_forms_events_websockets_and_uploads_work_in_the_browser(
    kind: str, chromium: webdriver.Chrome, tour_on: ServerOf, tmp_path: Path
) -> None:
    open_page(chromium, tour_on(kind))
    name, guests, send = chromium.find_elements(
        "css selector", "#forms-with-errors input, #forms-with-errors button"
    )
    click(chromium, send)
    said = "return [...document.querySelectorAll('#forms-with-errors output')].map((o) => o.textContent)"
    wait(chromium, f"return ({said.removeprefix('return ')})[1]")
    assert all(sentence.startswith("Please ") for sentence in chromium.execute_script(said))
    name.send_keys("Ann")
    guests.clear()
    guests.send_keys("4")
    click(chromium, send)
    booked = "a table for 4"
    wait(
        chromium,
        f"return document.querySelector('#forms-with-errors .body').textContent.includes('{booked}')",
    )
    # after the answer is shown
    wait(chromium, f"return ({said.removeprefix('return ')}).join('') === ''")

    events = chromium.find_element("css selector", "#server-sent-events button")
    click(chromium, events)
    body = wait(
        chromium,
        """
        const text = document.querySelector("#server-sent-events .body").textContent;
        return text.split("\\n").length > 2 && text;
    """,
    )
    assert body.startswith('id 1  {"tick":1,"on the":"loop"}\nid 2')
    click(chromium, events)
    assert chromium.find_element("css selector", "#server-sent-events .status").text == "closed"

    file = tmp_path / "pie.bin"
    file.write_bytes(bytes(5_000_000))
    chromium.find_element("css selector", "#uploads-with-progress input").send_keys(str(file))
    click(chromium, chromium.find_element("css selector", "#uploads-with-progress button"))
    body = wait(
        chromium, "return document.querySelector('#uploads-with-progress .body').textContent"
    )
    assert json.loads(body)[0]["bytes"] == 5_000_000
    assert chromium.execute_script("return document.querySelector('progress').value") == 1
    assert (
        "in the handler"
        in chromium.find_element("css selector", "#uploads-with-progress .ran").text
    )

    if KINDS[kind].protocol == "wsgi":
        assert (
            "WSGI, which has no WebSockets"
            in chromium.find_element("css selector", "#websockets-and-channels").text
        )
    else:
        sockets = chromium.find_element("css selector", "#websockets-and-channels")
        chromium.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", sockets)
        wait(chromium, "return document.querySelector('#websockets-and-channels [data-open]')")
        click(chromium, sockets.find_element("css selector", "button"))
        body = wait(
            chromium, "return document.querySelector('#websockets-and-channels .body').textContent"
        )
        assert json.loads(body) == {"said": "Pie?", "on the": "loop"}
    assert real_complaints(chromium) == []


FACTS = {
    "uvicorn": ("uvicorn", "ASGI", "uvloop"),
    "hypercorn-trio": ("hypercorn", "ASGI", "trio"),
    "gunicorn-gthread": ("gunicorn", "WSGI", "asyncio"),
}


@pytest.mark.parametrize("kind", list(FACTS))
def test_the_page_names_its_server_and_shows_each_source(
    kind: str, chromium: webdriver.Chrome, tour_on: ServerOf
) -> None:
    open_page(chromium, tour_on(kind))
    server, protocol, loop = (
        element.text for element in chromium.find_elements("css selector", ".facts dd")[:3]
    )
    assert (server.split()[0], protocol, loop) == FACTS[kind]
    sources = [element.text for element in chromium.find_elements("css selector", ".source code")]
    assert len(sources) == len(FEATURES)
    assert sources[0].startswith("async def greet(\n")
    assert not any('"""' in source or "@shown" in source for source in sources)


# A screen and a telephone, one of them light and one dark, have shown both.
every_look = pytest.mark.parametrize(
    "look",
    [
        *("light", "dark-telephone"),
        *(pytest.param(look, marks=pytest.mark.in_test_all) for look in ("dark", "telephone")),
    ],
)


@every_look
def test_the_tour_fits_light_dark_and_narrow_screens(
    look: str, chromium: webdriver.Chrome, tour_on: ServerOf
) -> None:
    with seen_as(chromium, look):
        open_page(chromium, tour_on("uvicorn"))
        show_answers(chromium)
        facts = """
            const root = document.documentElement, rgb = getComputedStyle(document.body).backgroundColor;
            return [root.scrollWidth <= innerWidth, Number(rgb.match(/\\d+/)[0]) < 128];
        """
        assert chromium.execute_script(facts) == [True, look.startswith("dark")]
        chromium.find_element("id", "theme").click()
        assert chromium.execute_script(facts) == [True, not look.startswith("dark")]


@every_look
def test_the_openapi_page_follows_the_screen_s_colours_and_width(
    chromium: webdriver.Chrome, tour_on: ServerOf, look: str
) -> None:
    with seen_as(chromium, look):
        open_page(chromium, tour_on("uvicorn"), "/docs")
        wait(chromium, "return document.querySelectorAll('.opblock').length > 12")
        facts = """
            const root = document.documentElement, of = (name) => getComputedStyle(document.querySelector(name));
            const shade = (name) => Number(of(name).backgroundColor.match(/\\d+/)[0]);
            const text = Number(of(".swagger-ui .info .title").color.match(/\\d+/)[0]);
            return [root.scrollWidth <= innerWidth, shade(".swagger-ui") < 128 && text > 200];
        """
        assert chromium.execute_script(facts) == [True, look.startswith("dark")]


def test_the_openapi_page_works_in_a_browser(chromium: webdriver.Chrome, tour_on: ServerOf) -> None:
    open_page(chromium, tour_on("uvicorn"), "/docs")
    wait(chromium, "return document.querySelectorAll('.opblock').length > 12")
    operation = "document.querySelector('#operations-Tour-greet')"
    chromium.execute_script(f"{operation}.querySelector('.opblock-summary-control').click()")
    wait(chromium, f"return {operation}.querySelector('.try-out__btn')")
    chromium.execute_script(f"{operation}.querySelector('.try-out__btn').click()")
    wait(chromium, f"return {operation}.querySelector('.execute')")
    chromium.execute_script(f"{operation}.querySelector('.execute').click()")
    assert "Hello, World!" in wait(
        chromium,
        f"return {operation}.querySelector('.live-responses-table .highlight-code')?.textContent",
    )
    assert real_complaints(chromium) == []


def test_the_debug_page_works_in_the_browser(chromium: webdriver.Chrome, broken: Server) -> None:
    open_page(chromium, broken, KEY_PAGE)
    chromium.get(f"http://127.0.0.1:{broken.port}/price/cherry?pieces=2")
    assert chromium.find_element("tag name", "h1").text == "KeyError: 'cherry'"
    own = [
        element.text
        for element in chromium.find_elements("css selector", "details[open] > summary")
    ]
    assert [place.rpartition(" in ")[2] for place in own] == ["Bakery.price", "Bakery._price_of"]
    page = chromium.find_element("tag name", "body")
    assert "********" in page.text
    assert "'not to be seen'" not in page.text
    folded = chromium.find_element("css selector", "details:not([open]) > summary")
    assert folded.text.endswith("calls in micropie")
    click(chromium, folded)
    assert "in respond" in page.text
    assert chromium.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    chromium.get(f"http://127.0.0.1:{broken.port}/prise")
    assert "Did you mean" in page_text(chromium)
    assert "/price" in page_text(chromium)
    assert real_complaints(chromium) == []


def page_text(browser: webdriver.Chrome) -> str:
    return browser.find_element("tag name", "body").text


@pytest.mark.in_test_all
def test_screenshots_can_be_taken(
    chromium: webdriver.Chrome, tour_on: ServerOf, broken: Server, tmp_path: Path
) -> None:
    looks = ("light", "dark-telephone")
    take(chromium, tour_on("uvicorn"), broken, tmp_path, looks)
    names = {path.stem for path in tmp_path.iterdir() if path.read_bytes().startswith(b"\x89PNG")}
    shown = {f"{page}-{look}" for page in ("tour", "openapi") for look in looks}
    assert names == shown | {"tour-streams", "debug", "answer-light", "answer-dark"}


FIGURES = """
    const rows = [...document.querySelectorAll("#figures tr")].map((row) => row.innerText);
    return rows.some((row) => /^Subscribers\\s+1$/.test(row));
"""


@pytest.mark.parametrize("kind", ["uvicorn", "gunicorn-gthread"])
def test_the_admin_page_works_in_the_browser(
    kind: str, chromium: webdriver.Chrome, tmp_path: Path
) -> None:
    with (
        serving_examples("admin", tmp_path, ADMIN_PASSWORD="sesame") as server_of,
        browsing_examples(server := server_of(kind)) as browse,
    ):
        open_page(chromium, server, "/admin/")
        chromium.find_element("name", "password").send_keys("sesame")
        chromium.find_element("tag name", "button").click()
        wait_over_pages(chromium, "return document.querySelector('#figures')")
        with browse("admin").stream("GET", "news", params={"name": "<b>ann"}) as stream:
            if kind == "gunicorn-gthread":  # the page is renewed by its link only
                chromium.find_element("link text", "Reload").click()
            wait_over_pages(chromium, FIGURES)
            chromium.find_element("link text", "Reload").click()
            wait_over_pages(chromium, "return document.body.innerText.includes('<b>ann')")
            chromium.find_element("css selector", "[aria-label^='Close subscriber']").click()
            gone = "return document.body.innerText.includes('No channel has a subscriber')"
            wait_over_pages(chromium, gone)
            assert "data:" not in "".join(stream.iter_text())
        assert real_complaints(chromium) == []
