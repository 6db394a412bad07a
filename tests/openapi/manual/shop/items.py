from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from micropie import App, HTTPError, describe, get, put
from tests.openapi.manual.shop.guards import tenant


@dataclass
class ShopItem:
    name: str
    tenant: str = ""


ITEMS = {"plumbus": ShopItem("Plumbus"), "gun": ShopItem("Portal Gun")}


class Items(App):
    """What is sold."""

    def index(self, tenant: Annotated[str, tenant]) -> dict[str, ShopItem]:
        return {name: replace(one, tenant=tenant) for name, one in ITEMS.items()}

    @get("/<key>")
    def show(self, key: str, tenant: Annotated[str, tenant]) -> ShopItem:
        if key not in ITEMS:
            raise HTTPError(404, f"There is no item {key}.")
        return replace(ITEMS[key], tenant=tenant)

    @put("/<key>")
    @describe(tags=["custom"], responses={403: "Only the plumbus may be changed."})
    def change(self, key: str, item: ShopItem) -> ShopItem:
        if key not in ITEMS:
            raise HTTPError(404, f"There is no item {key}.")
        if key != "plumbus":
            raise HTTPError(403)
        return item
