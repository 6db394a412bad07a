"""Migrated programs in an environment that has nothing but the wheels and servers:

    python compat/tests/bare.py            each program on gunicorn, uvicorn and hypercorn
    python compat/tests/bare.py --without  what commands say where micropie-compat isn't installed

It needs the standard library alone. ``scripts/release`` calls it, in a folder that has no packages of
this project.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

SOURCES = {
    "bottle": """
app = bottle.Bottle()

@app.post("/hello/<name>")
def hello(name):
    return f"{bottle.request.forms.greeting}, {name}!"
""",
    "cherrypy": """
class Root:
    @cherrypy.expose
    def hello(self, name, greeting):
        return f"{greeting}, {name}!"

app = cherrypy.Application(Root(), SCRIPT_NAME)
""",
}
IMPORTED = "from micropie_compat import {0}\nSCRIPT_NAME = ''\n"
INSTALLED = "import micropie_compat\nmicropie_compat.install('{0}')\nimport {0}\nSCRIPT_NAME = ''\n"
BELOW = "from micropie_compat import {0}\nSCRIPT_NAME = '/old'\n"
MOUNTING = """from micropie import App
from old import app as old

class Site(App):
    pass

app = Site()
app.mount("/old", old)
"""
# The line that a program begins with, and the prefix that it is mounted at.
KINDS = {
    "import line": (IMPORTED, ""),
    "install": (INSTALLED, ""),
    "mounted": (BELOW, "/old"),
}
SERVERS = {
    "gunicorn": "gunicorn --worker-class gthread --no-control-socket --bind 127.0.0.1:{port}",
    "uvicorn": "uvicorn --port {port} --http h11",
    "hypercorn": "hypercorn --bind 127.0.0.1:{port}",
}
SENTENCE = "programs for another framework need the package micropie-compat."


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: str, folder: Path) -> Iterator[int]:
    """Run a server until the block ends. Yield its port."""
    port = free_port()
    words = [sys.executable, "-m", *command.format(port=port).split(), "site_of_it:app"]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    if server.poll() is not None:
                        log.seek(0)
                        sys.exit(f"{command} ended:\n{log.read().decode()}")
                    time.sleep(0.05)
            yield port
        finally:
            server.terminate()
            server.wait()


def try_programs() -> None:
    for framework, source in SOURCES.items():
        for kind, (line, prefix) in KINDS.items():
            for name, command in SERVERS.items():
                with tempfile.TemporaryDirectory() as above:
                    program = Path(above, "old.py" if prefix else "site_of_it.py")
                    program.write_text(line.format(framework) + source)
                    if prefix:
                        Path(above, "site_of_it.py").write_text(MOUNTING)
                    with serving(command, Path(above)) as port:
                        address = f"http://127.0.0.1:{port}{prefix}/hello/Ann"
                        with urlopen(Request(address, b"greeting=Hello")) as answer:
                            found = answer.read().decode()
                if found != "Hello, Ann!":
                    sys.exit(f"{framework}, {kind}, {name}: {found!r}")
            print(f"{framework}, {kind}: {', '.join(SERVERS)}")


def try_without() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for framework, source in SOURCES.items():
            Path(folder, "old.py").write_text(f"import {framework}\nSCRIPT_NAME = ''\n{source}")
            for words in (["check", "--from", framework], ["run", "--stand-in", framework]):
                done = subprocess.run(
                    [sys.executable, "-m", "micropie", *words, "old.py"],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                said = done.stdout + done.stderr
                if not done.returncode or SENTENCE not in said or said.count("\n") > 1:
                    sys.exit(f"{' '.join(words)}: exit status {done.returncode}, {said!r}")
    print(said, end="")


if __name__ == "__main__":
    try_without() if "--without" in sys.argv else try_programs()
