"""The corpora in ``tests/project/corpora`` and ``compat/tests/corpora``: a file for each target, a
bytes literal of Python in each line.
"""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "corpora"

# Of one target: so that all of them replay in seconds, and a change can be read.
MOST_INPUTS = 150
LONGEST_INPUT = 600  # bytes


def inputs_of(target: str, folder: Path = FOLDER) -> list[bytes]:
    """Return the inputs of a target."""
    file = folder / f"{target}.txt"
    found = [literal_eval(line) for line in file.read_text().splitlines()] if file.exists() else []
    assert all(isinstance(data, bytes) for data in found)
    return found


def write_inputs(target: str, inputs: Iterable[bytes], folder: Path = FOLDER) -> None:
    """Write the inputs of a target, the shortest first."""
    kept = sorted(
        {data for data in inputs if len(data) <= LONGEST_INPUT}, key=lambda data: (len(data), data)
    )
    (folder / f"{target}.txt").write_text("".join(f"{data!r}\n" for data in kept[:MOST_INPUTS]))
