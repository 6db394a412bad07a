"""A shop that stores an order and the job to send its mail in one transaction. It uses the
extension ``micropie_outbox``, the package in this folder.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from examples.outbox.micropie_outbox import Outbox
from micropie import App, post

FILE = os.environ.get("OUTBOX_DATABASE", "/tmp/outbox.db")  # noqa: S108


@contextmanager
def connect() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(FILE, timeout=30, check_same_thread=False)
    try:
        with connection:  # commits, or rolls back
            yield connection
    finally:
        connection.close()


outbox = Outbox(connect)


@outbox.job
def send_mail(email: str, pie: str) -> None:
    print(f"To: {email}. Your {pie} pie is in the oven.", flush=True)  # noqa: T201


class Shop(App):
    def index(self, db: sqlite3.Connection) -> list[str]:
        return [pie for (pie,) in db.execute("SELECT pie FROM orders")]

    @post
    def order(self, pie: str, email: str, db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO orders VALUES (?)", [pie])
        outbox.put(db, send_mail, email, pie)
        # Run the jobs now. The command drain-outbox runs those that fail.
        self.request.after_response(outbox.drain)
        return "ordered"


def create_tables() -> None:
    with connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (pie TEXT)")


app = Shop()
app.provides(sqlite3.Connection)(connect)
app.startup_handlers.append(create_tables)
outbox.add_to(app)
