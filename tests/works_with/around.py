"""Middleware around the application, and applications mounted in it."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from micropie import App, Request
from tests.works_with.listed import World, client_of, works


def hello() -> App:
    app = App()
    app.get("/")(lambda: "hello " * 500)
    return app


def greets(world: World, around: Any) -> Any:
    """Return the response of an application inside of ``around``."""
    with client_of(around, world) as client:
        answer = client.get("/", headers={"Origin": "https://a.example"})
        assert answer.text.startswith("hello")
        return answer


@works("starlette", "asyncio", "trio", what="CORSMiddleware")
def starlette(world: World) -> None:
    from starlette.middleware.cors import CORSMiddleware

    answer = greets(world, CORSMiddleware(hello(), allow_origins=["https://a.example"]))
    assert answer.headers["access-control-allow-origin"] == "https://a.example"


@works("starlette-compress", "asyncio", "trio")
def starlette_compress(world: World) -> None:
    from starlette_compress import CompressMiddleware

    answer = greets(world, CompressMiddleware(hello()))
    assert answer.headers["content-encoding"] in {"gzip", "br", "zstd"}


@works("asgi-correlation-id", "asyncio", "trio")
def correlation_id(world: World) -> None:
    from asgi_correlation_id import CorrelationIdMiddleware, correlation_id

    app = App()
    app.get("/")(lambda: f"hello {correlation_id.get()}")
    answer = greets(world, CorrelationIdMiddleware(app))
    assert answer.text == f"hello {answer.headers['x-request-id']}"


@works("werkzeug", "wsgi", what="ProxyFix")
def werkzeug(world: World) -> None:
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = App()

    @app.get("/")
    def index(request: Request) -> str:
        return str(request.url)

    with client_of(ProxyFix(app), world) as client:
        assert client.get("/", headers={"X-Forwarded-Proto": "https"}).text.startswith("https")


def with_file(world: World, around: Callable[[App, str], Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pie.txt").write_text("plum")
        with client_of(around(hello(), folder), world) as client:
            assert client.get("/static/pie.txt").text == "plum"
            assert client.get("/").text.startswith("hello")


@works("whitenoise", "wsgi")
def whitenoise(world: World) -> None:
    from whitenoise import WhiteNoise

    with_file(world, lambda app, root: WhiteNoise(app, root=root, prefix="/static/"))


@works("servestatic", "asyncio", "wsgi")
def servestatic(world: World) -> None:
    from servestatic import ServeStatic, ServeStaticASGI

    kind = ServeStatic if world == "wsgi" else ServeStaticASGI
    with_file(world, lambda app, root: kind(app, root=root, prefix="/static/"))


@works("beaker", "wsgi", what="sessions")
def beaker(world: World) -> None:
    from beaker.middleware import SessionMiddleware

    app = App()

    @app.get("/")
    def index(request: Request) -> int:
        session = request.environ["beaker.session"]
        session["visits"] = session.get("visits", 0) + 1
        session.save()
        return int(session["visits"])

    around = SessionMiddleware(app, {"session.type": "memory"})
    with client_of(around, world) as client:
        assert [client.get("/").json() for _ in range(2)] == [1, 2]


@works("a2wsgi", "asyncio", "wsgi", what="around an application")
def a2wsgi(world: World) -> None:
    from a2wsgi import ASGIMiddleware, WSGIMiddleware

    greets(world, ASGIMiddleware(hello()) if world == "wsgi" else WSGIMiddleware(hello()))


@works("asgiref", "asyncio", what="WsgiToAsgi")
def asgiref(world: World) -> None:
    from asgiref.wsgi import WsgiToAsgi

    greets(world, WsgiToAsgi(hello()))


@works("mangum", "asyncio", what="function URLs")
def mangum(world: World) -> None:
    from mangum import Mangum

    event = {
        "version": "2.0",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"host": "a.example"},
        "cookies": [],
        "requestContext": {"http": {"method": "GET", "path": "/", "sourceIp": "1.2.3.4"}},
        "isBase64Encoded": False,
    }
    answer = Mangum(hello())(event, {})
    assert (answer["statusCode"], answer["body"][:5]) == (200, "hello")


@works("fastapi", "asyncio", "wsgi", what="mounted")
def fastapi(world: World) -> None:
    from fastapi import FastAPI

    inner = FastAPI()
    inner.get("/pies")(lambda: ["plum"])
    app = App()
    app.mount("/api", inner)
    with client_of(app, world) as client:
        assert client.get("/api/pies").json() == ["plum"]


@works("flask", what="mounted")
def flask(world: World) -> None:
    from flask import Flask

    inner = Flask("inner")
    inner.get("/pies")(lambda: "plum")
    app = App()
    app.mount("/old", inner)
    with client_of(app, world) as client:
        assert client.get("/old/pies").text == "plum"


@works("strawberry-graphql", "asyncio", "wsgi", what="mounted")
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


def administered(world: World, mount: Callable[[App, Any, Any], None]) -> None:
    """Open a page of an admin interface, and the styles that it links to."""
    from sqlalchemy import Column, Integer, StaticPool, String, create_engine
    from sqlalchemy.orm import declarative_base

    base = declarative_base()

    class Pie(base):  # type: ignore[misc, valid-type]
        __tablename__ = "pies"
        id = Column(Integer, primary_key=True)
        name = Column(String)

    engine = create_engine(
        "sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool
    )
    base.metadata.create_all(engine)
    app = App()
    mount(app, engine, Pie)
    with client_of(app, world, follow_redirects=True) as client:
        page = client.get("/admin/pie/list")
        assert page.status_code == 200, page.text
        style = next(
            one for one in re.findall("[^\"']+[.]css[^\"']*", page.text) if "/static" in one
        )
        assert client.get(style).status_code == 200


@works("sqladmin", "asyncio", "wsgi", what="mounted")
def sqladmin(world: World) -> None:
    from sqladmin import Admin, ModelView
    from starlette.applications import Starlette

    def mount(app: App, engine: Any, pie: Any) -> None:
        class Pies(ModelView, model=pie):
            column_list = ("name",)

        inner = Starlette()
        Admin(inner, engine, base_url="/admin").add_view(Pies)
        app.mount("/", inner)

    administered(world, mount)


@works("starlette-admin", "asyncio", "wsgi", what="mounted")
def starlette_admin(world: World) -> None:
    from starlette.applications import Starlette
    from starlette_admin.contrib.sqla import Admin, ModelView

    def mount(app: App, engine: Any, pie: Any) -> None:
        admin, inner = Admin(engine), Starlette()
        admin.add_view(ModelView(pie))
        admin.mount_to(inner)
        app.mount("/", inner)

    administered(world, mount)


@works("fastmcp", "asyncio", what="of the document; mounted")
def fastmcp(world: World) -> None:
    import anyio
    import httpx2
    from fastmcp import Client, FastMCP

    class Site(App):
        def pies(self) -> list[str]:
            return ["plum"]

    async def tools_of(server: Any) -> list[str]:
        async with Client(server) as client:
            return [one.name for one in await client.list_tools()]

    app = Site()
    transport = httpx2.ASGITransport(app=app)
    client = httpx2.AsyncClient(transport=transport, base_url="http://testserver")
    assert anyio.run(tools_of, FastMCP.from_openapi(app.openapi(), client)) == ["pies"]

    server = FastMCP("Pies")
    server.tool(lambda: "plum", name="pie")
    app.mount("/assistants", server.http_app())
    sent = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    }
    with client_of(app, world) as browser:
        kinds = {"Accept": "application/json, text/event-stream"}
        assert browser.post("/assistants/mcp", json=sent, headers=kinds).status_code == 200


@works("dishka", what="as a provider")
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


@works("svcs", what="as a provider")
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
