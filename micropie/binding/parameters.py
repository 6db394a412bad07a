"""One parameter of a handler: the places where its value may be, and its conversion.

A parameter whose annotation states no source is looked for by its name in the places of ``BY_NAME``, one after the
other; its default comes last. An annotation that states a source (``sources.py``), a file, a structure or the request
itself has places of its own. They are chosen once, by ``bound_parameter``; a request calls ``parameter.find``.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import Parameter
from types import UnionType
from typing import Any, NamedTuple, TypeVar

from micropie.binding.converters import ANYTHING, NUMBERS, Converter, OwnTypes, converter_for, taken_by, with_metadata
from micropie.binding.sources import Body, Form, Query, Source, stated_source
from micropie.binding.structures import (
    StructureConverter,
    bare,
    elements_of,
    members_of,
    name_of,
    structure_converter,
    without_none,
)
from micropie.errors import HTTPError, SetupError
from micropie.http import BindingError, BindingErrors, ParameterError, Request, UploadFile, WebSocketRequest

_Value = TypeVar("_Value")

REQUIRED = Parameter.empty
ABSENT: Any = object()
"""In the place of a value that is not there. None may be one."""


class Place(NamedTuple):
    """A place of values. ``name``: in errors, "" for the request itself, which no client chooses.

    ``value(request, values, key)`` returns what is there, or ``ABSENT``; ``values`` are those of the path's wildcards.
    ``read(parameter, value, name)`` returns what becomes of it. Raises ``BindingError`` for a value that does not fit.
    """

    name: str
    value: Callable[[Request, Mapping[str, object], str], Any]
    read: Callable[[BoundParameter, Any, str], object]


class BoundParameter(NamedTuple):
    """A parameter that a request fills.

    ``key``: the name of its value in ``places``, by default the parameter's. ``is_stated``: the annotation names the
    source. ``lists``: the names of the form's fields that may have several values.
    """

    name: str
    key: str
    converter: Converter
    default: object
    places: Sequence[Place]
    is_stated: bool = False
    lists: Collection[str] = ()

    @property
    def label(self) -> str:
        """Its name in sentences."""
        return f"{self.places[0].name.capitalize() if self.is_stated else 'Parameter'} {self.key!r}"

    @property
    def takes_document(self) -> bool:
        """Whether the value is the whole body."""
        return [place.name for place in self.places[:1]] == ["json"]

    @property
    def needs_body(self) -> bool:
        """Whether only a body can bring it, as a file, as a form or its field, or as a whole document."""
        return {place.name for place in self.places[:1]} <= {"json", "form", "file"} and self.is_of_client

    def find(self, request: Request, values: Mapping[str, object]) -> object:
        """Return the value of a request: that of the first place that has one, else the default.

        Raises ``BindingError`` for a value that is missing or does not convert, and 415 for a body that is not read.
        """
        for place, value_of, read in self.places:
            value = value_of(request, values, self.key)
            if value is not ABSENT:
                return read(self, value, place)
        if self.converter.empty is not None and request._exchange.form_fields is not None:
            return _from_texts(self, self.converter.empty, "form")
        if self.default is REQUIRED:
            raise _missing(self, request)
        return self.default

    def is_plain(self, is_number: bool) -> bool:
        """Return whether a segment's text, or the number that a wildcard has made of it, is the value as it is."""
        converter = self.converter
        is_value = converter.from_text is ANYTHING.from_text or (is_number and converter.from_text in NUMBERS)
        return is_value and self.places is BY_NAME and converter.many is None

    @property
    def is_of_client(self) -> bool:
        """Whether a client sends the value."""
        return any(place.name for place in self.places)


# -- reading what is there ---------------------------------------------------------------------------------------------


def from_path(parameter: BoundParameter, value: object, place: str = "path") -> object:
    """Return the argument for a segment of the path, or for the value of a wildcard, which may be a number.

    Raises 400 if it does not convert, and 404 for a file or a whole body, which no path contains.
    """
    if PATH not in parameter.places:
        raise HTTPError(404)
    if not isinstance(value, str):
        if parameter.is_plain(is_number=True):
            return value
        value = str(value)  # it may be constrained, or a Decimal
    return _from_texts(parameter, [value], place)


def _from_texts(parameter: BoundParameter, texts: Sequence[str], place: str) -> object:
    from_text = parameter.converter.from_text
    if parameter.converter.many is None:
        # A form's entry that is left empty is none where there is a default, and "" is not a value.
        return _converted(parameter, place, from_text, texts[0], is_optional=not texts[0])
    values = [_converted(parameter, place, from_text, text) for text in texts]
    return _converted(parameter, place, parameter.converter.many, values)


def _from_joined(parameter: BoundParameter, texts: Sequence[str], place: str) -> object:
    return _from_texts(parameter, [", ".join(texts)], place)


def _from_json(parameter: BoundParameter, value: object, place: str) -> object:
    return _converted(parameter, place, parameter.converter.from_json, value)


