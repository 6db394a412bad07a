"""Structures: a whole body, query or form as one dataclass, TypedDict, msgspec.Struct or model.

Open ``fields.py`` to change how their fields are read, ``forms.py`` for the document that a form
stands for, ``makers.py`` for how the object is made and dumped. Open ``limits.py`` to reject a
structure or a value inside of one, and ``invalid.py`` to change what a visitor reads about an
invalid document.
"""
