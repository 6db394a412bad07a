"""Convert single values from strings or from JSON.

Open ``converters.py`` to add a type (``simple_types``) or to change the message for a value that
can't be converted (``error_message``). ``constraints.py`` has limits such as ``Meta(ge=1)``.
``adapters.py`` has the types that pydantic converts. ``limits.py`` rejects structures with fields
that clients must not set, and values in structures that a parameter would not accept.
"""
