from contextlib import asynccontextmanager
from typing import Annotated

from micropie import App, BindingErrors, HTTPError, Redirect, flash, get, post, requires
from micropie.middleware import CSRFMiddleware
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
        self.middlewares.append(CSRFMiddleware())
        self.static("/static", "static")

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


app = Blog(Database("blog.db"), debug=True)
