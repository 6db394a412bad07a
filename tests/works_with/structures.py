"""Structures: what bodies, parameters and results are checked by."""

import dataclasses
import os
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, TypeVar

from micropie import App, Body, Query, Request, Response, reads_body
from tests.works_with.listed import World, client_of, works

Item = TypeVar("Item")


def typed(function: Callable[..., Any], **kinds: Any) -> Callable[..., Any]:
    """Annotate a function with types that a function has made; ``returns`` is that of its result."""
    returns = {"return": kinds.pop("returns")} if "returns" in kinds else {}
    function.__annotations__ = kinds | returns
    return function


def echo(world: World, kind: Any) -> None:
    """Send a structure with a name and an age, get it back, and have a wrong one refused."""
    app = App(errors="json")
    app.post("/")(typed(lambda one: one, one=kind, returns=kind))
    with client_of(app, world) as client:
        assert client.post("/", json={"name": "plum"}).json() == {"name": "plum", "age": 5}
        assert client.post("/", json={"name": "plum", "age": "old"}).status_code == 400
    assert app.openapi()["paths"]["/"]["post"]["requestBody"]


@works("pydantic", what="models")
def pydantic(world: World) -> None:
    from pydantic import BaseModel

    class Pie(BaseModel):
        name: str
        age: int = 5

    echo(world, Pie)


@works("pydantic", what="alias, computed, forbid, validator")
def pydantic_fields(world: World) -> None:
    from pydantic import BaseModel, ConfigDict, Field, computed_field, field_validator

    class Box(BaseModel):
        model_config = ConfigDict(extra="forbid")
        side: int = Field(alias="Side")

        @computed_field
        def area(self) -> int:
            return self.side**2

        @field_validator("side")
        @classmethod
        def even(cls, value: int) -> int:
            assert value % 2 == 0
            return value

    class Shelf(BaseModel):
        boxes: list[Box]

    app = App(errors="json")
    app.post("/")(typed(lambda shelf: shelf, shelf=Shelf, returns=Shelf))
    with client_of(app, world) as client:
        found = client.post("/", json={"boxes": [{"Side": 2}]}).json()
        assert found == {"boxes": [{"Side": 2, "area": 4}]}
        for wrong in ({"Side": 3}, {"Side": 2, "other": 1}):
            assert client.post("/", json={"boxes": [wrong]}).status_code == 400


@works("pydantic", what="discriminator, generic, RootModel")
def pydantic_kinds(world: World) -> None:
    from pydantic import BaseModel, Field, RootModel

    class Cat(BaseModel):
        kind: Literal["cat"]
        lives: int

    class Dog(BaseModel):
        kind: Literal["dog"]
        name: str

    class Page(BaseModel, Generic[Item]):
        items: list[Item]

    pets = RootModel[list[Annotated[Cat | Dog, Field(discriminator="kind")]]]
    app = App(errors="json")
    app.post("/")(typed(lambda pets: {"items": pets.root}, pets=pets, returns=Page[Cat | Dog]))
    cat = {"kind": "cat", "lives": 9}
    with client_of(app, world) as client:
        assert client.post("/", json=[cat]).json() == {"items": [cat]}
        assert client.post("/", json=[cat | {"kind": "cow"}]).status_code == 400
    assert app.openapi()["components"]["schemas"]


@works("pydantic", what="dataclasses")
def pydantic_dataclass(world: World) -> None:
    from pydantic.dataclasses import dataclass

    @dataclass
    class Pie:
        name: str
        age: int = 5

    echo(world, Pie)


@works("pydantic", what="query")
def pydantic_query(world: World) -> None:
    from pydantic import BaseModel, ConfigDict

    class Filter(BaseModel):
        model_config = ConfigDict(extra="forbid")
        tags: list[str] = []
        limit: int = 10

    app = App(errors="json")
    app.get("/")(typed(lambda wanted: wanted, wanted=Annotated[Filter, Query()], returns=Filter))
    with client_of(app, world) as client:
        assert client.get("/?tags=a&tags=b").json() == {"tags": ["a", "b"], "limit": 10}
        assert client.get("/?other=1").status_code == 400


@works("pydantic", what="types as parameters")
def pydantic_types(world: World) -> None:
    from pydantic import (
        UUID4,
        AwareDatetime,
        ByteSize,
        HttpUrl,
        Json,
        PastDate,
        PositiveInt,
        SecretStr,
    )

    values: dict[Any, tuple[str, str]] = {
        HttpUrl: ("https://a.example/", "a"),
        SecretStr: ("sesame", ""),
        UUID4: ("9f0d1f4e-6a52-4f4c-9d3f-3f1f5a8f3c11", "1"),
        PastDate: ("2020-02-02", "3020-02-02"),
        Json[list[int]]: ("[1]", "["),
        ByteSize: ("2KiB", "much"),
        AwareDatetime: ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00"),
        PositiveInt: ("1", "0"),
    }
    app = App(errors="json")
    for number, kind in enumerate(values):
        app.get(f"/{number}")(typed(lambda value: type(value).__name__, value=kind))
    with client_of(app, world) as client:
        for number, (kind, (right, wrong)) in enumerate(values.items()):
            answer = client.get(f"/{number}", params={"value": right})
            assert answer.status_code == 200, (kind, answer.text)
            if wrong:
                answer = client.get(f"/{number}", params={"value": wrong})
                assert answer.status_code == 400, (kind, answer.text)
    assert app.openapi()["paths"]["/0"]["get"]["parameters"][0]["schema"]["format"] == "uri"


