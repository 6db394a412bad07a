"""The pytest plugin in the project of a user, who has done no more than to install micropie with
its extra ``test``.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.commands import ended
from tests.support.environment import WITHOUT_PLUGINS, import_path

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent.parent

CONFTEST = """
import pytest
from shop import Shop

@pytest.fixture
def app():
    return Shop()
"""

SHOP = """
from micropie import App, where

class Shop(App):
    def index(self):
        return "pies"

    def who(self):
        return "{0.host} {0.port}".format(self.request.client)

    async def loop(self):
        import sniffio
        return sniffio.current_async_library()
"""

TESTS = """
import pytest
from shop import Shop

def test_index(any_client, any_world):
    assert any_client.get("/").text == "pies"
    assert any_client.get("/loop").text == {"wsgi": "asyncio"}.get(any_world, any_world)

    assert any_client.get("/who").text == "127.0.0.1 50000"

@pytest.mark.parametrize("any_address", [("192.0.2.7", 1)])
def test_address(any_client):
    assert any_client.get("/who").text == "192.0.2.7 1"

def test_two_applications(make_any_client):
    first, second = make_any_client(Shop()), make_any_client(Shop(), root_path="/shop")
    assert first.get("/").text == second.get("/").text == "pies"
"""

WITHOUT_APP = """
def test_index(any_client):
    pass
"""

ALONE = """
def test_nothing_of_ours():
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an installed distribution that has this project's entry points, and a user's
    files.
    """
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = metadata["entry-points"]
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *map(" = ".join, points.items()))
    ]
    installed = tmp_path / "site" / "micropie_dual-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {metadata['name']}\nVersion: 0\n"
    )
    (installed / "entry_points.txt").write_text("\n".join(lines))
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def run_pytest(project: Path, *arguments: str) -> tuple[int, str]:
    path = import_path(project, project / "site", ROOT)
    # What pytest rewrites has no marks: our plugin, too.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--assert=plain",
        "-p",
        "no:cacheprovider",
        *WITHOUT_PLUGINS,
        "-rA",
    ]
    done = ended(*command, *arguments, folder=project, environ={**os.environ, "PYTHONPATH": path})
    return done.returncode, done.stdout + done.stderr


def test_a_user_s_test_runs_under_every_protocol(project: Path) -> None:
    (project / "conftest.py").write_text(CONFTEST)
    (project / "test_shop.py").write_text(TESTS)
    status, output = run_pytest(project)
    assert status == 0, output
    ran = re.findall(r"^PASSED test_shop.py::(\w+\[\w+)\S*\]$", output, re.MULTILINE)
    names = ("test_address", "test_index", "test_two_applications")
    assert sorted(ran) == sorted(
        f"{name}[{world}" for name in names for world in ("wsgi", "asyncio", "trio")
    )


def test_a_missing_app_fixture_is_explained_in_one_sentence(project: Path) -> None:
    (project / "test_shop.py").write_text(WITHOUT_APP)
    status, output = run_pytest(project, "-k", "wsgi")
    assert status == 1
    assert "any_client needs a fixture named app: write one that returns your application" in output
    assert "During handling" not in output


def test_a_fixture_missing_in_app_is_named(project: Path) -> None:
    (project / "test_shop.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef app(database): pass\n" + WITHOUT_APP
    )
    output = run_pytest(project, "-k", "wsgi")[1]
    assert "fixture 'database' not found" in output


def test_without_the_extra_pytest_runs_as_before(project: Path) -> None:
    for name in ("httpx", "httpx2"):
        (project / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')"
        )
    (project / "test_alone.py").write_text(ALONE)
    (project / "test_shop.py").write_text("def test_index(any_client): pass")
    status, output = run_pytest(project)
    assert "PASSED test_alone.py::test_nothing_of_ours" in output
    assert status == 1
    assert 'pip install "micropie-dual[test]"' in output
