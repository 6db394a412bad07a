"""An extension of somebody else's needs no more than the public names: ``extension``, ``admin``,
``oidc``, ``outbox``, ``postgres``.
"""

from __future__ import annotations

import ast
import re
import sqlite3
import sys
import zipfile
from functools import partial
from importlib import import_module
from pathlib import Path

import httpx2 as httpx
import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.project.examples.serving import browsing, serving_examples
from tests.support.commands import ended
from tests.support.environment import ALONE, unmeasured
from tests.support.left_out import lacking
from tests.support.postgres_server import postgres_server
from tests.support.selection import WORLDS
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
FILES = sorted(
    file
    for name in ("extension", "admin", "oidc", "outbox", "postgres")
    for file in (EXAMPLES / name).rglob("*.py")
)
FACES = (
    "micropie",
    "micropie.channels",
    "micropie.extensions",
    "micropie.middleware",
    "micropie.sessions",
    "micropie.testing",
)


def private_uses(source: str) -> list[str]:
    """Return the imports from micropie that are no public name of a face, and the underscore names
    of other objects, except for those of Python itself.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [
                alias.name for alias in node.names if alias.name.partition(".")[0] == "micropie"
            ]
        elif (
            isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "micropie"
        ):
            module = str(node.module)
            public = import_module(module).__all__ if module in FACES else ()
            found += [f"{module}.{alias.name}" for alias in node.names if alias.name not in public]
        elif (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.endswith("__")
            and ast.unparse(node.value) != "self"
        ):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_the_extension_only_uses_public_names(file: Path) -> None:
    assert private_uses(file.read_text()) == []


def test_names_that_are_not_public_are_detected() -> None:
    source = """
from __future__ import annotations
import micropie._core.errors
import json
from .keys import ApiKeys
from micropie import App, current
from micropie.middleware.base import FlowMiddleware
from micropie.middleware import FlowMiddleware, interval_of
def before(self, request):
    self._count += 1
    return request._exchange
