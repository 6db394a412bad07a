"""The posts and their authors, in an SQLite file. This module doesn't depend on HTTP."""

import sqlite3
from contextlib import contextmanager

from passwords import hash_password, is_password

# No password has this hash. It is compared for an unknown name, which then takes as long as a wrong
# password, so that nobody learns which names exist.
NOBODY = bytes(80)

TABLES = """
create table if not exists posts (
    id integer primary key,
    author text not null,
    title text not null,
    text text not null
);
create table if not exists authors (
    name text primary key,
    password blob not null
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

    def add_post(self, author, title, text):
        with self.connection() as connection:
            sql = "insert into posts (author, title, text) values (?, ?, ?)"
            return connection.execute(sql, [author, title, text]).lastrowid

    def add_author(self, name, password):
        with self.connection() as connection:
            connection.execute("insert into authors values (?, ?)", [name, hash_password(password)])

    def is_author(self, name, password):
        with self.connection() as connection:
            row = connection.execute(
                "select password from authors where name = ?", [name]
            ).fetchone()
        return is_password(password, row["password"] if row else NOBODY)
