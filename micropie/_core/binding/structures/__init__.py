"""Convert a whole body, query or form to a structure: a dataclass, TypedDict, attrs class,
msgspec.Struct or pydantic model.

Open ``makers.py`` to change how a structure is created, or how a result is reduced to the declared
fields. The other files:

- ``forms.py``: how form fields are converted to the dict from which a structure is created
- ``readings.py``: how texts become the numbers, dates and other values of msgspec's structures
- ``invalid.py``: the messages that a visitor sees for invalid values
- ``reducer.py``: which member of a union decides the fields of a result
- ``writers.py``: which library encodes the results of an annotation as JSON
"""
