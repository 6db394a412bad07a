"""Structures: a whole body, query or form as one dataclass, TypedDict, msgspec.Struct or model.

``fields.py`` reads their fields, ``forms.py`` turns forms into documents and ``makers.py`` creates
the objects. ``limits.py`` rejects structures and values that no parameter may have, and
``invalid.py`` lists everything that is wrong in a document.
"""
