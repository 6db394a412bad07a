"""An admin page: the routes, the load and the subscribers of an application, as an extension of
micropie.

    app.mount("/admin", Admin(check))

It imports only the names of micropie that docs/extensions.md promises to keep.
"""

from __future__ import annotations

from .pages import Admin

__all__ = ["Admin"]
