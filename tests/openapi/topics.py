"""Small applications, each about one topic that users know from other frameworks' pages; a client
is generated for all of them at once.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Generic, Literal, NoReturn, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic

from micropie import (
    App,
    Body,
    Form,
    Header,
    HTTPError,
    Query,
    Redirect,
    Response,
    UploadFile,
    delete,
    describe,
    get,
    patch,
    post,
    put,
    route,
)
from micropie.middleware import BasicAuth, BearerAuth
from tests.openapi.manual import Manual

T = TypeVar("T")


class QueryLists(App):
    @get
    def tagged(self, tag: list[str], numbers: list[int] | None = None) -> list[str]:
        return [*tag, *map(str, numbers or ())]

    @get
    def unique(self, tag: set[str]) -> list[str]:
        return sorted(tag)


class QueryNumbers(App):
    @get
    def limited(
        self,
        size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10,
        ratio: Annotated[float, msgspec.Meta(ge=0, le=9)] = 0.5,
        price: Decimal = Decimal(1),
        name: Annotated[str, msgspec.Meta(min_length=1, max_length=50)] | None = None,
    ) -> float:
        return size * ratio


@dataclass
class Filter:
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    order: Literal["created", "updated"] = "created"
    tags: list[str] = field(default_factory=list)


class QueryModels(App):
    @get
    def filtered(self, wanted: Annotated[Filter, Query()]) -> Filter:
        return wanted


@dataclass
class Label:
    title: Annotated[str, msgspec.Meta(min_length=1)]
    note: str | None = None


class Uploads(App):
    @post
    def labelled(self, label: Label, picture: UploadFile) -> list[str]:
        return [label.title, label.note or "", picture.read().decode()]

    @post
    def with_data(self, data: dict[str, str], picture: UploadFile) -> dict[str, str]:
        return data


class PathValues(App):
    @get("/user/<number:int>/file/<path:path>")
    def file(self, number: int, path: str) -> str:
        return f"{number} {path}"

    @get("/key/<key>")
    def key(self, key: UUID) -> UUID:
        return key


class Headers(App):
    @get
    def agent(
        self,
        x_token: Annotated[str, Header()],
        strange: Annotated[int, Header("strange_header")] = 0,
    ) -> list[str]:
        return [x_token, str(strange)]


@dataclass
class LogIn:
    name: Annotated[str, msgspec.Meta(min_length=1)]
    password: str
    stay: bool = False


class Forms(App):
    @post
    def log_in(self, form: Annotated[LogIn, Form()]) -> dict[str, bool]:
        return {"stay": form.stay}

    @post
    def fields(self, name: Annotated[str, Form()], age: Annotated[int, Form()] = 1) -> str:
        return f"{name} {age}"


class Circle(msgspec.Struct, tag="circle"):
    radius: Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Square(msgspec.Struct, tag="square"):
    side: Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Unions(App):
    @post
    def area(self, shape: Circle | Square) -> float:
        return 3 * shape.radius**2 if isinstance(shape, Circle) else shape.side**2

    @post
    def larger(self, shape: Circle | Square) -> Circle | Square:
        return shape


class Image(pydantic.BaseModel):
    url: str
    name: str


class Item(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1, max_length=300)
    price: float = pydantic.Field(gt=0)
    tags: set[str] = set()
    images: list[Image] | None = None


class Offer(pydantic.BaseModel):
    name: str
    items: list[Item]
    weights: dict[str, float] = {}


class NestedModels(App):
    @post
    @describe(status=201)
    def offer(self, offer: Offer) -> tuple[int, Offer]:
        return 201, offer

    @post
    @describe(status=201, response_model=Item)
    def item(self, item: Item) -> tuple[int, Item]:
        return 201, item

    @post
    def images(self, images: list[Image]) -> list[Image]:
        return images


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)


class Trees(App):
    @post
    def tree(self, node: Node) -> Node:
        return node


class Change(msgspec.Struct):
    name: str | msgspec.UnsetType = msgspec.UNSET
    note: str | msgspec.UnsetType | None = msgspec.UNSET


class Patches(App):
    @patch("/<number:int>")
    def change(self, number: int, change: Change) -> Change:
        return change

    @put("/<number:int>")
    def replace(self, number: int, whole: LogIn) -> LogIn:
        return whole

    @delete("/<number:int>")
    @describe(status=204)
    def remove(self, number: int) -> tuple[int, None]:
        return 204, None


@dataclass
class Refusal:
    reason: str


class Statuses(App):
    @get
    @describe(status=200, response_model=Item, responses={404: (Refusal, "None."), 409: "Taken."})
    def status(self, code: Literal["200", "404", "409"] = "200") -> tuple[int, object]:
        if code == "409":
            raise HTTPError(409)
        return int(code), Refusal("none") if code == "404" else Item(name="pie", price=1)

    @post
    @describe(status=202)
    def accepted(self) -> tuple[int, str]:
        return 202, "later"

    @get
    @describe(responses={418: "It is a teapot."})
    def teapot(self) -> NoReturn:
        raise HTTPError(418)


@dataclass
class Page(Generic[T]):
    items: list[T]
    following: int | None = None


class Pagination(App):
    @get
    def numbers(
        self, start: int = 0, limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 2
    ) -> Page[int]:
        return Page([*range(start, start + limit)], start + limit)

    @get
    def nodes(self, start: int = 0) -> Page[Node]:
        return Page([Node("a", [Node("b")])])


class Colour(str, enum.Enum):
    RED = "red"
    LIGHT_BLUE = "light blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Painted(msgspec.Struct):
    colour: Colour
    level: Level = Level.LOW
    mixed: Literal["a", 1] = "a"
    fixed: Literal["paint"] = "paint"


class Enums(App):
    @get
    def painted(self, colour: Colour, level: Level = Level.LOW) -> Painted:
        return Painted(colour, level)

    @get
    def either(self, mixed: Literal["a", 1] = 1) -> list[Literal["a", 1]]:
        return [mixed]

    @post
    def paint(self, painted: Painted) -> Painted:
        return painted


class Times(msgspec.Struct):
    day: date
    moment: Annotated[datetime, msgspec.Meta(tz=True)]  # else msgspec states no format
    key: UUID


class ExtraTypes(App):
    @get
    def of_query(self, day: date, moment: datetime, key: UUID) -> Times:
        return Times(day, moment, key)

    @post
    def of_body(self, times: Times) -> Times:
        return times


class Tags(App):
    @get
    @describe(tags=["first", "second"], summary="Two tags", operation_id="two_tags")
    def tagged(self) -> str:
        return "tagged"

    @get
    @describe(deprecated=True, tags=["old"])
    def old(self) -> str:
        return "old"


class Bearers(App):
    def __init__(self) -> None:
        super().__init__()
        self.middlewares.append(BearerAuth(lambda token: token == "pie"))

    @get
    def whole(self) -> dict[str, str]:
        return {"name": "ann"}


class Basics(App):
    def __init__(self) -> None:
        super().__init__()
        self.middlewares.append(BasicAuth({"ann": "pie"}))

    @get
    def whole(self) -> dict[str, str]:
        return {"name": "ann"}


class Streams(App):
    @get
    async def lines(self) -> AsyncIterator[str]:
        for line in ("one\n", "two\n"):
            yield line

    @get
    def raw(self) -> bytes:
        return b"raw"

    @get
    @describe(status=203)
    def own(self) -> Response:
        return Response("own", status=203)


class Redirects(App):
    @get
    def away(self) -> Redirect:
        return Redirect("/streams/raw")

    @get
    def perhaps(self, away: bool = False) -> str | Redirect:
        return Redirect("/streams/raw") if away else "here"


class First(App):
    @get
    def item(self) -> str:
        return "an item"


class Second(App):
    @get
    def item(self) -> dict[str, int]:
        return {"number": 1}


class Versions(App):
    v1 = First()
    v2 = Second()


class Account(TypedDict):
    owner: str
    names: dict[str, list[int]]


class TypedDicts(App):
    @post
    def account(self, account: Account) -> Account:
        return account

    @post
    def lists(self, rows: Annotated[list[list[int]], Body()]) -> list[list[int]]:
        return rows

    @post
    def fields(self, labels: dict[str, int], plain: dict[str, str]) -> dict[str, int]:
        return labels


class UserIn(pydantic.BaseModel):
    name: str
    password: str
    email: str | None = None


class UserOut(pydantic.BaseModel):
    name: str
    email: str | None = None

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def initial(self) -> str:
        return self.name[:1]


class ResponseModels(App):
    @post
    @describe(status=201, response_model=UserOut)
    def user(self, user: UserIn) -> tuple[int, UserIn]:
        return 201, user

    @get
    @describe(response_model=list[UserOut])
    def users(self) -> list[UserIn]:
        return [UserIn(name="ann", password="apple pie")]


class Aliased(pydantic.BaseModel):
    item_id: int = pydantic.Field(alias="itemId", description="A number", examples=[5])
    size: Annotated[str, pydantic.Field(pattern="^[a-z]+$")] = "small"


class Aliases(App):
    @post
    def aliased(self, aliased: Aliased) -> Aliased:
        return aliased


class Conditions(App):
    @get
    def show(self) -> dict[str, int]:
        if self.request.not_modified(etag="1"):
            return {}
        return {"n": 1}

    @put
    def change(self) -> dict[str, int]:
        self.request.check_precondition(etag="1")
        return {"n": 2}


class Nothing(App):
    @get
    @describe(response_model=Node, responses={204: "There is none."})
    def perhaps(self, full: bool = False) -> tuple[int, Node | None]:
        return (200, Node("a")) if full else (204, None)

    @route("/many", methods=["GET", "POST"])
    def many(self) -> int:
        return 1


class Topics(App):
    query_lists = QueryLists()
    query_numbers = QueryNumbers()
    query_models = QueryModels()
    uploads = Uploads()
    path_values = PathValues()
    headers = Headers()
    forms = Forms()
    unions = Unions()
    nested_models = NestedModels()
    trees = Trees()
    patches = Patches()
    statuses = Statuses()
    pagination = Pagination()
    enums = Enums()
    extra_types = ExtraTypes()
    tagged = Tags()
    bearers = Bearers()
    basics = Basics()
    streams = Streams()
    redirects = Redirects()
    versions = Versions()
    typed_dicts = TypedDicts()
    response_models = ResponseModels()
    aliases = Aliases()
    conditions = Conditions()
    nothing = Nothing()
    manual = Manual()


app = Topics(errors="json")


def topics() -> dict[str, App]:
    """Return each application of ``Topics`` by its name."""
    return {name: one for name, one in vars(Topics).items() if isinstance(one, App)}
