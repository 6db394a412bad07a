"""The hook for PyInstaller. ``scripts/one-file`` freezes a program with it."""

from __future__ import annotations

import pkgutil
import runpy
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from micropie.cli.pyinstaller import hook_directories


def test_a_frozen_program_includes_all_modules_and_installed_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hooks = ModuleType("PyInstaller.utils.hooks")
    hooks.collect_submodules = submodules_of  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "PyInstaller.utils.hooks", hooks)
    (directory,) = hook_directories()
    modules = runpy.run_path(str(Path(directory, "hook-micropie.py")))["hiddenimports"]
    assert {"micropie", "micropie.cli.serving.run", "micropie._core.execution.pool"} <= {*modules}
    assert {"uvicorn", "gunicorn"} <= {*modules}
    assert not [name for name in modules if name.startswith("micropie.testing")]


def submodules_of(package: str, filter: Callable[[str], bool]) -> list[str]:
    """Return what PyInstaller's function of this name does; of others than micropie one level."""
    spec = find_spec(package)
    assert spec is not None
    walk = pkgutil.walk_packages if package == "micropie" else pkgutil.iter_modules
    found = walk(spec.submodule_search_locations, f"{package}.")
    return [package, *(one.name for one in found if filter(one.name))]
