"""An application that doesn't mention OpenTelemetry, for the command ``opentelemetry-instrument``."""

from __future__ import annotations

from micropie import App, get


class Shop(App):
    @get("/pies/<number:int>")
    def show(self, number: int) -> str:
        return f"pie {number}"


app = Shop()
app.metrics()
