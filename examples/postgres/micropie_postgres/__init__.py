"""Sessions and the counts of rate limits in PostgreSQL: an extension of micropie.

    app = Shop(PostgresSessionBackend("postgresql://localhost/shop"))
    app.middlewares.append(RateLimit(100, per=60, store=PostgresRates("postgresql://localhost/shop")))

It imports nothing of micropie but the names that docs/extensions.md promises.
"""

from __future__ import annotations

from .rates import PostgresRates
from .sessions import PostgresSessionBackend

__all__ = ["PostgresRates", "PostgresSessionBackend"]
