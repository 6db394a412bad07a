"""Work of the jobs of ``examples/how_to/long_job``, which processes import by name."""

from __future__ import annotations

from pathlib import Path

from examples.how_to.long_job.app import TryAgain, write
from micropie import check_cancelled, progress


def attempts(folder: Path) -> int:
    return len([*folder.iterdir()])


def attempt(folder: Path) -> int:
    (folder / str(attempts(folder))).touch()
    return attempts(folder)


def unavailable_at_first(folder: Path, pages: int) -> str:
    if attempt(folder) < 3:
        raise TryAgain
    done: str = write(pages)  # type: ignore[no-untyped-call]
    return done


def unavailable(folder: Path, pages: int) -> None:
    attempt(folder)
    raise TryAgain


def wrong(folder: Path, pages: int) -> None:
    attempt(folder)
    raise ValueError("wrong")


def endless_at_first(folder: Path, pages: int) -> str:
    if attempt(folder) == 1:
        progress(1, 2)
        while True:
            check_cancelled()
    return "done at last"
