"""Single values: ``converters.py`` converts text or JSON, ``constraints.py`` checks the result."""