"""
    assert private_uses(source) == [
        "micropie._core.errors",
        "micropie.current",
        "micropie.middleware.base.FlowMiddleware",
        "micropie.middleware.interval_of",
        "request._exchange",
    ]


# An extension or an API, and a test of it that runs in each world.
TESTED = {
    "conduit": "test_comments_are_written_and_removed",
    "todo_backend": "test_all_are_removed",
    "extension": "test_each_key_has_its_client_and_its_rate",
    "oidc": "test_a_user_logs_in_and_out",
    "postgres": "test_requests_get_503_until_a_stopped_server_is_back",
    "outbox": "test_the_application_of_this_folder",
    "admin": "test_one_subscriber_is_closed",
}


def is_there(name: str) -> bool:
    """Return whether an extension can be imported: what it needs may have no build for this
    Python.
    """
    try:
        import_module(f"examples.{name}.app")
    except ImportError as error:
        if lacking(str(error)) is None:
            raise
        return False
    return True


def test_the_extensions_pass_their_tests(pytestconfig: pytest.Config) -> None:
    """In one world, and in each before a release."""
    tested = {name: test for name, test in TESTED.items() if is_there(name)}
    worlds = WORLDS if pytestconfig.getoption("--all-worlds") else ("asyncio",)
    folders = [f"examples/{name}/tests" for name in tested]
    command = [sys.executable, "-m", "pytest", "-v", *folders, *ALONE]
    command += ["-k", " and ".join(f"not {world}" for world in WORLDS if world not in worlds)]
    done = ended(*command, environ=unmeasured())
    assert done.returncode == 0, done.stdout + done.stderr
    for test in tested.values():
        for world in worlds:
            assert f"{test}[{world}] PASSED" in done.stdout


def test_the_admin_page_is_an_installable_package(tmp_path: Path) -> None:
    [built] = WheelBuilder(str(EXAMPLES / "admin")).build(directory=str(tmp_path))
    with zipfile.ZipFile(built) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    folder = EXAMPLES / "admin" / "micropie_admin"
    kept = {f"micropie_admin/{path.name}" for path in folder.iterdir() if path.is_file()}
    assert names == kept >= {"micropie_admin/admin.html", "micropie_admin/py.typed"}
    source = (
        "from micropie import App; from micropie_admin import Admin\n"
        "from micropie.testing import TestClient; app = App(); app.mount('/admin', Admin(lambda r: True))\n"
        "with TestClient(app) as client: print(client.get('/admin/').status_code)"
    )
    environment = unmeasured(PYTHONPATH=f"{tmp_path / 'unpacked'}:{ROOT}")
    with zipfile.ZipFile(built) as wheel:
        wheel.extractall(tmp_path / "unpacked")  # as pip does: templates are files
    done = ended(sys.executable, "-c", source, folder=tmp_path, environ=environment)
    assert done.stdout == "200\n", done.stderr


@pytest.mark.parametrize("kind", ["hypercorn-trio", "gunicorn-gthread"])
def test_the_extension_protects_an_application_on_a_server(kind: str, tmp_path: Path) -> None:
    with serving_examples("extension", tmp_path) as server_of, browsing(server_of(kind)) as browse:
        ann, bob, stranger = (browse("extension") for _ in range(3))
        ann.headers.update({"X-API-Key": "sesame", "Sec-Fetch-Site": "same-origin"})
        bob.headers["X-API-Key"] = "plum"
        assert stranger.get("").status_code == 401
        assert [ann.post("count").text for _ in range(2)] == ["1", "2"]
        assert ann.get("doorkeeper").json() == {"client": "ann"}
        # a new window may begin meanwhile
        assert any(ann.get("").status_code == 429 for _ in range(40))
        assert bob.get("").text == "hello bob"


@pytest.mark.parametrize("kind", ["hypercorn-trio", "gunicorn-gthread"])
def test_sessions_and_rates_outlive_a_server_in_postgresql(kind: str, tmp_path: Path) -> None:
    import_module("examples.postgres.app")
    with postgres_server() as database:
        serving = partial(serving_examples, "postgres", tmp_path, POSTGRES_URL=database.url)
        with serving() as server_of, browsing(server_of(kind)) as browse:
            ann = browse("postgres")
            ann.headers["Sec-Fetch-Site"] = "same-origin"
            assert [ann.post("count").text for _ in range(2)] == ["1", "2"]
            cookies = dict(ann.cookies)
        with serving() as server_of, browsing(server_of(kind)) as browse:
            ann = browse("postgres")
            ann.cookies.update(cookies)
            answer = ann.get("")
            assert (answer.text, int(answer.headers["RateLimit-Remaining"]) < 20) == ("2", True)
            # some come back meanwhile
            assert any(ann.get("").status_code == 429 for _ in range(60))


@pytest.mark.parametrize("kind", ["hypercorn-trio", "gunicorn-gthread"])
def test_a_job_outlives_a_server(kind: str, tmp_path: Path) -> None:
    own = {"OUTBOX_DATABASE": str(tmp_path / "outbox.db")}
    with serving_examples("outbox", tmp_path, **own) as server_of:
        server = server_of(kind)
        with browsing(server) as browse:
            client = browse("outbox")
            client.post("order", data={"pie": "apple", "email": "ann@example.com"})
            until(lambda: "To: ann@example.com" in server.output())
            answer = client.get("")
            assert answer.status_code == 200, server.output()
            assert answer.json() == ["apple"]
    # of a server that was killed after the commit
    with sqlite3.connect(own["OUTBOX_DATABASE"]) as database:
        database.execute(
            "INSERT INTO micropie_outbox VALUES ('x', 'send_mail', ?, 0, 0, '')",
            ['{"email": "bob@example.com", "pie": "plum"}'],
        )
    database.close()
    command = [sys.executable, "-m", "micropie", "-a", "examples.outbox.app:app", "drain-outbox"]
    drained = [ended(*command, environ=unmeasured() | own, check=True).stdout for _ in range(2)]
    assert drained == ["To: bob@example.com. Your plum pie is in the oven.\n1 done\n", "0 done\n"]


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn-trio", "gunicorn-gthread"])
def test_an_admin_ends_the_stream_of_a_reader_on_a_server(kind: str, tmp_path: Path) -> None:
    with (
        serving_examples("admin", tmp_path, ADMIN_PASSWORD="sesame") as server_of,
        browsing(server_of(kind)) as browse,
    ):
        admin, reader = browse("admin"), browse("admin")
        admin.headers["Sec-Fetch-Site"] = "same-origin"
        assert reader.get("admin").url.path == "/admin/"
        assert admin.post("log_in", data={"password": "guessed"}).status_code == 403
        assert admin.post("log_in", data={"password": "sesame"}).url.path == "/admin/admin"
        with reader.stream("GET", "news", params={"name": "<ann>"}) as stream:
            page = admin.get("admin").text
            assert "&lt;ann&gt;" in page
            [subscriber] = re.findall(r'name="subscriber" value="([^"]+)"', page)
            closed = admin.post("admin/close", data={"subscriber": subscriber})
            assert closed.status_code == 200
            assert "&lt;ann&gt;" not in closed.text
            # The end of the stream is not that of a broken connection, which raises an error.
            assert "data:" not in "".join(stream.iter_text())
        is_live = "new EventSource" in closed.text
        assert is_live == (kind != "gunicorn-gthread")
        with admin.stream("GET", "admin/live") as live:
            assert live.status_code == (200 if is_live else 404)
            if is_live:
                assert any(line.startswith("data: [") for line in live.iter_lines())


@pytest.mark.parametrize("kind", ["hypercorn-trio", "gunicorn-gthread"])
def test_a_user_of_an_identity_provider_logs_in_and_out_on_a_server(
    kind: str, tmp_path: Path
) -> None:
    import_module("examples.oidc.app")
    provider = import_module("examples.oidc.tests.provider")
    redirect_uri = "http://localhost:8000/oidc/login/callback"
    with provider.provider_at_work() as served:
        served.app.redirect_uri = redirect_uri
        own = {
            "OIDC_ISSUER": served.app.issuer,
            "OIDC_CLIENT_ID": provider.CLIENT,
            "OIDC_CLIENT_SECRET": provider.SECRET,
            "OIDC_REDIRECT_URI": redirect_uri,
        }
        serving = serving_examples("oidc", tmp_path, **own)
        with serving as server_of, browsing(server_of(kind)) as browse:
            ann, bob = browse("oidc"), browse("oidc")
            for browser in (ann, bob):
                browser.follow_redirects = False
                browser.headers["Sec-Fetch-Site"] = "same-origin"

            def let_in(browser: httpx.Client) -> str:
                begin = browser.get("secret").headers["Location"]
                location = browser.get(browser.base_url.join(begin)).headers["Location"]
                back = httpx.get(location, trust_env=False, timeout=PATIENCE).headers["Location"]
                return str(back.removeprefix("http://localhost:8000/oidc/"))

            anns, bobs = let_in(ann), let_in(bob)
            assert bob.get(anns).status_code == 400
            answer = ann.get(anns)
            assert (answer.status_code, answer.headers["Location"]) == (303, "/oidc/secret")
            assert "Hello, Ann &lt;b&gt;" in ann.get("").text
            served.stop()
            try:
                assert bob.get(bobs).status_code == 503
                assert ann.get("secret").text == "The pie is in the oven."
            finally:
                served.start()
            until(lambda: bob.get(bobs).status_code == 303)
            assert bob.get("secret").status_code == 200
            assert ann.post("login/out").status_code == 303
            assert ann.get("secret").status_code == 303
