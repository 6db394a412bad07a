"""The pages that ``debug=True`` shows to a developer, and who may see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie.debug.access import (
        KEY_PATH,
        KEY_VARIABLE,
        add_key_page,
        debug_key,
        is_on_this_machine,
        may_see_debug_pages,
    )
    from micropie.debug.page import error_page, not_found_page

# fmt: off
__all__ = [
    "KEY_PATH", "KEY_VARIABLE", "add_key_page", "debug_key", "error_page", "is_on_this_machine",
    "may_see_debug_pages", "not_found_page",
]
# fmt: on

# What a site does not use is not imported: it would take longer than the rest.
__getattr__ = names_on_demand(
    __name__,
    {
        "access": "KEY_PATH KEY_VARIABLE add_key_page debug_key is_on_this_machine "
        "may_see_debug_pages",
        "page": "error_page not_found_page",
    },
)
