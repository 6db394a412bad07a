"""The path of a newcomer: every command and example of the README, of docs/start and of both
tutorials, in a fresh clone of the commit and fresh environments.

    python -m tests.project.first_path

``scripts/first-path`` describes it. Two readers walk at the same time: the first one has the README,
the second one the pages from the installation to the last step of the second tutorial.

A command is a line of an indented block, or inline code that begins with the name of a program. Each
is typed into a shell that keeps its folder and its variables. A server gets a free port, the requests
below the last listing, and Ctrl-C. A command that can't be run is in ``NOT_RUN``, with the reason; an
entry that no page needs is an error, and so is a command that fails.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, NamedTuple

import httpx2

from tests.project.test_readme import INCLUDED, ask
from tests.servers.harness import accepts
from tests.support.environment import unmeasured
from tests.support.ports import free_port
from tests.support.waiting import END_WITHIN

ROOT = Path(__file__).parents[2]
START = [f"docs/start/{name}.md" for name in ("install", "first-app", "layout")]
BLOG = [
    f"docs/tutorial/{name}.md"
    for name in ("routes", "templates", "forms", "database", "login", "tests", "deployment")
]
API = [
    f"docs/tutorial/api/{name}.md"
    for name in ("models", "errors", "database", "token", "tests", "openapi", "client")
]
INDEXES = ["docs/tutorial/index.md", "docs/tutorial/api/index.md"]
PAGES = ["README.md", "docs/start/examples.md", *START, *BLOG, *API, *INDEXES]

INSTALL = "docs/start/install.md"
INSTALL_COMPAT = 'pip install "../micropie[standard,wsgi]" ../micropie/compat'
TESTS = "the tests, which are another command"
NOT_RUN = {
    ("README.md", "pip install micropie"): "another project, of which the page warns",
    ("README.md", "micropie new"): "docs/start/layout.md has it with a name",
    ("README.md", "make check"): TESTS,
    ("README.md", "make test"): TESTS,
    ("README.md", "make"): TESTS,
    (INSTALL, "py -m venv .venv"): "Windows",
    (INSTALL, r".venv\Scripts\activate"): "Windows",
    (INSTALL, "pip install micropie"): "another project, of which the page warns",
    ("docs/start/layout.md", "micropie run"): "each new project's first command",
    ("docs/start/layout.md", "mypy --strict"): "no page of Start installs it: tests/cli has it",
    ("docs/start/layout.md", "micropie check"): "each new project's last command",
    ("docs/tutorial/api/token.md", "Authorization: Bearer 4Ff8..."): "a header of a request",
}
# What a page tells in a sentence, by the files to delete.
DELETED = {
    "docs/tutorial/login.md": [("Delete the `blog.db` of the previous step.", "blog.db")],
    "docs/tutorial/api/token.md": [
        ("Delete the `recipes.db` of the previous step.", "recipes.db"),
        ("Also delete `test_errors.py`,", "test_errors.py"),
    ],
}
# The page says that its requests are for another host.
HOSTS = {"docs/tutorial/deployment.md": "another.example"}
# So that each run asks the same, and for less than a minute.
SHORTER = {"schemathesis run": " --seed 1 --max-examples 10"}
TYPED = {"python add_author.py ann": "apple pie\n"}  # a password
PROGRAMS = (
    *("pip", "micropie", "uvicorn", "gunicorn", "make", "python", "python3", "pytest", "mypy"),
    *("git", "curl", "schemathesis", "openapi-python-client", "py", r".venv\Scripts\activate"),
)
INSTALLED = (*("pip", "micropie", "uvicorn", "gunicorn", "pytest"), *PROGRAMS[11:13])
ALONE = ("make", "pytest", r".venv\Scripts\activate")  # commands of one word
SERVES = re.compile(r"(micropie run|uvicorn|gunicorn|make run)\b")
PORT = re.compile(r"(?<=(?:127\.0\.0\.1|localhost):)8000")
ITEM = re.compile(
    r"^```(?P<kind>[\w+]+)\n(?P<source>.*?)^```$"
    r"|(?<=\n\n)(?P<block>(?:^ {4}[^\n]+\n)+)"
    r"|`(?P<inline>[^`]+)`",
    re.MULTILINE | re.DOTALL,
)
CONTINUED = re.compile(r"\s*\\\n\s*")
LINKED = re.compile(r"\]\([./]*(examples/tutorial/(?:api/)?step\d)/([\w./]+)\)")

# An application with every feature that a document describes, and one that only newer documents do.
EVERY_FEATURE = """\
from collections.abc import Iterator

