"""A stranger's first hour: the pages of Start and of the tutorials, and what ``micropie new`` makes.

    python -m tests.project.first_hour start tutorial new new/package
    python -m tests.project.first_hour tutorial/api new/api

It needs what these pages tell to install, pytest included, and nothing else that tests need.
``scripts/release`` runs it in an environment that has only the wheel and those packages.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from micropie.testing import TestClient
from tests.project.test_readme import COMMANDS, MODULES, ROOT, Module, ask, check_each, imported
from tests.project.test_readme import test_a_command_prints_the_documented_output as check_command

STEPS = ROOT / "examples" / "tutorial"


def answer_as_they_say(module: Module) -> None:
    """Run a listing, its tests, and the requests below it, under both protocols."""
    for protocol in ("asgi", "wsgi"):
        with imported(module) as names:
            for name, function in names.items():
                if name.startswith("test_"):
                    function()
            if module.requests:
                with TestClient(
                    names["app"], protocol=protocol, raise_app_exceptions=False
                ) as client:
                    for place, line in module.requests:
                        ask(client, place, line)


def read(folder: Path) -> None:
    """Do what the pages of a folder say, those of the folders in it left out."""
    for page in sorted(folder.glob("*.md")):
        print(page.relative_to(ROOT), flush=True)
        if page in MODULES:
            check_each(MODULES[page], answer_as_they_say)
        for _, *texts in [one for one in COMMANDS if one[0] == page]:
            with TemporaryDirectory() as directory:
                check_command(Path(directory), page, *map(str, texts))
    for step in sorted((STEPS / folder.name if folder.name == "api" else STEPS).glob("step*")):
        if folder.name != "start" and [*step.glob("test_*.py")]:
            with TemporaryDirectory() as directory:
                print(step.relative_to(ROOT), flush=True)
                copied = Path(directory, "project")
                shutil.copytree(step, copied, ignore=shutil.ignore_patterns("*.db"))
                run([sys.executable, "-m", "pytest", "-q"], copied)


def make_new(*options: str) -> None:
    """Make a project, and follow what is printed, but for the server, which stays."""
    micropie = [sys.executable, "-m", "micropie"]
    with TemporaryDirectory() as directory:
        printed = run([*micropie, "new", "pies", *options], Path(directory))
        lines = [line.strip() for line in printed.splitlines() if line.startswith("    ")]
        assert lines[::2][:2] == ["cd pies", "micropie run --reload"], printed
        assert lines[1].startswith("pip install "), printed
        for line in lines[3:]:
            words = shlex.split(line)
            if words[0] != "pip":  # tests run where the network may be missing
                run([sys.executable, "-m", *words], Path(directory, "pies"))


def run(command: list[str], folder: Path) -> str:
    """Run a command that has to succeed, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "DEBUG"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nfailed: {' '.join(command)}")
    return done.stdout


def main() -> None:
    for name in sys.argv[1:]:
        if name.split("/")[0] == "new":
            make_new(*[f"--{kind}" for kind in name.split("/")[1:]])
        else:
            read(ROOT / "docs" / name)


if __name__ == "__main__":
    main()
