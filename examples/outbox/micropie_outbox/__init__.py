"""Jobs in a table of the application's own database: an extension of micropie.

    outbox = Outbox(make_session.begin)
    outbox.add_to(app)          # the command drain-outbox

It imports only the names of micropie that docs/extensions.md promises to keep.
"""

from __future__ import annotations

from .outbox import GiveUp, Outbox

__all__ = ["GiveUp", "Outbox"]