from micropie import get
from tests.openapi.topics import Node, Topics


class Every(Topics):
    @get("/export")
    def export(self) -> Iterator[Node]:
        yield Node("apple")


app = Every(errors="json", docs=True)
"""
OLD_PROGRAM = """\
import cherrypy


class Root:
    @cherrypy.expose
    def index(self):
        return "pies"


cherrypy.quickstart(Root())
"""


class Failed(Exception):
    """A command or an example that isn't as its page says."""


class Listing(NamedTuple):
    """A module of a page, the file that it includes, and the requests below it."""

    source: str
    file: str
    requests: list[tuple[str, str]]


class Command(NamedTuple):
    """A command, and the lines that the page shows below it."""

    text: str
    output: list[str]


def items_of(page: str, text: str) -> Iterator[Listing | Command]:
    """Yield the listings and the commands of a page in their order."""
    found = list(ITEM.finditer(text))
    fences = [one for one in found if one["kind"] in ("python", "http")]
    for one in found:
        if one["kind"] == "python":
            after = fences[fences.index(one) + 1 : fences.index(one) + 2]
            asked = [below for below in after if below["kind"] == "http"]
            lines = [(below.start("source"), below["source"].splitlines()) for below in asked]
            requests = [
                (f"{page}:{text[:begin].count(chr(10)) + number}", line)
                for begin, block in lines
                for number, line in enumerate(block, 1)
            ]
            included = INCLUDED.search(one["source"])
            yield Listing(one["source"], included[1] if included else "", requests)
        elif one["block"] and one["block"].startswith("    $ "):
            command, *output = [line[4:] for line in one["block"].splitlines()]
            yield Command(command.removeprefix("$ "), output)
        elif one["block"] and one["block"].startswith("    pies/\n"):
            continue  # a listing of the files, which ``Walk.make_new`` compares
        elif one["block"]:
            typed = CONTINUED.sub(" ", one["block"]).splitlines()
            yield from (Command(line.strip(), []) for line in typed)
        elif one["inline"]:
            words = one["inline"].split()
            if words and words[0] in PROGRAMS and (words[1:] or words[0] in ALONE):
                yield Command(" ".join(words), [])


def plain(command: str) -> str:
    """Return a command without its comment."""
    return re.sub(r"\s+# .*", "", command)


