import logging
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from micropie import App, BindingErrors, HTTPError, Redirect, flash, get, post, requires
from micropie.middleware import AccessLog, RateLimit, SecurityDefaults
from micropie.sessions import SQLiteSessionBackend
from msgspec import Meta

from database import Database


def logged_in(request):
    if "author" not in request.session:
        return Redirect("/login")
    return True


class Blog(App):
    def __init__(self, database, **settings):
        super().__init__(**settings)
        self.database = database
        self.middlewares += [
            AccessLog(),
            # so that nobody can try many passwords
            RateLimit(10, per=60, exempt=lambda request: request.method != "POST"),
        ]
        self.static("/static", "static")
        self.health("/healthz")

    @asynccontextmanager
    async def lifespan(self):  # the part before the yield runs before the first request
        self.database.create_tables()
        yield

    def index(self):
        return self.render("index.html", posts=self.database.posts())

    def read(self, number: int):
        found = self.database.post(number)
        if found is None:
            raise HTTPError(404, "There is no such post.")
        return self.render("read.html", post=found)

    @get
    @requires(logged_in)
    def write(self):
        return self.render("write.html", errors=BindingErrors())

    @post("/write")
    @requires(logged_in)
    def publish(
        self,
        errors: BindingErrors,
        title: Annotated[str, Meta(min_length=1, max_length=100)],
        text: Annotated[str, Meta(min_length=1)],
    ):
        if errors:
            return 422, self.render("write.html", errors=errors)
        number = self.database.add_post(self.request.session["author"], title, text)
        flash("The post is published.")
        return Redirect(self.url_for("read", number))

    @get
    def login(self):
        return self.render("login.html", errors=BindingErrors())

    @post("/login")
    def check_login(self, errors: BindingErrors, name: str, password: str):
        if not errors and not self.database.is_author(name, password):
            errors.add("password", "Name or password is wrong.")
        if errors:
            return 422, self.render("login.html", errors=errors)
        self.request.session.regenerate()
        self.request.session["author"] = name
        return Redirect(self.url_for("write"))

    @post
    def logout(self):
        self.request.session.clear()
        return Redirect(self.url_for("index"))


def make_app(environment):
    """Create the application with the settings of this machine."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = Path(environment.get("BLOG_DATA", "."))
    hosts = environment.get("BLOG_HOSTS", "localhost,127.0.0.1").split(",")
    proxies = environment.get("BLOG_PROXIES", "").split()
    return Blog(
        Database(folder / "blog.db"),
        session_backend=SQLiteSessionBackend(folder / "sessions.db"),
        security=SecurityDefaults(*hosts, proxies=proxies, csp="default-src 'self'"),
        debug=environment.get("BLOG_DEBUG") == "1",
    )


app = make_app(os.environ)
