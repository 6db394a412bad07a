"""Server-sent events: a page that shows the progress of a job. If the connection is lost, the page
connects again and continues.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio

from micropie import App, EventStream, event, template
from micropie.middleware import SecurityDefaults

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Baking</title>
<main>
<h1>Baking</h1>
<p><progress max="100" value="0"></progress> <output></output>
</main>
<script nonce="{{ request.state.csp_nonce }}">
  const source = new EventSource("{{ url_for("bake") }}");
  source.addEventListener("progress", ({ data }) => {
    const { percent, step } = JSON.parse(data);
    document.querySelector("progress").value = percent;
    document.querySelector("output").textContent = step;
  });
  source.addEventListener("done", () => source.close());  // or the browser would ask again
</script>
"""

STEPS = ("Peeling apples", "Kneading dough", "Filling", "Baking", "Cooling")


class Bakery(App):
    def __init__(self, seconds: float = 1.0) -> None:
        policy = "default-src 'self'; script-src 'nonce-{nonce}'"
        super().__init__(security=SecurityDefaults("localhost", "127.0.0.1", "::1", csp=policy))
        self._seconds = seconds  # how many seconds a step takes

    def index(self) -> str:
        return template(source=PAGE)

    async def bake(self) -> EventStream:
        last = self.request.last_event_id or ""
        return EventStream(self._steps(int(last) if last.isdecimal() and len(last) < 4 else 0))

    async def _steps(self, done: int) -> AsyncIterator[object]:
        for number in range(done + 1, len(STEPS) + 1):
            await anyio.sleep(self._seconds)
            percent = 100 * number // len(STEPS)
            yield event(
                {"percent": percent, "step": STEPS[number - 1]}, event="progress", id=str(number)
            )
        yield event("", event="done")


app = Bakery()