class Walk:
    """A reader with a shell."""

    lock = threading.Lock()
    used: ClassVar[set[tuple[str, str]]] = set()

    def __init__(self, name: str, folder: Path, source: Path) -> None:
        folder.mkdir()
        self.name, self.above, self.source = name, folder, source
        self.folder = folder
        self.page = ""
        self.pages: list[str] = []
        self.installed: set[tuple[str, str, str]] = set()
        self.environ = fresh_environment()
        self.listing: Listing | None = None
        self.file = "app.py"
        self.served = False

    # -- what is reported ---------------------------------------------------------------------------

    def say(self, outcome: str, text: str) -> None:
        with self.lock:
            print(f"{self.name:8} {self.page:30} {outcome:>8}  {text}", flush=True)

    def fail(self, text: str, output: str = "") -> Failed:
        self.say("FAILED", f"{text}\n{output}")
        return Failed(f"{self.name}: {self.page}: {text.partition(chr(10))[0]}")

    # -- commands ---------------------------------------------------------------------------------

    def type(self, command: str, output: list[str] | None = None) -> str:
        """Type a command, which has to succeed, and return what it prints."""
        shown = command
        for place, value in (
            ("<address of the repository>", str(self.source)),
            ("/var/lib/blog", str(self.above / "var")),
        ):
            command = command.replace(place, value)
        for beginning, more in SHORTER.items():
            if command.startswith(beginning):
                command, shown = command + more, f"{shown}  (with{more})"
        began = time.monotonic()
        self.check_installed(command)
        state = self.above / "state"
        script = f'{command}\nstatus=$?; pwd >"{state}"; env -0 >>"{state}"; exit $status'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environ,
            input=TYPED.get(command, ""),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            start_new_session=True,
        )
        if done.returncode:
            raise self.fail(f"exit status {done.returncode}: {shown}", done.stdout)
        where, _, variables = state.read_text().partition("\n")
        self.folder = Path(where)
        self.environ = dict(one.split("=", 1) for one in variables.split("\0") if "=" in one)
        printed = [" ".join(line.split()) for line in done.stdout.splitlines()]
        for line in output or ():
            expected = " ".join(line.split())
            if not any(one.startswith(expected) for one in printed):
                raise self.fail(f"{shown} doesn't print {line!r}", done.stdout)
        self.say(f"{time.monotonic() - began:.1f} s", shown)
        return done.stdout

    def check_installed(self, command: str) -> None:
        """Fail for a program that isn't in the reader's environment, but elsewhere."""
        word = command.split(maxsplit=1)[0]
        if word in INSTALLED:
            found = shutil.which(word, path=self.environ["PATH"])
            if not str(found).startswith(self.environ["VIRTUAL_ENV"]):
                raise self.fail(f"{word} is not installed: {command}", f"found: {found}")

    def install_once(self, command: str) -> None:
        """Type a command of pip, unless it was typed in this environment and folder."""
        what = (self.environ["VIRTUAL_ENV"], str(self.folder.parent), command)
        if what in self.installed:
            self.say("as above", command)
        else:
            self.type(command)
            self.installed.add(what)

    @contextmanager
    def serving(self, command: str) -> Iterator[int]:
        """Start a server on a free port, yield the port, and end the server."""
        self.check_installed(command)
        port = free_port()
        if command.startswith("gunicorn"):
            bind = re.search(r"--bind \S+", command)
            started = (
                command.replace(bind[0], f"{bind[0]}:{port}")
                if bind
                else f"{command} --bind 127.0.0.1:{port}"
            )
        elif command == "make run":
            started = f"PORT={port} make run"
        else:
            started = f"{command} --port {port}"
        log = self.above / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", started],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            while not accepts(port):
                if process.poll() is not None:
                    raise self.fail(f"{command} has ended", log.read_text())
                time.sleep(0.05)
            yield port
            # At Ctrl-C, gunicorn may break off a request whose response its client has read.
            is_gunicorn = command.startswith("gunicorn")
            os.killpg(process.pid, signal.SIGTERM if is_gunicorn else signal.SIGINT)
            process.wait(END_WITHIN)
        except (AssertionError, httpx2.HTTPError) as error:
            raise self.fail(f"{command}: {error}", log.read_text()) from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if "Traceback" in log.read_text():
            raise self.fail(f"{command} reports an exception", log.read_text())

    def serve(self, command: str, path: str = "/", host: str = "") -> None:
        """Serve the last listing, send its requests, and stop the server."""
        began = time.monotonic()
        is_own = self.listing and not host and not re.search(r"make run|examples\.", command)
        requests = self.listing.requests if self.listing and is_own else []
        with self.serving(plain(command)) as port:
            own = HOSTS.get(self.page, "") if requests else host
            headers = {"Host": own} if own else {}
            with httpx2.Client(
                base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60
            ) as client:
                for place, line in requests:
                    ask(client, place, line)  # type: ignore[arg-type]
                if not requests:
                    ask(client, command, f"GET {path} -> 200 ...")  # type: ignore[arg-type]
        asked = f"{len(requests)} requests" if requests else f"GET {path}"
        self.say(f"{time.monotonic() - began:.1f} s", f"{plain(command)}  ({asked})")

    def type_beside_a_server(self, command: str, output: list[str]) -> None:
        """Type a command that asks the application at port 8000, which is served meanwhile."""
        with self.serving(f"micropie run {self.file}") as port:
            self.type(PORT.sub(str(port), command), output)

    # -- pages ------------------------------------------------------------------------------------

    def read(self, page: str) -> None:
        """Do what a page says."""
        began = time.monotonic()
        self.page, self.listing = page, None
        self.pages.append(page)
        text = (self.source / page).read_text()
        for sentence, name in DELETED.get(page, ()):
            if sentence not in " ".join(text.split()):
                raise self.fail(f"the sentence is gone: {sentence}")
            (self.folder / name).unlink()
        steps = {step for step, _ in LINKED.findall(text)}
        for step, name in LINKED.findall(text):
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.source / step / name, file)
        waiting = False
        for item in items_of(page, text):
            if isinstance(item, Listing):
                if waiting:
                    self.serve(f"micropie run {self.file}")
                self.write(item)
                waiting = bool(item.requests)
            else:
                in_clone = page == "README.md" and re.match("make|.* # in the clone", item.text)
                (self.command_in_clone if in_clone else self.command)(item)
                waiting = waiting and not self.served
        if waiting:
            self.serve(f"micropie run {self.file}")
        self.compare_with(steps)
        self.say(f"{time.monotonic() - began:.0f} s", "== the page")

    def compare_with(self, steps: set[str]) -> None:
        """Fail unless the reader has all files of the steps that the page is about."""
        for step in steps:
            for file in (self.source / step).rglob("*.*"):
                name = file.relative_to(self.source / step)
                if file.read_bytes() != (self.folder / name).read_bytes():
                    raise self.fail(f"the page doesn't show {name} of {step}")

    def write(self, listing: Listing) -> None:
        """Write a listing into its file, and run its tests."""
        if listing.file and Path(listing.file).name != "app.py":
            return  # a file beside the application, which is written already
        self.listing = listing
        if not listing.file:
            (self.folder / self.file).write_text(listing.source)
            if "def test_" in listing.source:
                self.type(f"pytest -q {self.file}")

    def command(self, item: Command) -> None:
        command = plain(item.text)
        key = self.page, command
        self.served = key not in NOT_RUN and bool(SERVES.match(command))
        if key in NOT_RUN:
            self.used.add(key)
            self.say("not run", f"{command}: {NOT_RUN[key]}")
        elif key in INSTEAD:
            self.used.add(key)
            INSTEAD[key](self, command)
        elif SERVES.match(command):
            self.serve(command)
        elif command.startswith("pip install"):
            self.install_once(command)
        elif PORT.search(command):
            self.type_beside_a_server(command, item.output)
        else:
            self.type(command, item.output)

    def command_in_clone(self, item: Command) -> None:
        """Do a command of the README in the clone, which is not the folder of the reader's file."""
        before, self.folder = self.folder, self.above / "micropie"
        self.command(item)
        self.folder = before

    # -- commands that need more than a shell --------------------------------------------------------

    def activate(self, name: str) -> None:
        """Make a fresh environment, and activate it."""
        folder = self.above / name
        subprocess.run(["python3", "-m", "venv", folder], env=self.environ, check=True)
        self.environ["VIRTUAL_ENV"] = str(folder)
        self.environ["PATH"] = f"{folder / 'bin'}:{fresh_environment()['PATH']}"

    def in_another_environment(self, name: str, *commands: str) -> None:
        """Type commands in a fresh environment, and return to the old one."""
        before = self.folder, dict(self.environ)
        self.activate(name)
        for command in commands:
            self.type(command)
        self.folder, self.environ = before

    def make_site(self, command: str) -> None:
        """Build the site, and count its tables. The playground's Pyodide is taken from here, if it
        is there, as npm isn't asked.
        """
        clone, pyodide = self.folder, ROOT / "build" / "pyodide"
        if pyodide.exists():
            shutil.copytree(pyodide, clone / "build" / "pyodide", symlinks=True)
        self.environ["npm_config_offline"] = "true"
        self.type(command)
        count = (
            "from pathlib import Path; from tests.project.tables import counted; "
            "found = counted(Path('build/site')); "
            "wrong = {page: both for page, both in found.items() if both[0] != both[1]}; "
            "print(wrong or sum(both[0] for both in found.values()), 'tables'); assert not wrong"
        )
        printed = self.type(f'.venv/bin/python -c "{count}"')
        if int(printed.split()[0]) < 60:
            raise self.fail("the site lacks tables", printed)

    def make_new(self, command: str) -> None:
        """Make a project, and follow what is printed.

        Not in the folder that the reader has made, which isn't empty: in one beside another link to
        the clone.
        """
        before, self.listing = self.folder, None
        beside = self.above / f"new-{command.rsplit(maxsplit=1)[-1].strip('-')}"
        beside.mkdir()
        (beside / "micropie").symlink_to(self.above / "micropie")
        self.folder = beside
        printed = self.type(command)
        lines = [plain(line.strip()) for line in printed.splitlines() if line.startswith("    ")]
        if len(lines) < 5:
            raise self.fail("the next steps aren't printed", printed)
        for line in lines:
            if SERVES.match(line):
                self.serve(line, "/docs" if "--api" in command else "/")
            elif line.startswith("pip"):
                self.install_once(line)
            else:
                self.type(line)
        if command == "micropie new pies":
            shown = (self.source / self.page).read_text().partition("    pies/\n")[2]
            names = re.findall(r"^ {8}(\S+)", shown.partition("\n\n")[0], re.MULTILINE)
            if missing := [name for name in names if not (beside / "pies" / name).exists()]:
                raise self.fail(f"{command} doesn't make {missing}")
        self.folder = before

    def install_without_index(self, command: str) -> None:
        before = self.folder
        self.folder = self.above / "micropie"
        self.type(command)
        offline = "pip install --no-index --find-links wheels 'micropie-dual[standard]'"
        self.in_another_environment("offline", offline)
        self.folder = before

    def build_wheel(self, command: str) -> None:
        """In the clone."""
        before = self.folder
        self.folder = self.above / "micropie"
        self.type(command)
        self.folder = before

    def install_wheel(self, command: str) -> None:
        """On another machine, here in another folder, with a copy of the wheels."""
        before = self.folder
        self.folder = self.above / "machine"
        shutil.copytree(self.above / "micropie" / "wheels", self.folder / "wheels")
        self.in_another_environment("another", command)
        self.folder = before

    def install_compat(self, command: str) -> None:
        """In an environment of its own. A program is tried before and after it."""
        before = self.folder, dict(self.environ)
        self.folder = self.above / "old"
        self.folder.mkdir()
        self.check_an_old_program(command)
        self.serve_an_old_program()
        self.folder, self.environ = before

    def install_pinned(self, command: str) -> None:
        """On another machine, with a copy of the wheels, and the file of the page."""
        shown = (self.source / self.page).read_text().partition("```text\n")[2]
        before, self.folder = self.folder, self.above / "pinned"
        shutil.copytree(self.above / "micropie" / "wheels", self.folder / "wheels")
        self.folder.joinpath("requirements.txt").write_text(shown.partition("```")[0])
        imported = 'python -c "from micropie_compat import bottle, cherrypy"'
        self.in_another_environment("pins", command, imported)
        self.folder = before

    def install_blog(self, command: str) -> None:
        """On the server, here in another folder."""
        server = self.above / "server"
        shutil.copytree(self.folder, server, ignore=shutil.ignore_patterns("*.db", "__pycache__"))
        shutil.copytree(self.above / "micropie" / "wheels", server / "wheels")
        (self.above / "var").mkdir()
        self.folder = server
        self.activate("server-environment")
        self.type(command)

    def serve_blog(self, command: str) -> None:
        if command.startswith("gunicorn"):
            self.type('pip install "$(ls wheels/micropie_dual-*.whl)[wsgi]"')
        self.serve(command, "/", "blog.example.com")

    # -- after the pages --------------------------------------------------------------------------

    def generate_of_every_feature(self) -> None:
        """The generator of the tutorial on a document with every feature."""
        self.page, self.listing = "docs/tutorial/api/client.md", None
        text = (self.source / self.page).read_text()
        command = next(
            item.text
            for item in items_of(self.page, text)
            if isinstance(item, Command) and item.text.startswith("openapi-python-client")
        ).replace("recipes_client", "every_client")
        self.folder = self.above / "every"
        self.folder.mkdir()
        (self.folder / "app.py").write_text(EVERY_FEATURE)
        self.environ["PYTHONPATH"] = str(self.above / "micropie")
        with self.serving("micropie run app.py") as port:
            printed = self.type(PORT.sub(str(port), command))
        # The generator omits the response in JSON Lines, whose media type it doesn't know.
        known = "WARNING parsing GET /export within every."
        if any(line != known for line in re.findall("^WARNING.*", printed, re.MULTILINE)):
            raise self.fail(command, printed)
        self.type("ls every_client/api/*/export.py")
        del self.environ["PYTHONPATH"]

    # -- programs for another framework ---------------------------------------------------------------

    def check_an_old_program(self, installing: str) -> None:
        """``micropie check --from`` and ``run --stand-in`` before ``micropie-compat`` is installed, and
        ``check --from`` after it, beside environments, of which it reports nothing.
        """
        self.folder.joinpath("shop.py").write_text(OLD_PROGRAM)
        for name in (".venv", "env"):
            self.type(f"python3 -m venv --without-pip {name}")
            module = next(self.folder.glob(f"{name}/lib/*/site-packages")) / "of_another.py"
            module.write_text(OLD_PROGRAM)
        check = "micropie check --from cherrypy ."
        for command in (check, "micropie run --stand-in cherrypy shop.py"):
            printed = self.type(f"! {command}")
            if "need the package micropie-compat" not in printed or printed.count("\n") > 1:
                raise self.fail(f"without the package, {command} reports something else", printed)
        self.activate("migration")
        self.type(installing)
        printed = self.type(check)
        if "shop.py:" not in printed or "of_another" in printed:
            raise self.fail("check --from reports something else than the program", printed)

    def serve_an_old_program(self) -> None:
        """Unchanged, and by the import line."""
        self.serve("micropie run --stand-in cherrypy shop.py")
        changed = OLD_PROGRAM.replace("import cherrypy", "from micropie_compat import cherrypy")
        served = changed.replace(
            "cherrypy.quickstart(Root())", 'app = cherrypy.Application(Root(), "")'
        )
        self.folder.joinpath("changed.py").write_text(served)
        self.serve("micropie run changed:app")
        self.serve("gunicorn changed:app")


