"""The site of the documentation builds without a warning, has every page and public name, and finds what people type."""

from __future__ import annotations

import functools
import http.server
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from selenium import webdriver

import micropie
import micropie.channels
import micropie.middleware
import micropie.sessions
import micropie.testing
from tests.examples.screenshots import wait
from tests.support.chromium import browsing, complaints
from tests.support.environment import unmeasured

PUBLIC = (micropie, micropie.channels, micropie.middleware, micropie.sessions, micropie.testing)
ROOT = Path(__file__).parent.parent

# What a page could load while it is read: scripts, styles, pictures, frames.
LOADED = re.compile(
    r'(?:<(?:script|img|iframe|source|video)[^>]* src|<link rel="(?:stylesheet|icon)"[^>]* href)="([^"]*)"'
)


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    environment = unmeasured(NO_MKDOCS_2_WARNING="1")  # the theme's news about its successor
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


# What is typed, and the pages of which one is among the first three.
QUESTIONS = {
    "install": "start/install",
    "pagination": "everyday",
    "dependency injection": "resources",
    "background task": "execution",
    "reverse proxy prefix": "deploy/nginx",
    "OAuth2": "operation-middleware",
    "bearer": "operation-middleware",
    "HTMX": "how-to/htmx",
    "scheduled job": "how-to/long-jobs",
    "email": "execution",
    "rate limit": "operation-middleware",
    "middleware order": "security-middleware",
    "upload": "forms",
    "cookie": "everyday",
    "session": "sessions",
    "login": "tutorial/login",
    "CSRF": "security-middleware",
    "CORS": "security-middleware",
    "gunicorn": "deploy/each-server",
    "docker": "deploy/containers",
    "systemd": "deploy/systemd",
    "AWS Lambda": "deploy/platforms",
    "mod_wsgi": "deploy/platforms",
    "HTTP/2": "deploy/tls",
    "websocket": "websockets",
    "server-sent events": "events",
    "broadcast": "channels",
    "redis": "reference/sessions",
    "query parameter": "binding",
    "path parameter": "routing",
    "redirect": "tutorial/forms",
    "404 page": "errors",
    "static files": "files",
    "test client": "testing",
    "OpenAPI": "openapi",
    "swagger": "openapi",
    "pydantic": "binding",
    "sqlalchemy": "how-to/databases",
    "jinja": "templates",
    "translations": "how-to/translations",
    "thread pool": "execution",
    "django": "frameworks",
    "environment variables": "how-to/configuration",
    "health check": "operation",
    "logging": "how-to/logging",
    "profiler": "how-to/profiling",
    "scheduled": "how-to/jobs",
    "cron": "how-to/jobs",
}
ASK = """
    const field = document.querySelector("[data-md-component=search-query]");
    document.querySelector(".md-search-result__meta").textContent = "asked";
    field.value = arguments[0];
    field.dispatchEvent(new Event("keyup"));
"""
HITS = """
    const links = document.querySelectorAll(".md-search-result__item > a");
    return [...links].map(link => link.pathname.slice(1).replace(".html", ""));
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning: 4 seconds of a processor."""
    directory = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", directory)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stdout + built.stderr
    return directory


@pytest.mark.timeout(240)
def test_the_site_has_all_public_names_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    loaded = {url for page in pages for url in LOADED.findall(page.read_text())}
    assert any("stylesheets" in url for url in loaded)
    assert not [url for url in loaded if url.startswith(("http:", "https:", "//"))]
    named = {name for page in pages for name in re.findall(r'id="(micropie[.\w]*)"', page.read_text())}
    public = {name for module in PUBLIC for name in module.__all__}
    missing = {name for name in public if named.isdisjoint(f"{module.__name__}.{name}" for module in PUBLIC)}
    # A new name of ``micropie`` needs a line in a page of docs/reference. request is an object, which the page of
    # Request names.
    assert missing == {"__version__", "request"}
    responses = (site / "reference" / "responses.html").read_text()
    shown = re.sub(r"<[^>]+>|\s", "", responses[responses.index('id="micropie.Response"') :])
    assert "Response(body:Any=None,status:int=200," in shown
    assert "samesite:str|None=...," in shown  # of set_cookie, whose keywords are a TypedDict


@pytest.mark.timeout(240)
def test_the_search_finds_what_people_type_among_the_first_three_pages(site: Path) -> None:
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, browsing() as browser:
        threading.Thread(target=server.serve_forever).start()
        browser.get(f"http://127.0.0.1:{server.server_port}/index.html")
        browser.execute_script("document.querySelector('[data-md-component=search-query]').focus()")
        found = {question: _pages_for(browser, question) for question in QUESTIONS}
        assert complaints(browser) == []
        server.shutdown()
    assert {question: pages for question, pages in found.items() if QUESTIONS[question] not in pages[:3]} == {}


def _pages_for(browser: webdriver.Chrome, question: str) -> list[str]:
    """Return the pages that the search names, the best one first."""
    browser.execute_script(ASK, question)
    wait(browser, "return /match/.test(document.querySelector('.md-search-result__meta').textContent)")
    return list(dict.fromkeys(browser.execute_script(HITS)))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_the_table_of_statuses_has_all_that_the_framework_raises() -> None:
    sources = [path.read_text() for path in (ROOT / "micropie").rglob("*.py") if "compat" not in path.parts]
    raised = set(re.findall(r"HTTPError\((\d{3})", "".join(sources)))
    table = (ROOT / "docs" / "reference" / "statuses.md").read_text()
    assert raised <= set(re.findall(r"^\| (\d{3}) \|", table, re.MULTILINE))


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("[a page](nowhere.md)", "nowhere.md"),
        ("# Top\n\n[a part](#bottom)", "#bottom"),
        ('```python\n--8<-- "no_such_file.py"\n```', "no_such_file.py"),
    ],
)
def test_a_link_or_an_included_file_that_is_missing_fails_the_build(tmp_path: Path, page: str, complaint: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(page)
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nsite_dir: site\nnav: [index.md]\nplugins: []\nhooks: []\n"
    )
    built = build(config, tmp_path / "site")
    assert built.returncode != 0
    assert complaint in built.stdout + built.stderr


def test_a_page_that_the_navigation_lacks_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Home")
    (tmp_path / "docs" / "forgotten.md").write_text("# Forgotten")
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nsite_dir: site\nnav: [index.md]\nplugins: []\nhooks: []\n"
    )
    built = build(config, tmp_path / "site")
    assert built.returncode != 0
    assert "forgotten.md" in built.stdout + built.stderr