@works("email-validator", what="EmailStr")
def email(world: World) -> None:
    from pydantic import BaseModel, EmailStr

    class Guest(BaseModel):
        mail: EmailStr

    app = App(errors="json")
    app.get("/")(typed(lambda mail: mail, mail=EmailStr))
    app.post("/")(typed(lambda guest: guest, guest=Guest, returns=Guest))
    mail = {"mail": "ann@pie.com"}  # nothing asks the DNS
    with client_of(app, world) as client:
        assert client.get("/", params=mail).text == mail["mail"]
        assert client.post("/", json=mail).json() == mail
        assert client.get("/?mail=ann").status_code == 400
        assert client.post("/", json={"mail": "ann"}).status_code == 400
    assert app.openapi()["paths"]["/"]["get"]["parameters"][0]["schema"]["format"] == "email"


@works("pydantic-settings")
def settings(world: World) -> None:
    from pydantic_settings import BaseSettings

    class Settings(BaseSettings):
        shop_name: str = "Pies"

    def create_app(settings: Settings) -> App:
        app = App()
        app.get("/")(lambda: settings.shop_name)
        return app

    os.environ["SHOP_NAME"] = "Cakes"
    with client_of(create_app(Settings()), world) as client:
        assert client.get("/").text == "Cakes"


@works("msgspec", what="structs")
def msgspec(world: World) -> None:
    from msgspec import Struct

    class Pie(Struct, rename="lower", forbid_unknown_fields=True):
        name: str
        age: int = 5

    echo(world, Pie)


@works("msgspec", what="MessagePack")
def messagepack(world: World) -> None:
    from msgspec import Struct
    from msgspec import msgpack as codec

    class Pie(Struct):
        name: str

    app = App()

    @app.post("/")
    @reads_body
    async def bake(request: Request) -> Response:
        pie = codec.decode(await request.body(), type=Pie)
        return Response(codec.encode(pie), content_type="application/vnd.msgpack")

    with client_of(app, world) as client:
        sent = codec.encode({"name": "plum"})
        assert client.post("/", content=sent).content == sent


@works("attrs", what="classes")
def attrs(world: World) -> None:
    from attrs import define

    @define
    class Pie:
        name: str
        age: int = 5

    echo(world, Pie)


@works("cattrs")
def cattrs(world: World) -> None:
    import cattrs
    from cattrs.errors import BaseValidationError

    @dataclasses.dataclass
    class Pie:
        name: str
        age: int = 5

    app = App()
    app.error(BaseValidationError)(lambda: (422, "invalid"))

    @app.post("/")
    def bake(data: Annotated[dict[str, Any], Body()]) -> Any:
        return cattrs.unstructure(cattrs.structure(data, Pie))

    with client_of(app, world) as client:
        assert client.post("/", json={"name": "plum"}).json() == {"name": "plum", "age": 5}
        assert client.post("/", json={}).status_code == 422


@works("marshmallow")
def marshmallow(world: World) -> None:
    from marshmallow import Schema, ValidationError, fields

    schema = Schema.from_dict({"name": fields.Str(required=True)})()
    app = App()

    @app.error(ValidationError)
    def invalid(request: Request, error: ValidationError) -> tuple[int, Any]:
        return 422, error.messages

    @app.post("/")
    def bake(data: Annotated[dict[str, Any], Body()]) -> Any:
        return schema.dump(schema.load(data))

    with client_of(app, world) as client:
        assert client.post("/", json={"name": "plum"}).json() == {"name": "plum"}
        assert client.post("/", json={}).status_code == 422


@works("wtforms", what="forms, CSRF")
def wtforms(world: World) -> None:
    from wtforms import Form, StringField
    from wtforms.csrf.session import SessionCSRF
    from wtforms.validators import Length

    class PieForm(Form):
        class Meta:
            csrf = True
            csrf_class = SessionCSRF
            csrf_secret = b"k" * 32

        name = StringField(validators=[Length(min=3)])

    app = App()

    @app.get("/")
    def show(request: Request) -> str:
        return str(PieForm(meta={"csrf_context": request.session}).csrf_token.current_token)

    @app.post("/")
    def bake(request: Request) -> str:
        form = PieForm(request.form, meta={"csrf_context": request.session})
        return str(form.name.data) if form.validate() else "invalid"

    with client_of(app, world) as client:
        token = client.get("/").text
        assert client.post("/", data={"name": "plum", "csrf_token": token}).text == "plum"
        assert client.post("/", data={"name": "p", "csrf_token": token}).text == "invalid"
        assert client.post("/", data={"name": "plum"}).text == "invalid"