def _from_files(parameter: BoundParameter, files: Sequence[UploadFile], place: str) -> object:
    """Return the uploaded file, or a list of all; raise 400 if the parameter is annotated as something else."""
    if parameter.places is BY_NAME and parameter.converter.expected != ANYTHING.expected:
        raise _misfit(parameter, place, None, parameter.converter.misfit(None))
    if parameter.converter.many is None:
        return files[0]
    found: list[object] = [*files]
    return _converted(parameter, place, parameter.converter.many, found)


def _made(converter: StructureConverter, begin: str, parameter: BoundParameter, given: object, place: str) -> object:
    """Make a structure. The sentence of each error starts with ``begin``."""
    try:
        made = converter.make(given, place)
    except ValueError as error:
        from micropie.binding.misfits import problems_of  # not before something is wrong

        found = problems_of(error)
    else:
        return _from_json(parameter, made, place)  # it may be a list of so many
    raise BindingError(
        [replace(one, parameter=parameter.name, source=place, sentence=f"{begin}: {one.sentence}.") for one in found]
    )


def _converted(
    parameter: BoundParameter, place: str, convert: Callable[[_Value], object], value: _Value, is_optional: bool = False
) -> object:
    try:
        return convert(value)
    except ValueError as error:
        told = parameter.converter.misfit(value, error)
    if is_optional and parameter.default is not REQUIRED:
        return parameter.default
    raise _misfit(parameter, place, value, told)  # outside of ``except``, so that the error has no false context


def _misfit(
    parameter: BoundParameter, place: str, value: object, told: tuple[str, bool], sentence: str = ""
) -> BindingError:
    """Return the error of a value that a parameter does not take. ``told``: by ``Converter.misfit``."""
    (words, is_own), expected = told, parameter.converter.expected
    sentence = f"{parameter.label}: {words}" if is_own else sentence or f"{parameter.label} must be {expected}."
    return BindingError([ParameterError(parameter.name, place, value, expected, (), sentence, parameter.key, words)])


def _missing(parameter: BoundParameter, request: Request) -> HTTPError:
    """Return the error for a required parameter without a value: 415 if there is a body whose type is not read."""
    exchange = request._exchange
    missing = f"{parameter.label} is missing"
    advice = f"; expected {parameter.converter.expected}."
    if parameter.places is IN_URL:
        advice = f" in the path and the query{advice}"
    elif parameter.places is BY_NAME and exchange.document is not None and type(exchange.document) is not dict:
        advice = ": the JSON body is not an object."
    elif FILES in parameter.places and parameter.key in (exchange.form_fields or ()):
        advice = '; its name came without the file, as the form needs enctype="multipart/form-data".'
    elif not parameter.is_stated and (problem := exchange.unread_body()) is not None:
        return HTTPError(problem[0], f"{missing}: {problem[1]}")
    return _misfit(parameter, "", None, parameter.converter.misfit(None), missing + advice)


# -- the places --------------------------------------------------------------------------------------------------------

PATH = Place("path", lambda request, values, key: values.get(key, ABSENT), from_path)
QUERY = Place("query", lambda request, values, key: request._exchange.query.get(key, ABSENT), _from_texts)
FORM = Place("form", lambda request, values, key: (request._exchange.form_fields or {}).get(key, ABSENT), _from_texts)
FILES = Place("file", lambda request, values, key: request._exchange.uploads.get(key, ABSENT), _from_files)
REQUEST = Place("", lambda request, values, key: request, lambda parameter, request, name: request)


def _member(request: Request, values: Mapping[str, object], key: str) -> object:
    document = request._exchange.document
    return document.get(key, ABSENT) if type(document) is dict else ABSENT


# In order.
BY_NAME: Sequence[Place] = (PATH, QUERY, FORM, Place("json", _member, _from_json), FILES)
# Of a provider's parameter. The body's fields are the handler's: one that gets the name one day would decide what is
# provided.
IN_URL: Sequence[Place] = (PATH, QUERY)


# -- choosing the places, once -----------------------------------------------------------------------------------------


def bound_parameter(parameter: Parameter, is_provider: bool, own: OwnTypes) -> BoundParameter:
    """Return the parameter of a handler or of a provider. Raises ``SetupError`` for an annotation of no use.

    A provider's parameter without an annotation keeps its default: no client can fill it. If an annotation states no
    source, the path or the query fills the parameter.
    """
    name, default = parameter.name, parameter.default
    stated, annotation = stated_source(parameter.annotation)
    kind, many, optional = unwrapped(annotation)
    or_none = None if optional and default is REQUIRED else default
    if is_provider and annotation is REQUIRED:
        if default is REQUIRED:
            raise SetupError(f"its parameter {name!r} has no annotation, which would tell what fills it")
        return BoundParameter(name, name, ANYTHING, default, ())
    if stated is not None and members_of(kind) and type(stated) is not Body:
        return _of_whole_source(name, kind, many, default, stated, own)
    if stated is not None and not members_of(kind):
        return _of_source(name, annotation, or_none, stated, own)
    if kind is BindingErrors:
        return BoundParameter(name, name, ANYTHING, BindingErrors, ())  # the plan puts the errors in its place
    if kind is Request or kind is WebSocketRequest:
        return BoundParameter(name, name, ANYTHING, default, [REQUEST], is_stated=True)
    if kind is UploadFile:
        many_files, required = (list if many else None), "Please choose a file."
        converter = ANYTHING._replace(expected="a file", many=many_files, required=required)
        converter = _with_metadata(converter, annotation, kind, many, name)
        return BoundParameter(name, name, converter, or_none, [FILES])
    if members_of(kind):
        converter = ANYTHING._replace(expected="a JSON array of objects" if many else "a JSON object or a form")
        converter = _with_metadata(converter, annotation, kind, many, name)
        made = structure_converter(kind, name, own, many)
        places = _of_body(partial(_made, made, f"Parameter {name!r} does not fit"))
        return BoundParameter(name, name, converter, or_none, places, lists=made.lists)
    converter = converter_for(annotation, name, own)
    if is_provider:
        return BoundParameter(name, name, converter._replace(empty=None), default, IN_URL)
    return BoundParameter(name, name, converter, default, BY_NAME)


