"""Pages that show for which host an application takes a request, and where its links point."""

from __future__ import annotations

from typing import Any

from micropie import App, Redirect


def told(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(environ.get("HTTP_HOST") or environ["SERVER_NAME"]).encode()]


class Links(App):
    def index(self) -> Any:
        return [self.request.host, self.request.url, self.absolute_url_for("away")]

    def away(self) -> Any:
        return Redirect(self.absolute_url_for("index"))


app = Links()
app.mount("/mounted", told)
