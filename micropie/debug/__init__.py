"""The pages that ``debug=True`` shows to a developer, and who may see them."""

from micropie.debug.access import may_see_debug_pages
from micropie.debug.page import error_page, not_found_page

__all__ = [
    "error_page",
    "may_see_debug_pages",
    "not_found_page",
]
