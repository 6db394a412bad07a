"""Flask: bodies and answers as streams, sessions, redirects, URLs, files, errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask

PREFIX = "/flask"
FILES = Path(__file__).parent / "files"

app = flask.Flask(__name__, static_folder=str(FILES), static_url_path="/static")
app.secret_key = "oven"


@app.route("/")
def index() -> str:
    return flask.url_for("index")


@app.route("/where", defaults={"path": ""})
@app.route("/where/<path:path>", methods=["GET", "PUT", "DELETE"])
def where(path: str) -> Any:
    request = flask.request
    return {
        "path": path,
        "root_path": request.root_path,
        "url": request.url,
        "there": flask.url_for("where", path="thé/re", a="b c"),
        "external": flask.url_for("index", _external=True),
        "args": sorted(request.args.items(multi=True)),
        "client": request.remote_addr,
        "method": request.method,
        "headers": sorted(
            (name, value) for name, value in request.headers.items() if name != "Connection"
        ),
    }


@app.route("/body", methods=["POST"])
def body() -> Any:
    """The body, read as it comes."""
    digest, size = hashlib.sha256(), 0
    while piece := flask.request.stream.read(4096):
        digest.update(piece)
        size += len(piece)
    return {"size": size, "digest": digest.hexdigest()}


@app.route("/echo", methods=["POST"])
def echo() -> Any:
    """The body as it comes, given back as it comes."""

    def pieces() -> Iterator[bytes]:
        while piece := flask.request.stream.read(1024):
            yield piece

    return flask.Response(flask.stream_with_context(pieces()), mimetype="application/octet-stream")


@app.route("/form", methods=["POST"])
def form() -> Any:
    files = {
        name: [(file.filename, file.mimetype, hashlib.sha256(file.read()).hexdigest())]
        for name, file in flask.request.files.items()
    }
    return {"form": sorted(flask.request.form.items(multi=True)), "files": files}


@app.route("/stream")
def stream() -> Any:
    def chunks() -> Iterator[str]:
        for number in range(int(flask.request.args["n"])):
            yield f"{number} {flask.url_for('stream')}\n"

    return flask.Response(flask.stream_with_context(chunks()), mimetype="text/plain")


@app.route("/count")
def count() -> str:
    flask.session["n"] = flask.session.get("n", 0) + 1
    return str(flask.session["n"])


@app.route("/flash")
def flash() -> Any:
    flask.flash("baked")
    response = flask.redirect(flask.url_for("flashed"))
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", path="/flask", httponly=True, samesite="Lax")
    return response


@app.route("/flashed")
def flashed() -> str:
    return f"{flask.get_flashed_messages()} {sorted(name for name in flask.request.cookies)}"


@app.route("/status/<int:code>")
def status(code: int) -> Any:
    return "" if code in (204, 304) else f"status {code}", code, {"X-Pie": "apple"}


@app.route("/json", methods=["POST"])
def json() -> Any:
    return {"given": flask.request.get_json()}


@app.route("/boom")
def boom() -> str:
    raise ValueError("oh")


@app.errorhandler(404)
def missing(error: Any) -> Any:
    return f"no such pie: {flask.request.path}", 404
