"""How long a framework takes from its import to its first answer, and the memory of the process
then.

    .venv-bench/bin/python -m benchmarks.startup

Each round starts a new process for each contender in turn. The process imports the framework as its
documentation says, makes an application with one route (``async def`` for ASGI), and calls it in
process: by ``asyncio.run`` for ASGI, directly for WSGI. The clock begins before the import and ends
with the answer, so what Python itself needs to start is not counted. All bytecode is in a folder of
its own, and written before the first round: so no contender compiles. The table shows medians; the
processor's time is the one to read on a busy machine. The memory is the largest of the process in
its life.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from tempfile import TemporaryDirectory

_ASGI = """
import asyncio
async def answer():
    inbox = [{"type": "http.request", "body": b"", "more_body": False}]
    async def receive():
        return inbox.pop() if inbox else {"type": "http.disconnect"}
    async def send(message):
        sent.append(message)
    await app({"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
               "method": "GET", "scheme": "http", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "",
               "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80),
               "state": {}}, receive, send)
asyncio.run(answer())
body = b"".join(message.get("body", b"") for message in sent)
"""  # noqa: E501

_WSGI = """
import io, sys
environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "", "SERVER_NAME": "localhost",
           "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1",
           "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr,
           "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False}
body = b"".join(app(environ, lambda status, headers, exc_info=None: sent.append))
"""  # noqa: E501

_MICROPIE = """
from micropie import App
class Root(App):
    {}def index(self):
        return "Hello"
app = Root()
"""

_STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
async def index(request):
    return PlainTextResponse("Hello")
app = Starlette(routes=[Route("/", index)])
"""

_FALCON = """
class Index:
    {}def on_get(self, request, response):
        response.text = "Hello"
app = App()
app.add_route("/", Index())
"""

_BOTTLE = """
from bottle import Bottle
app = Bottle()
@app.get("/")
def index():
    return "Hello"
"""

CONTENDERS = {
    "hand-written ASGI": """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello"})
"""
    + _ASGI,
    "micropie, ASGI": _MICROPIE.format("async ") + _ASGI,
    "Starlette": _STARLETTE + _ASGI,
    "Falcon, ASGI": "from falcon.asgi import App" + _FALCON.format("async ") + _ASGI,
    "micropie, WSGI": _MICROPIE.format("") + _WSGI,
    "Bottle": _BOTTLE + _WSGI,
    "Falcon, WSGI": "from falcon import App" + _FALCON.format("") + _WSGI,
}

_CHILD = """
import json, resource, sys, time
sent = []
begin, begin_cpu = time.perf_counter(), time.process_time()
{}
seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
print(json.dumps([body.decode(), 1000 * seconds, 1000 * cpu, peak]))
"""  # noqa: E501


Figures = list[float]  # milliseconds, those of them that the processor worked, and MiB


def measure(code: str, bytecode: str) -> Figures | str:
    """Return the figures of one process, or why there are none."""
    command = [sys.executable, "-X", f"pycache_prefix={bytecode}", "-c", _CHILD.format(code)]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    child = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if child.returncode:
        return child.stderr.strip().rpartition("\n")[2]
    body, *figures = json.loads(child.stdout)
    return figures if body == "Hello" else f"the answer is {body!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="processes of each contender (15)")
    rounds = parser.parse_args(arguments).rounds
    with TemporaryDirectory() as bytecode:
        first = {name: measure(code, bytecode) for name, code in CONTENDERS.items()}
        missing = {name: result for name, result in first.items() if isinstance(result, str)}
        found: dict[str, list[Figures]] = {name: [] for name in CONTENDERS if name not in missing}
        for _ in range(rounds):
            for name, results in found.items():
                result = measure(CONTENDERS[name], bytecode)
                if not isinstance(result, str):
                    results.append(result)
    print("| to the first answer | ms | ms of the processor | MiB |\n| --- | ---: | ---: | ---: |")
    for name, results in found.items():
        milliseconds, processor, peak = (median(column) for column in zip(*results, strict=True))
        print(f"| {name} | {milliseconds:.0f} | {processor:.0f} | {peak:.1f} |")
    for name, why in missing.items():
        print(f"\nMissing: {name} ({why}).")
    return 1 if any("answer" in why for why in missing.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
