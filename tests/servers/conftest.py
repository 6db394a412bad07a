"""The servers of ``basics.py`` and ``site.py``.

Each starts when the first test asks for it and stops after the last.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.harness import ServerOf, serving

SIZE = 3 * 1024 * 1024 + 17
CONTENT = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(SIZE // 32 + 1))[
    :SIZE
]


@pytest.fixture(scope="session")
def basics_on() -> Iterator[ServerOf]:
    """Return ``basics_on(name)``: the server of that name, with it."""
    with serving("tests.servers.basics:app") as server_of:
        yield server_of


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "large.bin").write_bytes(CONTENT)
        (Path(name) / "small.txt").write_bytes(b"small")
        yield Path(name)


@pytest.fixture(scope="session")
def site_on(directory: Path) -> Iterator[ServerOf]:
    """Return ``site_on(name)``: the server of that name, with files, WebSockets and paths."""
    with serving("tests.servers.site:app", environ={"FILES": str(directory)}) as server_of:
        yield server_of
