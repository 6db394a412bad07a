"""What applications send: several models, statuses, headers, cookies, files, streams, events,
pages, errors, and what is done after the answer.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import pydantic

from micropie import (
    App,
    EventStream,
    HTTPError,
    Redirect,
    Response,
    describe,
    get,
    html,
    post,
    put,
    static_file,
    template,
)


class Account(pydantic.BaseModel):
    username: str
    email: str
    full_name: str | None = None


class NewAccount(Account):
    password: str


class StoredAccount(Account):
    hashed_password: str


class Car(msgspec.Struct, tag="car"):
    description: str


class Plane(msgspec.Struct, tag="plane"):
    description: str
    size: int


class ExtraModels(App):
    """One model for what comes, one for what is stored, one for what is sent."""

    @post
    def account(self, account: NewAccount) -> Account:
        stored = account.model_dump(exclude={"password"})
        return StoredAccount(**stored, hashed_password=f"hash of {account.password}")

    @get("/vehicle/<kind>")
    def vehicle(self, kind: Literal["car", "plane"]) -> Car | Plane:
        return Car("slow") if kind == "car" else Plane("fast", 5)

    @get
    def vehicles(self) -> list[Car | Plane]:
        return [Car("slow"), Plane("fast", 5)]

    @get
    def weights(self) -> dict[str, float]:
        return {"car": 2.3, "plane": 50}


@dataclass
class Entry:
    name: str
    size: int = 0


@dataclass
class Missing:
    message: str


class OtherStatuses(App):
    """A status that depends on what was done, and answers of other models."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: dict[str, Entry] = {}

    @put("/entries/<key>")
    def put(self, key: str, entry: Entry) -> tuple[Literal[200, 201], Entry]:  # type: ignore[override]
        is_new = key not in self._entries
        self._entries[key] = entry
        return (201 if is_new else 200), entry

    @get("/entries/<key>")
    @describe(response_model=Entry, responses={404: (Missing, "There is no such entry.")})
    def show(self, key: str) -> object:
        if key not in self._entries:
            return 404, Missing(f"There is no entry {key}.")
        return self._entries[key]

    @get("/pictures/<key>")
    @describe(responses={404: Missing, 302: "The picture is elsewhere."})
    def picture(self, key: Literal["here", "elsewhere", "nowhere"]) -> Response:
        if key == "elsewhere":
            raise Redirect("/manual/other_statuses/pictures/here", 302)
        if key == "nowhere":
            return Response(Missing("none"), 404)
        return Response(b"\x89PNG", content_type="image/png")


class HeadersAndCookies(App):
    """Headers and cookies of an answer."""

    @get
    def counted(self) -> list[str]:
        self.response.headers["X-Total-Count"] = "2"
        return ["apple", "plum"]

    @post
    def remember(self, flavour: Literal["apple", "plum"]) -> dict[str, str]:
        self.response.set_cookie("flavour", flavour, max_age=60)
        return {"flavour": flavour}

    @post
    @describe(status=204)
    def forget(self) -> None:
        self.response.status = 204
        self.response.delete_cookie("flavour")


class CustomAnswers(App):
    """HTML, text, XML, redirects and lines of JSON."""

    @get
    def page(self, name: str = "you") -> str:
        return html("<h1>Hello {}</h1>", name)

    @get
    def rendered(self, name: str = "you") -> str:
        return template(source="<h1>Hello {{ name }}</h1>", name=name)

    @get
    def text(self) -> str:
        return "plain"

    @get
    @describe(status=200, summary="An old client's XML")
    def legacy(self) -> Response:
        return Response("<shampoo/>", content_type="application/xml")

    @get
    @describe(status=307)
    def moved(self) -> Redirect:
        return Redirect("/manual/custom_answers/text", 307)

    @get
    @describe(status=200)
    def lines(self) -> Response:
        def rows() -> Iterator[str]:
            for number in range(3):
                yield f'{{"number":{number}}}\n'

        return Response(rows(), content_type="application/x-ndjson")

    @get
    async def slow(self) -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"


class FilesAsAnswers(App):
    """A file of the disk, to be shown or to be saved, and one that is made."""

    @get
    @describe(status=200)
    def source(self, download: bool = False) -> Response:
        path = Path(__file__)
        return static_file(path.name, root=path.parent, download=download)

    @get
    def made(self) -> BinaryIO:
        return io.BytesIO(b"made")


class Negotiation(App):
    """One resource in the form that the client prefers."""

    @get
    @describe(status=200, responses={406: "There is JSON and CSV."})
    def pie(self) -> Response:
        kind = self.request.accepts("application/json", "text/csv")
        if kind is None:
            raise HTTPError(406)
        if kind == "text/csv":
            return Response("name\napple\n", content_type="text/csv")
        return Response({"name": "apple"})


class Cached(App):
    """An answer that a cache may keep, and asks for again."""

    @get
    def report(self) -> dict[str, int] | None:
        self.response.headers["Cache-Control"] = "public, max-age=60"
        if self.request.not_modified(etag="7"):
            return None
        return {"version": 7}


class Events(App):
    """Server-sent events."""

    @get
    def ticks(self, many: Annotated[int, msgspec.Meta(ge=1, le=3)] = 2) -> EventStream:
        return EventStream({"tick": number} for number in range(many))


class LaterWork(App):
    """Work that is done when the client has its answer."""

    def __init__(self) -> None:
        super().__init__()
        self._sent: list[str] = []

    @post
    def notify(self, email: str) -> tuple[Literal[202], dict[str, str]]:
        self.request.after_response(self._sent.append, email)
        return 202, {"message": "The mail will be sent."}


class Unicorn(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass
class Rainbow:
    message: str


class Errors(App):
    """Errors with headers and documents of their own, and exceptions of the application's."""

    def __init__(self) -> None:
        super().__init__()
        self.error(Unicorn)(rainbow)

    @get("/items/<key>")
    @describe(responses={404: "There is none.", 409: (dict[str, Any], "It is taken.")})
    def item(self, key: str) -> dict[str, str]:
        if key == "taken":
            raise HTTPError(409, {"key": key, "by": "ann"})
        if key != "pie":
            raise HTTPError(404, "There is no such item.", headers={"X-Error": "Of the kitchen"})
        return {"item": key}

    @get("/unicorns/<name>")
    @describe(responses={418: Rainbow})
    def unicorn(self, name: str) -> dict[str, str]:
        if name == "yolo":
            raise Unicorn(name)
        return {"name": name}


def rainbow(error: Unicorn) -> tuple[int, Rainbow]:
    return 418, Rainbow(f"{error.name} did something.")
