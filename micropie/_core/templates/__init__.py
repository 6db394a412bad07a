"""Templates with Jinja2, an optional dependency that is imported when the first template is needed.

Open ``context.py`` to add a name that every template sees, ``environment.py`` to change Jinja2's
settings, and ``rendering.py`` for how a template is found and rendered. Each application reads and
compiles a template once. Only with ``debug`` are the files checked again.
"""

from micropie._core.templates.context import NO_VALUES, names_of, stream, template
from micropie._core.templates.rendering import DIRECTORY, Directory, Templates

__all__ = ["DIRECTORY", "NO_VALUES", "Directory", "Templates", "names_of", "stream", "template"]
