"""Which test files a worker of pytest-xdist collects with ``--dist=each``: a share of its own.

With the other values of ``--dist`` each worker imports all test files and makes all cases, and then
runs some of them. Shares have about as much source as each other, which is near enough to the time
that their tests take. A file that is named on the command line itself runs in each worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from pathlib import Path

import pytest


def sizes_below(folders: Iterable[Path]) -> dict[Path, int]:
    """Return how many bytes each test file has."""
    return {path: path.stat().st_size for folder in folders for path in folder.rglob("test_*.py")}


def shared_out(sizes: Mapping[Path, int], count: int) -> dict[Path, int]:
    """Return the number of the share, from 0 on, that each file is in: the largest file comes
    first, and each into the share that is the smallest so far.
    """
    totals = [0] * count
    shares = {}
    for path in sorted(sizes, key=lambda path: (-sizes[path], path)):
        shares[path] = totals.index(min(totals))
        totals[shares[path]] += sizes[path]
    return shares


class Total:
    """A plugin of the process that starts the workers: the progress that is printed counts the tests
    of all shares. pytest-xdist 3.8 takes the number of one of them for that of all.
    """

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._tests = 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sized) -> None:
        self._tests += len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        self._session.testscollected = self._tests
