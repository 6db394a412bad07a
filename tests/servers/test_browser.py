"""The page of ``examples/live/`` in a real Chromium, on real servers: the tests assert on the
page's content.

A browser is no server's matter: the page is on one, and comes back on another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.servers.harness import KINDS, Server, start
from tests.support.chromium import browsing, complaints

WITHIN = 60.0  # seconds: only a test that fails waits so long
MEBIBYTE = 1 << 20
APP = "examples.live.app:app"


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    """One browser for all tests."""
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryFile() as log:
        server = start(KINDS["uvicorn"], APP, log)
        yield server
        output = server.output()
        server.end()
        assert "Traceback" not in output


@dataclass(frozen=True)
class Tab:
    """A tab of the browser, brought to the front with each use."""

    browser: webdriver.Chrome
    handle: str

    def text(self, selector: str) -> str:
        self.browser.switch_to.window(self.handle)
        return self.browser.find_element(By.CSS_SELECTOR, selector).text

    def messages(self) -> list[str]:
        return self.text("#messages").splitlines()

    def fill(self, selector: str, text: str) -> None:
        self.browser.switch_to.window(self.handle)
        field = self.browser.find_element(By.CSS_SELECTOR, selector)
        if field.get_attribute("type") == "text":
            field.clear()
        field.send_keys(text)

    def click(self, selector: str) -> None:
        self.browser.switch_to.window(self.handle)
        self.browser.find_element(By.CSS_SELECTOR, selector).click()

    def say(self, name: str, text: str) -> None:
        self.fill("[name=name]", name)
        self.fill("[name=text]", text)
        self.click("#chat button")

    def wait(self, condition: Callable[[], bool]) -> None:
        self.browser.switch_to.window(self.handle)
        WebDriverWait(self.browser, WITHIN, 0.02).until(
            lambda browser: condition(), f"the page shows {self.text('body')!r}"
        )

    def wait_for(self, selector: str, text: str) -> None:
        self.wait(lambda: self.text(selector) == text)

    def run(self, script: str) -> object:
        self.browser.switch_to.window(self.handle)
        result: object = self.browser.execute_script(script)
        return result


@pytest.fixture
def new_tab(chromium: webdriver.Chrome) -> Iterator[Callable[[Server], Tab]]:
    """Return ``new_tab(server)``, which opens the page and waits until it is connected."""
    first = chromium.current_window_handle

    def new_tab(server: Server) -> Tab:
        chromium.switch_to.new_window("tab")
        chromium.get(f"http://127.0.0.1:{server.port}/")
        tab = Tab(chromium, chromium.current_window_handle)
        tab.wait_for("#state", "connected")
        return tab

    yield new_tab
    for handle in chromium.window_handles:
        if handle != first:
            chromium.switch_to.window(handle)
            chromium.close()
    chromium.switch_to.window(first)


@pytest.fixture
def no_complaints(chromium: webdriver.Chrome, new_tab: object) -> Iterator[None]:
    """Fail the test if a page's console has a message: a script's error, or a breach of the
    policy.
    """
    complaints(chromium)  # those of other tests
    yield
    assert complaints(chromium) == []


NewTab = Callable[[Server], Tab]


@pytest.mark.usefixtures("no_complaints")
def test_two_tabs_exchange_messages_and_a_later_one_reads_them(
    server: Server, new_tab: NewTab
) -> None:
    ann, bob = new_tab(server), new_tab(server)
    ann.say("Ann", "pie?")
    bob.wait(lambda: bob.messages()[-1:] == ["Annpie?"])
    bob.say("Bob", "pie!")
    for tab in (ann, bob):
        tab.wait(lambda: tab.messages()[-2:] == ["Annpie?", "Bobpie!"])  # noqa: B023 - called here
    late = new_tab(server)
    late.wait(lambda: late.messages()[-2:] == ["Annpie?", "Bobpie!"])
    assert late.messages() == ann.messages()[-50:]  # each once


@pytest.mark.usefixtures("no_complaints")
def test_the_last_fifty_messages_are_kept(server: Server, new_tab: NewTab) -> None:
    tab = new_tab(server)
    tab.run(
        "for (let n = 1; n <= 60; n++) socket.send(JSON.stringify({name: 'Ann', text: ` ${n}`}))"
    )
    tab.wait(lambda: tab.messages()[-1:] == ["Ann 60"])
    late = new_tab(server)
    late.wait(lambda: late.messages() == [f"Ann {number}" for number in range(11, 61)])


@pytest.mark.usefixtures("no_complaints")
def test_messages_are_shown_as_text(server: Server, new_tab: NewTab) -> None:
    tab = new_tab(server)
    tab.say("<b>Mallory</b>", "<img src=x onerror='window.hit = 1'><script>hit = 1</script>&amp;")
    line = "<b>Mallory</b><img src=x onerror='window.hit = 1'><script>hit = 1</script>&amp;"
    tab.wait(lambda: tab.messages()[-1:] == [line])
    assert (
        tab.run(
            "return document.querySelectorAll('#messages img, #messages script, #messages b b').length"
        )
        == 0
    )
    assert tab.run("return window.hit") is None


@pytest.mark.usefixtures("no_complaints")
def test_the_page_s_clock_advances(server: Server, new_tab: NewTab) -> None:
    tab = new_tab(server)
    began = int(tab.text("#clock"))
    tab.wait(lambda: int(tab.text("#clock")) >= began + 2)


@pytest.mark.usefixtures("no_complaints")
def test_an_upload_shows_its_progress(server: Server, new_tab: NewTab, tmp_path: Path) -> None:
    tab = new_tab(server)
    file = tmp_path / "<i>pie.bin"
    file.write_bytes(bytes(8 * MEBIBYTE))
    tab.fill("[type=file]", str(file))
    tab.run("""
        window.seen = [];
        new MutationObserver(() => seen.push(document.getElementById("uploaded").textContent))
            .observe(document.getElementById("uploaded"), {childList: true});
    """)
    tab.click("#upload button")
    tab.wait_for("#uploaded", f"{file.name}: {8 * MEBIBYTE} bytes")
    seen = tab.run("return seen")
    assert isinstance(seen, list)
    assert seen[-2:] == ["100 %", f"{file.name}: {8 * MEBIBYTE} bytes"]
    percents = [int(text.removesuffix(" %")) for text in seen[:-1]]
    assert percents == sorted(percents)
    assert tab.run("return document.getElementById('progress').value") == 100


@pytest.mark.usefixtures("no_complaints")
def test_an_invalid_message_ends_the_connection_and_the_page_reconnects(
    server: Server, new_tab: NewTab
) -> None:
    tab = new_tab(server)
    tab.run("window.first = socket; socket.send('[1]')")
    tab.wait(
        lambda: tab.run("return socket !== first") is True and tab.text("#state") == "connected"
    )
    tab.say("Ann", "back")
    tab.wait(lambda: tab.messages()[-1:] == ["Annback"])


def test_the_page_reconnects_after_the_server_has_restarted(new_tab: NewTab) -> None:
    kind = KINDS["hypercorn-trio"]
    with tempfile.TemporaryFile() as log:
        server = start(kind, APP, log)
        try:
            tab = new_tab(server)
            tab.say("Ann", "before")
            tab.wait(lambda: tab.messages() == ["Annbefore"])
            server.end()
            tab.wait_for("#state", "reconnecting")
            server = start(kind, APP, log, port=server.port)
            tab.wait_for("#state", "connected")
            assert tab.messages() == []  # a new process knows nothing
            tab.say("Ann", "after")
            tab.wait(lambda: tab.messages() == ["Annafter"])
            tab.run("document.getElementById('clock').textContent = 'waiting'")
            tab.wait(lambda: tab.text("#clock") != "waiting")
        finally:
            server.end()
