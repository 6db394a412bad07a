"""The package ``micropie_compat``, which programs of other frameworks need. It is a distribution of
its own, and no other module of micropie imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from micropie.cli.serving.options import ServingError

PACKAGE = "micropie_compat"


def import_compat(module: str = "") -> Any:
    """Import ``micropie_compat`` or, for "moving" for example, one of its modules.

    Raises ``ServingError`` if the package isn't installed.
    """
    try:
        package = import_module(PACKAGE)
    except ModuleNotFoundError as error:
        if error.name != PACKAGE:
            raise
        raise ServingError(
            "programs for another framework need the package micropie-compat. Install both from "
            "your clone: pip install path/to/micropie path/to/micropie/compat"
        ) from None
    return import_module(f"{PACKAGE}.{module}") if module else package
