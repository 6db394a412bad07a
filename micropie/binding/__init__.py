"""Binding: how the values of a path, a query and a body become the arguments of a handler.

A signature is compiled once into a ``Plan`` (``signatures.py``) of parameters, each of which knows where its value is
found (``parameters.py``, ``sources.py``) and how text or JSON becomes its type (``converters.py``, ``constraints.py``,
``structures.py``).
"""

from micropie.binding.parameters import BoundParameter
from micropie.binding.signatures import Plan, ProvidedParameter
from micropie.binding.sources import Body, Cookie, Form, Header, Query, stated_source
from micropie.binding.structures import is_pydantic, is_structure

# fmt: off
__all__ = [
    "Body", "BoundParameter", "Cookie", "Form", "Header", "Plan", "ProvidedParameter", "Query", "is_pydantic",
    "is_structure", "stated_source",
]
# fmt: on
