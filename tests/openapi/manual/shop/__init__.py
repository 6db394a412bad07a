"""A bigger application in several files: each part is an application of its own, with what is
common to its paths.
"""

from __future__ import annotations

from micropie import App
from tests.openapi.manual.shop.admin import Admin
from tests.openapi.manual.shop.items import Items
from tests.openapi.manual.shop.users import Users


class Shop(App):
    items = Items()
    users = Users()
    admin = Admin()

    def index(self) -> dict[str, str]:
        return {"message": "Hello to bigger applications"}
