"""`python -m benchmarks.upload`: a large upload through real servers, and how much memory it costs
them.

The upload is generated while it is sent, and never whole in memory or on the client's disk. The
server spools into a directory that is removed afterwards. The growth is that of the worker's peak
of resident memory (VmHWM), compared with the peak after a small upload of the same kind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MEBIBYTE = 1024 * 1024
SMALL = 3  # MiB: past the spool's mebibyte, so that threads and buffers are there
GOAL = 16.0  # MiB that the peak may grow
PATIENCE = 15.0  # seconds for a start and an end

SERVERS = {
    "uvicorn": "uvicorn --port {port} --log-level warning benchmarks.apps.upload_app:async_app",
    "gunicorn": "gunicorn --bind 127.0.0.1:{port} --workers 1 -k gthread --threads 4 --timeout 300 "
    "--log-level warning "
    "--no-control-socket benchmarks.apps.upload_app:sync_app",
}
WAYS = {
    "drained": "stream(): what the server gives",
    "spooled": "a file parameter",
    "streamed": "@reads_body and parts()",
}

CHUNK = os.urandom(MEBIBYTE)
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"


@contextlib.contextmanager
def running(command: str, spool: str) -> Iterator[int]:
    """Run a server as a process. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    environ = {**os.environ, "TMPDIR": spool, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", *command.format(port=port).split()]
    process = subprocess.Popen(words, cwd=ROOT, env=environ, start_new_session=True)
    try:
        _wait_for(process, port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server does not start") from None
            time.sleep(0.05)
        else:
            return


def ask(port: int, request: bytes, mebibytes: int = 0) -> bytes:
    """Send a request, then so many MiB of an upload. Return the answer's body."""
    with socket.create_connection(("127.0.0.1", port), 120) as connection:
        connection.sendall(request)
        if mebibytes:
            connection.sendall(HEAD)
            for _ in range(mebibytes):
                connection.sendall(CHUNK)
            connection.sendall(TAIL)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"a wrong answer: {answer[:200]!r}")
    return body


def upload(port: int, path: str, mebibytes: int) -> float:
    """Return the seconds that an upload takes. Raises ``RuntimeError`` for a wrong answer."""
    length = len(HEAD) + mebibytes * MEBIBYTE + len(TAIL)
    lines = f"POST {path} HTTP/1.1", "Host: b", "Connection: close", f"Content-Length: {length}"
    head = "\r\n".join([*lines, "Content-Type: multipart/form-data; boundary=b", "", ""]).encode()
    start = time.perf_counter()
    body = ask(port, head, mebibytes)
    if body != str(length if path == "/drained" else mebibytes * MEBIBYTE).encode():
        raise RuntimeError(f"a wrong answer: {body[:200]!r}")
    return time.perf_counter() - start


def peak(process: int) -> float:
    """Return the peak memory of a process, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(server: str, way: str, mebibytes: int) -> tuple[float, float]:
    """Return the growth of the peak in MiB, and MB per second."""
    with tempfile.TemporaryDirectory() as spool, running(SERVERS[server], spool) as port:
        worker = int(ask(port, b"GET /process HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"))
        upload(port, f"/{way}", SMALL)
        before = peak(worker)
        seconds = upload(port, f"/{way}", mebibytes)
        return peak(worker) - before, mebibytes * MEBIBYTE / 1e6 / seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upload", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the upload (%(default)s)")
    parser.add_argument("--server", choices=SERVERS, action="append", help="this one (all)")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every goal is met")
    options = parser.parse_args()
    missed = False
    print(f"| {options.size} MiB | growth, MiB | MB/s |\n| --- | ---: | ---: |")
    for server in options.server or SERVERS:
        for way, title in WAYS.items():
            growth, rate = measure(server, way, options.size)
            missed = missed or growth >= GOAL
            print(f"| {server}, {title} | {growth:.1f} | {rate:.0f} |", flush=True)
    print(f"\nGoal: every growth below {GOAL:g} MiB: {'MISSED' if missed else 'met'}.")
    return int(missed and options.check)


if __name__ == "__main__":
    raise SystemExit(main())
