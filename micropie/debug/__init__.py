"""The pages that ``debug=True`` shows to a developer, and who may see them."""

from micropie.debug.access import (
    KEY_PATH,
    KEY_VARIABLE,
    add_key_page,
    debug_key,
    may_see_debug_pages,
)
from micropie.debug.page import error_page, not_found_page, warn_of_attribute

# fmt: off
__all__ = [
    "KEY_PATH", "KEY_VARIABLE", "add_key_page", "debug_key", "error_page", "may_see_debug_pages",
    "not_found_page", "warn_of_attribute",
]
# fmt: on
