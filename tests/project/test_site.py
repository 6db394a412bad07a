"""The site of the documentation builds without a warning, has every page and public name, and finds
what people type.
"""

from __future__ import annotations

import functools
import http.server
import importlib.metadata
import json
import pydoc
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from math import ceil
from pathlib import Path

import pytest
from mkdocs.config import load_config
from mkdocs.structure.files import get_files
from mkdocs.structure.pages import Page
from packaging.requirements import Requirement
from selenium import webdriver

import micropie
import micropie.channels
import micropie.config
import micropie.extensions
import micropie.middleware
import micropie.sessions
import micropie.testing
from scripts import llms, playground, site_hooks
from tests.project.examples.screenshots import seen_as, wait, wait_over_pages
from tests.project.tables import BELOW_HEAD, FENCED, counted, written
from tests.project.test_readme import REQUEST
from tests.support.chromium import browsing, complaints
from tests.support.commands import ended
from tests.support.environment import unmeasured

PUBLIC = (
    micropie,
    micropie.channels,
    micropie.config,
    micropie.middleware,
    micropie.extensions,
    micropie.sessions,
    micropie.testing,
)
ROOT = Path(__file__).parents[2]

# What a page could load while it is read: scripts, styles, pictures, frames.
LOADED = re.compile(
    r'(?:<(?:script|img|iframe|source|video)[^>]* src|<link rel="(?:stylesheet|icon)"[^>]* href)="([^"]*)"'
)


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        str(config),
        "-d",
        str(site),
    ]
    environment = unmeasured(NO_MKDOCS_2_WARNING="1")  # the theme's news about its successor
    return ended(*command, environ=environment)


