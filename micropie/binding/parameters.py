"""One parameter of a handler: the places where its value may be, and its conversion.

A parameter whose annotation states no source is looked for by its name in the places of
``BY_NAME``, one after the other; its default comes last. An annotation that states a source
(``sources.py``), a file, a structure or the request itself has places of its own. They are chosen
once, by ``bound_parameter``; a request calls ``parameter.find``.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from inspect import Parameter
from operator import attrgetter
from types import UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from micropie.binding.converters import (
    ANYTHING,
    NUMBERS,
    Converter,
    OwnTypes,
    as_it_is,
    converter_for,
    taken_by,
    with_metadata,
)
from micropie.binding.fields import members_of, name_of
from micropie.binding.hints import Hint, bare, elements_of, without_none
from micropie.binding.sources import Body, Form, Query, Source, stated_source
from micropie.errors import HTTPError, SetupError
from micropie.http import NULL, BindingError, BindingErrors, ParameterError, Request, UploadFile
from micropie.websockets import WebSocketRequest

if TYPE_CHECKING:
    from micropie.binding.makers import Maker

_Value = TypeVar("_Value")

REQUIRED = Parameter.empty


class Place(NamedTuple):
    """A place of values. ``name``: in errors, "" for the request itself, which no client chooses.

    ``values(request)`` returns the values that are there by name or, if ``is_whole``, the one value
    or None. ``read(parameter, value, name)`` returns what becomes of a value; None if the value is
    the argument as it is. ``read`` raises ``BindingError`` for a value that does not fit.
    """

    name: str
    values: Callable[[Request], object]
    read: Callable[[BoundParameter, Any, str], object] | None
    is_whole: bool = False


class BoundParameter(NamedTuple):
    """A parameter that a request fills.

    ``key``: the name of its value in ``places``, by default the parameter's. ``is_stated``: the
    annotation names the source. ``lists``: the names of the form's fields that may have several
    values. ``is_in_path``: the path may fill it, before all places.
    """

    name: str
    key: str
    converter: Converter
    default: object
    places: Sequence[Place]
    is_stated: bool = False
    lists: Collection[str] = ()
    is_in_path: bool = False

    @property
    def label(self) -> str:
        """Its name in sentences."""
        return f"{self.places[0].name.capitalize() if self.is_stated else 'Parameter'} {self.key!r}"

    @property
    def takes_document(self) -> bool:
        """Whether the value is the whole body."""
        return bool(self.places) and self.places[0].name == "json"

    @property
    def needs_body(self) -> bool:
        """Whether only a body can bring it, as a file, as a form or its field, or as a whole
        document.
        """
        return bool(self.places) and self.places[0].name in ("json", "form", "file")

    @property
    def may_be_in_body(self) -> bool:
        """Whether JSON or a form has to be parsed to find it, or to tell why it is missing."""
        return not _PARSED.isdisjoint([place.name for place in self.places])

    def find(self, request: Request) -> object:
        """Return the value of a request: that of the first place that has one, else the default.

        Raises ``BindingError`` for a value that is missing or does not convert, and 415 for a body
        that is not read.
        """
        key = self.key
        for name, values, read, is_whole in self.places:
            value = values(request)
            if not is_whole:
                if type(value) is not dict or key not in value:
                    continue
                value = value[key]
            elif value is None or value is NULL:
                continue
            return value if read is None else read(self, value, name)
        if self.converter.empty is not None and request._exchange.body.form is not None:
            return _from_texts(self, self.converter.empty, "form")
        if self.default is REQUIRED:
            raise _missing(self, request)
        return self.default

    def is_plain(self, is_number: bool) -> bool:
        """Return whether a segment's text, or the number that a wildcard has made of it, is the
        value as it is.
        """
        converter = self.converter
        is_value = converter.from_text is ANYTHING.from_text or (
            is_number and converter.from_text in NUMBERS
        )
        return is_value and self.is_in_path and converter.many is None

    @property
    def is_of_client(self) -> bool:
        """Whether a client sends the value."""
        return self.is_in_path or any(place.name for place in self.places)


_PARSED = frozenset({"json", "form", "file"})  # a file's name may be in a form of the other type


# -- reading what is there -------------------------------------------------------------------------


def from_path(parameter: BoundParameter, value: object, place: str = "path") -> object:
    """Return the argument for a segment of the path, or for the value of a wildcard, which may be a
    number.

    Raises 400 if it does not convert, and 404 for a file or a whole body, which no path contains.
    """
    if not parameter.is_in_path:
        raise HTTPError(404)
    if not isinstance(value, str):
        if parameter.is_plain(is_number=True):
            return value
        value = str(value)  # it may be constrained, or a Decimal
    return _from_texts(parameter, [value], place)


def _from_texts(parameter: BoundParameter, texts: Sequence[str], place: str) -> object:
    converter = parameter.converter
    if converter.many is None:
        text = texts[0]
        try:
            return converter.from_text(text)
        except ValueError as error:
            told = converter.misfit(text, error)
        # A form's entry that is left empty is none where there is a default, and "" is not a value.
        if not text and parameter.default is not REQUIRED:
            return parameter.default
        # outside of ``except``, so that the error has no false context
        raise _misfit(parameter, place, text, told)
    values = [_converted(parameter, place, converter.from_text, text) for text in texts]
    return _converted(parameter, place, converter.many, values)


def _from_joined(parameter: BoundParameter, texts: Sequence[str], place: str) -> object:
    return _from_texts(parameter, [", ".join(texts)], place)


def _from_json(parameter: BoundParameter, value: object, place: str) -> object:
    return _converted(parameter, place, parameter.converter.from_json, value)


def _from_files(parameter: BoundParameter, files: Sequence[UploadFile], place: str) -> object:
    """Return the uploaded file, or a list of all; raise 400 if the parameter is annotated as
    something else.
    """
    if parameter.is_in_path and parameter.converter.expected != ANYTHING.expected:
        raise _misfit(parameter, place, None, parameter.converter.misfit(None))
    if parameter.converter.many is None:
        return files[0]
    found: list[object] = [*files]
    return _converted(parameter, place, parameter.converter.many, found)


def _made(maker: Maker, begin: str, parameter: BoundParameter, given: Any, place: str) -> object:
    """Make a structure. The sentence of each error starts with ``begin``."""
    is_json = place == "json"
    document = given if is_json else maker.document_of(given, place == "form")
    try:
        made = maker.make(document, is_json)
    except ValueError as error:
        problems = maker.problems(error, document, is_json)
    else:
        converter = parameter.converter  # it may be a list of so many
        return made if converter.from_json is as_it_is else _from_json(parameter, made, place)
    raise BindingError(
        [
            replace(
                one, parameter=parameter.name, source=place, sentence=f"{begin}: {one.sentence}."
            )
            for one in problems
        ]
    )


def _converted(
    parameter: BoundParameter, place: str, convert: Callable[[_Value], object], value: _Value
) -> object:
    try:
        return convert(value)
    except ValueError as error:
        told = parameter.converter.misfit(value, error)
    raise _misfit(parameter, place, value, told)


def _misfit(
    parameter: BoundParameter, place: str, value: object, told: tuple[str, bool], sentence: str = ""
) -> BindingError:
    """Return the error of a value that a parameter does not take.

    ``told``: by ``Converter.misfit``.
    """
    (words, is_own), expected = told, parameter.converter.expected
    sentence = (
        f"{parameter.label}: {words}"
        if is_own
        else sentence or f"{parameter.label} must be {expected}."
    )
    return BindingError(
        [ParameterError(parameter.name, place, value, expected, (), sentence, parameter.key, words)]
    )


def _missing(parameter: BoundParameter, request: Request) -> HTTPError:
    """Return the error for a required parameter without a value: 415 if there is a body whose type
    is not read.
    """
    exchange = request._exchange
    missing = f"{parameter.label} is missing"
    advice = f"; expected {parameter.converter.expected}."
    if parameter.places is IN_URL:
        advice = f" in the path and the query{advice}"
    elif (
        parameter.is_in_path
        and exchange.body.document is not None
        and type(exchange.body.document) is not dict
    ):
        advice = ": the JSON body is not an object."
    elif FILES in parameter.places and parameter.key in (exchange.body.form or ()):
        advice = (
            '; its name came without the file, as the form needs enctype="multipart/form-data".'
        )
    elif not parameter.is_stated and (problem := exchange.unread_body()) is not None:
        return HTTPError(problem[0], f"{missing}: {problem[1]}")
    return _misfit(parameter, "", None, parameter.converter.misfit(None), missing + advice)


# -- the places ------------------------------------------------------------------------------------

QUERY = Place("query", attrgetter("_exchange.query"), _from_texts)
FORM = Place("form", attrgetter("_exchange.body.form"), _from_texts)
FILES = Place("file", attrgetter("_exchange.body.uploads"), _from_files)

_DOCUMENT = attrgetter("_exchange.body.document")

# In order, behind the path.
BY_NAME: Sequence[Place] = (QUERY, FORM, Place("json", _DOCUMENT, _from_json), FILES)
# Of a parameter of any type.
_AS_IT_IS: Sequence[Place] = (QUERY, FORM, Place("json", _DOCUMENT, None), FILES)
# Of a provider's parameter. The body's fields are the handler's: one that gets the name one day
# would decide what is provided.
IN_URL: Sequence[Place] = (QUERY,)


def by_name(name: str, converter: Converter, default: object) -> BoundParameter:
    """Return the parameter that is looked for by its name."""
    places = _AS_IT_IS if converter.from_json is as_it_is else BY_NAME
    return BoundParameter(name, name, converter, default, places, is_in_path=True)


# -- choosing the places, once ---------------------------------------------------------------------


def bound_parameter(parameter: Parameter, is_provider: bool, own: OwnTypes) -> BoundParameter:
    """Return the parameter of a handler or of a provider.

    Raises ``SetupError`` for an annotation of no use.

    A provider's parameter without an annotation keeps its default: no client can fill it. If an
    annotation states no source, the path or the query fills the parameter.
    """
    name, default = parameter.name, parameter.default
    stated, annotation = stated_source(parameter.annotation)
    kind, many, optional = unwrapped(annotation)
    or_none = None if optional and default is REQUIRED else default
    if is_provider and annotation is REQUIRED:
        if default is REQUIRED:
            raise SetupError(
                f"its parameter {name!r} has no annotation, which would tell what fills it"
            )
        return BoundParameter(name, name, ANYTHING, default, ())
    if stated is not None and members_of(kind) and type(stated) is not Body:
        return _of_whole_source(name, kind, many, default, stated, own)
    if stated is not None and not members_of(kind):
        return _of_source(name, annotation, or_none, stated, own)
    if kind is BindingErrors:
        # the plan puts the errors in its place
        return BoundParameter(name, name, ANYTHING, BindingErrors, ())
    if kind is Request or kind is WebSocketRequest:
        return BoundParameter(
            name,
            name,
            ANYTHING,
            default,
            [Place("", as_it_is, None, is_whole=True)],
            is_stated=True,
        )
    if kind is UploadFile:
        many_files, required = (list if many else None), "Please choose a file."
        converter = ANYTHING._replace(expected="a file", many=many_files, required=required)
        converter = _with_metadata(converter, annotation, kind, many, name)
        return BoundParameter(name, name, converter, or_none, [FILES])
    if members_of(kind):
        converter = ANYTHING._replace(
            expected="a JSON array of objects" if many else "a JSON object or a form"
        )
        converter = _with_metadata(converter, annotation, kind, many, name)
        read, lists = _maker_of(kind, name, f"Parameter {name!r} does not fit", own, many)
        places = [
            Place("json", _DOCUMENT, read, is_whole=True),
            FORM._replace(read=read, is_whole=True),
        ]
        return BoundParameter(name, name, converter, or_none, places, lists=lists)
    converter = converter_for(annotation, name, own)
    if is_provider:
        converter = converter._replace(empty=None)
        return BoundParameter(name, name, converter, default, IN_URL, is_in_path=True)
    return by_name(name, converter, default)


def _maker_of(
    structure: Hint, name: str, begin: str, own: OwnTypes, many: bool = False
) -> tuple[Callable[[BoundParameter, Any, str], object], Collection[str]]:
    """Return the function that makes a structure, and the fields that may have several values."""
    from micropie.binding.makers import maker_for  # only applications with structures need it

    maker = maker_for(structure, name, own, many)
    return partial(_made, maker, begin), maker.lists


def _with_metadata(
    converter: Converter, annotation: object, kind: object, many: bool, name: str
) -> Converter:
    """Return the converter of a file, a structure or a list of them with what the ``Annotated``
    around them says.
    """
    metadata = () if kind is annotation else getattr(annotation, "__metadata__", ())
    found = with_metadata(converter, list if many else kind, metadata, name)
    if not many and found.expected != converter.expected:
        raise SetupError(
            f"parameter {name!r}: what is not a list can't be {found.expected}: annotate its "
            "fields, check it in the "
            "handler, or take a list"
        )
    return found


def _of_source(
    name: str, annotation: object, default: object, stated: Source, own: OwnTypes
) -> BoundParameter:
    """Return the parameter whose value comes from ``stated`` alone."""
    converter, key = converter_for(annotation, name, own), stated.name_for(name)
    if type(stated) is not Form:
        converter = converter._replace(empty=None)
    if type(stated) is Body:
        document = Place("json", _DOCUMENT, _from_json, is_whole=True)
        return BoundParameter(name, key, converter, default, [document], is_stated=True)
    if not _takes_text(annotation, own):
        raise SetupError(
            f"the {stated.place} of {name!r} has texts, and none converts to {annotation!r}: "
            "write a class with a "
            "field for each value"
        )
    read = _from_joined if stated.is_joined and converter.many is None else _from_texts
    place = Place(
        stated.place, lambda request: stated.texts(request, key) or None, read, is_whole=True
    )
    return BoundParameter(name, key, converter, default, [place], is_stated=True)


def _takes_text(annotation: object, own: OwnTypes) -> bool:
    """Return whether a text may convert to an annotation: none does to a dict, nor to what is made
    of one.
    """
    kind, _ = bare(annotation)
    if isinstance(kind, type) and kind in own.decoders:
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
        raise SetupError(
            f"{name!r}: a structure takes a whole query, form or body: "
            "write Query(), Form() or Body()"
        )
    read, lists = _maker_of(structure, name, f"The {stated.place} does not fit", own)

    def fields(request: Request) -> object:
        found = stated.fields(request)
        is_sent = found if type(stated) is Query else request._exchange.body.form is not None
        return found if is_sent or default is REQUIRED else None

    place = Place(stated.place, fields, read, is_whole=True)
    expected = ANYTHING._replace(expected=f"the fields of a {name_of(structure)}")
    return BoundParameter(name, name, expected, default, [place], is_stated=True, lists=lists)


def unwrapped(annotation: Hint) -> tuple[Hint, bool, bool]:
    """Return the X of ``X``, ``list[X]``, ``X | None`` and ``Annotated[X, ...]``; whether a list;
    whether optional.

    A union of structures stays in its ``Annotated``, which may tell pydantic how to choose.
    """
    if type(annotation) is type:  # as most are
        return annotation, False, False
    if typing.get_origin(annotation) is typing.Annotated and len(members_of(annotation)) < 2:
        annotation = typing.get_args(annotation)[0]
    annotation, optional = without_none(annotation)
    if typing.get_origin(annotation) is not list:
        return annotation, False, optional
    element, *_ = typing.get_args(annotation) or (str,)  # ``typing.List`` has no X
    return element, True, optional
