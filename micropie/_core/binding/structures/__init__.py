"""Structures: a whole body, query or form as one dataclass, TypedDict, attrs class, msgspec.Struct
or model.

Open ``makers.py`` for how the object is made and dumped, ``forms.py`` for the document that a form
stands for, and ``invalid.py`` to change what a visitor reads about an invalid document.
"""
