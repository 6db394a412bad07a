from contextlib import asynccontextmanager
from typing import Annotated

from micropie import App, BindingErrors, HTTPError, Redirect, flash, get, post
from micropie.middleware import CSRFMiddleware
from msgspec import Meta

from database import Database


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
    def write(self):
        return self.render("write.html", errors=BindingErrors())

    @post("/write")
    def publish(
        self,
        errors: BindingErrors,
        title: Annotated[str, Meta(min_length=1, max_length=100)],
        text: Annotated[str, Meta(min_length=1)],
    ):
        if errors:
            return 422, self.render("write.html", errors=errors)
        number = self.database.add_post(title, text)
        flash("The post is published.")
        return Redirect(self.url_for("read", number))


app = Blog(Database("blog.db"), debug=True)
