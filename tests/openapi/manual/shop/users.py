from __future__ import annotations

from micropie import App, HTTPError, get

NAMES = ("Rick", "Morty")


class Users(App):
    """Who buys."""

    def index(self) -> list[dict[str, str]]:
        return [{"username": name} for name in NAMES]

    @get
    def me(self) -> dict[str, str]:
        return {"username": "Rick"}

    @get("/<name>")
    def show(self, name: str) -> dict[str, str]:
        if name not in NAMES:
            raise HTTPError(404)
        return {"username": name}
