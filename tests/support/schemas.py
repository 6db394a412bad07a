"""The schemas of an application that has certain types of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from micropie._core.binding import OwnTypes
from micropie.openapi.schemas import Mode, Schemas


def schemas_for(own: OwnTypes, components: dict[str, Any], mode: Mode) -> Schemas:
    application: Any = SimpleNamespace(types=own)
    return Schemas(application, components, mode)