# What is typed, and the pages of which one is among the first three.
QUESTIONS = {
    "install": "start/install",
    "reverse proxy prefix": "deploy/nginx",
    "OAuth2": "how-to/tokens",
    "JWT": "how-to/tokens",
    "If-Match": "how-to/api-design",
    "MissingGreenlet": "how-to/databases",
    "generated client": "tutorial/api/client",
    "bearer": "reference/authentication",
    "HTMX": "how-to/htmx",
    "scheduled job": "how-to/long-jobs",
    "email": "how-to/mail",
    "rate limit": "reference/rates",
    "middleware order": "reference/middleware-security",
    "upload": "how-to/uploads",
    "cookie": "everyday",
    "session": "sessions",
    "login": "tutorial/login",
    "CSRF": "reference/csrf",
    "CORS": "reference/middleware-security",
    "gunicorn": "deploy/each-server",
    "systemd": "deploy/systemd",
    "AWS Lambda": "deploy/platforms",
    "mod_wsgi": "deploy/platforms",
    "HTTP/2": "deploy/tls",
    "websocket": "websockets",
    "server-sent events": "events",
    "broadcast": "channels",
    "redis": "deploy/several-machines",
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
    "logging": "how-to/logging",
    "profiler": "how-to/profiling",
    "scheduled": "how-to/jobs",
    # As one types it who comes from Flask, Django, FastAPI, CherryPy or Bottle.
    "router prefix": "how-to/inner-apps",
    "request.args": "moving/flask",
    "Depends": "moving/fastapi",
    "model validation": "tutorial/api/models",
    "login_required": "tutorial/login",
    "url_for": "reference/links",
    "flash message": "everyday",
    "before_request": "middleware",
    "celery": "how-to/jobs",
    "lifespan startup": "everyday",
    "StreamingResponse": "execution",
    "response headers": "everyday",
    "cherrypy.expose": "moving/cherrypy",
    "bottle plugin": "moving/bottle",
    "ORM": "how-to/databases",
    "hot reload": "start/first-app",
    "hosting": "deploy/platforms",
    "memory leak": "troubleshooting",
    "subdomain": "hosts",
    "client IP address": "deploy/nginx",
    "form validation": "forms",
    "basic auth": "reference/authentication",
    "async await": "explanation/async",
    "report a bug": "help",
    "alternatives comparison": "explanation/choose",
    "json logs": "how-to/logging",
    "csrf_exempt": "reference/csrf",
    "admin": "how-to/data-admin",
    "password reset": "how-to/password-reset",
    "after commit": "how-to/databases",
    # As one types it who runs a site.
    "rotate keys": "deploy/several-machines",
    "rotate logs": "how-to/logging",
    "two proxies": "deploy/nginx",
    "memory per worker": "deploy/workers",
}
# Forty questions that a reader of the documentation wrote down before trying the search.
FORTY_QUESTIONS = {
    "background task": "execution",
    "dependency injection": "resources",
    "blueprint": "how-to/inner-apps",
    "APIRouter": "moving/fastapi",
    "upload file": "how-to/uploads",
    "cors": "reference/middleware-security",
    "csrf": "reference/csrf",
    "rate limit login": "reference/rates",
    "pagination": "everyday",
    "openapi tags": "openapi",
    "websocket authentication": "websockets",
    "gunicorn workers": "deploy/workers",
    "docker": "deploy/containers",
    "logging request id": "how-to/logging",
    "test database override": "how-to/databases",
    "custom 404 page": "errors",
    "session timeout": "sessions",
    "file download attachment": "files",
    "union body discriminator": "binding",
    "htmx partial": "how-to/htmx",
    "cron": "how-to/jobs",
    "https behind proxy": "deploy/nginx",
    "password hashing": "tutorial/login",
    "idempotency": "how-to/api-design",
    "etag": "how-to/api-design",
    "health check": "operation",
    "validation error format": "errors",
    "jwt token": "how-to/tokens",
    "depends": "moving/fastapi",
    "redirect after post": "tutorial/forms",
    "redis pub sub": "channels",
    "environment variables": "how-to/configuration",
    "current user": "tutorial/api/token",
    "timezone datetime": "binding",
    "status code": "everyday",
    "streaming response": "execution",
    "sqlalchemy async": "how-to/databases",
    "csv export": "how-to/csv",
    "graphql": "how-to/graphql",
    "patch partial update null": "how-to/partial-updates",
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


@pytest.mark.processes
def test_the_site_documents_all_public_names_and_loads_nothing_external(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30, "the site lacks most pages: see what the build has left out"
    loaded = {url for page in pages for url in LOADED.findall(page.read_text())}
    assert any("stylesheets" in url for url in loaded)
    assert not [url for url in loaded if url.startswith(("http:", "https:", "//"))]
    named = {
        name for page in pages for name in re.findall(r'id="(micropie[.\w]*)"', page.read_text())
    }
    public = {name for module in PUBLIC for name in module.__all__}
    missing = {
        name
        for name in public
        if named.isdisjoint(f"{module.__name__}.{name}" for module in PUBLIC)
    }
    # A new name of ``micropie`` needs a line in a page of docs/reference.
    assert missing == NAMED_ELSEWHERE
    responses = (site / "reference" / "responses.html").read_text()
    shown = re.sub(r"<[^>]+>|\s", "", responses[responses.index('id="micropie.Response"') :])
    assert "Response(body:Any=None,status:int=200," in shown
    assert "samesite:str|None=...," in shown  # of set_cookie, whose keywords are a TypedDict


@pytest.mark.processes
def test_an_old_url_redirects_to_the_page_with_its_text(
    site: Path, address: str, browser: webdriver.Chrome
) -> None:
    for old, new in site_hooks.MOVED.items():
        page, _, section = new.partition("#")
        place = (site / old).parent / page
        assert f'id="{section}"' in place.read_text()
        assert f'content="0; url={new}"' in (site / old).read_text()
    browser.get(f"{address}/{old}")  # all are written alike
    wait_over_pages(browser, "return !document.title.includes('Moved')")
    assert browser.current_url == f"{address}/{place.resolve().relative_to(site)}#{section}"


@pytest.mark.processes
def test_assistants_get_a_list_of_the_pages_and_their_text(site: Path) -> None:
    listed = (site / "llms.txt").read_text()
    assert listed.startswith("# micropie\n\n> A web framework")
    entries = re.findall(r"^- \[[^\]\n]+\]\(([^)\n]+)\)(?:: \S.*)?$", listed, re.MULTILINE)
    assert len(entries) == listed.count("\n- ")
    pages = {str(page.relative_to(site)) for page in site.rglob("*.html")}
    assert {*entries} == pages - {*site_hooks.MOVED, "404.html"}
    assert "\n## How-to\n" in listed
    text = (site / "llms-full.txt").read_text()
    assert text.count("<!-- ") >= len(entries)
    assert "--8<--" not in text
    assert not re.search("^::: ", text, re.MULTILINE)
    assert site_hooks.WHERE not in text
    assert (
        site_hooks.WHERE.partition("]")[0][1:] not in (site / "reference" / "app.html").read_text()
    )
    assert "## micropie.Redirect\n\n    Redirect(" in text
    assert "class Blog(App)" in text  # of a file that a page includes


def test_the_docs_have_a_word_limit() -> None:
    pages = (ROOT / "docs").rglob("*.md")
    assert sum(len(page.read_text().split()) for page in pages) <= 66_000, (
        "shorten another sentence of the same page by as many words, without losing a fact"
    )


def test_the_readmes_have_a_word_limit() -> None:
    places = (ROOT / "compat", ROOT / "examples", ROOT / "findings")
    pages = [page for one in places for page in one.rglob("README.md") if "build" not in page.parts]
    assert len(pages) > 5
    lines = (line for page in pages for line in page.read_text().splitlines())
    # the table of findings has a row for each program
    words = sum(len(line.split()) for line in lines if not line.startswith("| ["))
    assert words <= 4_050, (
        "shorten another sentence of the same page by as many words, without losing a fact"
    )


def test_each_page_links_to_the_files_it_includes() -> None:
    linked, included = set[tuple[Path, Path]](), set[tuple[Path, Path]]()
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text()
        linked |= {(page, (page.parent / to).resolve()) for to in re.findall(r"\]\((.+?)\)", text)}
        included |= {
            (page, ROOT / file) for file in re.findall(r'^--8<-- "(.+)"$', text, re.MULTILINE)
        }
    assert included
    assert included - linked == set()


def test_no_page_installs_micropie_by_its_name() -> None:
    """PyPI doesn't have it, so anybody could register it there."""
    by_name = re.compile(r"pip install [^`\n]*(?<![/\w])micropie[-_\[]")
    pages = {*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")}
    found = {page.name for page in pages if by_name.search(page.read_text())}
    assert found == {"install.md"}  # where it is installed


# A row, an empty line, and a row that does not begin another table.
INTERRUPTED = re.compile(r"^\|.*\|\n\n(?=\|.*\|\n(?!\|\s*-))", re.MULTILINE)


@pytest.mark.processes
def test_every_table_of_a_page_is_rendered_as_a_table(site: Path) -> None:
    found = counted(site)
    assert {page: both for page, both in found.items() if both[0] != both[1]} == {}
    assert sum(both[0] for both in found.values()) > 60


ROW_BELOW_HEAD = re.compile(rf"^ *{BELOW_HEAD.pattern}$", re.MULTILINE)


def test_every_table_row_is_on_its_own_line() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts = {str(page): FENCED.sub("", page.read_text()) for page in pages}
    assert {
        page: found
        for page, text in texts.items()
        if (found := (written(text), len(ROW_BELOW_HEAD.findall(text))))[0] != found[1]
    } == {}


def test_a_table_in_one_line_is_detected() -> None:
    assert written("|a|b| |---|---| |1|2|") == 1
    assert not ROW_BELOW_HEAD.search("|a|b| |---|---| |1|2|")
    assert ROW_BELOW_HEAD.search("|a|b|\n| --- |:-:|\n|1|2|")


def test_no_table_is_interrupted() -> None:
    pages = (ROOT / "docs").rglob("*.md")
    assert [str(page) for page in pages if INTERRUPTED.search(page.read_text())] == []


# A list that an empty line splits, two items in one line, a sentence that announces something which
# isn't there or that doesn't end, and a gap where a paragraph was.
LOST = re.compile(
    r"^- .*\n(?:  .*\n)*\n(?=- )"
    r"|^ *[-\d].*[.;:)`] - (?=\*\*|[A-Z`\[])"
    r"|^(?![-#|:<! ]).*(?::|\b[a-z]+,?)\n\n(?=[A-Z\[])"
    r"|\n\n\n",
    re.MULTILINE,
)


def test_no_sentence_or_list_item_is_lost() -> None:
    pages = {page: page.read_text() for page in (ROOT / "docs").rglob("*.md")}
    assert {
        str(page): lost[0]
        for page, text in pages.items()
        if (lost := LOST.search(FENCED.sub("    code", text)))
    } == {}


@pytest.mark.parametrize(
    "text",
    [
        "- one\n\n- two\n",
        "- one. - **Two** are here\n",
        "It returns the result:\n\nThe page has more.",
        "This is how it\n\nEnds.",
        "One.\n\n\n    two",
    ],
)
def test_lost_text_is_detected(text: str) -> None:
    assert LOST.search(text)
    assert not LOST.search("# A title\n\nThis is it:\n\n    code\n\n- one\n- two\n\nEnd.\n")


# request is an object, which has a section of its own.
NAMED_ELSEWHERE = {"__version__", "request"}
DIRECTIVE = re.compile(r"^::: (\S+)", re.MULTILINE)


def test_a_reader_of_the_repository_finds_the_text_of_every_name() -> None:
    """By the command that docs/reference/index.md has, to which the other pages lead."""
    pages = {page: page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md")}
    index = pages.pop(ROOT / "docs" / "reference" / "index.md")
    assert "\n## Names\n" in index
    assert "`python -m pydoc micropie.App`" in index
    named = {page: DIRECTIVE.findall(text) for page, text in pages.items()}
    assert {page: text.count(site_hooks.WHERE) for page, text in pages.items()} == {
        page: int(bool(names)) for page, names in named.items()
    }
    names = {name for several in named.values() for name in several}
    assert len(names) > 100, "DIRECTIVE finds too few names: correct it"
    for name in names - {"micropie.SESSION_TIMEOUT", "micropie.Session"}:  # a number, an alias
        summary = (pydoc.locate(name).__doc__ or "").strip().partition("\n")[0]
        assert summary, name
        assert summary in pydoc.plain(pydoc.render_doc(name)), name


NAMED = re.compile(
    r"^::: (\S+)(?: -)?\n(?!    options: \{ show_root_heading: false)|^```python\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def test_every_public_name_has_an_example_in_the_reference() -> None:
    """It is the first block of Python below the name, or the page's first one above all names;
    tests/project/test_readme.py runs it.

    Names in a row share theirs.
    """
    examples: dict[str, str] = {}
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        blocks = list(NAMED.finditer(page.read_text()))
        for index, found in enumerate(blocks):
            if found[1]:
                above = blocks[0][2] or ""
                examples[found[1]] = above + next(
                    (below[2] for below in blocks[index:] if below[2]), ""
                )
    names = {name.rpartition(".")[2]: example for name, example in examples.items()}
    shown = {name for name, example in names.items() if re.search(rf"\b{name}\b", example)}
    public = {name for module in PUBLIC for name in module.__all__}
    assert public - shown == NAMED_ELSEWHERE


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The address of the site, which this process serves."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    """One browser for all tests: Python, which is 13 MB, is compiled once and not for each of
    them.
    """
    with browsing() as browser:
        yield browser


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> webdriver.Chrome:
    """The browser, on an empty page, with an empty console."""
    chromium.get("about:blank")
    complaints(chromium)
    return chromium


@pytest.mark.processes
def test_the_search_finds_what_people_type_among_the_first_three_pages(
    address: str, browser: webdriver.Chrome
) -> None:
    browser.get(f"{address}/index.html")
    browser.execute_script("document.querySelector('[data-md-component=search-query]').focus()")
    questions = QUESTIONS | FORTY_QUESTIONS
    found = {question: _pages_for(browser, question) for question in questions}
    assert complaints(browser) == []
    assert {
        question: pages for question, pages in found.items() if questions[question] not in pages[:3]
    } == {}


def _pages_for(browser: webdriver.Chrome, question: str) -> list[str]:
    """Return the pages that the search names, the best one first."""
    browser.execute_script(ASK, question)
    wait(
        browser,
        "return /match/.test(document.querySelector('.md-search-result__meta').textContent)",
    )
    return list(dict.fromkeys(browser.execute_script(HITS)))


# Show the article of each page instead of this page's, with the tables in boxes that scroll,
# as the theme's script does, and return the page's width, its height, and inline code that is
# broken within a word.
FITTING = """
    const [pages, done] = arguments, range = document.createRange(), found = {};
    const boxed = (name, inner) => { const box = document.createElement("div"); box.className = name; box.append(inner); return box; };
    const broken = (code) => {
        const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT), cuts = [];
        for (let before = null; walker.nextNode(); before = null) {
            const text = walker.currentNode.data;
            for (let at = 0; at < text.length; at++) {
                range.setStart(walker.currentNode, at), range.setEnd(walker.currentNode, at + 1);
                const place = [...range.getClientRects()].at(-1);
                const cut = before && place?.top > before.bottom - 2 && /[a-z0-9]{2}/i.test(text.slice(at - 1, at + 1));
                if (cut) cuts.push(`${text.slice(0, at)}|${text.slice(at)}`);
                before = place;
            }
        }
        return cuts;
    };
    const measure = async (page) => {
        const shown = new DOMParser().parseFromString(await (await fetch(page)).text(), "text/html");
        const article = document.adoptNode(shown.querySelector("article"));
        document.querySelector("article").replaceWith(article);
        for (const table of article.querySelectorAll("table:not([class])")) {
            const place = document.createElement("i");
            table.replaceWith(place);
            place.replaceWith(boxed("md-typeset__scrollwrap", boxed("md-typeset__table", table)));
        }
        const codes = [...article.querySelectorAll(":not(pre) > code")].filter(code => code.getClientRects().length > 1);
        const { scrollWidth, scrollHeight } = document.documentElement;
        found[page] = [scrollWidth, scrollHeight, codes.flatMap(broken)];
    };
    pages.reduce((before, page) => before.then(() => measure(page)), Promise.resolve()).then(() => done(found));
"""


@pytest.mark.processes
@pytest.mark.in_test_all
def test_each_page_fits_a_phone_and_is_not_endless(
    site: Path, address: str, browser: webdriver.Chrome
) -> None:
    pages = [
        str(page.relative_to(site))
        for page in sorted(site.rglob("*.html"))
        if page.name != "404.html" and str(page.relative_to(site)) not in site_hooks.MOVED
    ]
    browser.get(f"{address}/index.html")
    with seen_as(browser, "telephone"):
        found = browser.execute_async_script(FITTING, pages)
        assert {page: one for page, one in found.items() if one[0] > 390 or one[2]} == {}
    # no page is higher on a wide screen
    high = [page for page, one in found.items() if one[1] > 9000]
    with seen_as(browser, "light"):
        found = browser.execute_async_script(FITTING, high)
        assert {page: one[1] for page, one in found.items() if one[1] > 9000} == {}


CUT = """
    const listings = [...document.querySelectorAll("article pre > code")];
    return listings.filter(code => code.scrollWidth > code.clientWidth).map(code => code.textContent);
"""
SCHEME = "return document.body.dataset.mdColorScheme"


@pytest.mark.processes
@pytest.mark.in_test_all
def test_listings_of_the_tutorials_fit_and_colours_follow_the_system(
    site: Path, address: str, browser: webdriver.Chrome
) -> None:
    pages = sorted((site / "tutorial").rglob("*.html"))
    cut = {}
    with seen_as(browser, "light"):
        for page in pages:
            browser.get(f"{address}/{page.relative_to(site)}")
            cut[page.stem] = browser.execute_script(CUT)
        browser.execute_script("localStorage.clear()")
        browser.refresh()
        assert browser.execute_script(SCHEME) == "default"
        with seen_as(browser, "dark"):
            wait(browser, f"{SCHEME} === 'slate'")
    assert {name: found for name, found in cut.items() if found} == {}


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (
            "app.middlewares.append(Hosts(one))",
            "app<wbr>.middlewares<wbr>.append(<wbr>Hosts(<wbr>one))",
        ),
        (
            "test_a.py::test_each_name_that_is_long",
            "test_a<wbr>.py::<wbr>test_<wbr>each_<wbr>name_<wbr>that_<wbr>is_<wbr>long",
        ),
        ("request.session[&quot;a_name&quot;]", "request<wbr>.session[&quot;a_name&quot;]"),
        ("url_for(name) of the application", "url_for(name) of the application"),
        ('<a title="an > b" href="page.html#micropie.App.url_for">App</a>', None),
    ],
)
def test_inline_code_may_wrap_at_its_punctuation(code: str, shown: str | None) -> None:
    config = load_config(str(ROOT / "mkdocs.yml"))
    page = Page(None, get_files(config).get_file_from_path("index.md"), config)  # type: ignore[arg-type]
    listing = f"<pre><code>{code}</code></pre>"
    found = site_hooks.on_post_page(f"{listing}<code>{code}</code>", page=page, config=config)
    assert found == f"{listing}<code>{shown or code}</code>"


@pytest.mark.parametrize(
    ("name", "link", "shown"),
    [
        (
            "explanation/async.md",
            "[`app.py`](../../micropie/app.py)",
            "[`app.py`]({}micropie/app.py)",
        ),
        ("explanation/async.md", "[a](../../README.md#b)", "[a]({}README.md)"),
        ("explanation/async.md", "[a](../errors.md#b)", None),
        ("errors.md", "[a](../examples/)", "[a]({}examples)"),
    ],
)
@pytest.mark.parametrize("repository", ["", "https://code.example/micropie/"])
def test_a_link_to_a_repository_file_needs_the_repository_url(
    name: str, link: str, shown: str | None, repository: str
) -> None:
    config = load_config(str(ROOT / "mkdocs.yml"), repo_url=repository)
    files = get_files(config)
    page = Page(None, files.get_file_from_path(name), config)  # type: ignore[arg-type]
    found = site_hooks.on_page_markdown(f"See {link}.", page=page, config=config, files=files)
    linked = (shown or link).format(f"{repository}blob/HEAD/")
    if shown and not repository:
        linked = linked.partition("]")[0][1:]
    assert found == f"See {linked}."


# -- the playground --------------------------------------------------------------------------------

needs_pyodide = pytest.mark.skipif(
    not playground.is_there(), reason="scripts/get-pyodide has not brought Pyodide"
)

# Ask a page's worker for many answers, as its panels do, and return the status and the text of
# each, or the failure.
ASK_ALL = """
    const [requests, done] = arguments, answers = requests.map(() => ["", ""]);
    const worker = new Worker("assets/playground/worker.mjs", { type: "module" });
    const ask = (index) => index < requests.length ? worker.postMessage(["ask", index + 1, ...requests[index]]) : done(answers);
    worker.onmessage = ({ data: { id, kind, value } }) => {
        if (kind === "broken") done([["broken", value]]);
        if (!id) return;
        if (kind === "head") answers[id - 1][0] = String(value[0]);
        if (kind === "chunk") answers[id - 1][1] += value;
        if (kind === "failed") answers[id - 1] = ["failed", value];
        if (kind === "failed" || kind === "end") ask(id);
    };
    ask(0);
"""
STATE = "return document.querySelector('.play')?.dataset.state === 'done'"
SHOWN = (
    "return ['.play-status', '.play-body'].map(name => document.querySelector(name).textContent)"
)
SEND = """
    const [code, line] = [".play-editor textarea", ".play-ask input"].map(name => document.querySelector(name));
    if (arguments[1] !== null) code.value = arguments[1];
    line.value = arguments[0];
    document.querySelector(".play-ask button").click();
"""
PAGE = "from micropie import App\n\nclass Root(App):\n"
PAGE += "    def index(self): return '<a href=\"b?x=2\">b</a><form method=post action=a><input name=q value=1><button>'\n"
PAGE += "    def a(self, q): return f'a{q}'\n    def b(self, x): return f'b{x}'\n\napp = Root()"


def documented() -> list[tuple[str, str, str]]:
    """Return the source of each example with a button, one of its requests, and the request with
    its answer.
    """
    texts = [page.read_text() for page in sorted((ROOT / "docs").rglob("*.md"))]
    found = [one for text in texts for one in playground.examples(text)]
    return [
        (source, line.partition("->")[0].strip(), line) for source, lines in found for line in lines
    ]


def test_the_tour_only_imports_packages_of_the_browser() -> None:
    assert {
        one.title: lacking
        for one in playground.tour()
        if (lacking := playground.lacking(one.source))
    } == {}


# What the sections of the tour answer, where it is not a 200.
OF_TOUR = {
    "GET /greet?age=old": "400",
    "GET /users/x": "404",
    "GET /blog/some/where": "404",
    "GET /teapot": "418",
    "GET /old": "303",
    "GET /divide/1/0": "400",
    "GET /crash": "500",
    "GET /closed": "503",
}


@pytest.mark.processes
@pytest.mark.in_test_all
@needs_pyodide
def test_examples_with_a_button_respond_in_the_browser_as_documented(
    address: str, browser: webdriver.Chrome
) -> None:
    cases = documented()
    matches = [REQUEST.fullmatch(line) for _, _, line in cases]
    asked = [
        (source, found["method"], found["target"], found["sent"] or "")
        for (source, _, _), found in zip(cases, matches, strict=True)
        if found
    ]
    starts = [
        (start.source, line)
        for start in playground.tour()
        for line in start.requests
        if line.startswith(("GET", "POST"))
    ]
    ends = [(source, *line.split(" ", 1), "") for source, line in starts if line != "GET /clock"]
    browser.get(f"{address}/index.html")  # the playground's page would load Python a second time
    answers = browser.execute_async_script(ASK_ALL, [*asked, *ends])
    assert complaints(browser) == []
    assert len(asked) == len(cases) > 150, "the search for requests in pages finds too few"
    wrong = []
    for (_, _, line), found, (status, body) in zip(cases, matches, answers, strict=False):
        assert found
        pattern = ".*".join(map(re.escape, re.split(r"\.\.\.|testserver", found["body"])))
        if status != found["status"] or not re.fullmatch(
            f"({status} )?{pattern}", _detail(body).strip(), re.DOTALL
        ):
            wrong.append((line, status, body))
    assert wrong == []
    of_tour = zip(ends, answers[len(asked) :], strict=True)
    told = [(f"{method} {path}", *answer) for (_, method, path, _), answer in of_tour]
    assert {line for line, *_ in told} >= OF_TOUR.keys()
    assert [one for one in told if one[1] != OF_TOUR.get(one[0], "200")] == []


def _detail(body: str) -> str:
    """Return the sentence of an error's answer, or the whole of any other."""
    try:
        problem = json.loads(body)
    except ValueError:
        return body
    return problem["detail"] if isinstance(problem, dict) and "detail" in problem else body


@pytest.mark.processes
@needs_pyodide
def test_an_application_can_be_changed_called_and_stopped_in_the_browser(
    address: str, browser: webdriver.Chrome
) -> None:
    browser.get(f"{address}/start/first-app.html")
    loaded = "return performance.getEntriesByType('resource').map(one => one.name)"
    # before the first click
    assert not [name for name in browser.execute_script(loaded) if "pyodide" in name]

    def send(line: str, code: str | None = None) -> list[str]:
        browser.execute_script(SEND, line, code)
        wait(browser, STATE)
        shown: list[str] = browser.execute_script(SHOWN)
        return shown

    browser.execute_script("document.querySelector('.play-it').click()")
    wait(browser, STATE)
    assert browser.execute_script(SHOWN) == ["200", "Hello, World!"]
    assert send("GET /nowhere") == ["404", "404 Not Found"]
    assert send("nonsense")[0] == "no request"
    assert send("GET /", "nonsense")[1].endswith("NameError: name 'nonsense' is not defined\n")
    # The page is shown, and its links and forms ask the application.
    assert send("GET /", PAGE)[0] == "200"
    frame = "document.querySelector('.play-page').contentDocument"
    wait(browser, f"return {frame}?.onsubmit && {frame}.querySelector('a') !== null")
    browser.execute_script(f"{frame}.querySelector('a').click()")
    wait(browser, "return document.querySelector('.play-body').textContent === 'b2'")
    send("GET /")
    wait(browser, f"return {frame}?.onsubmit && {frame}.querySelector('button') !== null")
    browser.execute_script(f"{frame}.querySelector('button').click()")
    wait(browser, "return document.querySelector('.play-body').textContent === 'a1'")
    assert (
        browser.execute_script("return document.querySelector('.play-ask input').value")
        == "POST /a q=1"
    )
    # An endless stream is left, a WebSocket is talked to.
    starts = {start.title: start for start in playground.tour()}
    browser.execute_script(SEND, "GET /clock", starts["Server-sent events"].source)
    wait(browser, "return document.querySelector('.play-body').textContent.includes('tick')")
    browser.execute_script("document.querySelectorAll('.play-ask button')[1].click()")
    wait(browser, STATE)
    browser.execute_script(SEND, "WS /room one", starts["WebSockets and channels"].source)
    wait(browser, "return document.querySelector('.play-body').textContent.includes('one')")
    browser.execute_script(SEND, "WS /room two", None)
    wait(browser, "return document.querySelector('.play-body').textContent.includes('two')")
    # Code that never ends is ended, and the next request is answered.
    browser.execute_script(SEND, "GET /", "while True:\n    pass")
    browser.execute_script("document.querySelectorAll('.play-ask button')[1].click()")
    wait(browser, STATE)
    assert browser.execute_script(SHOWN)[1].startswith("Stopped.")
    assert send("GET /b?x=1", PAGE) == ["200", "b1"]
    assert complaints(browser) == []


# Point at the first button and click at it, and return each status until the answer, and whether the
# bar is left.
FIRST_ANSWER = """
    const done = arguments[0], seen = [];
    document.querySelector(".play-it").dispatchEvent(new Event("pointerenter"));
    document.querySelector(".play-it").click();
    const play = document.querySelector(".play"), status = play.querySelector(".play-status");
    const look = () => {
        seen.push([status.textContent, play.querySelector(".play-progress").hidden]);
        if (play.dataset.state === "done") done(seen);
    };
    new MutationObserver(look).observe(play, { attributes: true, childList: true, subtree: true });
    look();
"""
WORKERS = """
    window.made = 0;
    window.Worker = class extends window.Worker {
        constructor(url, ...more) {
            super(url, ...more);
            window.made += String(url).includes("playground"); // and not that of the search
        }
    };
"""


@pytest.mark.processes
@pytest.mark.in_test_all
@needs_pyodide
def test_python_is_loaded_before_the_click_with_its_progress(
    site: Path, address: str, browser: webdriver.Chrome
) -> None:
    browser.get(f"{address}/start/first-app.html")
    seen = browser.execute_async_script(FIRST_ANSWER)
    assert seen[0] == ["loading Python, 0 of 15 MB", False]
    assert seen[-1] == ["200", True]
    statuses = list(dict.fromkeys(text for text, _ in seen))
    loading = [text for text in statuses if re.fullmatch(r"loading Python, \d+ of 15 MB", text)]
    assert len(loading) > 1
    assert statuses[len(loading) :] == ["starting Python", "…", "200"]
    folder = site / "assets" / "playground"
    loaded = [*playground.FILES, "packages.zip", "player.py"]
    assert ceil(sum((folder / name).stat().st_size for name in loaded) / 1e6) == 15
    # Who points at a button, or opens the playground's page, has Python loaded, unless that is dear.
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WORKERS})
    browser.get(f"{address}/start/first-app.html")
    point = "document.querySelector('.play-it').dispatchEvent(new Event('pointerenter'))"
    browser.execute_script("Object.defineProperty(navigator, 'connection', {value: {saveData: 1}})")
    browser.execute_script(point)
    assert browser.execute_script("return made") == 0
    browser.execute_script("navigator.connection.saveData = false")
    browser.execute_script(f"{point}; {point}")
    assert browser.execute_script("return made") == 1
    browser.get(f"{address}/playground.html")
    wait(browser, "return made === 1")
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_make_docs_installs_the_site_s_dependencies() -> None:
    """The environment of tests has all, so it does not show what that of ``make docs`` lacks."""
    makefile, project = (ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text()
    stated = re.search(
        r"--editable '\.\[([a-z,]+)\]' \S+ \S+ --group docs$", makefile, re.MULTILINE
    )
    assert stated is not None
    group = tomllib.loads(project)["dependency-groups"]["docs"]
    waiting = [Requirement(f"micropie-dual[{stated[1]}]"), *map(Requirement, group)]
    installed = set[str]()
    for one in waiting:  # the list grows in the loop
        name = one.name.lower().replace("_", "-")
        if name in installed and not one.extras:
            continue
        installed.add(name)
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)
            ):
                waiting.append(needed)
    assert {one.replace("_", "-") for one in playground.PACKAGES[1:]} <= installed
    assert "httpx2" in installed  # of micropie.testing, whose names the files for assistants have


def test_a_missing_package_is_not_reported_as_a_missing_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "needing.py").write_text("import nowhere_at_all\n\nclass Pie: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        llms.documented("needing.Pie")
    assert llms.documented("micropie.testing.TestClient.get").startswith("## micropie.testing.")


def test_without_pyodide_the_site_has_no_buttons_and_explains_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(playground, "PYODIDE", tmp_path)
    config = load_config(str(ROOT / "mkdocs.yml"))
    playground.on_config(config)
    assert not config.extra_javascript
    files = playground.on_files(get_files(config), config=config)
    assert [file.src_uri for file in files if file.src_uri.startswith("assets")] == [
        "assets/lane.svg",
        "assets/pie.svg",
        "assets/site.css",
    ]
    for file in (
        files.get_file_from_path("playground.md"),
        files.get_file_from_path("start/first-app.md"),
    ):
        assert file is not None
        text = Path(str(file.abs_src_path)).read_text()
        shown = playground.on_page_markdown(
            text, page=Page(None, file, config), config=config, files=files
        )
        assert "class=" not in shown
        assert ("built without Pyodide" in shown) == (file.name == "playground")


def test_the_table_of_statuses_has_all_that_the_framework_raises() -> None:
    sources = [path.read_text() for path in (ROOT / "micropie").rglob("*.py")]
    raised = set(re.findall(r"HTTPError\((\d{3})", "".join(sources)))
    table = (ROOT / "docs" / "reference" / "statuses.md").read_text()
    assert raised <= set(re.findall(r"^\|(\d{3})\|", table, re.MULTILINE))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("page", "complaints"),
    [
        ("[a page](nowhere.md)\n\n[a part](#bottom)", ["nowhere.md", "#bottom", "forgotten.md"]),
        ('```python\n--8<-- "no_such_file.py"\n```', ["no_such_file.py"]),
    ],
)
def test_missing_links_files_and_pages_fail_the_build(
    tmp_path: Path, page: str, complaints: list[str]
) -> None:
    """A link, an included file, and a page in the navigation."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(page)
    (tmp_path / "docs" / "forgotten.md").write_text("# Forgotten")
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nsite_dir: site\nnav: [index.md]\nplugins: []\nhooks: []\n"
    )
    built = build(config, tmp_path / "site")
    assert built.returncode != 0
    output = built.stdout + built.stderr
    if len(complaints) > 1:
        assert f"Aborted with {len(complaints)} warnings in strict mode" in output
    assert [complaint for complaint in complaints if complaint not in output] == []
