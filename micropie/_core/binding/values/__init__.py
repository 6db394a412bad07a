"""Convert single values from strings or from JSON.

Open ``converters.py`` to add a type (``simple_types``) or to change the message for a value that
can't be converted (``error_message``). The other files:

- ``constraints.py``: constraints such as ``Meta(ge=1)``
- ``adapters.py``: the types that pydantic converts
- ``finder.py``: finds the values that ``limits.py`` checks in a document or a result
- ``limits.py``: rejects values that a parameter would not accept, and structures with fields that
  clients must not set
- ``shapes.py``: checks the classes and the numbers inside a structure, attribute by attribute
- ``unions.py``: rejects unions of pydantic models whose validation takes exponential time
"""
