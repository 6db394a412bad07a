"""Structures: a whole body, query or form as one dataclass, TypedDict, attrs class, msgspec.Struct
or pydantic model.

Open ``makers.py`` to change how an object is created, or how a result is reduced to the declared
fields. Open ``forms.py`` to change how form fields are converted to a document, and ``invalid.py``
to change the messages that a visitor sees for an invalid document.
"""
