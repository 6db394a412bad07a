"""A blog: posts and comments in SQLite, drafts for the author, a feed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from micropie import (
    App,
    BindingErrors,
    HTTPError,
    Redirect,
    Request,
    Response,
    escape,
    flash,
    get,
    html,
    post,
    requires,
    template,
)
from micropie.middleware import SecurityDefaults
from micropie.sessions import SQLiteSessionBackend

LIST = """<h1>{{ title }}</h1>
{% for post in posts %}<h2><a href="{{ url_for("show", post.slug) }}">{{ post.title }}</a></h2>
{{ post.body|safe }}{% endfor %}"""
Title = Annotated[str, Meta(min_length=1, max_length=120)]


def author(request: Request) -> bool | Redirect:
    return request.session.get("author") is True or Redirect("/login")


class Blog(App):
    def __init__(self) -> None:
        super().__init__(
            SQLiteSessionBackend("sessions.db"), security=SecurityDefaults("blog.example")
        )
        self.title = "On pies"
        self._started = datetime.now(UTC)

    @get
    def index(self, db: sqlite3.Connection, page: int = 1) -> str:
        limits = [11, 10 * (page - 1)]
        rows = db.execute("select * from posts where public limit ? offset ?", limits).fetchall()
        return template(source=LIST, title=self.title, posts=rows[:10], has_more=len(rows) > 10)

    @get("/posts/<slug>")
    def show(self, slug: str, db: sqlite3.Connection) -> str:
        found = db.execute("select * from posts where slug = ?", [slug]).fetchone()
        if found is None:
            raise HTTPError(404, f"There is no post {slug!r}.")
        comments = "".join(
            f"<li>{escape(row['text'])}</li>"
            for row in db.execute("select text from comments where slug = ?", [slug])
        )
        return f"<h1>{escape(found['title'])}</h1>{found['body']}<ul>{comments}</ul>"

    @post("/posts/<slug>/comments")
    def comment(
        self,
        slug: str,
        text: Annotated[str, Meta(max_length=5000)],
        db: sqlite3.Connection,
        errors: BindingErrors,
    ) -> object:
        if errors:
            return 422, html("<p role=alert>{}</p>", errors["text"])
        db.execute("insert into comments values (?, ?)", [slug, text])
        flash("Thank you!")
        return Redirect(self.url_for("show", slug))

    @get
    @requires(author)
    def drafts(self, db: sqlite3.Connection, order: str = "title") -> str:
        if order not in ("title", "day"):
            raise HTTPError(400)
        rows = db.execute(f"select * from posts where not public order by {order}")
        return template(source=LIST, title=f"Drafts by {order}", posts=rows.fetchall())

    @post
    @requires(author)
    def write(self, slug: str, title: Title, body: str, db: sqlite3.Connection) -> Redirect:
        db.execute("insert into posts values (?, ?, ?, 0)", [slug, title, body])
        return Redirect(self.url_for("drafts"))

    @get
    def feed(self, db: sqlite3.Connection) -> Response:
        items = "".join(
            f"<item><title>{escape(row['title'])}</title></item>"
            for row in db.execute("select title from posts where public")
        )
        link = self.absolute_url_for("index")
        body = f"<rss><channel><link>{escape(link)}</link>{items}</channel></rss>"
        return Response(body, content_type="application/rss+xml")


app = Blog()


@app.provides(sqlite3.Connection)
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect("blog.db")) as db, db:
        db.row_factory = sqlite3.Row
        yield db


@app.error(404)
def missing(request: Request, error: HTTPError) -> str:
    return html("<h1>Not here</h1><p>{}</p>", error.message)
