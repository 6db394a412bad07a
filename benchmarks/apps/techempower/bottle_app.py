import json
from typing import Any

from bottle import TEMPLATE_PATH, Bottle, jinja2_template, request, response

from benchmarks.apps.techempower import data

app = Bottle()
TEMPLATE_PATH[:] = [str(data.TEMPLATES)]


@app.get("/plaintext")
def plaintext() -> Any:
    response.content_type = "text/plain"
    return "Hello, World!"


@app.get("/json")
def message() -> Any:
    return {"message": "Hello, World!"}


@app.get("/db")
def db() -> Any:
    return data.worlds(1)[0]


def _rows(worlds: list[data.World]) -> str:
    response.content_type = "application/json"
    return json.dumps(worlds)


@app.get("/queries")
def queries() -> Any:
    return _rows(data.worlds(data.count_of(request.query.get("n"))))


@app.get("/fortunes")
def fortunes() -> Any:
    return jinja2_template(
        "fortunes.html", fortunes=data.fortunes(), template_settings={"autoescape": True}
    )


@app.get("/updates")
def updates() -> Any:
    return _rows(data.updated(data.count_of(request.query.get("n"))))


def make_wsgi() -> Any:
    return app
