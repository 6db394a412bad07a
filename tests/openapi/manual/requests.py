"""What clients send: bodies of several parts, models of headers and of cookies, forms with files,
examples, raw bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import pydantic

from micropie import (
    App,
    Cookie,
    Form,
    Header,
    HTTPError,
    UploadFile,
    describe,
    post,
    put,
    reads_body,
)


@dataclass
class Thing:
    name: str
    price: float
    tax: float | None = None


@dataclass
class Buyer:
    username: str
    full_name: str | None = None


@dataclass
class Purchase:
    thing: Thing
    buyer: Buyer
    importance: Annotated[int, msgspec.Meta(gt=0)]


@dataclass
class Bought(Purchase):
    number: int
    note: str | None


class BodyParts(App):
    """Several structures and single values in one body, beside the path and the query."""

    @put("/<number:int>")
    def buy(self, number: int, purchase: Purchase, note: str | None = None) -> Bought:
        return Bought(purchase.thing, purchase.buyer, purchase.importance, number, note)


@dataclass
class CommonHeaders:
    host: str
    save_data: bool
    if_modified_since: str | None


def common_headers(
    host: Annotated[str, Header()],
    save_data: Annotated[bool, Header()],
    if_modified_since: Annotated[str | None, Header()] = None,
) -> CommonHeaders:
    return CommonHeaders(host, save_data, if_modified_since)


class HeaderModels(App):
    """Several headers as one object."""

    def index(self, headers: Annotated[CommonHeaders, common_headers]) -> CommonHeaders:
        return headers


class Tracked(msgspec.Struct):
    session: Annotated[str, msgspec.Meta(min_length=3)]
    tracker: Literal["some", "none"] = "none"
    visits: str = "0"


def tracked(
    session: Annotated[str, Cookie(), msgspec.Meta(min_length=3)],
    tracker: Annotated[Literal["some", "none"], Cookie()] = "none",
    visits: Annotated[str, Cookie()] = "0",
) -> Tracked:
    return Tracked(session, tracker, visits)


class CookieModels(App):
    """Several cookies as one object."""

    def index(self, cookies: Annotated[Tracked, tracked]) -> Tracked:
        return cookies


@dataclass
class Stored:
    title: str
    names: list[str]
    size: int
    is_public: bool
    cover: str | None


class FormsAndFiles(App):
    """Files with what is said about them, in one form."""

    @post
    def picture(
        self,
        title: Annotated[str, msgspec.Meta(min_length=1, max_length=40)],
        pictures: list[UploadFile],
        is_public: bool = False,
        cover: UploadFile | None = None,
    ) -> tuple[Literal[201], Stored]:
        names = [one.filename for one in pictures]
        size = sum(len(one.read()) for one in pictures)
        return 201, Stored(title, names, size, is_public, cover.filename if cover else None)

    @post
    @describe(responses={413: "The file is larger than 10 bytes.", 415: "It is no text."})
    def small(self, file: UploadFile, token: Annotated[str, Form()]) -> dict[str, str]:
        if file.content_type != "text/plain":
            raise HTTPError(415, "Please send text.")
        if file.size > 10:
            raise HTTPError(413, "Please send less.")
        return {"token": token, "text": file.read().decode()}


class Sample(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        json_schema_extra={"examples": [{"name": "Foo", "price": 35.4}]}
    )
    name: str = pydantic.Field(examples=["Foo"], title="The name", description="Of the sample.")
    price: float = pydantic.Field(gt=0, multiple_of=0.5, examples=[35.5])


class ExampleData(App):
    """Titles, descriptions and examples, of fields and of parameters."""

    @put("/<number:int>")
    def sample(
        self,
        number: Annotated[int, msgspec.Meta(ge=1, description="Of the sample", examples=[5])],
        sample: Sample,
        depth: Annotated[int, msgspec.Meta(title="How deep", ge=0, le=9, examples=[3])] = 1,
    ) -> Sample:
        return sample


class RawBodies(App):
    """The body as it came: text of a type that no parameter takes."""

    @reads_body
    @post
    @describe(responses={415: "It is no CSV.", 422: "A row is too long."})
    async def csv(self) -> list[list[str]]:
        if self.request.headers.get("content-type") != "text/csv":
            raise HTTPError(415)
        rows = [line.split(",") for line in (await self.request.body()).decode().splitlines()]
        if any(len(row) > 3 for row in rows):
            raise HTTPError(422, "A row has 3 fields at most.")
        return rows
