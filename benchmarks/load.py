"""`python -m benchmarks.load PORT PATH SECONDS CONNECTIONS`: keeps a server busy, prints requests
per second.

The client is minimal, because it shares the machine with the server: one process, raw keep-alive
sockets, each with one open request (no pipelining). Only the first answer of a connection is
parsed. Every later answer must have the same length, so the client need not parse headers. An
answer with another status or length ends the run, because then the measurement would be worthless.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from typing import Any

from benchmarks.processes import ROOT

STATUS = b"HTTP/1.1 200 "
SETTLE = 0.3  # seconds before the count starts: connections open, the server's caches warm
# seconds after the end of the run at which a server that does not answer is abandoned
DEADLINE = 5.0


class Connection(asyncio.Protocol):
    """Sends the next request as soon as it has an answer."""

    def __init__(self, request: bytes, failed: asyncio.Future[None]) -> None:
        self.request = request
        self.failed = failed
        self.answers = 0
        self.buffer = b""
        self.length = 0
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer = buffer = self.buffer + data if self.buffer else data
        if not self.length:
            self.length = _answer_length(buffer)
        if not self.length or len(buffer) < self.length:
            return
        if len(buffer) > self.length or not buffer.startswith(STATUS):
            self._fail(f"an unexpected answer: {buffer[:200]!r}")
            return
        self.buffer = b""
        self.answers += 1
        self.transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the server closed a connection: {exc}")

    def _fail(self, why: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(RuntimeError(why))


def _answer_length(buffer: bytes) -> int:
    """Return the length of the whole answer, or 0 until its headers are complete."""
    head, found, _ = buffer.partition(b"\r\n\r\n")
    if not found:
        return 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(head) + 4 + int(line.split(b":")[1])
    return 0


def rate(port: int, seconds: float, connections: int, path: str = "/plain") -> float:
    """Return the requests per second that a process of its own gets answered."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.load",
        str(port),
        path,
        str(seconds),
        str(connections),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode:
        raise SystemExit(f"the load generator failed:\n{done.stderr}")
    return float(done.stdout)


async def requests_per_second(port: int, path: str, seconds: float, connections: int) -> float:
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    head = (
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "User-Agent: load",
        "Accept: */*",
        "",
        "",
    )
    request = "\r\n".join(head).encode()
    clients = [
        (await loop.create_connection(lambda: Connection(request, failed), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.wait((failed,), timeout=SETTLE)
    before, start = sum(client.answers for client in clients), time.perf_counter()
    await asyncio.wait((failed,), timeout=seconds)
    spent = time.perf_counter() - start
    count = sum(client.answers for client in clients) - before
    if failed.done():
        failed.result()
    failed.cancel()  # closing is not a failure from here on
    for client in clients:
        client.transport.abort()
    return count / spent


def _new_loop() -> asyncio.AbstractEventLoop:
    with contextlib.suppress(ImportError):
        import uvloop  # optional: a faster client leaves more of the machine to the server

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def main() -> None:
    port, path, seconds, connections = sys.argv[1:]
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        run = requests_per_second(int(port), path, float(seconds), int(connections))
        rate = runner.run(asyncio.wait_for(run, float(seconds) + DEADLINE))
    print(f"{rate:.1f}")


if __name__ == "__main__":
    main()
