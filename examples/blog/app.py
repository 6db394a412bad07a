"""A blog with posts and comments in SQLite. The list of posts is paginated, and each request that
writes is one transaction.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Annotated

from msgspec import Meta

from micropie import App, HTTPError, Page, Redirect, flash, get, post, template
from micropie.middleware import SecurityDefaults

DATABASE = Path(os.environ.get("BLOG_DATABASE") or Path(tempfile.gettempdir()) / "micropie-blog.db")

TABLES = """
create table if not exists posts (id integer primary key, title text not null, text text not null);
create table if not exists comments (id integer primary key, post integer not null references posts, text text not null)
"""  # noqa: E501

HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{{ title }}</title>
<nav><a href="{{ url_for("index") }}">Blog</a></nav>
<main>
<h1>{{ title }}</h1>
{% for message in get_flashed_messages() %}<p role="status">{{ message }}</p>{% endfor %}
"""

LIST = (
    HEAD
    + """
{% for id, title in page %}<p><a href="{{ url_for("show", number=id) }}">{{ title }}</a>{% else %}<p>No posts yet.
{% endfor %}
{% if page.previous_url %}<p><a href="{{ page.previous_url }}">newer</a>{% endif %}
{% if page.next_url %}<p><a href="{{ page.next_url }}">older</a>{% endif %}
<form method="post" action="{{ url_for("write") }}">{{ csrf_input }}
<p><input name="title" aria-label="Title" required> <textarea name="text" aria-label="Text" required></textarea>
<button>Publish</button></form>
</main>
"""  # noqa: E501
)

POST = (
    HEAD
    + """
<p>{{ text }}
<h2>Comments</h2>
{% for (comment,) in comments %}<p>{{ comment }}{% endfor %}
<form method="post" action="{{ url_for("comment", number=number) }}">{{ csrf_input }}
<input name="text" aria-label="Comment" required> <button>Comment</button></form>
</main>
"""
)

Title = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(min_length=1, max_length=100_000)]


@contextmanager
def database() -> Iterator[Connection]:
    """Open a connection for a request.

    Commit when the handler has returned. Roll back if it raises an exception.
    """
    # The connection may be opened in one worker thread and used in another, but never in both at
    # once.
    with (
        closing(sqlite3.connect(DATABASE, timeout=10, check_same_thread=False)) as connection,
        connection,
    ):
        connection.execute("pragma foreign_keys = on")
        yield connection


class Blog(App):
    def __init__(self) -> None:
        super().__init__(
            security=SecurityDefaults("localhost", "127.0.0.1", "::1", csp="default-src 'self'")
        )
        self.provides(Connection)(database)  # for every handler that has a parameter of this type

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        with database() as db:
            db.executescript(TABLES)
        yield

    @get
    def index(self, db: Connection, page: int = 1) -> str:
        size = 5
        (total,) = db.execute("select count(*) from posts").fetchone()
        query = "select id, title from posts order by id desc limit ? offset ?"
        rows = db.execute(query, (size, Page.offset(page, size))).fetchall()
        return template(source=LIST, title="Blog", page=Page(rows, page, size=size, total=total))

    @get("/posts/<number:int>")
    def show(self, number: int, db: Connection) -> str:
        row = db.execute("select title, text from posts where id = ?", (number,)).fetchone()
        if row is None:
            raise HTTPError(404, "There is no such post.")
        comments = db.execute(
            "select text from comments where post = ? order by id", (number,)
        ).fetchall()
        return template(source=POST, title=row[0], text=row[1], comments=comments, number=number)

    @post
    def write(self, title: Title, text: Text, db: Connection) -> Redirect:
        number = db.execute(
            "insert into posts (title, text) values (?, ?)", (title, text)
        ).lastrowid
        flash("Published.")
        return Redirect(self.url_for("show", number=number))

    @post("/posts/<number:int>/comments")
    def comment(self, number: int, text: Text, db: Connection) -> Redirect:
        try:
            db.execute("insert into comments (post, text) values (?, ?)", (number, text))
        except sqlite3.IntegrityError:
            raise HTTPError(404, "There is no such post.") from None
        return Redirect(self.url_for("show", number=number))


app = Blog()
