"""An API with pydantic models, filters, its own errors, a token and a document."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import BaseModel, Field

from micropie import (
    App,
    Body,
    Header,
    HTTPError,
    Query,
    Request,
    Response,
    delete,
    describe,
    get,
    patch,
    post,
)
from micropie.middleware import BearerAuth, CORSMiddleware
from micropie.openapi import Docs


class Status(StrEnum):
    OPEN = "open"
    SENT = "sent"


class Line(BaseModel):
    product: str = Field(min_length=1)
    count: int = Field(gt=0, le=1000)
    price: Decimal


class NewOrder(BaseModel):
    customer: str
    lines: list[Line] = Field(min_length=1, max_length=50)


class Order(NewOrder):
    id: UUID
    status: Status = Status.OPEN
    day: date


class Change(BaseModel):
    status: Status


class OutOfStock(Exception):
    def __init__(self, product: str) -> None:
        super().__init__(product)
        self.product = product


ORDERS: dict[UUID, Order] = {}


def order(id: UUID) -> Order:
    try:
        return ORDERS[id]
    except KeyError:
        raise HTTPError(404, f"There is no order {id}.") from None


class Orders(App):
    @get
    def index(
        self,
        status: Status | None = None,
        *,
        since: Annotated[date | None, Query("from")] = None,
        limit: int = 20,
    ) -> list[Order]:
        found = [one for one in ORDERS.values() if status in (None, one.status)]
        return [one for one in found if since is None or one.day >= since][:limit]

    @post("/")
    @describe(status=201, tags=["orders"])
    def create(self, order: NewOrder, key: Annotated[str, Header("Idempotency-Key")] = "") -> Order:
        if any(line.product == "rhubarb" for line in order.lines):
            raise OutOfStock("rhubarb")
        made = Order(id=uuid4(), day=date(2026, 11, 26), **order.model_dump())
        ORDERS[made.id] = made
        self.response.status = 201
        self.response.headers["Location"] = self.url_for("read", made.id)
        return made

    @get("/<id>")
    def read(self, order: Annotated[Order, order]) -> Order:
        return order

    @patch("/<id>")
    def change(self, order: Annotated[Order, order], change: Annotated[Change, Body()]) -> Order:
        order.status = change.status
        return order

    @delete("/<id>")
    def cancel(self, order: Annotated[Order, order]) -> tuple[int, None]:
        if order.status is Status.SENT:
            raise HTTPError(409, "It is on its way.")
        del ORDERS[order.id]
        return 204, None


async def is_token(token: str) -> bool:
    return token == "sesame"


app = App(docs=Docs(title="Orders", version="2.1"), errors="json")
app.middlewares.append(CORSMiddleware(["https://shop.example"], headers=["Authorization"]))
app.middlewares.append(BearerAuth(is_token))
app.mount("/v1/orders", Orders())


@app.error(OutOfStock)
def out_of_stock(request: Request, error: OutOfStock) -> Response:
    return Response(f"{error.product} is out", status=409, content_type="text/plain")
