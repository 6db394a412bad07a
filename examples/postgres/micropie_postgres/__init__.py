"""Sessions and the counts of rate limits in PostgreSQL: an extension of micropie.

    app = Shop(PostgresSessionBackend("postgresql://localhost/shop"))
    app.middlewares.append(RateLimit(100, per=60, store=PostgresRates("postgresql://localhost/shop")))

It imports only the names of micropie that docs/extensions.md promises to keep.
"""

from __future__ import annotations

from .rates import PostgresRates
from .sessions import PostgresSessionBackend

__all__ = ["PostgresRates", "PostgresSessionBackend"]
