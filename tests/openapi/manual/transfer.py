"""Objects of the application and what is sent of them: fields left out, renamed, nested, partial;
pages of lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
import pydantic
from pydantic.alias_generators import to_camel

from micropie import App, HTTPError, Page, delete, describe, get, patch, post, put

T = TypeVar("T")
ANN = UUID(int=1)
MADE = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Address(msgspec.Struct, rename="camel"):
    street_name: str
    post_code: str = ""


class Pet(msgspec.Struct, rename="camel"):
    pet_name: str


class PersonIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a client may set."""

    full_name: Annotated[str, msgspec.Meta(min_length=1)]
    email: str
    address: Address
    pets: list[Pet] = []


class PersonOut(msgspec.Struct, rename="camel"):
    """Without the hash, with what the server sets."""

    id: UUID
    full_name: str
    address: Address
    pets: list[Pet]
    created_at: Annotated[datetime, msgspec.Meta(tz=True)]


@dataclass
class Person:
    """The application's own."""

    id: UUID
    full_name: str
    email: str
    address: Address
    pets: list[Pet]
    password_hash: str = "$argon2id$..."
    created_at: datetime = field(default=MADE)


class PersonChanges(msgspec.Struct, rename="camel"):
    full_name: str | msgspec.UnsetType = msgspec.UNSET
    address: Address | msgspec.UnsetType | None = msgspec.UNSET
    pets: list[Pet] | msgspec.UnsetType = msgspec.UNSET


class Transfer(App):
    """Fields that are left out, renamed, read only, and partial."""

    def _find(self, key: UUID) -> Person:
        if key != ANN:
            raise HTTPError(404, "There is no such person.")
        return Person(ANN, "Ann", "ann@pies.example", Address("Oven Street"), [Pet("Tom")])

    @post("/people")
    @describe(status=201, response_model=PersonOut)
    def create(self, person: PersonIn) -> tuple[int, object]:
        return 201, Person(ANN, person.full_name, person.email, person.address, person.pets)

    @get("/people/<key>")
    @describe(response_model=PersonOut)
    def show(self, key: UUID) -> object:
        return self._find(key)

    @patch("/people/<key>")
    @describe(response_model=PersonOut)
    def change(self, key: UUID, changes: PersonChanges) -> object:
        found = self._find(key)
        for name, value in msgspec.structs.asdict(changes).items():
            if value is not msgspec.UNSET and value is not None:
                setattr(found, name, value)
        return found


class Renamed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=to_camel, populate_by_name=True)
    first_name: str
    last_name: str = ""
    internal_id: int = pydantic.Field(default=7, exclude=True)


class RenamedModels(App):
    """The same by pydantic: names in camelCase, a field that is never sent."""

    @put
    def person(self, person: Renamed) -> Renamed:
        return person

    @post
    def people(self, people: list[Renamed]) -> dict[str, Renamed]:
        return {one.first_name: one for one in people}


NAMES = [f"pie {number}" for number in range(1, 46)]


@dataclass
class OffsetPage(Generic[T]):
    items: list[T]
    limit: int
    offset: int
    total: int


@dataclass
class CursorPage(Generic[T]):
    items: list[T]
    results_per_page: int
    cursor: str | None = None


class Pages(App):
    """Numbered pages, a limit and an offset, a cursor."""

    @get
    def numbered(
        self, page: int = 1, size: Annotated[int, msgspec.Meta(ge=1, le=50)] = 20
    ) -> Page[str]:
        return Page.of(NAMES, page, size=size)

    @get
    def limited(
        self,
        limit: Annotated[int, msgspec.Meta(ge=1, le=50)] = 20,
        offset: Annotated[int, msgspec.Meta(ge=0)] = 0,
    ) -> OffsetPage[str]:
        return OffsetPage(NAMES[offset : offset + limit], limit, offset, len(NAMES))

    @get
    def followed(
        self, cursor: Annotated[str, msgspec.Meta(pattern="^[0-9]+$")] = "0"
    ) -> CursorPage[str]:
        start = int(cursor[:9])
        rest = NAMES[start : start + 20]
        return CursorPage(rest, 20, str(start + 20) if start + 20 < len(NAMES) else None)


@dataclass
class Todo:
    title: Annotated[str, msgspec.Meta(min_length=1)]
    done: bool = False


class Todos(App):
    """A list that is kept in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._todos = {"Start": Todo("Start", True)}

    @get("/")
    def all(self, done: bool | None = None) -> list[Todo]:
        return [one for one in self._todos.values() if done is None or one.done == done]

    @post("/")
    def add(self, todo: Todo) -> tuple[Literal[201], list[Todo]]:
        self._todos[todo.title] = todo
        return 201, [*self._todos.values()]

    @put("/<title>")
    @describe(responses={404: "There is none of this title."})
    def change(self, title: str, todo: Todo) -> Todo:
        if title not in self._todos:
            raise HTTPError(404, f"There is no todo {title}.")
        return todo

    @delete("/<title>")
    @describe(status=204)
    def remove(self, title: str) -> None:
        if self._todos.get(title) is None:
            raise HTTPError(404)
        self.response.status = 204
