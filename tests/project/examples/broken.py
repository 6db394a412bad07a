"""An application with a bug, for the page that ``debug=True`` shows."""

from __future__ import annotations

from typing import Any

from micropie import App


class Bakery(App):
    prices = {"apple": 3, "plum": 4}  # noqa: RUF012 - it is never written to

    def price(self, pie: str, pieces: int = 1) -> dict[str, Any]:
        password = "not to be seen"
        return {"total": self._price_of(pie, password) * pieces}

    def _price_of(self, pie: str, password: str) -> int:
        return self.prices[pie] if password else 0


app = Bakery(debug=True)

ENVIRON = {"MICROPIE_DEBUG_KEY": "of-the-tests"}
KEY_PAGE = "/_debug/of-the-tests"
"""Gives a browser the cookie with which it sees the page."""
