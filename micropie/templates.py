"""Templates by Jinja2, an optional dependency: the only place that knows it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

try:
    import jinja2
except ImportError:  # pragma: no cover - the tests set it to None
    jinja2 = None  # type: ignore[assignment]


def render(directory: str, name: str, context: dict[str, Any]) -> str:
    """The template ``name`` of ``directory``, rendered; everything in ``context`` is escaped.

    Raises ``RuntimeError`` if Jinja2 is not installed and ``LookupError`` if there is no such template.
    """
    if jinja2 is None:
        raise RuntimeError('templates need Jinja2: pip install "micropie[standard]"')
    try:
        return str(_environment(directory).get_template(name).render(context))
    except jinja2.TemplateNotFound as error:
        where = Path(directory).resolve()
        raise LookupError(f"there is no template {error.name!r} in {where}") from None


@lru_cache(maxsize=16)
def _environment(directory: str) -> Any:
    # Always escaped: by file name, as other frameworks decide, "a.txt" and "a.html.j2" would not be.
    return jinja2.Environment(loader=jinja2.FileSystemLoader(directory), autoescape=True)
