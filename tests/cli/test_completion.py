"""``micropie completion``: the words, and each shell with its script."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from micropie.cli.main import COMMANDS, main
from tests.support.commands import ended, environment, micropie
from tests.support.modules import forget_temporary_modules
from tests.support.redis_server import missing_program

APP = """
from micropie import App, command

print("run me")

class Root(App):
    @command
    def init_db(self, path: str, force: bool = False, size: int = 3): "Make the tables."

app = Root()
"""
FLAGS = ["--force", "--no-force", "--size", "--help"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_temporary_modules()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("micropie", [*COMMANDS, "init-db"]),
        ("micropie ", [*COMMANDS, "init-db"]),
        ("micropie r", ["run", "routes"]),
        ("micropie --f", ["--factory"]),
        ("micropie -a ", []),
        ("micropie -a app:app in", ["init-db"]),
        ("micropie --factory -a nowhere ", [*COMMANDS]),
        ("micropie run ", []),
        ("micropie run --lo", ["--loop"]),
        ("micropie run app:app --loop ", ["asyncio", "trio", "uvloop"]),
        ("micropie run --port ", []),
        ("micropie run --wsgi --he", ["--help"]),
        ("micropie completion ", ["bash", "zsh", "fish"]),
        ("micropie completion f", ["fish"]),
        ("micropie init-db -", FLAGS),
        ("micropie init-db 'a", []),
        ("micropie drop-db -", []),
    ],
)
@pytest.mark.usefixtures("project")
def test_completion_prints_matching_words(
    line: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "--line", line]) == 0
    assert capsys.readouterr().out == "".join(f"{word}\n" for word in words)


# Each prints the words for the line "micropie init-db -" below the script.
SHELLS = {
    "bash": 'COMP_LINE="micropie init-db -"\nCOMP_POINT=${#COMP_LINE}\n_micropie\nprintf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": 'compadd() { shift; print -l -- "$@" }\nLBUFFER="micropie init-db -"\n_micropie',
    "fish": 'complete -C "micropie init-db -"',
}


@pytest.mark.processes
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_with_its_script(shell: str, project: Path) -> None:
    if shutil.which(shell) is None:
        missing_program(shell)
    script = micropie(project, "completion", shell).stdout
    first = "autoload -U compinit\ncompinit -D\n" if shell == "zsh" else ""
    command = project / "micropie"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m micropie "$@"\n')
    command.chmod(0o755)
    path = f"{project}:{environment()['PATH']}"
    done = ended(
        shell,
        "-c",
        first + script + SHELLS[shell],
        folder=project,
        environ=environment(PATH=path, HOME=str(project)),
        check=True,
    )
    assert {*done.stdout.split()} == {*FLAGS}