INSTEAD: dict[tuple[str, str], Callable[[Walk, str], None]] = {
    ("README.md", "make docs"): Walk.make_site,
    (INSTALL, "pip wheel --no-deps --wheel-dir wheels ."): Walk.build_wheel,
    (
        INSTALL,
        'pip install "./wheels/micropie_dual-1.0.0rc1-py3-none-any.whl[standard]"',
    ): Walk.install_wheel,
    (
        INSTALL,
        'pip wheel --wheel-dir wheels ".[standard]"',
    ): Walk.install_without_index,
    (INSTALL, INSTALL_COMPAT): Walk.install_compat,
    (INSTALL, "pip wheel --no-deps --wheel-dir wheels . ./compat"): Walk.build_wheel,
    (INSTALL, "pip install -r requirements.txt"): Walk.install_pinned,
    ("docs/start/layout.md", "micropie new pies"): Walk.make_new,
    ("docs/start/layout.md", "micropie new pies --package"): Walk.make_new,
    ("docs/start/layout.md", "micropie new pies --api"): Walk.make_new,
    ("docs/tutorial/deployment.md", "pip install -r requirements.txt"): Walk.install_blog,
    **{
        ("docs/tutorial/deployment.md", command): Walk.serve_blog
        for command in (
            "micropie run --host 0.0.0.0 --workers 2",
            "uvicorn app:app --host 0.0.0.0 --workers 2 --http h11 --no-proxy-headers",
            "gunicorn -k gthread --threads 8 --workers 2 --bind 0.0.0.0 --forwarder-headers none"
            " app:app",
        )
    },
}


