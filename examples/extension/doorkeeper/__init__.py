"""Doorkeeper, an extension of micropie: clients need an API key, and each key has its own rate
limit.

It imports only public names of micropie's packages, so it works with every server that micropie
supports, and with every version that keeps these names.

    install(app, "data", find=name_of)                       # the whole extension
    app.middlewares.append(ApiKeys(name_of))                 # or a part of it
"""

from __future__ import annotations

from pathlib import Path

from micropie import App, SetupError
from micropie.middleware import RateLimit

from .files import FileRates, FileSessions, Folder
from .keys import ApiKeys, Find, client_of
from .pages import Status

__all__ = ["ApiKeys", "FileRates", "FileSessions", "Find", "Folder", "client_of", "install"]


def install(
    app: App,
    folder: str | Path,
    *,
    find: Find,
    limit: int = 5,
    per: float = 10,
    status: str = "/doorkeeper",
) -> None:
    """Require API keys for ``app``, and store its sessions and the rates of clients in ``folder``.

    - ``find``: see ``ApiKeys``.
    - ``limit``, ``per``: each client may send ``limit`` requests in ``per`` seconds.
    - ``status``: the path of a page that shows a client its name.

    Raises ``SetupError`` if the application has another session backend.
    """
    if app.session_backend is not None:
        raise SetupError(
            "doorkeeper keeps the sessions in files: this application has another session backend"
        )
    documents = Folder(folder)
    app.session_backend = FileSessions(documents)
    app.middlewares += [
        ApiKeys(find),
        RateLimit(limit, per, key=client_of, store=FileRates(documents)),
    ]
    app.startup_handlers.append(documents.open)
    app.mount(status, Status())
