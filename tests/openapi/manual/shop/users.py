from __future__ import annotations

from micropie import App, get


class Users(App):
    """Who buys."""

    def index(self) -> list[dict[str, str]]:
        return [{"username": "Rick"}, {"username": "Morty"}]

    @get
    def me(self) -> dict[str, str]:
        return {"username": "Rick"}

    @get("/<name>")
    def show(self, name: str) -> dict[str, str]:
        return {"username": name}
