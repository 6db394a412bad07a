"""The session as a handler sees it: a dict that knows whether it changed."""

from __future__ import annotations

import copy
from typing import Any


class Session(dict[str, Any]):
    """A client's data across requests. ``id`` is None until the session is stored for the first time."""

    def __init__(self, session_id: str | None = None, data: dict[str, Any] | None = None) -> None:
        super().__init__(data or {})
        self.id = session_id
        # A deep copy: ``session["cart"].append(...)`` is a change that no method of the dict sees.
        self._loaded = copy.deepcopy(dict(self))

    @property
    def changed(self) -> bool:
        """Whether there is something to save, changes inside the values included."""
        return self != self._loaded
