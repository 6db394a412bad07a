"""A headless Chromium for tests: one with its driver in a process group of its own, which ends with
the tests.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.support.guard import guard_of

ARGUMENTS = [
    "--headless",
    "--no-sandbox",  # it has none for root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Seconds for a script that a test runs. Pyodide is loaded in one, and takes long on a busy machine.
SCRIPT_WITHIN = 200.0


class Chromedriver(Service):
    """Run the driver in a new process group with the browser, and kill the group in the end."""

    started: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]] | None = None

    def __init__(self) -> None:
        super().__init__("/usr/bin/chromedriver", popen_kw={"start_new_session": True})

    def start(self) -> None:
        super().start()
        self.started = (self.process, guard_of(self.process))  # before there is a browser

    def end(self) -> None:
        if self.started is None:
            return
        process, guard = self.started
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        guard.kill()
        guard.communicate()


@contextmanager
def browsing(*more: str) -> Iterator[webdriver.Chrome]:
    """Yield a browser, started with ``more`` arguments."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in [*ARGUMENTS, *more, f"--user-data-dir={directory}"]:
            options.add_argument(argument)
        # The console keeps every message, also those about the policy.
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chromedriver()
        try:
            browser = webdriver.Chrome(options=options, service=driver)
            browser.set_script_timeout(SCRIPT_WITHIN)
            yield browser
            browser.quit()
        finally:
            driver.end()


def complaints(browser: webdriver.Chrome) -> list[str]:
    """Return the messages of the console since the last call: errors of scripts, breaches of the
    policy. Not that there is no icon, what the browser's own pages say, and that fonts arrive late
    on a busy machine.
    """
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]
    left_out = re.compile("^chrome://|favicon|Slow network is detected")
    return [entry["message"] for entry in entries if not left_out.search(entry["message"])]
