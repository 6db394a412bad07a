"""What the distribution states: it has micropie's version, and needs exactly this one."""

from __future__ import annotations

import runpy
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import micropie
from micropie_compat.pyinstaller import hook_directories

COMPAT = Path(__file__).parents[1]
PROJECT = tomllib.loads((COMPAT / "pyproject.toml").read_text())["project"]


def test_both_distributions_have_the_same_version() -> None:
    assert PROJECT["version"] == micropie.__version__
    assert PROJECT["dependencies"] == [f"micropie-dual=={micropie.__version__}"]


def test_both_distributions_have_the_same_licence() -> None:
    assert (COMPAT / "LICENSE").read_text() == (COMPAT.parent / "LICENSE").read_text()


def test_a_frozen_program_includes_all_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = ModuleType("PyInstaller.utils.hooks")
    asked: list[tuple[str, Any]] = []

    def collect_submodules(package: str, **options: object) -> list[str]:
        asked.append((package, options["filter"]))
        return ["collected"]

    hooks.collect_submodules = collect_submodules  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "PyInstaller.utils.hooks", hooks)
    (directory,) = hook_directories()
    found = runpy.run_path(str(Path(directory, "hook-micropie_compat.py")))
    assert found["hiddenimports"] == ["collected"]
    [(package, is_needed)] = asked
    assert package == "micropie_compat"
    named = ["bottle", "cherrypy.lib.sessions", "pyinstaller", "moving", "moving.sources"]
    assert [one for one in named if is_needed(f"micropie_compat.{one}")] == named[:2]
