"""Modules of ``PACKAGES`` with marks (tests/support/marks.py), also in the processes that tests
start.

This folder is on the PYTHONPATH of such a process, so Python imports this module before any other
of ours. The process and its forks mark what they reach in a file that is mapped into memory:
nothing is lost if they are killed.

Hundreds of processes import it, so it imports little itself.
"""

from __future__ import annotations

import builtins
import marshal
import mmap
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader

TYPE_CHECKING = False  # to import typing would take longer than all of this
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, ModuleType

# A process that tests start has in it the paths of the marks and of the compiled modules.
VARIABLE = "COVERAGE_BY_MARKS"
NAME = "__reached__"
PACKAGES = ("micropie", "micropie_compat")


def find_marked(reached: mmap.mmap, codes: Mapping[str, bytes]) -> None:
    """Have the modules of ``PACKAGES``, of which none is imported yet, found with the code that is
    given for their paths.
    """
    setattr(builtins, NAME, reached)
    sys.meta_path.insert(0, _Finder(codes))


class _Finder:
    """Finds modules whose code is given."""

    def __init__(self, codes: Mapping[str, bytes]) -> None:
        self._codes = codes

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None and spec.origin in self._codes:
            spec.loader = _Loader(name, spec.origin, self._codes[spec.origin])
        return spec


class _Loader(SourceFileLoader):
    """Loads a module with marks.

    The cache of compiled modules has the one without them, so it is passed by.
    """

    def __init__(self, fullname: str, path: str, code: bytes) -> None:
        super().__init__(fullname, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = marshal.loads(self._code)
        return code


def _begin(marks: str, modules: str) -> None:
    with open(marks, "r+b") as file, open(modules, "rb") as kept:
        find_marked(mmap.mmap(file.fileno(), 0), marshal.load(kept)[1])


if __name__ == "sitecustomize" and VARIABLE in os.environ:
    _begin(*os.environ[VARIABLE].split(os.pathsep))
