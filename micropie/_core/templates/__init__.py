"""Templates by Jinja2, an optional dependency that is imported when the first template is needed.

Each application reads and compiles a template once (``rendering.py``, ``environment.py``). Only
with ``debug`` are the files looked at again. ``context.py`` has the names that every template sees.
"""

from micropie._core.templates.context import NO_VALUES, names_of, stream, template
from micropie._core.templates.rendering import DIRECTORY, Directory, Templates

__all__ = ["DIRECTORY", "NO_VALUES", "Directory", "Templates", "names_of", "stream", "template"]