def fresh_environment() -> dict[str, str]:
    """Return the variables of a reader: not those of tests, of make, or of the tests' environment."""
    own = re.compile(r"(PYTEST|COV|PYTHON|VIRTUAL_ENV|MAKE|MFLAGS|DEBUG|CI$|FORCE_COLOR)")
    here = {str(Path(sys.prefix, "bin")), str(Path(sys.executable).parent)}
    path = [one for one in os.environ["PATH"].split(os.pathsep) if one not in here]
    kept = {name: value for name, value in unmeasured().items() if not own.match(name)}
    # Each program compiles what it imports, which is a small part of what pip would compile.
    return {**kept, "PATH": os.pathsep.join(path), "PIP_NO_COMPILE": "1"}


def read_readme(folder: Path, source: Path) -> Walk:
    """The README, in a clone, and the page of the examples, which are in the clone."""
    walk = Walk("README", folder, source)
    walk.type(f"git clone --quiet {source} micropie")
    walk.activate("environment")
    walk.file = "hello.py"
    walk.folder = folder / "own"
    walk.folder.mkdir()
    walk.read("README.md")
    walk.page = "docs/reference/index.md"
    walk.type("python -m pydoc micropie.App", ["| A web application. Its public methods are"])
    walk.folder = folder / "micropie"
    walk.read("docs/start/examples.md")
    return walk


