"""The tracker's data, in an SQLite file. This module doesn't depend on HTTP."""

import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, convert

from micropie import Message

# Compared for an unknown name, so that it takes as long as a wrong password. No password has this
# hash.
NOBODY = bytes(80)
T = TypeVar("T")


@dataclass
class User:
    name: str
    is_admin: bool


@dataclass
class ProjectForm:
    key: Annotated[
        str,
        Meta(pattern="^[a-z0-9-]{2,20}$"),
        Message("Small letters, digits and hyphens, please."),
    ]
    title: Annotated[str, Meta(min_length=3, max_length=80)]


class Project(ProjectForm):
    """A stored project. A provider creates it, so it needs another class than the form."""


@dataclass
class IssueForm:
    """The fields of an issue that users can edit."""

    title: Annotated[str, Meta(min_length=3, max_length=120)]
    text: Annotated[str, Meta(max_length=10_000)] = ""
    priority: Literal["low", "normal", "high"] = "normal"
    due: date | None = None
    labels: list[Literal["bug", "feature", "question"]] = field(default_factory=list)
    closed: bool = False


@dataclass(kw_only=True)
class Issue(IssueForm):
    number: int
    project: str
    author: str


KEYS: dict[type, str] = {
    User: "users where name",
    Project: "projects where key",
    Issue: "issues where number",
}


def password_hash(password: str, salt: bytes | None = None) -> bytes:
    salt = salt or secrets.token_bytes(16)
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _written(form: IssueForm) -> dict[str, Any]:
    return {**asdict(form), "labels": json.dumps(form.labels), "due": form.due and str(form.due)}


def _read(row: sqlite3.Row) -> dict[str, Any]:
    return {name: json.loads(row[name]) if name == "labels" else row[name] for name in row.keys()}  # noqa: SIM118


class Db:
    """The database connection of one request."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        connection.row_factory = sqlite3.Row
        self.execute = connection.execute
        self.executescript = connection.executescript

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator["Db"]:
        """Open the file. Commit at the end, or roll back after an exception."""
        with closing(sqlite3.connect(path, check_same_thread=False)) as connection, connection:
            yield cls(connection)

    def all(self, kind: type[T], sql: str, *values: object) -> list[T]:
        """Return the rows as objects of the class ``kind``."""
        return [convert(_read(row), kind, strict=False) for row in self.execute(sql, values)]

    def one(self, kind: type[T], sql: str, *values: object) -> T | None:
        return next(iter(self.all(kind, sql, *values)), None)

    def insert(self, table: str, **values: object) -> int:
        """Add a row and return its number."""
        columns, places = ", ".join(values), ", ".join("?" * len(values))
        sql = f"insert into {table} ({columns}) values ({places})"  # noqa: S608 - the names come from this program
        return self.execute(sql, [*values.values()]).lastrowid or 0

    def find(self, kind: type[T], key: object) -> T | None:
        return self.one(kind, f"select * from {KEYS[kind]} = ?", key)  # noqa: S608 - the names come from this program

    def is_password(self, name: str, password: str) -> bool:
        row = self.execute("select password from users where name = ?", [name]).fetchone()
        stored: bytes = row["password"] if row else NOBODY
        return hmac.compare_digest(password_hash(password, stored[:16]), stored)

    def add_issue(self, project: Project, author: User, form: IssueForm) -> int:
        return self.insert("issues", project=project.key, author=author.name, **_written(form))

    def change_issue(self, issue: Issue, form: IssueForm) -> None:
        columns = ", ".join(f"{name} = :{name}" for name in asdict(form))
        self.execute(f"update issues set {columns} where number = {issue.number:d}", _written(form))  # noqa: S608
