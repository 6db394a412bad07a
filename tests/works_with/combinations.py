"""Small programs with other projects' libraries, each called by the test client in every world."""

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from micropie import App, Body, Request, Response, template
from micropie.middleware import BearerAuth
from micropie.testing import TestClient

World = Literal["asyncio", "trio", "wsgi"]
WORLDS: tuple[World, ...] = ("asyncio", "trio", "wsgi")
Combination = Callable[[World], None]
# The distribution whose version is shown, the worlds, and the program.
ALL: dict[str, tuple[tuple[World, ...], Combination]] = {}


def works(distribution: str, *worlds: World) -> Callable[[Combination], Combination]:
    def keep(function: Combination) -> Combination:
        ALL[distribution] = (worlds or WORLDS, function)
        return function

    return keep


def client_of(app: Any, world: World) -> TestClient:
    if world == "wsgi":
        return TestClient(app, protocol="wsgi")
    return TestClient(app, backend=world)


@works("sqlalchemy")
def sqlalchemy(world: World) -> None:
    from sqlalchemy import StaticPool, create_engine, text
    from sqlalchemy.orm import Session

    engine = create_engine(
        "sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool
    )
    app = App()

    @app.provides(Session)
    def session() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    @app.get("/")
    def index(db: Session) -> int:
        return int(db.scalar(text("select 40 + 2")))

    with client_of(app, world) as client:
        assert client.get("/").json() == 42
    engine.dispose()


@works("aiosqlite")
def aiosqlite(world: World) -> None:
    import aiosqlite

    app = App()

    @app.get("/")
    async def index() -> Any:
        async with aiosqlite.connect(":memory:") as db, db.execute("select 42") as rows:
            return (await rows.fetchone())[0]

    with client_of(app, world) as client:
        assert client.get("/").json() == 42


ALL["aiosqlite"] = (("asyncio", "wsgi"), aiosqlite)  # it needs asyncio


@works("sqlmodel")
def sqlmodel(world: World) -> None:
    from sqlmodel import SQLModel

    class Hero(SQLModel):
        name: str
        age: int = 5

    echo(world, Hero)


def echo(world: World, kind: Any) -> None:
    """Send a structure with a name and an age, get it back, and have a wrong one refused."""
    app = App(errors="json")

    def bake(one: Any) -> Any:
        return one

    bake.__annotations__ = {"one": kind, "return": kind}
    app.post("/")(bake)
    with client_of(app, world) as client:
        assert client.post("/", json={"name": "plum"}).json() == {"name": "plum", "age": 5}
        assert client.post("/", json={"name": "plum", "age": "old"}).status_code == 400
    assert app.openapi()["paths"]["/"]["post"]["requestBody"]


@works("pydantic")
def pydantic(world: World) -> None:
    from pydantic import BaseModel

    class Pie(BaseModel):
        name: str
        age: int = 5

    echo(world, Pie)


@works("msgspec")
def msgspec(world: World) -> None:
    from msgspec import Struct

    class Pie(Struct):
        name: str
        age: int = 5

    echo(world, Pie)


@works("attrs")
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

    @dataclasses.dataclass
    class Pie:
        name: str
        age: int = 5

    app = App()

    @app.post("/")
    def bake(data: Annotated[dict[str, Any], Body()]) -> Any:
        return cattrs.unstructure(cattrs.structure(data, Pie))

    with client_of(app, world) as client:
        assert client.post("/", json={"name": "plum"}).json() == {"name": "plum", "age": 5}


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


@works("wtforms")
def wtforms(world: World) -> None:
    from wtforms import Form, StringField
    from wtforms.validators import Length

    class PieForm(Form):
        name = StringField(validators=[Length(min=3)])

    app = App()

    @app.post("/")
    def bake(request: Request) -> str:
        form = PieForm(request.form)
        return str(form.name.data) if form.validate() else "invalid"

    with client_of(app, world) as client:
        assert client.post("/", data={"name": "plum"}).text == "plum"
        assert client.post("/", data={"name": "p"}).text == "invalid"


