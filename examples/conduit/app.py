"""Conduit, the API of the RealWorld project: users, profiles, articles, comments, favourites, tags.

Input is validated according to the annotations, which also describe the output. The OpenAPI
document is at /openapi.json. The data is in SQLite. Each request is one transaction.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection, IntegrityError, Row
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from micropie import App, BindingError, Header, HTTPError, delete, describe, get, post, put
from micropie.middleware import CORSMiddleware

DATABASE = os.environ.get("CONDUIT_DATABASE") or Path(tempfile.gettempdir(), "micropie-conduit.db")
TABLES = """
pragma journal_mode = wal;
create table if not exists users (
    id integer primary key, username text unique not null, email text unique not null,
    salt blob not null, password blob not null, bio text, image text);
create table if not exists tokens (
    hash blob primary key, user integer not null references users on delete cascade);
create table if not exists follows (
    follower integer not null references users, followed integer not null references users,
    primary key (follower, followed));
create table if not exists articles (
    id integer primary key, slug text unique not null, title text not null,
    description text not null, body text not null, author integer not null references users,
    created_at text not null, updated_at text not null);
create index if not exists articles_by_author on articles (author);
create table if not exists tags (
    article integer not null references articles on delete cascade, name text not null);
create index if not exists tags_by_article on tags (article);
create index if not exists tags_by_name on tags (name);
create table if not exists favorites (
    article integer not null references articles on delete cascade,
    user integer not null references users, primary key (article, user));
create table if not exists comments (
    id integer primary key, article integer not null references articles on delete cascade,
    author integer not null references users, body text not null, created_at text not null);
create index if not exists comments_by_article on comments (article);
"""
# The articles, with the facts that depend on the viewer.
ARTICLES = """
select a.*, u.username, u.bio, u.image,
    exists (select 1 from follows where followed = u.id and follower = :viewer) as following,
    exists (select 1 from favorites f where f.article = a.id and user = :viewer) as favorited,
    (select count(*) from favorites f where f.article = a.id) as favorites_count,
    (select json_group_array(name) from (
        select name from tags t where t.article = a.id order by name)) as tag_list
from articles a join users u on u.id = a.author
"""
CHOSEN = """
from articles a join users u on u.id = a.author
where (:tag is null or exists (select 1 from tags t where t.article = a.id and name = :tag))
and (:author is null or u.username = :author)
and (:favorited is null or exists (
    select 1 from favorites f join users v on v.id = f.user
    where f.article = a.id and v.username = :favorited))
and (:feed is null or exists (
    select 1 from follows where followed = u.id and follower = :feed))
"""
COMMENTS = """
select c.*, c.created_at as updated_at, u.username, u.bio, u.image,
    exists (select 1 from follows where followed = u.id and follower = :viewer) as following