def read_tutorials(folder: Path, source: Path) -> Walk:
    """The pages from the installation to the client of the second tutorial."""
    walk = Walk("Start", folder, source)
    (folder / "machine").mkdir()
    (folder / "pinned").mkdir()
    for page in START:
        walk.read(page)
    environ = dict(walk.environ)
    for index, name, pages in zip(INDEXES, ("blog", "recipes"), (BLOG, API), strict=True):
        walk.folder, walk.environ = folder / "pies", dict(environ)
        walk.read(index)
        walk.folder = folder / name
        walk.folder.mkdir()
        for page in pages:
            walk.read(page)
    walk.generate_of_every_feature()
    return walk


def main() -> None:
    began = time.monotonic()
    with TemporaryDirectory(prefix="first-path-") as above, ThreadPoolExecutor() as readers:
        source = Path(above, "repository")
        subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
        running = [
            readers.submit(read, Path(above, read.__name__), source)
            for read in (read_readme, read_tutorials)
        ]
        failures = [error for one in running if (error := one.exception())]
        for error in failures:
            if not isinstance(error, Failed):
                raise error
            print(f"first-path: {error}")
        if failures:
            sys.exit(1)
        pages = [page for one in running for page in one.result().pages]
    if missing := {*PAGES} ^ {*pages}:
        sys.exit(f"first-path: not read: {missing}")
    if unused := (NOT_RUN.keys() | INSTEAD.keys()) - Walk.used:
        sys.exit(f"first-path: no page has {sorted(unused)}")
    print(f"first-path: {len(pages)} pages in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
