"""One parameter of a handler: the place where its value is found, and its conversion.

A parameter whose annotation states no source is looked for by its name in ``_PLACES``, one after the other; its default
comes last. An annotation that states a source (``sources.py``), a file, a structure or the request itself has one place
only. That is decided once, by ``bound_parameter``; a request calls ``parameter.find``.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter
from typing import Any, NamedTuple, TypeAlias, TypeVar

from micropie.binding.converters import ANYTHING, NUMBERS, Converter, OwnTypes, converter_for
from micropie.binding.sources import Body, Form, Query, Source, stated_source
from micropie.binding.structures import StructureConverter, members_of, name_of, structure_converter, without_none
from micropie.errors import HTTPError, SetupError
from micropie.http import BindingError, BindingErrors, ParameterError, Request, UploadFile, WebSocketRequest

_Value = TypeVar("_Value")

REQUIRED = Parameter.empty

Find: TypeAlias = "Callable[[BoundParameter, Request, Mapping[str, object]], object]"

Read: TypeAlias = "Callable[[BoundParameter, Any, str], object]"


class BoundParameter(NamedTuple):
    """A parameter that a request fills: ``find(parameter, request, values)`` returns its value.

    ``values`` are those of the path's wildcards. ``find`` raises ``BindingError`` for a value that is missing or does
    not convert. ``is_stated``: the annotation names the source. ``takes_document``: the value is the whole body.
    ``label``: its name in sentences, by default "Parameter 'name'". ``lists``: the names of the form's fields that may
    have several values. ``key``: the name of the value, by default the parameter's. ``needs_body``: only a
    body can bring it, as a file, as a form or its field, or as a whole document.
    """

    name: str
    converter: Converter
    default: object
    find: Find
    is_stated: bool = False
    takes_document: bool = False
    label: str = ""
    lists: Collection[str] = ()
    key: str = ""
    needs_body: bool = False

    def is_plain(self, is_number: bool) -> bool:
        """Return whether a segment's text, or the number that a wildcard has made of it, is the value as it is."""
        converter = self.converter
        is_value = converter.from_text is ANYTHING.from_text or (is_number and converter.from_text in NUMBERS)
        return is_value and self.find is by_name and converter.many is None

    @property
    def is_of_client(self) -> bool:
        """Whether a client sends the value."""
        return self.find not in (_request, _kept_default)


# -- choosing the source, once -----------------------------------------------------------------------------------------


def bound_parameter(parameter: Parameter, is_provider: bool, own: OwnTypes) -> BoundParameter:
    """Return the parameter of a handler or of a provider. Raises ``SetupError`` for an annotation of no use.

    A provider's parameter without an annotation keeps its default: no client can fill it. If an annotation states no
    source, the path or the query fills the parameter.
    """
    name, default = parameter.name, parameter.default
    stated, annotation = stated_source(parameter.annotation)
    kind, many, optional = unwrapped(annotation)
    if is_provider and annotation is REQUIRED:
        if default is REQUIRED:
            raise SetupError(f"its parameter {name!r} has no annotation, which would tell what fills it")
        return BoundParameter(name, ANYTHING, default, _kept_default)
    if stated is not None and members_of(kind) and type(stated) is not Body:
        return _of_whole_source(name, kind, many, default, stated, own)
    if stated is not None and not members_of(kind):
        return _of_source(name, annotation, default, stated, own)
    if kind is BindingErrors:
        return BoundParameter(name, ANYTHING, BindingErrors, _kept_default)  # the plan puts the errors in its place
    if kind is Request or kind is WebSocketRequest:
        return BoundParameter(name, ANYTHING, default, _request, is_stated=True)
    if kind is UploadFile:
        many_files, required = (list if many else None), "Please choose a file."
        converter = ANYTHING._replace(expected="a file", optional=optional, many=many_files, required=required)
        return BoundParameter(name, converter, default, _file, needs_body=True)
    if members_of(kind):
        expected = "a JSON array of objects" if many else "a JSON object or a form"
        converter = ANYTHING._replace(expected=expected, optional=optional)
        made = structure_converter(kind, name, own, many)
        find = _body_reader(made, many, name)
        return BoundParameter(name, converter, default, find, takes_document=True, lists=made.lists, needs_body=True)
    return BoundParameter(name, converter_for(annotation, name, own), default, in_url if is_provider else by_name)


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


# -- by name -----------------------------------------------------------------------------------------------------------