def with_token(world: World, token: str, user_of: Callable[[str], object]) -> None:
    app = App()
    app.middlewares.append(BearerAuth(user_of))
    app.get("/")(lambda: "hello")
    with client_of(app, world) as client:
        assert client.get("/").status_code == 401
        assert client.get("/", headers={"Authorization": f"Bearer {token}"}).text == "hello"


@works("pyjwt")
def pyjwt(world: World) -> None:
    import jwt

    key = "k" * 32
    token = jwt.encode({"sub": "ann"}, key, "HS256")

    def user_of(token: str) -> object:
        try:
            return jwt.decode(token, key, ["HS256"])["sub"]
        except jwt.InvalidTokenError:
            return None

    with_token(world, token, user_of)


@works("joserfc")
def joserfc(world: World) -> None:
    from joserfc import jwt
    from joserfc.jwk import OctKey

    key = OctKey.import_key("k" * 32)
    token = jwt.encode({"alg": "HS256"}, {"sub": "ann"}, key)
    with_token(world, token, lambda token: jwt.decode(token, key).claims["sub"])


@works("argon2-cffi")
def argon2(world: World) -> None:
    from argon2 import PasswordHasher

    hasher = PasswordHasher(time_cost=1, memory_cost=1024)
    kept = hasher.hash("sesame")
    app = App()
    app.get("/")(lambda: hasher.verify(kept, "sesame"))
    with client_of(app, world) as client:
        assert client.get("/").json() is True


@works("itsdangerous")
def itsdangerous(world: World) -> None:
    app = App(secret_key="k" * 32)

    @app.get("/set")
    def put(request: Request) -> str:
        request.set_signed_cookie("name", "ann")
        return "set"

    @app.get("/")
    def index(request: Request) -> str:
        return request.signed_cookie("name") or "nobody"

    with client_of(app, world) as client:
        assert (client.get("/").text, client.get("/set").text) == ("nobody", "set")
        assert client.get("/").text == "ann"


def page(world: World, render: Callable[[], object]) -> None:
    app = App()
    app.get("/")(render)
    with client_of(app, world) as client:
        response = client.get("/")
        assert response.text == "<p>a &amp; b</p>"
        assert response.headers["content-type"].startswith("text/html")


@works("jinja2")
def jinja2(world: World) -> None:
    page(world, lambda: template(source="<p>{{ name }}</p>", name="a & b"))


@works("mako")
def mako(world: World) -> None:
    from mako.template import Template

    text = Template("<p>${name | h}</p>")
    page(world, lambda: Response(text.render(name="a & b"), content_type="text/html"))


@works("markupsafe")
def markupsafe(world: World) -> None:
    from markupsafe import Markup

    page(world, lambda: Markup("<p>{}</p>").format("a & b"))


@works("htpy")
def htpy(world: World) -> None:
    from htpy import p

    page(world, lambda: p["a & b"])


@works("structlog")
def structlog(world: World) -> None:
    import structlog
    from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

    app = App()

    @app.get("/")
    def index(name: str) -> Any:
        assert structlog.get_logger() is not None
        clear_contextvars()
        bind_contextvars(name=name)
        return get_contextvars()

    with client_of(app, world) as client:
        assert client.get("/?name=ann").json() == {"name": "ann"}


@works("dishka")
def dishka(world: World) -> None:
    from dishka import Provider, Scope, make_container

    provider = Provider(scope=Scope.REQUEST)
    provider.provide(lambda: 42, provides=int)
    container = make_container(provider)

    class Oven:
        def __init__(self, heat: int) -> None:
            self.heat = heat

    app = App()

    @app.provides(Oven)
    def oven() -> Iterator[Oven]:
        with container() as request:
            yield Oven(request.get(int))

    @app.get("/")
    def index(oven: Oven) -> int:
        return oven.heat

    with client_of(app, world) as client:
        assert client.get("/").json() == 42


@works("svcs")
def svcs(world: World) -> None:
    import svcs

    registry = svcs.Registry()
    registry.register_value(int, 42)
    app = App()

    @app.provides(svcs.Container)
    def services() -> Iterator[svcs.Container]:
        with svcs.Container(registry) as container:
            yield container

    @app.get("/")
    def index(services: svcs.Container) -> int:
        return services.get(int)

    with client_of(app, world) as client:
        assert client.get("/").json() == 42


