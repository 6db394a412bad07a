"""The posts, in an SQLite file. This module doesn't depend on HTTP."""

import sqlite3
from contextlib import contextmanager

TABLES = """
create table if not exists posts (
    id integer primary key,
    title text not null,
    text text not null
);
"""


class Database:
    def __init__(self, path):
        self.path = path

    @contextmanager
    def connection(self):
        connection = sqlite3.connect(self.path)
        connection.row_factory = sqlite3.Row
        try:
            with connection:  # commits at the end, or rolls back after an exception
                yield connection
        finally:
            connection.close()

    def create_tables(self):
        with self.connection() as connection:
            connection.executescript(TABLES)

    def posts(self):
        with self.connection() as connection:
            return connection.execute("select * from posts order by id desc").fetchall()

    def post(self, number):
        with self.connection() as connection:
            return connection.execute("select * from posts where id = ?", [number]).fetchone()

    def add_post(self, title, text):
        with self.connection() as connection:
            return connection.execute(
                "insert into posts (title, text) values (?, ?)", [title, text]
            ).lastrowid
