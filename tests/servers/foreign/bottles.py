"""Bottle: uploads, signed cookies, generators, files, errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import bottle

PREFIX = "/bottle"
FILES = str(Path(__file__).parent / "files")

app = bottle.Bottle()


@app.route("/")
def index() -> str:
    return "pies"


@app.route("/where", method="ANY")
@app.route("/where/<path:path>", method="ANY")
def where(path: str = "") -> dict[str, Any]:
    request = bottle.request
    return {
        "path": path,
        "script_name": request.script_name,
        "url": request.url,
        "fullpath": request.fullpath,
        "there": app.get_url("/where/<path:path>", path="there"),
        "query": sorted(request.query.allitems()),
        "client": request.remote_addr,
        "method": request.method,
        "headers": sorted(
            (name, value) for name, value in request.headers.items() if name != "Connection"
        ),
    }


@app.route("/upload", method="POST")
def upload() -> str:
    files = bottle.request.files.getall("file")
    told = [
        f"{file.filename} {file.content_type} {hashlib.sha256(file.file.read()).hexdigest()}"
        for file in files
    ]
    return f"{bottle.request.forms.getunicode('name')}: {told}"


@app.route("/echo", method="POST")
def echo() -> bytes:
    bottle.response.content_type = "application/octet-stream"
    return b"<" + bytes(bottle.request.body.read()) + b">"


@app.route("/signed")
def signed() -> str:
    bottle.response.set_cookie("pie", "apple", secret="oven", path="/", httponly=True)
    bottle.response.set_cookie("plain", "1", max_age=60)
    return str(bottle.request.get_cookie("pie", secret="oven"))


@app.route("/generator")
def generator() -> Iterator[str]:
    bottle.response.content_type = "text/plain; charset=UTF-8"
    yield from ("eins ", "", "zwei ", "drei £")


@app.route("/empty_generator")
def empty_generator() -> Iterator[str]:
    yield from ()


@app.route("/file")
def file() -> Any:
    return BytesIO(b"a file " * 10_000)


@app.route("/static/<name:path>")
def static(name: str) -> Any:
    return bottle.static_file(name, root=FILES, download="save" in bottle.request.query)


@app.route("/abort")
def abort() -> None:
    bottle.abort(403, "No <pie> for you.")


@app.route("/redirect")
def redirect() -> None:
    bottle.redirect("where?a=1")


@app.route("/status/<code:int>")
def status(code: int) -> str:
    bottle.response.status = code
    return "" if code in (204, 304) else f"status {code}"


@app.route("/response")
def response() -> Any:
    return bottle.HTTPResponse("made", 201, {"X-Pie": "apple", "Location": "/somewhere"})


@app.route("/boom")
def boom() -> None:
    raise ValueError("oh")


@app.error(404)
def missing(error: Any) -> str:
    return f"no such pie: {bottle.request.path}"
