"""An application that tells what a hook and what the handler see of the path."""

from __future__ import annotations

from typing import Any

from micropie import App, HttpMiddleware


class Hook(HttpMiddleware):
    def before_request(self, request: Any) -> None:
        request.state.path = request.path


class Root(App):
    def admin(self, *rest: str) -> Any:
        return [self.request.state.path, ["admin", *rest], self.request.root_path]

    def default(self, *segments: str) -> Any:
        return [self.request.state.path, [*segments], self.request.root_path]


app = Root()
app.middlewares.append(Hook())
