"""No test of the client may leave a thread behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.testing.worlds import no_new_threads


@pytest.fixture(autouse=True)
def _no_new_threads() -> Iterator[None]:
    with no_new_threads():
        yield
