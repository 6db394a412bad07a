"""A token is a random string.

The database contains only its hash, so nobody can use a copy of the database to log in.
"""

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import select

from micropie.middleware import BearerAuth

from database import TokenRow, UserRow, sessions


def _now():
    return datetime.now(UTC).replace(tzinfo=None)  # SQLite stores no time zones


def new_token(db, user):
    token = secrets.token_urlsafe(32)
    db.add(
        TokenRow(
            hash=sha256(token.encode()).digest(),
            user_id=user.id,
            expires=_now() + timedelta(days=30),
        )
    )
    return token


def user_of(token):
    """Return the user to whom a token belongs, or None."""
    found = select(UserRow).join(TokenRow).where(TokenRow.hash == sha256(token.encode()).digest())
    with sessions() as db:
        return db.scalar(found.where(TokenRow.expires > _now()))


auth = BearerAuth(user_of)
