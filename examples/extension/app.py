"""An application that uses the extension ``doorkeeper``, the package in this folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from examples.extension.doorkeeper import client_of, install
from micropie import App, post
from micropie.middleware import SecurityDefaults

FOLDER = Path(
    os.environ.get("DOORKEEPER_FOLDER") or Path(tempfile.gettempdir()) / "micropie-doorkeeper"
)

KEYS = {"sesame": "ann", "plum": "bob"}


class Counter(App):
    def index(self) -> str:
        return f"hello {client_of(self.request)}"

    @post
    def count(self) -> str:
        return str(self.request.session.update_atomic("count", lambda count: (count or 0) + 1))


app = Counter(security=SecurityDefaults("localhost", "127.0.0.1", "::1"))
install(app, FOLDER, find=KEYS.get)
