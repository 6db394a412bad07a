"""Large files: the size of the chunks in which they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest

from micropie._core.streams import PART_CHUNK, FileRange
from micropie._core.streams.files import GROWTH, PACE

LARGE_CHUNK = 4 * PART_CHUNK  # in place of more, which takes a test longer
SIZE = 2 * GROWTH * LARGE_CHUNK


class Clock:
    """A clock that goes on by ``step`` seconds each time it is read."""

    def __init__(self) -> None:
        self.now, self.step = 1000.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("micropie._core.streams.files.monotonic", clock)
    monkeypatch.setattr("micropie._core.streams.files.LARGE_CHUNK", LARGE_CHUNK)
    return clock


@contextmanager
def large_file(folder: Path, start: int = 0) -> Iterator[FileRange]:
    path = folder / "large.bin"
    path.touch()
    with FileIO(path, "r+") as file:
        file.truncate(start + SIZE)
        part = FileRange(file, str(path), start + SIZE, start, SIZE)
        part.read_ahead(is_sent=False)
        yield part


def test_chunks_grow_while_a_client_takes_them(tmp_path: Path, clock: Clock) -> None:
    with large_file(tmp_path) as part:
        sizes, read = list[int](), 0
        for chunk in part:
            assert len(chunk) <= max(PART_CHUNK, read // GROWTH)
            sizes.append(len(chunk))
            read += len(chunk)
    assert read == SIZE
    assert (sizes[0], max(sizes)) == (PART_CHUNK, LARGE_CHUNK)
    assert sizes[:-1] == sorted(sizes[:-1])


def test_a_client_that_becomes_slow_gets_small_chunks_again(tmp_path: Path, clock: Clock) -> None:
    with large_file(tmp_path, start=5) as part:
        while len(next(part)) < LARGE_CHUNK:
            pass
        clock.step = PACE * LARGE_CHUNK / PART_CHUNK
        assert len(next(part)) == PART_CHUNK
        assert len(next(part)) == PART_CHUNK
        # as many bytes as a client takes in ``PACE`` seconds
        clock.step = PACE / 2
        assert len(next(part)) == pytest.approx(2 * PART_CHUNK, rel=0.01)
        assert len(next(part)) == pytest.approx(LARGE_CHUNK, rel=0.01)


def test_a_slow_client_gets_small_chunks_alone(tmp_path: Path, clock: Clock) -> None:
    clock.step = PACE
    with large_file(tmp_path) as part:
        assert {len(chunk) for chunk in part} == {PART_CHUNK}