from comments c join users u on u.id = c.author where c.article = :article
"""

Filled = Annotated[str, Meta(min_length=1, max_length=100_000)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Limit = Annotated[int, Meta(ge=1, le=100)]
Offset = Annotated[int, Meta(ge=0, le=1_000_000)]


class NewUser(Struct):
    username: Name
    email: Name
    password: Name


class Login(Struct):
    email: Name
    password: Name


class UserChange(Struct):
    username: Name | UnsetType = UNSET
    email: Name | UnsetType = UNSET
    password: Name | UnsetType = UNSET
    bio: str | UnsetType | None = UNSET
    image: str | UnsetType | None = UNSET


class User(Struct):
    username: str
    email: str
    token: str
    bio: str | None
    image: str | None


class Profile(Struct):
    username: str
    bio: str | None
    image: str | None
    following: bool


class NewArticle(Struct, rename="camel"):
    title: Annotated[str, Meta(min_length=1, max_length=500)]
    description: Filled
    body: Filled
    tag_list: Annotated[list[Name], Meta(max_length=50)] = []


class ArticleChange(Struct, rename="camel"):
    title: Filled | UnsetType = UNSET
    description: Filled | UnsetType = UNSET
    body: Filled | UnsetType = UNSET
    tag_list: Annotated[list[Name], Meta(max_length=50)] | UnsetType = UNSET


class Summary(Struct, rename="camel", kw_only=True):
    slug: str
    title: str
    description: str
    tag_list: list[str]
    created_at: Time
    updated_at: Time
    favorited: bool
    favorites_count: int
    author: Profile


class Article(Summary, kw_only=True):
    body: str


class NewComment(Struct):
    body: Filled


class Comment(Struct, rename="camel"):
    id: int
    created_at: Time
    updated_at: Time
    body: str
    author: Profile


# In the RealWorld API, each body is an object with a single member, such as "user".
class OfNewUser(Struct):
    user: NewUser


class OfLogin(Struct):
    user: Login


class OfUserChange(Struct):
    user: UserChange


class OfUser(Struct):
    user: User


class OfProfile(Struct):
    profile: Profile


class OfNewArticle(Struct):
    article: NewArticle


class OfArticleChange(Struct):
    article: ArticleChange


class OfArticle(Struct):
    article: Article


class OfArticles(Struct, rename="camel"):
    articles: list[Summary]
    articles_count: int


class OfNewComment(Struct):
    comment: NewComment


class OfComment(Struct):
    comment: Comment


class OfComments(Struct):
    comments: list[Comment]


class OfTags(Struct):
    tags: list[str]


class Refused(HTTPError):
    """An error in the RealWorld API's format: ``{"errors": {"article": ["not found"]}}``."""

    def __init__(self, status: int, field: str, reason: str) -> None:
        super().__init__(status, f"{field} {reason}")
        self.errors = {field: [reason]}


@dataclass(frozen=True)
class Viewer:
    """The user who sent the request. A visitor without a token has the id 0."""

    id: int
    token: str


@dataclass(frozen=True)
class Member(Viewer):
    """A viewer with a valid token."""


