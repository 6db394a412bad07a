"""The extension's own page, an application that ``install`` mounts."""

from __future__ import annotations

from micropie import App

from .keys import client_of


class Status(App):
    """The page at ``install(status=...)``, which shows the client's name."""

    def index(self) -> dict[str, str]:
        return {"client": client_of(self.request)}
