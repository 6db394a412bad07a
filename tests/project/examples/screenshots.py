"""Screenshots of the pages, for the documentation: ``scripts/screenshots`` writes them to
docs/images/.

Those of the manual's site need the site, which ``make docs`` builds; the tour serves it.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import JavascriptException
from selenium.webdriver.support.wait import WebDriverWait

from tests.project.examples.broken import ENVIRON, KEY_PAGE
from tests.servers.harness import KINDS, Server, start
from tests.support.chromium import browsing

IMAGES = Path(__file__).parents[3] / "docs" / "images"

# name -> dark, width, height, telephone
LOOKS = {
    "light": (False, 1280, 900, False),
    "dark": (True, 1280, 900, False),
    "telephone": (False, 390, 844, True),
    "dark-telephone": (True, 390, 844, True),
}

# The manual's pages, and the scripts to be run and waited for on each.
SEARCH = "document.querySelector('[data-md-toggle=search]').click()"
FIELD = "[data-md-component=search-query]"
FOUND = """
    return document.querySelectorAll(".md-search-result__item").length > 3
        && document.querySelector(".md-search__scrollwrap").getBoundingClientRect().height > 300;
"""
ANSWERED = "return document.querySelector('.play').dataset.state === 'done'"
SITE = {
    "landing": ("index.html", "", "return true"),
    "tutorial": ("tutorial/forms.html", "", "return true"),
    "reference": ("reference/responses.html", "", "return true"),
    "search": ("index.html", SEARCH, FOUND),
    "playground": (
        "playground.html",
        "document.querySelectorAll('.play-try')[2].click()",
        ANSWERED,
    ),
}

# The first pair asks again, until the way there and back takes a few milliseconds: all parts of the
# page have asked at once before.
SOON = r"""
    const pair = document.querySelector(".pair"), shown = pair.querySelector(".ran").textContent;
    if (/handler[1-9]\.\d ms there and back/.test(shown)) return true;
    if (shown !== pair.dataset.seen) {
        pair.dataset.seen = shown;
        pair.querySelector("form.ask button").click();
    }
"""

# A page asks itself: each question of this process would be three messages between three processes.
ASKING_ITSELF = """
    const [script, ...more] = arguments, done = more.pop(), ask = new Function(script);
    const again = () => { const found = ask(...more); found ? done(found) : setTimeout(again, 5); };
    again();
