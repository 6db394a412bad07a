"""Streamed responses: rows of a report as they are generated, and a video in which a browser can
seek.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from micropie import App, Response, get, static_file

VIDEO = Path(__file__).parent / "pie.webm"


class Streaming(App):
    def __init__(self, pause: float = 0.2) -> None:
        super().__init__()
        self._pause = pause  # how many seconds a row takes

    @get
    def index(self) -> str:
        return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Streaming</title>
<main>
<h1>Streaming</h1>
<p><video src="{self.url_for("video")}" controls muted width="320" height="180"></video>
<p><a href="{self.url_for("report")}">A report, row by row</a>
</main>
"""

    @get
    def report(self, rows: Annotated[int, Meta(ge=0, le=1000)] = 10) -> Response:
        """Stream rows of CSV, each sent as soon as it is ready: ``curl -N
        http://127.0.0.1:8000/report``.
        """
        return Response(self._rows(rows), content_type="text/csv; charset=utf-8")

    def _rows(self, rows: int) -> Iterator[str]:
        yield "row,square\n"
        for row in range(rows):
            time.sleep(self._pause)  # stands for a query; it runs in a thread, so it may block
            yield f"{row},{row * row}\n"

    @get
    async def video(self) -> Response:
        """Send the file, or the range of it that the browser requests."""
        return static_file(VIDEO.name, root=VIDEO.parent, max_age=3600)


app = Streaming()
