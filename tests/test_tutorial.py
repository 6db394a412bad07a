"""The tests that the tutorial's last steps have pass. tests/test_readme.py runs the code of the other steps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environment import ALONE, unmeasured

STEPS = Path(__file__).parent.parent / "examples" / "tutorial"


def run(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python in ``folder``, without a terminal."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=unmeasured(),
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("step", ["step6", "step7"])
def test_the_blog_passes_its_tests(tmp_path: Path, step: str) -> None:
    folder = tmp_path / step
    shutil.copytree(STEPS / step, folder)
    done = run(folder, "-m", "pytest", "-q", *ALONE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_author_is_added(tmp_path: Path) -> None:
    folder = tmp_path / "blog"
    shutil.copytree(STEPS / "step5", folder)
    added = run(folder, "add_author.py", "ann", typed="apple pie\n")
    assert added.returncode == 0, added.stderr
    source = "from database import Database; print(Database('blog.db').is_author('ann', 'apple pie'))"
    assert run(folder, "-c", source).stdout == "True\n"


PAGES = ["routes", "templates", "forms", "database", "login", "tests", "deployment"]


@pytest.mark.parametrize("number", range(1, 8))
def test_a_page_names_every_file_that_its_step_changes(number: int) -> None:
    text = (STEPS.parent.parent / "docs" / "tutorial" / f"{PAGES[number - 1]}.md").read_text()
    before, after = STEPS / f"step{number - 1}", STEPS / f"step{number}"
    for file in after.rglob("*.*"):
        old = before / file.relative_to(after)
        if file.is_file() and "__pycache__" not in file.parts and not file.name.endswith(".db"):
            is_same = old.exists() and old.read_bytes() == file.read_bytes()
            assert is_same or file.name in text
