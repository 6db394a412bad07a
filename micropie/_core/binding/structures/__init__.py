"""Structures: a whole body, query or form as one dataclass, TypedDict, attrs class, msgspec.Struct
or pydantic model.

Open ``makers.py`` for how an object is made and dumped, ``forms.py`` for how form fields become a
document, and ``invalid.py`` to change what a visitor reads about an invalid document.
"""
