"""Structures: a whole body, query or form as one dataclass, TypedDict, attrs class, msgspec.Struct
or pydantic model.

``makers.py`` creates the objects, and reduces results to the declared fields. ``forms.py`` converts
form fields to a document. ``invalid.py`` has the messages that a visitor sees for an invalid
document.
"""
