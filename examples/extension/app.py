"""An application that uses an extension, the package ``doorkeeper`` beside this file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from examples.extension.doorkeeper import client_of, install
from micropie import App, post
from micropie.middleware import SecurityDefaults

KEYS = {"sesame": "ann", "plum": "bob"}


class Counter(App):
    def index(self) -> str:
        return f"hello {client_of(self.request)}"

    @post
    def count(self) -> str:
        return str(self.request.session.update_atomic("count", lambda count: (count or 0) + 1))


app = Counter(security=SecurityDefaults("localhost", "127.0.0.1", "::1"))
install(app, Path(tempfile.gettempdir()) / "micropie-doorkeeper", find=KEYS.get)
