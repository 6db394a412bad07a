"""The tests that the tutorials' steps have pass. tests/project/test_readme.py runs the code of the other
steps.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.harness import accepts
from tests.support.environment import ALONE, unmeasured
from tests.support.ports import free_port

STEPS = Path(__file__).parents[2] / "examples" / "tutorial"


def run(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python in ``folder``, without a terminal, with the programs of its environment, such as
    ruff, on the path.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=unmeasured(PATH=path),
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


@pytest.mark.processes
@pytest.mark.parametrize(
    ("step", "protocol"),
    [
        pytest.param("step6", "sgi", marks=pytest.mark.in_test_all),
        ("step7", "wsgi"),
        pytest.param("step7", "asgi", marks=pytest.mark.in_test_all),
        pytest.param("api/step2", "sgi", marks=pytest.mark.in_test_all),
        pytest.param("api/step7", "wsgi", marks=pytest.mark.in_test_all),
        ("api/step7", "asgi"),
    ],
)
def test_a_tutorial_step_passes_its_tests(tmp_path: Path, step: str, protocol: str) -> None:
    folder = tmp_path / "step"
    shutil.copytree(STEPS / step, folder)
    done = run(folder, "-m", "pytest", "-q", "-k", protocol, *ALONE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.processes
def test_an_author_is_added(tmp_path: Path) -> None:
    folder = tmp_path / "blog"
    shutil.copytree(STEPS / "step5", folder)
    added = run(folder, "add_author.py", "ann", typed="apple pie\n")
    assert added.returncode == 0, added.stderr
    source = (
        "from database import Database; print(Database('blog.db').is_author('ann', 'apple pie'))"
    )
    assert run(folder, "-c", source).stdout == "True\n"


@pytest.mark.in_test_all
def test_a_client_can_be_generated_and_used(tmp_path: Path) -> None:
    """From the document of the API's last step, which is then served."""
    folder = tmp_path / "recipes"
    shutil.copytree(STEPS / "api" / "step7", folder)
    written = run(
        folder, "-c", "import json, app; json.dump(app.app.openapi(), open('openapi.json', 'w'))"
    )
    assert written.returncode == 0, written.stderr
    options = ["--path", "openapi.json", "--meta", "none", "--output-path", "recipes_client"]
    made = run(folder, "-m", "openapi_python_client", "generate", "--fail-on-warning", *options)
    assert made.returncode == 0, made.stdout + made.stderr
    with served(folder) as url:
        used = run(folder, "use_client.py", url)
    page = (STEPS.parent.parent / "docs" / "tutorial" / "api" / "client.md").read_text()
    assert used.stdout, used.stderr
    assert "".join(f"    {line}\n" for line in used.stdout.splitlines()) in page


USE_PATCH = """
import sys
from pies_client import Client
from pies_client.api.default import change
from pies_client.models import PieChange

client = Client(base_url=sys.argv[1])
for sent in (PieChange(name="plum"), PieChange(note=None), PieChange()):
    pie = change.sync(1, client=client, body=sent)
    print(sent.to_dict(), pie.name, pie.note)
"""


@pytest.mark.processes
def test_a_generated_client_distinguishes_a_missing_field_from_null(tmp_path: Path) -> None:
    """Of docs/how-to/partial-updates.md; its type says which field may be null."""
    page = (STEPS.parent.parent / "docs" / "how-to" / "partial-updates.md").read_text()
    (tmp_path / "app.py").write_text(page.partition("```python\n")[2].partition("```\n")[0])
    code = "import json, app; json.dump(app.app.openapi(), open('openapi.json', 'w'))"
    assert run(tmp_path, "-c", code).returncode == 0
    options = ["--path", "openapi.json", "--meta", "none", "--output-path", "pies_client"]
    made = run(tmp_path, "-m", "openapi_python_client", "generate", "--fail-on-warning", *options)
    assert made.returncode == 0, made.stdout + made.stderr
    model = (tmp_path / "pies_client" / "models" / "pie_change.py").read_text()
    assert "    name: str | Unset = UNSET\n" in model
    assert "    note: None | str | Unset = UNSET\n" in model
    with served(tmp_path) as url:
        used = run(tmp_path, "-c", USE_PATCH, url)
    lines = ["{'name': 'plum'} plum warm", "{'note': None} plum None", "{} plum None"]
    assert used.stdout.splitlines() == lines, used.stderr


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the application of a folder by uvicorn, and yield its URL."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "app:app",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    with subprocess.Popen(command, cwd=folder, env=unmeasured(), start_new_session=True) as process:
        try:
            while not accepts(port):
                assert process.poll() is None
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.in_test_all
def test_a_newcomer_s_first_hour_can_be_run() -> None:
    """Make new projects, as ``scripts/release`` does with all pages of Start and the tutorials."""
    done = run(
        STEPS.parent.parent, "-m", "tests.project.first_hour", "new", "new/api", "new/package"
    )
    assert done.returncode == 0, done.stdout + done.stderr


STEPS_OF_PAGES = {
    "": ["routes", "templates", "forms", "database", "login", "tests", "deployment"],
    "api/": ["models", "errors", "database", "token", "tests", "openapi", "client"],
}


@pytest.mark.parametrize("tutorial", STEPS_OF_PAGES)
@pytest.mark.parametrize("number", range(1, 8))
def test_a_page_names_every_file_that_its_step_changes(tutorial: str, number: int) -> None:
    page, steps = f"{tutorial}{STEPS_OF_PAGES[tutorial][number - 1]}.md", STEPS / tutorial
    text = (STEPS.parent.parent / "docs" / "tutorial" / page).read_text()
    before, after = steps / f"step{number - 1}", steps / f"step{number}"
    for file in after.rglob("*.*"):
        old = before / file.relative_to(after)
        if file.is_file() and "__pycache__" not in file.parts and not file.name.endswith(".db"):
            is_same = old.exists() and old.read_bytes() == file.read_bytes()
            assert is_same or file.name in text
