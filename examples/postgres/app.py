"""An application whose workers, on any number of machines, share sessions and rates in PostgreSQL.
It uses the extension ``micropie_postgres``, the package in this folder.
"""

from __future__ import annotations

import os

from examples.postgres.micropie_postgres import PostgresRates, PostgresSessionBackend
from micropie import App, post
from micropie.middleware import RateLimit, SecurityDefaults

URL = os.environ.get("POSTGRES_URL") or "postgresql://localhost/postgres"


class Counter(App):
    def index(self) -> str:
        return str(self.request.session.get("count", 0))

    @post
    def count(self) -> str:
        return str(self.request.session.update_atomic("count", lambda count: (count or 0) + 1))

    @post
    def leave(self) -> str:
        self.request.session.clear()
        return "bye"


sessions, rates = PostgresSessionBackend(URL), PostgresRates(URL)
app = Counter(sessions, security=SecurityDefaults("localhost", "127.0.0.1", "::1"))
app.middlewares.append(RateLimit(20, per=10, store=rates))
app.shutdown_handlers += [sessions.close, rates.close]
app.health()
