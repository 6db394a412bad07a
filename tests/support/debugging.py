"""A developer's browser, which sees the pages of ``debug=True``."""

from __future__ import annotations

from typing import Any

from micropie.debug.access import debug_key

COOKIES = {"micropie_debug_token": debug_key()}
LOCAL = "http://localhost:8000"
DEVELOPER: dict[str, Any] = {
    "base_url": LOCAL,
    "cookies": COOKIES,
    "raise_app_exceptions": False,
}
"""Options of a test client."""
