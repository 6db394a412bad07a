"""A line to a server that takes long, where the kernel has no netem:
``python -m tests.servers.cluster.relay ...``.

Arguments: the address and the port to listen at, the port there to connect to, and the seconds that
each direction takes.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress


async def main(host: str, port: int, target: int, seconds: float) -> None:
    """Relay connections until the process ends."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, target)
        with suppress(OSError):
            await asyncio.gather(
                _delayed(reader, there_writer, seconds), _delayed(there_reader, writer, seconds)
            )

    server = await asyncio.start_server(relay, host, port, backlog=1000)
    await server.serve_forever()


async def _delayed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    """Pass on what comes, each piece so many seconds later; then close."""
    loop = asyncio.get_running_loop()
    while data := await reader.read(65536):
        loop.call_later(seconds, writer.write, data)
    loop.call_later(seconds, writer.close)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
