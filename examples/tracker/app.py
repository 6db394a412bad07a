"""An issue tracker, with the structure of a real application.

Each part is an ``App`` in its own file; this file combines them.

The settings come from environment variables such as TRACKER_FOLDER and TRACKER_HOSTS.
Behind nginx, set TRACKER_PROXIES=127.0.0.1.
"""

import logging
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path
from typing import Any

from examples.tracker.accounts import Account, admins, logged_in, members
from examples.tracker.admin import Admin
from examples.tracker.api import Api
from examples.tracker.database import Db, Issue, Project, User, password_hash, token_hash
from examples.tracker.issues import Issues, News
from examples.tracker.projects import Projects, wanted_issue, wanted_project
from micropie import App, HTTPError, command, config, get, requires
from micropie.middleware import AccessLog, SecurityDefaults
from micropie.sessions import SQLiteSessionBackend

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Settings:
    folder: Path = Path(tempfile.gettempdir()) / "micropie-tracker"
    hosts: list[str] = field(default_factory=lambda: ["localhost", "127.0.0.1", "::1"])
    proxies: list[str] = field(default_factory=list)
    debug: bool = False


def old_tracker(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Redirect /cgi-bin/bug/7 to issue 7. This WSGI application stands for an older program, whose
    URLs are still in use.
    """
    number = environ["PATH_INFO"].rpartition("/")[2]
    place = environ["SCRIPT_NAME"].removesuffix("/cgi-bin") + f"/issues/{number}"
    start_response("301 Moved Permanently", [("Location", place), ("Content-Type", "text/plain")])
    return [b"The issues have moved."]


class Tracker(App):
    def __init__(self, settings: Settings) -> None:
        folder = settings.folder
        database = folder / "tracker.db"
        csp = "default-src 'self'; img-src 'self' data:"
        super().__init__(
            SQLiteSessionBackend(folder / "sessions.db"),
            templates=HERE / "templates",
            debug=settings.debug,
            security=SecurityDefaults(
                *settings.hosts, proxies=settings.proxies, csp=csp, exempt=["/api/v1"]
            ),
        )
        self._uploads = folder / "uploads"
        self.middlewares.append(AccessLog())
        self.static("/static", HERE / "static")
        self.account = Account()
        self.projects = requires(members)(Projects())
        self.issues = requires(members)(Issues(self._uploads))
        self.news = requires(logged_in)(News())
        self.admin = requires(admins)(Admin())
        self.api = Api(database)
        self.mount("/cgi-bin", old_tracker)
        self.provides(Db)(lambda: Db.opened(database))
        self.provides(Project)(wanted_project)
        self.provides(Issue)(wanted_issue)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        logging.basicConfig(level=logging.INFO)  # by default, Python hides the lines of AccessLog
        self._uploads.mkdir(parents=True, exist_ok=True)
        yield

    @get
    @requires(members)
    def index(self, db: Db) -> str:
        return self.render("index.html", projects=db.execute("select * from overview").fetchall())

    @command
    def init_db(self, db: Db, demo: bool = False) -> None:
        """Create the tables."""
        db.executescript((HERE / "tables.sql").read_text())
        if demo:
            db.insert("projects", key="pies", title="Pies and cakes")

    @command
    def add_user(self, db: Db, name: str, *, password: str = "", admin: bool = False) -> None:
        """Add a user who can log in. Without --password, the command asks for the password."""
        if db.find(User, name):
            raise HTTPError(409, "This name is taken.")
        password = password or getpass()
        db.insert("users", name=name, password=password_hash(password), is_admin=admin)

    @command
    def new_token(self, db: Db, name: str) -> str:
        """Create a token for the API. The user's earlier token becomes invalid."""
        if db.find(User, name) is None:
            raise HTTPError(404, "There is no such user.")
        token = secrets.token_urlsafe(32)
        db.execute("update users set token = ? where name = ?", [token_hash(token), name])
        return token


def make_app(settings: Settings | None = None) -> Tracker:
    return Tracker(settings or config.read(Settings, prefix="TRACKER_"))


app = make_app()
