"""Commands for programs of other frameworks, without the package ``micropie-compat``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from micropie.cli.main import main
from micropie.cli.migrated import PACKAGE
from tests.cli.in_process import Run, running_in

PROGRAM = "import bottle\n\napp = bottle.Bottle()\n"
ADVICE = (
    "programs for another framework need the package micropie-compat. Install both from your "
    "clone: pip install path/to/micropie path/to/micropie/compat"
)


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    (tmp_path / "shop.py").write_text(PROGRAM)
    return running_in(tmp_path, monkeypatch, capsys)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each import of the package fail as if it weren't installed."""
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        import_module(PACKAGE)
    assert caught.value.name == PACKAGE


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize(
    "words",
    [
        "check --from cherrypy .",
        "check --from bottle shop.py",
        "check --from micropie shop.py",
        "run --stand-in bottle shop:app",
        "run --stand-in cherrypy shop.py",
    ],
)
def test_a_command_that_needs_micropie_compat_asks_for_it(command: Run, words: str) -> None:
    assert command(*words.split()) == (2, "", f"micropie: {ADVICE}\n")


@pytest.mark.usefixtures("missing")
def test_other_commands_do_not_need_micropie_compat(command: Run, tmp_path: Path) -> None:
    (tmp_path / "pies.py").write_text("from micropie import App\n\napp = App()\n")
    assert command("check", "pies") == (0, "0 findings\n", "")


@pytest.mark.parametrize("name", ["nowhere", f"{PACKAGE}.nowhere"])
@pytest.mark.parametrize("words", ["check --from bottle shop.py", "run --stand-in bottle shop:app"])
def test_a_package_that_fails_to_import_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, name: str
) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM)
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text(f"import {name}\n")
    for imported in [*sys.modules]:
        if imported.partition(".")[0] == PACKAGE:
            monkeypatch.delitem(sys.modules, imported)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=f"^No module named '{name}'$") as caught:
        main(words.split())
    assert caught.value.name == name
