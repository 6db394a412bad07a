"""Everything that helps a developer: debug pages, hints, advice and source checks.

``advisor.py`` is what the core calls, see there. ``page.py`` has the pages that ``debug=True``
shows, and ``access.py`` decides who may see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie.debug.access import (
        KEY_PATH,
        KEY_VARIABLE,
        add_key_page,
        debug_key,
        may_see_debug_pages,
    )
    from micropie.debug.advisor import application_errors, session_change, source_notes
    from micropie.debug.page import error_page, not_found_page, warn_of_attribute

# fmt: off
__all__ = [
    "KEY_PATH", "KEY_VARIABLE", "add_key_page", "application_errors", "debug_key", "error_page",
    "may_see_debug_pages", "not_found_page", "session_change", "source_notes", "warn_of_attribute",
]
# fmt: on

# The advisor is in this package, and an application without debug pages needs none of these.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "advisor": "application_errors session_change source_notes",
        "access": "KEY_PATH KEY_VARIABLE add_key_page debug_key may_see_debug_pages",
        "page": "error_page not_found_page warn_of_attribute",
    },
)