@works("starlette", "asyncio", "trio")
def starlette(world: World) -> None:
    from starlette.middleware.cors import CORSMiddleware

    app = App()
    app.get("/")(lambda: "hello")
    around = CORSMiddleware(app, allow_origins=["https://a.example"])
    with client_of(around, world) as client:
        answer = client.get("/", headers={"Origin": "https://a.example"})
        assert answer.headers["access-control-allow-origin"] == "https://a.example"


@works("fastapi")
def fastapi(world: World) -> None:
    from fastapi import FastAPI

    inner = FastAPI()
    inner.get("/pies")(lambda: ["plum"])
    app = App()
    app.mount("/api", inner)
    with client_of(app, world) as client:
        assert client.get("/api/pies").json() == ["plum"]


ALL["fastapi"] = (("asyncio", "wsgi"), fastapi)


@works("flask")
def flask(world: World) -> None:
    from flask import Flask

    inner = Flask("inner")
    inner.get("/pies")(lambda: "plum")
    app = App()
    app.mount("/old", inner)
    with client_of(app, world) as client:
        assert client.get("/old/pies").text == "plum"


@works("strawberry-graphql")
def strawberry(world: World) -> None:
    import strawberry
    from strawberry.asgi import GraphQL

    @strawberry.type
    class Query:
        @strawberry.field
        def pie(self) -> str:
            return "plum"

    app = App()
    app.mount("/graphql", GraphQL(strawberry.Schema(Query)))
    with client_of(app, world) as client:
        answer = client.post("/graphql", json={"query": "{ pie }"})
        assert answer.json()["data"] == {"pie": "plum"}


ALL["strawberry-graphql"] = (("asyncio", "wsgi"), strawberry)


@works("werkzeug", "wsgi")
def werkzeug(world: World) -> None:
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = App()

    @app.get("/")
    def index(request: Request) -> str:
        return str(request.url)

    with client_of(ProxyFix(app), world) as client:
        assert client.get("/", headers={"X-Forwarded-Proto": "https"}).text.startswith("https")


@works("whitenoise", "wsgi")
def whitenoise(world: World) -> None:
    from whitenoise import WhiteNoise

    app = App()
    app.get("/")(lambda: "hello")
    with client_of(WhiteNoise(app), world) as client:
        assert client.get("/").text == "hello"


@works("webtest", "wsgi")
def webtest(world: World) -> None:
    from webtest import TestApp

    app = App()
    app.get("/")(lambda: "hello")
    assert TestApp(app).get("/").text == "hello"


@works("asgi-lifespan", "asyncio", "trio")
def asgi_lifespan(world: World) -> None:
    import anyio
    from asgi_lifespan import LifespanManager

    seen: list[str] = []

    class Site(App):
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            seen.append("start")
            yield
            seen.append("end")

    async def run() -> None:
        async with LifespanManager(Site()):
            assert seen == ["start"]
        assert seen == ["start", "end"]

    anyio.run(run, backend=world)


@works("sentry-sdk")
def sentry(world: World) -> None:
    import sentry_sdk
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
    from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

    events: list[Any] = []

    def keep(event: Any, hint: Any) -> None:
        events.append(event)

    sentry_sdk.init(
        "https://key@sentry.example/1",
        before_send=keep,
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    app = App(on_error=sentry_sdk.capture_exception)

    def crash() -> str:
        raise ValueError("crash")

    app.get("/crash")(crash)
    around = (SentryWsgiMiddleware if world == "wsgi" else SentryAsgiMiddleware)(app)
    with TestClient(
        around,
        protocol="wsgi" if world == "wsgi" else "asgi",
        raise_app_exceptions=False,
    ) as client:
        assert client.get("/crash").status_code == 500
    assert [one["exception"]["values"][-1]["value"] for one in events] == ["crash"]
    sentry_sdk.get_global_scope().set_client(None)
