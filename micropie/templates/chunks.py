"""A template's pieces, often a few characters long, joined to chunks that are worth sending."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

# Characters. The first chunk goes early, as a page's head (style sheets, scripts) is what a browser waits for: with
# the answer's own head it fills one packet. Each further one costs a worker thread's turn under ASGI, some 50 µs.
FIRST_CHUNK = 1024
CHUNK = 8 * 1024


def in_chunks(pieces: Generator[str, None, None]) -> Iterator[str]:
    """``pieces`` joined. Whatever they hold is released when this is closed."""
    chunk: list[str] = []
    size, enough = 0, FIRST_CHUNK
    with closing(pieces):
        for piece in pieces:
            chunk.append(piece)
            size += len(piece)
            if size >= enough:
                yield "".join(chunk)
                chunk.clear()
                size, enough = 0, CHUNK
    if chunk:
        yield "".join(chunk)
