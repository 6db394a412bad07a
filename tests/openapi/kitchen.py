"""An application with every kind of parameter and answer that a document describes."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Optional, TypedDict
from uuid import UUID

import msgspec
import pydantic

from micropie import (
    App,
    EventStream,
    HTTPError,
    Redirect,
    Response,
    UploadFile,
    delete,
    describe,
    get,
    hidden,
    patch,
    post,
    put,
    reads_body,
    route,
    run_in,
)
from micropie.middleware import BasicAuth, BearerAuth

if TYPE_CHECKING:
    pass  # which is not there at run time

Weight = NewType("Weight", int)


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Crust(TypedDict):
    """What is below."""

    flour: str
    grams: int


@dataclass
class Pie:
    """A pie with its parts."""

    name: str
    colour: Colour = Colour.RED
    crust: Crust | None = None
    tags: list[str] = field(default_factory=list)


class Spice(msgspec.Struct):
    name: str
    grams: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1


class Guest(pydantic.BaseModel):
    name: str
    friends: list[Guest] = []


class Note(pydantic.BaseModel):
    text: str = pydantic.Field(min_length=1, max_length=50)


class Opaque:
    pass


@dataclass
class Holder:
    """Its field is none that a schema is known of."""

    thing: Opaque


class Inner(App):
    """Behind a log-in."""

    @get
    def secrets(self) -> list[str]:
        """Tell secrets."""
        return ["salt"]


class Plain(App):
    def index(self) -> str:
        return "plain"


class Kitchen(App):
    """Pies and more."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.inner = Inner()
        self.inner.middlewares.append(BasicAuth({"ann": "pie"}))
        self.inner.middlewares.append(BearerAuth(run_in("loop")(lambda token: token == "pie")))
        self.mount("/mounted", Plain())

    # -- parameters

    def greet(self, name: str, loud: bool = False, *, age: int | None = None) -> dict[str, Any]:
        """Greet somebody.

        Loudly, if you like.
        """
        return {"name": name, "loud": loud, "age": age}

    def search(
        self,
        tags: list[str],
        colour: Colour = Colour.RED,
        size: Literal["small", "large", 1] = "small",
        weight: int = 1,
        price: Decimal = Decimal(1),
        at: Annotated[int, msgspec.Meta(ge=0, description="how far")] = 0,
        ids: set[int] = frozenset(),  # type: ignore[assignment]
        other: Any = None,
    ) -> dict[str, int]:
        return {"found": len(tags)}

    def typed(
        self,
        day: date,
        hour: time,
        moment: datetime,
        key: UUID,
        factor: float,
        old: Optional[int] = None,
    ) -> None:
        pass

    def rest(self, *numbers: int, **others: str) -> list[int]:
        return [*numbers]

    @get("/pies/<number:int>")
    def pie(self, number: int, full: bool = False) -> Pie:
        return Pie(str(number))

    @delete("/pies/<which:int>")
    def eat(self, which: int, reason: str = "hunger") -> tuple[int, None]:
        return 204, None

    @get("/ratio/<x:float>/<word:re:[a-z]{2,5}>")
    def ratio(self, x: float, word: str) -> dict[str, float]:
        return {word: x}

    # -- bodies

    @post
    @describe(
        status=201, responses={409: "There is such a pie.", 422: (Spice, "Too hot."), 418: Note}
    )
    def bake(self, pie: Pie, dry: bool = False) -> tuple[int, Pie]:
        return 201, pie

    @post
    @describe(
        status=201, summary="Invite", description="All of them.", tags=["people"], deprecated=True
    )
    def invite(self, guest: Guest | None = None) -> Guest:
        self.response.status = 201
        return guest or Guest(name="nobody")

    def season(self, spices: list[Spice]) -> list[Spice]:
        return spices

    @post
    def note(self, note: Note) -> Note:
        return note

    @put
    def store(self, name: str, count: int = 1) -> dict[str, str | int]:
        return {"name": name, "count": count}

    @patch
    def relabel(self, name: str = "", labels: dict[str, int] = {}) -> str:  # noqa: B006
        return name

    def upload(self, picture: UploadFile, note: str = "") -> int:
        return len(picture.read())

    @route("/both", methods=["GET", "POST"])
    def both(self, pictures: list[UploadFile] | None = None, word: str = "x") -> str:
        return word

    @reads_body
    def raw(self, name: str = "") -> bytes:
        return name.encode()

    # -- answers

    def text(self) -> str:
        return "text"

    def either(self, where: str = "") -> str | Redirect | None:
        return Redirect("/text") if where == "away" else where or None

    async def stream(self) -> AsyncIterator[str]:
        yield "one"

    def events(self) -> EventStream:
        return EventStream([])

    def anything(self) -> Any:
        return "any"

    @describe(status=299, operation_id="own")
    def odd(self) -> Response:
        return Response("r", status=299)

    def unannotated(self):  # type: ignore[no-untyped-def]
        return "u"

    def pair(self) -> tuple[int, str]:
        return 200, "pair"

    def nested(self) -> list[tuple[Weight, str]]:
        return [(Weight(1), "a")]

    def many(self) -> list[tuple[int, ...]]:
        return [(1,)]

    def bare(self) -> list:  # type: ignore[type-arg]
        return [1]

    def opaque(self) -> list[Holder]:
        return []

    def mixed(self) -> list[Literal["a", 1]]:
        return ["a", 1]

    def refused(self, code: int = 404) -> str:
        raise HTTPError(404)

    @describe(include_in_schema=False)
    def internal(self) -> str:
        return "internal"

    @hidden
    def helper(self) -> str:
        return "helper"

    def default(self, *segments: str) -> Any:
        raise HTTPError(404)