def by_name(parameter: BoundParameter, request: Request, values: Mapping[str, object]) -> object:
    """Find a parameter's value by its name; its default if no place has it. Raises 400 or 415."""
    for place, values_of, read in _PLACES:
        found = values_of(request, values)
        if found and parameter.name in found:
            return read(parameter, found[parameter.name], place)
    if parameter.converter.empty is not None and request._exchange.form_fields is not None:
        return _from_texts(parameter, parameter.converter.empty, "form")
    if parameter.default is REQUIRED:
        raise _missing(parameter, request)
    return parameter.default


def in_url(parameter: BoundParameter, request: Request, values: Mapping[str, object]) -> object:
    """Find the value of a provider's parameter: as ``by_name``, and not in the body, whose fields are the handler's.

    A form that gets a field of that name one day would decide what is provided.
    """
    for place, values_of, read in _PLACES[:2]:
        found = values_of(request, values)
        if found and parameter.name in found:
            return read(parameter, found[parameter.name], place)
    if parameter.default is REQUIRED:
        told = f"{parameter.name!r} is missing in the path and the query; expected {parameter.converter.expected}."
        raise _absent(parameter, f"Parameter {told}")
    return parameter.default


def from_path(parameter: BoundParameter, value: object, place: str = "path") -> object:
    """Return the argument for a segment of the path, or for the value of a wildcard, which may be a number.

    Raises 400 if it does not convert, and 404 for a file or a whole body, which no path contains.
    """
    if parameter.find not in (by_name, in_url):
        raise HTTPError(404)
    if isinstance(value, str):
        return _from_texts(parameter, [value], place)
    if parameter.is_plain(is_number=True):
        return value
    return _from_texts(parameter, [str(value)], place)  # it may be constrained, or a Decimal


def _from_texts(parameter: BoundParameter, texts: Sequence[str], place: str) -> object:
    from_text = parameter.converter.from_text
    if parameter.converter.many is None:
        # A form's entry that is left empty is none where there is a default, and "" is not a value.
        return _converted(parameter, place, from_text, texts[0], is_optional=not texts[0])
    values = [_converted(parameter, place, from_text, text) for text in texts]
    return _converted(parameter, place, parameter.converter.many, values)


def _from_json(parameter: BoundParameter, value: object, place: str) -> object:
    return _converted(parameter, place, parameter.converter.from_json, value)


def _from_files(parameter: BoundParameter, files: Sequence[UploadFile], place: str) -> object:
    """Return the uploaded file, or a list of all; raise 400 if the parameter is annotated as something else."""
    if parameter.find is not _file and parameter.converter.expected != ANYTHING.expected:
        raise _misfit(parameter, place, None, parameter.converter.misfit(None))
    if parameter.converter.many is None:
        return files[0]
    found: list[object] = [*files]
    return _converted(parameter, place, parameter.converter.many, found)


