"""Short links: POST a URL, and get a short one that redirects to it.

Each client may create ten short links in a minute.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from micropie import App, HTTPError, Redirect, describe, get, post
from micropie.middleware import RateLimit, TrustedHosts

DATABASE = Path(
    os.environ.get("SHORTENER_DATABASE") or Path(tempfile.gettempdir()) / "micropie-shortener.db"
)


class Shortener(App):
    def __init__(self) -> None:
        super().__init__(errors="json")
        # the short address contains the host
        self.middlewares.append(TrustedHosts("localhost", "127.0.0.1", "::1"))

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self._run("create table if not exists links (code text primary key, url text not null)")
        yield

    def _run(self, statement: str, *values: str) -> list[Any]:
        with closing(sqlite3.connect(DATABASE, timeout=10)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    @RateLimit(10, per=60)
    @post("/links")
    def create(self, url: str) -> tuple[int, dict[str, str]]:
        try:
            is_web = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
        except ValueError:
            is_web = False
        if (
            not is_web
            or not url.isascii()
            or not url.isprintable()
            or " " in url
            or len(url) > 2000
        ):
            raise HTTPError(
                400,
                (
                    "The url must begin with http:// or https:// and be "
                    "at most 2000 characters long."
                ),
            )
        code = secrets.token_urlsafe(5)
        self._run("insert into links values (?, ?)", code, url)
        return 201, {
            "short": f"{self.request.scheme}://{self.request.host}{self.url_for('follow', code=code)}"  # noqa: E501
        }

    @get("/<code>")
    @describe(status=302)
    def follow(self, code: str) -> Redirect:
        found = self._run("select url from links where code = ?", code)
        if not found:
            raise HTTPError(404, "There is no such link.")
        return Redirect(found[0][0], 302, allow_external=True, allow_http=True)


app = Shortener()
