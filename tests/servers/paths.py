"""An application that tells what a hook and what the handler see of the path."""

from __future__ import annotations

from typing import Any

from micropie import App, HttpMiddleware

HOST = "paths.example"


class Hook(HttpMiddleware):
    def before_request(self, request: Any) -> None:
        request.state.path = request.path


class Paths(App):
    """Is a whole site on its host, below the prefix that its server is told."""

    def __init__(self) -> None:
        super().__init__(host=HOST, expose="public")
        self.middlewares.append(Hook())

    def admin(self, *rest: str) -> Any:
        return [self.request.state.path, ["admin", *rest], self.request.root_path]

    def default(self, *segments: str) -> Any:
        return [self.request.state.path, [*segments], self.request.root_path]


app = Paths()
