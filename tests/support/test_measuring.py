"""What coverage is told does not depend on the order of the tests."""

from __future__ import annotations

from micropie._core.files import content_types
from micropie.compat.cherrypy.lib import static
from tests.support.measuring import cached_functions


def test_the_functions_whose_results_are_kept_are_found() -> None:
    found = cached_functions("micropie")
    assert {content_types._types, content_types.content_type_of, static._types} <= found
    assert "_wanted_of" in {function.__name__ for function in found}, "inside of another function"