# The places of a parameter's value, in order: the place's name in errors, its values, and how they are read.
_PLACES: Sequence[tuple[str, Callable[[Request, Mapping[str, object]], Mapping[str, Any] | None], Read]] = (
    ("path", lambda request, values: values, from_path),
    ("query", lambda request, values: request._exchange.query, _from_texts),
    ("form", lambda request, values: request._exchange.form_fields, _from_texts),
    (
        "json",
        lambda request, values: request._exchange.document if type(request._exchange.document) is dict else None,
        _from_json,
    ),
    ("file", lambda request, values: request._exchange.uploads, _from_files),
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
    label = parameter.label or f"Parameter {parameter.name!r}"
    sentence = f"{label}: {words}" if is_own else sentence or f"{label} must be {expected}."
    return BindingError([ParameterError(parameter.name, place, value, expected, (), sentence, parameter.key, words)])


def _missing(parameter: BoundParameter, request: Request) -> HTTPError:
    """Return the error for a required parameter without a value: 415 if there is a body whose type is not read."""
    exchange = request._exchange
    missing = f"Parameter {parameter.name!r} is missing"
    if parameter.find is by_name and exchange.document is not None and type(exchange.document) is not dict:
        return _absent(parameter, f"{missing}: the JSON body is not an object.")
    if parameter.find is _file and parameter.name in (exchange.form_fields or ()):
        advice = 'its name came without the file, as the form needs enctype="multipart/form-data"'
        return _absent(parameter, f"{missing}; {advice}.")
    problem = exchange.unread_body()
    if problem is not None:
        return HTTPError(problem[0], f"{missing}: {problem[1]}")
    return _absent(parameter, f"{missing}; expected {parameter.converter.expected}.")


def _absent(parameter: BoundParameter, sentence: str) -> BindingError:
    return _misfit(parameter, "", None, parameter.converter.misfit(None), sentence)


# -- in one place only -------------------------------------------------------------------------------------------------


def _request(parameter: BoundParameter, request: Request, values: Mapping[str, object]) -> object:
    """Return the value of a parameter that is annotated with ``Request``."""
    return request


def _kept_default(parameter: BoundParameter, request: Request, values: Mapping[str, object]) -> object:
    """Return the value of a parameter that no client can fill."""
    return parameter.default


def _file(parameter: BoundParameter, request: Request, values: Mapping[str, object]) -> object:
    """Return the value of a parameter that is annotated with ``UploadFile``: the file or the default."""
    files = request._exchange.uploads.get(parameter.name)
    return _default(parameter, request) if files is None else _from_files(parameter, files, "file")


def _default(parameter: BoundParameter, request: Request) -> object:
    """Return the default, or None for an optional parameter without one; raise 400 or 415 for a required parameter."""
    if parameter.default is not REQUIRED:
        return parameter.default
    if parameter.converter.optional:
        return None
    raise _missing(parameter, request)


def _of_source(name: str, annotation: object, default: object, stated: Source, own: OwnTypes) -> BoundParameter:
    """Return the parameter whose value comes from ``stated`` alone."""
    converter, key = converter_for(annotation, name, own), stated.name_for(name)
    is_document = type(stated) is Body
    is_one = stated.is_joined and converter.many is None
    read: Read = _from_json if is_document else _from_texts

    empty = converter.empty if type(stated) is Form else None

    def find(parameter: BoundParameter, request: Request, values: Mapping[str, object]) -> object:
        given: Any = request._exchange.json_value() if is_document else stated.texts(request, key)
        if given == [] and empty is not None and request._exchange.form_fields is not None:
            return _from_texts(parameter, empty, stated.place)
        if given is None or given == []:
            if default is REQUIRED and not converter.optional:
                raise _absent(parameter, f"{parameter.label} is missing; expected {converter.expected}.")
            return _default(parameter, request)
        return read(parameter, [", ".join(given)] if is_one else given, stated.place)

    parameter = BoundParameter(name, converter, default, find, is_stated=True, takes_document=is_document, key=key)
    label = f"{stated.place.capitalize()} {key!r}"
    return parameter._replace(label=label, needs_body=isinstance(stated, Form | Body))


def _of_whole_source(
    name: str, structure: object, many: bool, default: object, stated: Source, own: OwnTypes
) -> BoundParameter:
    """Return the parameter that takes the whole query, or the whole form, as one structure."""
    if many or not isinstance(stated, Query | Form):
        raise SetupError(f"{name!r}: a structure takes a whole query, form or body: write Query(), Form() or Body()")
    converter = structure_converter(structure, name, own)

    def find(parameter: BoundParameter, request: Request, values: Mapping[str, object]) -> object:
        fields = stated.fields(request)
        is_sent = fields if type(stated) is Query else request._exchange.form_fields is not None
        if not is_sent and default is not REQUIRED:
            return default
        return _made(converter, fields, name, stated.place, f"The {stated.place} does not fit")

    expected = ANYTHING._replace(expected=f"the fields of a {name_of(structure)}")
    needs_body = type(stated) is Form
    return BoundParameter(name, expected, default, find, is_stated=True, lists=converter.lists, needs_body=needs_body)


def _body_reader(converter: StructureConverter, many: bool, name: str) -> Find:
    """Return the ``find`` of a parameter that takes the whole body: a JSON document, or a form."""
    begin = f"Parameter {name!r} does not fit"

    def find(parameter: BoundParameter, request: Request, values: Mapping[str, object]) -> object:
        document = request._exchange.json_value()
        if document is None and request._exchange.form_fields is None:
            return _default(parameter, request)
        if document is None and not many:
            return _made(converter, request._exchange.fields, name, "form", begin)
        return _made(converter, document, name, "json", begin)

    return find


def _made(converter: StructureConverter, given: object, name: str, place: str, begin: str) -> object:
    """Make a structure. The sentence of each error starts with ``begin``."""
    try:
        return converter.make(given, place)
    except ValueError as error:
        from micropie.binding.misfits import problems_of  # not before something is wrong

        found = problems_of(error)
    raise BindingError(
        [replace(one, parameter=name, source=place, sentence=f"{begin}: {one.sentence}.") for one in found]
    )
