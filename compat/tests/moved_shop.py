"""An application moved from Bottle, with a handler that runs in a process."""

from __future__ import annotations

import os

from micropie import run_in
from micropie_compat import bottle

app = bottle.Bottle()


@app.native.get("/process")
@run_in("process")
def process() -> str:
    """Return the number of the process."""
    return str(os.getpid())


app.get("/moved")(lambda: str(os.getpid()))
