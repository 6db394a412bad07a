"""Files, WebSockets and, on a host of its own, paths in one site: each server starts once for the
tests of all three.

``FILES`` names the directory that it serves.
"""

from __future__ import annotations

import os
from typing import Any

from micropie import App, static_file
from tests.servers.paths import Paths
from tests.servers.sockets import Sockets


class Files(App):
    def __init__(self) -> None:
        super().__init__()
        self.static("/static", os.environ["FILES"])
        self.static("/cached", os.environ["FILES"], cached=True, name="cached")

    async def awaited(self, name: str) -> Any:
        return static_file(name, os.environ["FILES"])


class Site(Sockets):
    def __init__(self) -> None:
        super().__init__()
        self.files, self.paths = Files(), Paths()


app = Site()