"""


@contextmanager
def seen_as(browser: webdriver.Chrome, look: str) -> Iterator[None]:
    """Let the browser have a screen of this kind."""
    dark, width, height, telephone = LOOKS[look]
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    screen = {
        "width": width,
        "height": height,
        "deviceScaleFactor": 2 if telephone else 1,
        "mobile": telephone,
    }
    command(browser, "Emulation.setEmulatedMedia", {"features": [scheme]})
    command(browser, "Emulation.setDeviceMetricsOverride", screen)
    command(browser, "Emulation.setScrollbarsHidden", {"hidden": True})
    try:
        yield
    finally:
        command(browser, "Emulation.clearDeviceMetricsOverride", {})
        command(browser, "Emulation.setEmulatedMedia", {"features": []})


def command(browser: webdriver.Chrome, name: str, values: dict[str, Any]) -> None:
    browser.execute_cdp_cmd(name, values)


def wait(browser: webdriver.Chrome, script: str, *arguments: object) -> Any:
    """Wait until the script returns something that is true, and return it. The page must stay."""
    return browser.execute_async_script(ASKING_ITSELF, script, *arguments)


def wait_over_pages(browser: webdriver.Chrome, script: str) -> None:
    """Wait until the script returns something that is true, while the browser may go to another
    page.
    """
    WebDriverWait(browser, 30, 0.02, [JavascriptException]).until(
        lambda _: browser.execute_script(script)
    )


def show_answers(browser: webdriver.Chrome) -> None:
    """Scroll through the tour, so that each part that does so asks by itself, and wait for the
    first answers.
    """
    browser.execute_script("""
        for (const section of document.querySelectorAll("section")) section.querySelector(".ask")?.whenSeen?.();
    """)
    wait(browser, "return document.querySelectorAll('.ran:not(:empty)').length > 8")


def save(browser: webdriver.Chrome, file: Path, part: str = "") -> None:
    """Save a screenshot of the window, or of a part, with 128 colours, which takes a third of the
    room.
    """
    if part:
        picture = browser.find_element("css selector", part).screenshot_as_png
    else:
        picture = browser.get_screenshot_as_png()
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(128).save(file, optimize=True)


def take(
    browser: webdriver.Chrome,
    tour: Server,
    broken: Server,
    directory: Path,
    looks: Iterable[str] = LOOKS,
) -> None:
    """Take the screenshots of the tour, the OpenAPI page and the debug page."""
    for look in looks:
        with seen_as(browser, look):
            browser.get(f"http://127.0.0.1:{tour.port}/")
            show_answers(browser)
            save(browser, directory / f"tour-{look}.png")
            browser.get(f"http://127.0.0.1:{tour.port}/docs")
            wait(browser, "return document.querySelectorAll('.opblock').length > 8")
            save(browser, directory / f"openapi-{look}.png")
    for look in ("light", "dark"):  # a handler and its answer, for the top of the manual
        with seen_as(browser, look):
            column = {"width": 640, "height": 1200, "deviceScaleFactor": 2, "mobile": False}
            command(browser, "Emulation.setDeviceMetricsOverride", column)
            browser.get(f"http://127.0.0.1:{tour.port}/")
            show_answers(browser)
            wait(browser, SOON)
            save(browser, directory / f"answer-{look}.png", ".pair")
    with seen_as(browser, "light"):
        browser.get(f"http://127.0.0.1:{tour.port}/#streams")
        wait(
            browser,
            "return document.querySelector('#streams .body').textContent.includes('lift-off')",
        )
        browser.execute_script("document.querySelector('#server-sent-events button').click()")
        wait(
            browser,
            "return document.querySelector('#server-sent-events .body').textContent.includes('tick')",
        )
        save(browser, directory / "tour-streams.png")
        browser.get(f"http://127.0.0.1:{broken.port}{KEY_PAGE}")
        browser.get(f"http://127.0.0.1:{broken.port}/price/cherry?pieces=2")
        save(browser, directory / "debug.png")


def take_site(browser: webdriver.Chrome, tour: Server, directory: Path) -> None:
    """Take the screenshots of the manual."""
    for look in LOOKS:
        with seen_as(browser, look):
            browser.get(f"http://127.0.0.1:{tour.port}/manual/index.html")
            # the site keeps the scheme that it began with
            browser.execute_script("localStorage.clear()")
            for name, (page, script, done) in SITE.items():
                browser.get(f"http://127.0.0.1:{tour.port}/manual/{page}")
                browser.execute_script(script)
                if name == "search":  # it opens for keys only
                    wait(browser, f"return document.querySelector('{FIELD}').checkVisibility()")
                    browser.find_element("css selector", FIELD).send_keys("session")
                wait(browser, done)
                wait(
                    browser,
                    "return document.getAnimations().every(one => one.playState === 'finished')",
                )
                save(browser, directory / f"site-{name}-{look}.png")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryFile() as log,
        tempfile.TemporaryFile() as other_log,
        browsing() as browser,
    ):
        tour = start(KINDS["uvicorn"], "examples.tour.app:app", log)
        broken = start(
            KINDS["uvicorn"], "tests.project.examples.broken:app", other_log, environ=ENVIRON
        )
        try:
            take(browser, tour, broken, IMAGES)
            take_site(browser, tour, IMAGES)
        finally:
            tour.end()
            broken.end()


if __name__ == "__main__":
    main()
