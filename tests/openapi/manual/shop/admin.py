from __future__ import annotations

from micropie import App, describe, post, requires
from tests.openapi.manual.shop.guards import Staff


@requires(Staff())
class Admin(App):
    """For the staff."""

    @post
    @describe(summary="Change prices", status=202)
    def prices(self, percent: int = 0) -> tuple[int, dict[str, int]]:
        return 202, {"percent": percent}
