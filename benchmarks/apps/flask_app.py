"""Flask, with a JSON provider as its documentation describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request, session
from flask.json.provider import JSONProvider

from benchmarks.apps import fast_json
from benchmarks.cases import CHUNK, CHUNK_COUNT
from benchmarks.harness import WsgiApp


class FastJSONProvider(JSONProvider):
    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return fast_json.dumps(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return fast_json.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        body = fast_json.dumps(self._prepare_response_obj(args, kwargs))
        return Response(body, mimetype="application/json")


def plain() -> str:
    return "Hello, World!"


def json() -> dict[str, str]:
    return {"message": "Hello, World!"}


def greet(name: str) -> str:
    return f"Hello {name}"


def query() -> str:
    return f"Hello {request.args['name']}"


def form() -> str:
    return f"{request.form['name']} from {request.form['city']}"


def submit() -> dict[str, Any]:
    person: Any = request.json
    return {"name": person["name"], "age": person["age"]}


def chunks() -> Iterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


def stream() -> Response:
    return Response(chunks(), mimetype="text/plain")


def make_wsgi() -> WsgiApp:
    app = Flask(__name__)
    app.json = FastJSONProvider(app)
    app.get("/plain")(plain)
    app.get("/json")(json)
    app.get("/greet/<name>")(greet)
    app.get("/query")(query)
    app.post("/form")(form)
    app.post("/submit")(submit)
    app.get("/stream")(stream)
    return app


def login() -> str:
    session["user"] = "Alice"
    return "Welcome"


def read_session() -> str:
    user: str = session["user"]
    return user


def count() -> str:
    session["count"] = number = session.get("count", 0) + 1
    return str(number)


def make_wsgi_with_sessions() -> WsgiApp:
    """Make the application with sessions, which are stored in the signed cookie and not on the
    server.
    """
    app = Flask(__name__)
    app.secret_key = "a secret"
    app.get("/plain")(plain)
    app.get("/login")(login)
    app.get("/session")(read_session)
    app.get("/count")(count)
    return app
