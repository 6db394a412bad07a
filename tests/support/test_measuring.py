"""What coverage is told does not depend on the order of the tests."""

from __future__ import annotations

from micropie._core.files.content_types import _types, content_type_of
from micropie._core.http.headers import content_type
from tests.support.measuring import clears_of


def test_functions_with_cached_results_are_found() -> None:
    for cached in (_types, content_type_of):
        assert cached.cache_clear in clears_of("micropie")
    content_type("text/plain")
    for clear in clears_of("micropie"):
        clear()
    assert content_type.__self__ == {}  # type: ignore[attr-defined]
