"""An application that takes uploads in every supported way, for a server's process."""

from __future__ import annotations

import os
from typing import Any

from micropie import App, UploadFile, reads_body


class Uploads(App):
    def process(self) -> Any:
        return str(os.getpid())

    def spooled(self, file: UploadFile) -> Any:
        return str(file.size)

    async def spooled_async(self, file: UploadFile) -> Any:
        return str(file.size)

    @reads_body
    def streamed(self) -> Any:
        return str(sum(len(chunk) for part in self.request.parts() for chunk in part))

    @reads_body
    async def streamed_async(self) -> Any:
        size = 0
        async for part in self.request.parts():
            async for chunk in part:
                size += len(chunk)
        return str(size)

    @reads_body
    def saved(self, directory: str) -> Any:
        return ",".join(part.save_to(directory).name for part in self.request.parts())

    @reads_body
    async def saved_async(self, directory: str) -> Any:
        return ",".join(
            [(await part.save_to(directory)).name async for part in self.request.parts()]
        )


app = Uploads(max_body_size=100 * 1024 * 1024)
