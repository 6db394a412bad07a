"""Flask.

It has no check against forged forms and no access log, so the real site's are written by hand.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    g,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from markupsafe import Markup

from benchmarks.apps.features.resources import (
    LINE,
    LOGGER,
    TABLE_ROWS,
    TEMPLATES,
    open_log,
    static_directory,
)
from benchmarks.apps.flask_app import count, form, login, plain, read_session
from benchmarks.cases import CHUNK_COUNT, TEXT_CHUNK
from benchmarks.harness import WsgiApp


def article(number: int, slug: str) -> str:
    return f"{number} {slug}"


def link() -> str:
    return url_for("article", number=7, slug="hello-world")


def cookie() -> Response:
    response = make_response(request.cookies["theme"])
    response.set_cookie("seen", "1")
    return response


def bad() -> str:
    abort(400)


def moved() -> Any:
    return redirect("/plain", code=303)


def rows() -> str:
    return render_template("rows.html", rows=TABLE_ROWS)


def upload() -> str:
    size = len(request.files["file"].read())
    return f"{request.form['name']} from {request.form['city']} sent {size} bytes"


def body() -> str:
    return str(len(request.get_data()))


def chunks() -> Iterator[str]:
    for _ in range(CHUNK_COUNT):
        yield TEXT_CHUNK


def stream() -> Response:
    return Response(chunks(), mimetype="text/plain")


def before() -> None:
    g.begun = True


def after(response: Response) -> Response:
    response.headers["X-Hook"] = "after"
    return response


def site_login() -> str:
    session["csrf_token"] = secrets.token_urlsafe(32)
    return login()


def site() -> Response:
    token = Markup('<input type="hidden" name="csrf_token" value="{}">').format(
        session["csrf_token"]
    )
    theme = request.cookies["theme"]
    response = make_response(
        render_template(
            "site.html", user=session["user"], theme=theme, rows=TABLE_ROWS, csrf_input=token
        )
    )
    response.set_cookie("seen", "1")
    return response


def say() -> Any:
    session["comment"] = request.form["comment"]
    return redirect("/site", code=303)


def check_origin() -> None:
    g.begun = time.perf_counter()
    if request.method not in (
        "GET",
        "HEAD",
        "OPTIONS",
    ) and request.origin != request.host_url.rstrip("/"):
        abort(403)


def log(response: Response) -> Response:
    spent = (time.perf_counter() - g.begun) * 1000
    LOGGER.info(
        LINE, request.remote_addr, request.method, request.path, response.status_code, spent
    )
    return response


def _make() -> Flask:
    app = Flask(
        __name__,
        template_folder=str(TEMPLATES),
        static_folder=str(static_directory()),
        static_url_path="/static",
    )
    app.secret_key = "a secret"
    app.get("/plain")(plain)
    app.get("/hooked", endpoint="hooked")(plain)
    app.get("/users/<int:number>/posts/<slug>")(article)
    app.get("/link")(link)
    app.get("/cookie")(cookie)
    app.get("/bad")(bad)
    app.get("/moved")(moved)
    app.get("/login")(login)
    app.get("/session")(read_session)
    app.get("/count")(count)
    app.get("/rows")(rows)
    app.post("/upload")(upload)
    app.post("/body")(body)
    app.post("/form")(form)
    app.get("/stream_sync")(stream)
    return app


def make_wsgi() -> dict[str, WsgiApp]:
    open_log()
    hooked = _make()
    hooked.before_request(before)
    hooked.after_request(after)
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    inner.get("/hello")(plain)
    mounting = _make()
    mounting.register_blueprint(inner)
    site_app = Flask(__name__, template_folder=str(TEMPLATES))
    site_app.secret_key = "a secret"
    site_app.before_request(check_origin)
    site_app.after_request(log)
    site_app.get("/login")(site_login)
    site_app.get("/site")(site)
    site_app.post("/site")(say)
    cases = ["route", "cookie", "not-found", "bad-request", "redirect", "url-for", "session", "count", "template",  # noqa: E501
             "file", "not-modified", "small-upload", "body", "stream-sync"]  # fmt: skip
    apps = dict.fromkeys(cases, _make()) | {
        "hooks": hooked,
        "mount": mounting,
        "site": site_app,
        "site-form": site_app,
    }
    return {**apps}
