"""Binding: how the values of a path, a query and a body become the arguments of a handler.

A signature is compiled once into a ``Plan`` (``signatures.py``) of parameters, each of which knows
where its value is found (``parameters.py``, ``sources.py``) and how text or JSON becomes its type
(``converters.py``, ``constraints.py``). ``makers.py`` makes structures: ``fields.py`` reads their
fields, ``forms.py`` makes documents of forms, ``limits.py`` keeps out what no parameter may have.
``misfits.py`` says what is wrong in a document. ``results.py`` reads what is said of the handler's
result, and ``hints.py`` reads annotations.
"""

from micropie.binding.constraints import Message
from micropie.binding.converters import Converter, OwnTypes, converter_for
from micropie.binding.fields import is_structure
from micropie.binding.hints import without_aliases
from micropie.binding.parameters import BoundParameter
from micropie.binding.results import (
    ResultFilter,
    answer_parts,
    answers_of,
    result_filter,
    sends_null,
)
from micropie.binding.signatures import Plan, asked_behind, is_key
from micropie.binding.sources import Body, Cookie, Form, Header, Query, stated_source

# fmt: off
__all__ = [
    "Body", "BoundParameter", "Converter", "Cookie", "Form", "Header", "Message", "OwnTypes",
    "Plan", "Query", "ResultFilter", "answer_parts", "answers_of", "asked_behind",
    "converter_for", "is_key", "is_structure", "result_filter", "sends_null", "stated_source",
    "without_aliases",
]
# fmt: on
