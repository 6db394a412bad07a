"""An application that receives large uploads in every possible way; `benchmarks.upload` sends
them.
"""

from __future__ import annotations

import os
from typing import Any

from micropie import App, UploadFile, reads_body


class Uploads(App):
    def process(self) -> Any:
        return str(os.getpid())

    def spooled(self, file: UploadFile) -> Any:
        return str(file.size)

    @reads_body
    def drained(self) -> Any:
        return str(sum(map(len, self.request.chunks())))

    @reads_body
    def streamed(self) -> Any:
        return str(sum(len(chunk) for part in self.request.parts() for chunk in part))


class AsyncUploads(Uploads):
    async def spooled(self, file: UploadFile) -> Any:
        return str(file.size)

    @reads_body
    async def drained(self) -> Any:
        size = 0
        async for chunk in self.request.stream():
            size += len(chunk)
        return str(size)

    @reads_body
    async def streamed(self) -> Any:
        size = 0
        async for part in self.request.parts():
            async for chunk in part:
                size += len(chunk)
        return str(size)


sync_app = Uploads(max_body_size=2 * 1024**3)
async_app = AsyncUploads(max_body_size=2 * 1024**3)
