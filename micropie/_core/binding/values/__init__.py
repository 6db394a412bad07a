"""Convert single values from strings or from JSON.

To add a type, see ``simple_types`` in ``converters.py``. For the message for a value that can't be
converted, see ``error_message`` in the same module. ``constraints.py`` has limits such as
``Meta(ge=1)``. ``adapters.py`` has the types that pydantic converts. ``limits.py`` rejects
structures, and values inside them.
"""
