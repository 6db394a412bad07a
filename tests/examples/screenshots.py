"""Screenshots of the pages, for the documentation: ``make screenshots`` writes them to docs/images/."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from tests.servers.harness import KINDS, Server, start
from tests.support.chromium import browsing

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
WITHIN = 20.0  # seconds

# name -> dark, width, height, telephone
LOOKS = {
    "light": (False, 1280, 900, False),
    "dark": (True, 1280, 900, False),
    "telephone": (False, 390, 844, True),
}


@contextmanager
def seen_as(browser: webdriver.Chrome, look: str) -> Iterator[None]:
    """Let the browser have a screen of this kind."""
    dark, width, height, telephone = LOOKS[look]
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    screen = {"width": width, "height": height, "deviceScaleFactor": 2 if telephone else 1, "mobile": telephone}
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
    """Wait until the script returns something that is true, and return it."""
    return WebDriverWait(browser, WITHIN, 0.02).until(
        lambda browser: browser.execute_script(script, *arguments), script
    )


def show_answers(browser: webdriver.Chrome) -> None:
    """Scroll through the tour, so that each part that does so asks by itself, and wait for the first answers."""
    browser.execute_script("""
        for (const section of document.querySelectorAll("section")) section.querySelector(".ask")?.whenSeen?.();
    """)
    wait(browser, "return document.querySelectorAll('.ran:not(:empty)').length > 8")


def take(browser: webdriver.Chrome, tour: Server, broken: Server, directory: Path) -> None:
    """Take all screenshots."""
    for look in LOOKS:
        with seen_as(browser, look):
            browser.get(f"http://127.0.0.1:{tour.port}/")
            show_answers(browser)
            browser.save_screenshot(str(directory / f"tour-{look}.png"))
    with seen_as(browser, "light"):
        browser.get(f"http://127.0.0.1:{tour.port}/#streams")
        wait(browser, "return document.querySelector('#streams .body').textContent.includes('lift-off')")
        browser.execute_script("document.querySelector('#server-sent-events button').click()")
        wait(browser, "return document.querySelector('#server-sent-events .body').textContent.includes('tick')")
        browser.save_screenshot(str(directory / "tour-streams.png"))
        browser.get(f"http://127.0.0.1:{tour.port}/docs")
        wait(browser, "return document.querySelectorAll('.opblock').length > 8")
        browser.save_screenshot(str(directory / "openapi.png"))
        browser.get(f"http://127.0.0.1:{broken.port}/price/cherry?pieces=2")
        browser.save_screenshot(str(directory / "debug.png"))


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as other_log, browsing() as browser:
        tour = start(KINDS["uvicorn"], "examples.tour.app:app", log)
        broken = start(KINDS["uvicorn"], "tests.examples.broken:app", other_log)
        try:
            take(browser, tour, broken, IMAGES)
        finally:
            tour.end()
            broken.end()


if __name__ == "__main__":
    main()