def viewer_of(db: Connection, authorization: Annotated[str, Header()] = "") -> Viewer:
    """Return the owner of the request's token, or a visitor: ``Authorization: Token abc``."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() not in ("token", "bearer"):
        return Viewer(0, "")
    row = db.execute("select user from tokens where hash = ?", [hash_of(token)]).fetchone()
    if row is None:
        raise Refused(401, "token", "is invalid")
    return Viewer(row["user"], token)


def member_of(viewer: Viewer) -> Member:
    """Return the owner of the request's token. Raises 401 if there is none."""
    if not viewer.id:
        raise Refused(401, "token", "is missing")
    return Member(viewer.id, viewer.token)


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def hash_password(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def now() -> str:
    moment = datetime.now(UTC).isoformat(timespec="microseconds")
    return moment.replace("+00:00", "Z")


def taken(error: IntegrityError) -> Refused:
    return Refused(409, "email" if "email" in str(error) else "username", "has already been taken")


def profile_of(row: Row) -> Profile:
    return Profile(row["username"], row["bio"], row["image"], bool(row["following"]))


def summary_of(row: Row) -> Summary:
    names = ("slug", "title", "description", "created_at", "updated_at", "favorites_count")
    return Summary(
        **{name: row[name] for name in names},
        favorited=bool(row["favorited"]),
        tag_list=json.loads(row["tag_list"]),
        author=profile_of(row),
    )


class Conduit(App):
    """The API below ``/api``."""

    def __init__(self, database: str | Path = DATABASE) -> None:
        super().__init__(docs=True, errors="json", expose="explicit")
        self.middlewares += [
            CORSMiddleware(origins=["*"], headers=["Authorization", "Content-Type"])
        ]
        self._database = database
        self.provides(Connection)(self._connect)
        self.provides(Viewer)(viewer_of)
        self.provides(Member)(member_of)
        self.error(Refused)(self._refuse)
        self.error(BindingError)(self._explain)
        with closing(sqlite3.connect(database)) as db:
            db.executescript(TABLES)

    def _connect(self) -> Iterator[Connection]:
        """Open a connection. Commit when the handler has returned, roll back if it raises an
        exception.
        """
        # The connection may be opened in one worker thread and used in another, but never in both
        # at once.
        with closing(sqlite3.connect(self._database, timeout=10, check_same_thread=False)) as db:
            db.row_factory = Row
            db.execute("pragma foreign_keys = on")
            with db:
                yield db

    def _refuse(self, error: Refused) -> tuple[int, dict[str, object], dict[str, str]]:
        challenge = {"WWW-Authenticate": "Token"} if error.status == 401 else {}
        return error.status, {"errors": error.errors}, challenge

    def _explain(self, error: BindingError) -> tuple[int, dict[str, object]]:
        reasons: dict[str, list[str]] = {}
        for one in error.errors:
            is_blank = one.given in ("", b"") or not one.source
            name = str(one.path[-1]) if one.path else one.parameter
            reasons.setdefault(name, []).append("can't be blank" if is_blank else str(one))
        return 422, {"errors": reasons}

    # -- users

    @post("/users")
    @describe(status=201)
    def register(self, db: Connection, body: OfNewUser) -> tuple[Literal[201], OfUser]:
        """Create a user."""
        salt, user = secrets.token_bytes(16), body.user
        try:
            made = db.execute(
                "insert into users (username, email, salt, password) values (?, ?, ?, ?)",
                [user.username, user.email, salt, hash_password(user.password, salt)],
            )
        except IntegrityError as error:
            raise taken(error) from None
        return 201, self._logged_in(db, made.lastrowid or 0)

    @post("/users/login")
    def log_in(self, db: Connection, body: OfLogin) -> OfUser:
        """Return a new token for a user."""
        row = db.execute("select * from users where email = ?", [body.user.email]).fetchone()
        salt = row["salt"] if row else bytes(16)  # makes an unknown address take as long
        hashed = hash_password(body.user.password, salt)
        if row is None or not hmac.compare_digest(hashed, row["password"]):
            raise Refused(401, "credentials", "invalid")
        return self._logged_in(db, row["id"])

    @get("/user")
    def me(self, db: Connection, member: Member) -> OfUser:
        """Return the current user."""
        return self._user(db, member)

    @put("/user")
    def change_me(self, db: Connection, member: Member, body: OfUserChange) -> OfUser:
        """Change the given fields of the current user."""
        sent = {
            name: value for name, value in structs.asdict(body.user).items() if value is not UNSET
        }
        password = sent.pop("password", None)
        if password is not None:
            sent["salt"] = secrets.token_bytes(16)
            sent["password"] = hash_password(password, sent["salt"])
        for name, value in sent.items():
            kept = None if value == "" else value  # "" removes a biography or a picture
            try:  # each name is a field of UserChange, so no client can choose it
                db.execute(f"update users set {name} = ? where id = ?", [kept, member.id])  # noqa: S608
            except IntegrityError as error:
                raise taken(error) from None
        return self._user(db, member)

    def _logged_in(self, db: Connection, number: int) -> OfUser:
        token = secrets.token_urlsafe(32)
        db.execute("insert into tokens values (?, ?)", [hash_of(token), number])
        return self._user(db, Viewer(number, token))

    def _user(self, db: Connection, viewer: Viewer) -> OfUser:
        row = db.execute("select * from users where id = ?", [viewer.id]).fetchone()
        return OfUser(User(row["username"], row["email"], viewer.token, row["bio"], row["image"]))

    # -- profiles

    @get("/profiles/<username>")
    def profile(self, db: Connection, viewer: Viewer, username: str) -> OfProfile:
        """Return the public part of a user."""
        query = (
            "select *, exists (select 1 from follows where followed = users.id and follower = ?)"
            " as following from users where username = ?"
        )
        row = db.execute(query, [viewer.id, username]).fetchone()
        if row is None:
            raise Refused(404, "profile", "not found")
        return OfProfile(profile_of(row))

    @post("/profiles/<username>/follow")
    def follow(self, db: Connection, member: Member, username: str) -> OfProfile:
        """Follow a user."""
        query = "insert or ignore into follows select ?, id from users where username = ?"
        db.execute(query, [member.id, username])
        return self.profile(db, member, username)

    @delete("/profiles/<username>/follow")
    def unfollow(self, db: Connection, member: Member, username: str) -> OfProfile:
        """Unfollow a user."""
        query = (
            "delete from follows where follower = ?"
            " and followed = (select id from users where username = ?)"
        )
        db.execute(query, [member.id, username])
        return self.profile(db, member, username)

    # -- articles

    @get("/articles")
    def articles(
        self,
        db: Connection,
        viewer: Viewer,
        tag: str | None = None,
        author: str | None = None,
        favorited: str | None = None,
        limit: Limit = 20,
        offset: Offset = 0,
    ) -> OfArticles:
        """List articles, the newest first."""
        chosen = {"tag": tag, "author": author, "favorited": favorited, "feed": None}
        return self._articles(db, viewer, {**chosen, "limit": limit, "offset": offset})

    @get("/articles/feed")
    def feed(
        self, db: Connection, member: Member, limit: Limit = 20, offset: Offset = 0
    ) -> OfArticles:
        """List articles of followed users, the newest first."""
        chosen = {"tag": None, "author": None, "favorited": None, "feed": member.id}
        return self._articles(db, member, {**chosen, "limit": limit, "offset": offset})

    def _articles(self, db: Connection, viewer: Viewer, chosen: dict[str, object]) -> OfArticles:
        where = CHOSEN.partition("where")[2]
        query = f"{ARTICLES} where {where} order by a.id desc limit :limit offset :offset"
        rows = db.execute(query, {**chosen, "viewer": viewer.id})
        [total] = db.execute(f"select count(*) {CHOSEN}", chosen).fetchone()
        return OfArticles([summary_of(row) for row in rows], total)

    @post("/articles")
    @describe(status=201)
    def publish(
        self, db: Connection, member: Member, body: OfNewArticle
    ) -> tuple[Literal[201], OfArticle]:
        """Publish an article."""
        new, moment = body.article, now()
        words = re.sub(r"[^a-z0-9]+", "-", new.title.lower()).strip("-")[:80]
        slug = f"{words}-{secrets.token_hex(4)}".lstrip("-")
        made = db.execute(
            "insert into articles (slug, title, description, body, author, created_at, updated_at)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            [slug, new.title, new.description, new.body, member.id, moment, moment],
        )
        self._tag(db, made.lastrowid or 0, new.tag_list)
        return 201, self.article(db, member, slug)

    def _tag(self, db: Connection, number: int, names: list[str]) -> None:
        db.execute("delete from tags where article = ?", [number])
        rows = [(number, name) for name in dict.fromkeys(names)]
        db.executemany("insert into tags values (?, ?)", rows)

    def _found(self, db: Connection, viewer: Viewer, slug: str) -> Row:
        query = f"{ARTICLES} where a.slug = :slug"
        row: Row | None = db.execute(query, {"viewer": viewer.id, "slug": slug}).fetchone()
        if row is None:
            raise Refused(404, "article", "not found")
        return row

    def _owned(self, db: Connection, member: Member, slug: str) -> Row:
        row = self._found(db, member, slug)
        if row["author"] != member.id:
            raise Refused(403, "article", "forbidden")
        return row

    @get("/articles/<slug>")
    def article(self, db: Connection, viewer: Viewer, slug: str) -> OfArticle:
        """Return an article."""
        row = self._found(db, viewer, slug)
        return OfArticle(Article(**structs.asdict(summary_of(row)), body=row["body"]))

    @put("/articles/<slug>")
    def change(self, db: Connection, member: Member, slug: str, body: OfArticleChange) -> OfArticle:
        """Change the given fields of your own article."""
        row, new = self._owned(db, member, slug), body.article
        texts = [
            row[name] if value is UNSET else value
            for name, value in (
                ("title", new.title),
                ("description", new.description),
                ("body", new.body),
            )
        ]
        db.execute(
            "update articles set title = ?, description = ?, body = ?, updated_at = ? where id = ?",
            [*texts, now(), row["id"]],
        )
        if new.tag_list is not UNSET:
            self._tag(db, row["id"], new.tag_list)
        return self.article(db, member, slug)

    @delete("/articles/<slug>")
    def remove(self, db: Connection, member: Member, slug: str) -> tuple[Literal[204], None]:
        """Remove your own article, with its comments."""
        row = self._owned(db, member, slug)
        db.execute("delete from articles where id = ?", [row["id"]])
        return 204, None

    @post("/articles/<slug>/favorite")
    def favor(self, db: Connection, member: Member, slug: str) -> OfArticle:
        """Mark an article as a favourite."""
        row = self._found(db, member, slug)
        db.execute("insert or ignore into favorites values (?, ?)", [row["id"], member.id])
        return self.article(db, member, slug)

    @delete("/articles/<slug>/favorite")
    def disfavor(self, db: Connection, member: Member, slug: str) -> OfArticle:
        """Unmark an article as a favourite."""
        row = self._found(db, member, slug)
        db.execute("delete from favorites where article = ? and user = ?", [row["id"], member.id])
        return self.article(db, member, slug)

    # -- comments and tags

    @get("/articles/<slug>/comments")
    def comments(self, db: Connection, viewer: Viewer, slug: str) -> OfComments:
        """List the comments on an article, the oldest first."""
        row = self._found(db, viewer, slug)
        return OfComments(self._comments(db, viewer, row["id"]))

    def _comments(self, db: Connection, viewer: Viewer, article: int) -> list[Comment]:
        rows = db.execute(f"{COMMENTS} order by c.id", {"viewer": viewer.id, "article": article})
        return [
            Comment(row["id"], row["created_at"], row["updated_at"], row["body"], profile_of(row))
            for row in rows
        ]

    @post("/articles/<slug>/comments")
    @describe(status=201)
    def comment(
        self, db: Connection, member: Member, slug: str, body: OfNewComment
    ) -> tuple[Literal[201], OfComment]:
        """Comment on an article."""
        row = self._found(db, member, slug)
        db.execute(
            "insert into comments (article, author, body, created_at) values (?, ?, ?, ?)",
            [row["id"], member.id, body.comment.body, now()],
        )
        return 201, OfComment(self._comments(db, member, row["id"])[-1])

    @delete("/articles/<slug>/comments/<number:int>")
    def remove_comment(
        self, db: Connection, member: Member, slug: str, number: int
    ) -> tuple[Literal[204], None]:
        """Remove your own comment."""
        article = self._found(db, member, slug)
        query = "select author from comments where article = ? and id = ?"
        row = db.execute(query, [article["id"], number]).fetchone()
        if row is None:
            raise Refused(404, "comment", "not found")
        if row["author"] != member.id:
            raise Refused(403, "comment", "forbidden")
        db.execute("delete from comments where id = ?", [number])
        return 204, None

    @get("/tags")
    def tags(self, db: Connection) -> OfTags:
        """List the tags of all articles."""
        rows = db.execute("select name, count(*) from tags group by 1 order by 2 desc, 1 limit 100")
        return OfTags([name for name, _ in rows])


def make_app(database: str | Path = DATABASE) -> App:
    """Return a site with the API at /api."""
    site = App()
    site.mount("/api", Conduit(database))
    return site


app = make_app()
