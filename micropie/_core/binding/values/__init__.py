"""Convert single values, from text or JSON.

Open ``converters.py`` to add a type (``simple_types``) or to change the message for a value that
can't be converted (``error_message``), and ``constraints.py`` for limits such as ``Meta(ge=1)``.
Open ``adapters.py`` for the values that pydantic makes, and ``limits.py`` to reject a structure or
a value inside it.
"""
