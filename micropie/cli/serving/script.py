"""``app.run()``: serve an application from its own script."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from micropie.cli.serving.options import Options, ServingError, Target
from micropie.cli.serving.run import serve
from micropie.errors import SetupError


def run_app(app: object, options: dict[str, Any], reload: bool) -> None:
    """Serve ``app`` until the process is told to end. Exits with one sentence for options that can't be met."""
    try:
        serve(Target(app, _name_of(app)), Options(**options), reload)
    except (ServingError, SetupError) as error:
        raise SystemExit(f"micropie: {error}") from None


def _name_of(app: object) -> str | None:
    """Return the name by which another process can import an application of the script; None if it has none."""
    main = sys.modules["__main__"]
    attribute = next((name for name, value in vars(main).items() if value is app), None)
    if attribute is None:
        return None
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # python -m shop.site
        return f"{spec.name}:{attribute}"
    file = getattr(main, "__file__", None)
    return None if file is None else f"{Path(file).stem}:{attribute}"
