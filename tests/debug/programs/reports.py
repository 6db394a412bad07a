"""Reports: a PDF made in another process, a CSV in chunks, charts as SVG, and a cached summary."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated, Literal

from msgspec import Meta

from micropie import App, HTTPError, Response, describe, get, run_in, template
from micropie.middleware import Compress, Timeout

SALES = {date(2026, 1, 1) + timedelta(days=day): day * 7 % 31 for day in range(90)}
Month = Annotated[int, Meta(ge=1, le=12)]


def pdf_of(lines: list[str]) -> bytes:
    text = "".join(f"({line}) Tj T* " for line in lines)
    stream = f"BT /F1 12 Tf 14 TL 50 750 Td {text}ET".encode()
    return b"%PDF-1.4\n" + stream + b"\n%%EOF"


@run_in("process")
def monthly(year: int, month: int) -> Response:
    lines = [
        f"{day}: {sold}" for day, sold in SALES.items() if (day.year, day.month) == (year, month)
    ]
    response = Response(pdf_of(lines), content_type="application/pdf")
    response.headers["Content-Disposition"] = f'attachment; filename="{year}-{month:02}.pdf"'
    return response


class Reports(App):
    def __init__(self) -> None:
        super().__init__()
        self._summary: tuple[float, dict[str, int]] | None = None

    @get
    def index(self, year: int = 2026) -> str:
        return template(
            source="{% for m in months %}<a href='/pdf/{{ m }}'>{{ m }}</a>{% endfor %}",
            months=[f"{year}/{month}" for month in range(1, 13)],
        )

    @get("/csv/<start:re:[0-9-]+>")
    def table(self, start: date, end: date | None = None) -> Iterator[bytes]:
        self.response.content_type = "text/csv"
        self.response.headers["Content-Disposition"] = 'attachment; filename="sales.csv"'
        yield b"day,sold\r\n"
        for day, sold in SALES.items():
            if start <= day <= (end or day):
                yield f"{day},{sold}\r\n".encode()

    @get
    def chart(self, width: int = 400, kind: Literal["bar", "line"] = "bar") -> Response:
        bars = "".join(
            f'<rect x="{x * width // 90}" y="{31 - sold}" width="3" height="{sold}"/>'
            for x, sold in enumerate(SALES.values())
        )
        return Response(
            f"<svg xmlns='http://www.w3.org/2000/svg'>{bars}</svg>", content_type="image/svg+xml"
        )

    @get
    @describe(summary="The sales of each month")
    def summary(self) -> dict[str, int]:
        if self._summary is None or self._summary[0] < time.monotonic() - 60:
            months: dict[str, int] = {}
            for day, sold in SALES.items():
                months[f"{day:%Y-%m}"] = months.get(f"{day:%Y-%m}", 0) + sold
            self._summary = time.monotonic(), months
        return self._summary[1]

    @get
    def day(self, on: date) -> int:
        if on not in SALES:
            raise HTTPError(404, f"No sales on {on}.")
        return SALES[on]


app = Reports()
app.middlewares += [Compress(), Timeout(30)]
app.get("/pdf/<year:int>/<month:int>")(monthly)
