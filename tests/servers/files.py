"""An application that serves the directory that ``FILES`` names."""

from __future__ import annotations

import os
from typing import Any

from micropie import App, static_file


class Files(App):
    async def awaited(self, name: str) -> Any:
        return static_file(name, os.environ["FILES"])


app = Files()
app.static("/static", os.environ["FILES"])
app.static("/cached", os.environ["FILES"], cached=True, name="cached")
