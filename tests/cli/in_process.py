"""Commands that a test runs in its own process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

import micropie.cli.main
from tests.support.modules import forget_temporary_modules

Run = Callable[..., tuple[int, str, str]]


def running_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return ``command(*arguments)``, which runs one in ``folder``: its exit code, output and
    errors.
    """
    monkeypatch.chdir(folder)

    def command(*arguments: str) -> tuple[int, str, str]:
        forget_temporary_modules()
        monkeypatch.setattr(sys, "path", [path for path in sys.path if "pytest-of-" not in path])
        with patch.dict(os.environ):  # a command reads .env
            status = micropie.cli.main.main([*arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return command