def _with_metadata(converter: Converter, annotation: object, kind: object, many: bool, name: str) -> Converter:
    """Return the converter of a file, a structure or a list of them with what the ``Annotated`` around them says."""
    metadata = () if kind is annotation else getattr(annotation, "__metadata__", ())
    found = with_metadata(converter, list if many else kind, metadata, name)
    if not many and found.expected != converter.expected:
        raise SetupError(
            f"parameter {name!r}: what is not a list can't be {found.expected}: annotate its fields, check it in the "
            "handler, or take a list"
        )
    return found


def _of_body(read: Callable[[BoundParameter, Any, str], object]) -> Sequence[Place]:
    """Return the places of a whole body: a JSON document, or a form."""

    def document(request: Request, values: Mapping[str, object], key: str) -> object:
        found = request._exchange.json_value()
        return ABSENT if found is None else found

    def form(request: Request, values: Mapping[str, object], key: str) -> object:
        return ABSENT if request._exchange.form_fields is None else request._exchange.fields

    return Place("json", document, read), Place("form", form, read)


def _of_source(name: str, annotation: object, default: object, stated: Source, own: OwnTypes) -> BoundParameter:
    """Return the parameter whose value comes from ``stated`` alone."""
    converter, key = converter_for(annotation, name, own), stated.name_for(name)
    if type(stated) is not Form:
        converter = converter._replace(empty=None)
    if type(stated) is Body:
        return BoundParameter(name, key, converter, default, _of_body(_from_json)[:1], is_stated=True)
    if not _takes_text(annotation, own):
        raise SetupError(
            f"the {stated.place} of {name!r} has texts, and none converts to {annotation!r}: write a class with a "
            "field for each value"
        )
    read = _from_joined if stated.is_joined and converter.many is None else _from_texts
    place = Place(stated.place, lambda request, values, key: stated.texts(request, key) or ABSENT, read)
    return BoundParameter(name, key, converter, default, [place], is_stated=True)


def _takes_text(annotation: object, own: OwnTypes) -> bool:
    """Return whether a text may convert to an annotation: none does to a dict, nor to what is made of one."""
    kind, _ = bare(annotation)
    if kind in own.decoders:
        taken = taken_by(kind, own)
        return elements_of(taken) is None and _takes_text(taken, own)
    elements = elements_of(kind)
    if elements is not None:
        return _takes_text(next(elements), own)
    if typing.get_origin(kind) in (typing.Union, UnionType):
        return any(_takes_text(one, own) for one in typing.get_args(kind))
    return (typing.get_origin(kind) or kind) is not dict


def _of_whole_source(
    name: str, structure: object, many: bool, default: object, stated: Source, own: OwnTypes
) -> BoundParameter:
    """Return the parameter that takes the whole query, or the whole form, as one structure."""
    if many or not isinstance(stated, Query | Form):
        raise SetupError(f"{name!r}: a structure takes a whole query, form or body: write Query(), Form() or Body()")
    converter = structure_converter(structure, name, own)

    def fields(request: Request, values: Mapping[str, object], key: str) -> object:
        found = stated.fields(request)
        is_sent = found if type(stated) is Query else request._exchange.form_fields is not None
        return found if is_sent or default is REQUIRED else ABSENT

    place = Place(stated.place, fields, partial(_made, converter, f"The {stated.place} does not fit"))
    expected = ANYTHING._replace(expected=f"the fields of a {name_of(structure)}")
    return BoundParameter(name, name, expected, default, [place], is_stated=True, lists=converter.lists)


def unwrapped(annotation: Any) -> tuple[object, bool, bool]:
    """Return the X of ``X``, ``list[X]``, ``X | None`` and ``Annotated[X, ...]``; whether a list; whether optional.

    A union of structures stays in its ``Annotated``, which may tell pydantic how to choose.
    """
    if typing.get_origin(annotation) is typing.Annotated and len(members_of(annotation)) < 2:
        annotation = annotation.__origin__
    annotation, optional = without_none(annotation)
    if typing.get_origin(annotation) is not list:
        return annotation, False, optional
    element, *_ = typing.get_args(annotation) or (str,)  # ``typing.List`` has no X
    return element, True, optional
