"""An album: people sign in, upload pictures and delete them. A small site in one file.

    uvicorn examples.album.app:app          gunicorn examples.album.app:app          (both from the project's folder)

Anybody may sign in with the password "pie". The directory ALBUM_DIRECTORY contains the pictures and
an SQLite file with the sessions, so all workers on one machine share them. The site accepts
requests for the hosts in ALBUM_HOSTS, by default "localhost 127.0.0.1 ::1".
"""  # noqa: E501

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from micropie import (
    App,
    HTTPError,
    Redirect,
    Request,
    UploadFile,
    flash,
    get,
    post,
    run_in,
    static_file,
)
from micropie.middleware import SecurityDefaults
from micropie.sessions import SQLiteSessionBackend

HERE = Path(__file__).parent
DIRECTORY = Path(
    os.environ.get("ALBUM_DIRECTORY") or Path(tempfile.gettempdir()) / "micropie-album"
)
PICTURES = DIRECTORY / "pictures"
HOSTS = os.environ.get("ALBUM_HOSTS", "localhost 127.0.0.1 ::1").split()

# For each file extension: the media type, and the first bytes of such a file. The media type and
# the name that a client sends can't be trusted: "pie.html" would be shown as a page.
JPEG = "image/jpeg", re.compile(rb"\xff\xd8\xff")
KINDS = {
    ".png": ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".gif": ("image/gif", re.compile(rb"GIF8[79]a")),
    ".webp": ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
}


@run_in("loop")
def signed_in_only(request: Request) -> Any:
    """Middleware that lets users who are not signed in see only the sign-in page."""
    is_open = request.path == "/door" or request.path.startswith("/static/")
    if not is_open and "user" not in request.session:
        yield Redirect("/door")
    yield


class Album(App):
    def index(self) -> Any:
        pictures = sorted(path.name for path in PICTURES.iterdir())
        return self.render("album.html", pictures=pictures)

    @get
    def door(self) -> Any:
        return self.render("door.html")

    @post("/door")
    def sign_in(self, name: str, password: str) -> Any:
        if password != "pie" or not name:  # noqa: S105 - a public password
            return 403, self.render("door.html", wrong=True)
        # If an attacker has set the session's cookie in this browser, its id is useless now.
        self.request.session.regenerate()
        self.request.session["user"] = name
        flash(f"Welcome, {name}!")
        return Redirect("/")

    @post
    def sign_out(self) -> Any:
        self.request.session.clear()
        return Redirect("/door")

    @post
    def hang(self, picture: UploadFile) -> Any:
        _, beginning = KINDS.get(Path(picture.filename).suffix.lower(), (None, None))
        if beginning is None or not beginning.match(picture.read(16)):
            raise HTTPError(415, "Only pictures hang here: PNG, JPEG, GIF or WebP.")
        try:
            path = picture.save_to(PICTURES)
        except FileExistsError:
            raise HTTPError(409, f"There is a picture called {picture.filename} already.") from None
        flash(f"{path.name} hangs now ({picture.size} bytes).")
        return Redirect("/")

    @post("/take-down")
    def take_down(self, name: str) -> Any:
        picture = PICTURES / name
        if picture not in PICTURES.iterdir():  # the name may contain a path
            raise HTTPError(404, "There is no such picture.")
        picture.unlink()
        flash(f"{name} is gone.")
        return Redirect("/")

    def picture(self, name: str) -> Any:
        content_type, _ = KINDS.get(Path(name).suffix.lower(), (None, None))
        return static_file(
            name,
            root=PICTURES,
            max_age=60,
            content_type=content_type,
            download=content_type is None,
        )


PICTURES.mkdir(parents=True, exist_ok=True)
app = Album(
    session_backend=SQLiteSessionBackend(DIRECTORY / "sessions.db"),
    templates=HERE / "templates",
    security=SecurityDefaults(*HOSTS, csp="default-src 'self'"),
)
app.static("/static", HERE / "static", cached=True)
app.middlewares.append(signed_in_only)
