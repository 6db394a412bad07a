"""Defaults in the document: all that JSON has, and nothing that it has not."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import pydantic
from annotated_types import Predicate
from msgspec import Meta
from pydantic import AfterValidator, Field

from micropie import App, get, post


class Size(Enum):
    S = "s"


@dataclass
class Range:
    least: float = -math.inf
    sizes: tuple[float, ...] = (math.nan,)
    most: float = 2.5


class Limits(pydantic.BaseModel):
    limit: float = math.inf
    day: date = date(2026, 1, 31)


class Root(App):
    def search(
        self,
        size: Size = Size.S,
        day: date = date(2026, 1, 31),
        price: Decimal = Decimal("1.5"),
        wait: timedelta = timedelta(seconds=90),
        most: float = math.inf,
        odd: Any = object(),  # noqa: B008
        flag: bool = True,
    ) -> None: ...

    @post
    def ranges(self, body: Range) -> None: ...

    @post
    def limits(self, body: Limits) -> None: ...


def test_every_default_that_json_can_express_is_in_the_document() -> None:
    document = Root().openapi()
    json.dumps(document, allow_nan=False)
    parameters = document["paths"]["/search"]["get"]["parameters"]
    assert {one["name"]: one["schema"].get("default") for one in parameters} == {
        "size": "s",
        "day": "2026-01-31",
        "price": 1.5,
        "wait": "PT90S",
        "most": None,
        "odd": None,
        "flag": True,
    }
    fields = document["components"]["schemas"]
    assert "default" not in fields["Range"]["properties"]["least"]
    assert "default" not in fields["Range"]["properties"]["sizes"]
    assert fields["Range"]["properties"]["most"]["default"] == 2.5
    assert "default" not in fields["Limits"]["properties"]["limit"]
    assert fields["Limits"]["properties"]["day"]["default"] == "2026-01-31"


class Bounded(pydantic.BaseModel):
    size: float = pydantic.Field(1.0, lt=math.inf, examples=[math.nan, 2.0])


class Bounds(App):
    @get
    def sizes(
        self,
        most: Annotated[float, pydantic.Field(lt=math.inf, gt=0)] = 1.0,
        some: Annotated[
            float, Meta(examples=[math.nan, 1.5], extra_json_schema={"x": math.inf})
        ] = 2.0,
    ) -> Annotated[float, Meta(examples=[-math.inf])]:
        return most + some

    @post
    def bounded(self, body: Bounded) -> None: ...


def test_bounds_and_examples_that_json_cannot_express_are_omitted() -> None:
    document = Bounds().openapi()
    json.dumps(document, allow_nan=False)
    schemas = [one["schema"] for one in document["paths"]["/sizes"]["get"]["parameters"]]
    assert schemas == [
        {"type": "number", "exclusiveMinimum": 0, "default": 1.0},
        {"type": "number", "examples": [1.5], "default": 2.0},
    ]
    assert document["components"]["schemas"]["Bounded"]["properties"]["size"]["examples"] == [2.0]


def test_a_list_that_must_not_be_empty_is_required_in_forms_only() -> None:
    app = App()

    @app.post("/")
    def page(
        name: str,
        tags: Annotated[list[int], Meta(min_length=1)] = [5],  # noqa: B006
        others: list[int] = [5],  # noqa: B006
        is_new: bool = True,
    ) -> None: ...

    @app.post("/optional")
    def optional(tags: Annotated[list[int], Meta(min_length=1)] = [5]) -> None: ...  # noqa: B006

    bodies = [app.openapi()["paths"][path]["post"]["requestBody"] for path in ("/", "/optional")]
    assert [
        (body["required"], {kind: one["schema"].get("required") for kind, one in found.items()})
        for body in bodies
        for found in [body["content"]]
    ] == [
        (
            True,
            {
                "application/json": ["name"],
                "application/x-www-form-urlencoded": ["name", "tags"],
            },
        ),
        (
            False,
            {
                "application/json": None,
                "application/x-www-form-urlencoded": ["tags"],
            },
        ),
    ]


def fail(value: Any) -> Any:
    raise LookupError(value)


def test_the_document_is_built_without_calls_of_validators() -> None:
    """They may accept no empty list, read a database or take long."""
    app = App()

    @app.post("/")
    def page(
        lengths: Annotated[list[str], Field(min_length=1), AfterValidator(fail)] = ["a"],  # noqa: B006
        tags: Annotated[list[str], AfterValidator(fail)] = ["a"],  # noqa: B006
        words: Annotated[set[str], Predicate(fail)] = {"a"},  # noqa: B006
        maybe: Annotated[list[str] | None, Meta(min_length=1)] = None,
        others: Annotated[list[str], Meta(min_length=0)] = ["a"],  # noqa: B006
    ) -> None: ...

    content = app.openapi()["paths"]["/"]["post"]["requestBody"]["content"]
    assert [one["schema"].get("required") for one in content.values()] == [None, ["lengths"]]
