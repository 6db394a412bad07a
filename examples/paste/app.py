"""A paste bin: each text gets a URL that nobody can guess. Use it from a page or with curl.

curl --data-binary @notes.txt -H 'Content-Type: text/plain' http://127.0.0.1:8000/
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from micropie import App, Redirect, Response, get, max_body_size, post, static_file, template
from micropie.middleware import SecurityDefaults

DIRECTORY = Path(
    os.environ.get("PASTE_DIRECTORY") or Path(tempfile.gettempdir()) / "micropie-paste"
)

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Paste</title>
<main>
<h1>Paste</h1>
<form method="post" action="{{ url_for("from_page") }}">{{ csrf_input }}
<p><textarea name="text" aria-label="Text" rows="20" cols="80" required></textarea>
<p><button>Paste</button></form>
</main>
"""


class PasteBin(App):
    def __init__(self) -> None:
        super().__init__(
            security=SecurityDefaults("localhost", "127.0.0.1", "::1", csp="default-src 'self'")
        )

    @get
    def index(self) -> str:
        return template(source=PAGE)

    @post("/")
    @max_body_size(1024**2)
    def from_program(self) -> Response:
        """Store the body, and respond with the URL of the text."""
        name = self._keep(self.request.read())
        address = f"{self.request.scheme}://{self.request.host}{self.url_for('show', name=name)}\n"
        return Response(address, 201, content_type="text/plain; charset=utf-8")

    @post("/page")
    def from_page(self, text: str) -> Redirect:
        return Redirect(self.url_for("show", name=self._keep(text.encode())))

    @get("/<name:re:[A-Za-z0-9_-]{16}>")
    def show(self, name: str) -> Response:
        # Send it as plain text, so that no browser runs it. It never changes, so caches may store
        # it.
        return static_file(
            name, root=DIRECTORY, content_type="text/plain; charset=utf-8", max_age=86400
        )

    def _keep(self, content: bytes) -> str:
        name = secrets.token_urlsafe(12)
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        (DIRECTORY / name).write_bytes(content)
        return name


app = PasteBin()
