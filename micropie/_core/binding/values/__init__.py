"""Single values, from text or JSON.

Open ``converters.py`` to add a type (``simple_types``) or to change the message for a value that
doesn't convert (``error_message``), and ``constraints.py`` for limits such as ``Meta(ge=1)``.
"""
