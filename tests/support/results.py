"""Handlers whose annotation and result a test chooses."""

from __future__ import annotations

from typing import Any

from micropie import App


def shown(annotation: Any, result: Any) -> App:
    """Return an application whose page returns ``result``, with ``annotation`` as the result's."""

    def show() -> Any:
        return result

    show.__annotations__["return"] = annotation
    app = App()
    app.get("/")(show)
    return app
