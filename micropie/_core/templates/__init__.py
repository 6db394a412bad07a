"""Templates with Jinja2, an optional dependency that is imported for the first template.

Open ``context.py`` to add a name that is available in every template. The other files:

- ``environment.py``: Jinja2's settings
- ``rendering.py``: how a template is found and rendered

Each application reads and compiles a template once. The template files are checked for changes only
with ``debug``.
"""

from micropie._core.templates.context import NO_VALUES, names_of, stream, template
from micropie._core.templates.rendering import Directory, Templates
