"""One parameter of a handler: where its value comes from, and how the value is converted.

Usually, the value is looked up by the parameter's name in the places of ``BY_NAME``, such as the
query, one after the other. If no place has it, the parameter gets its default. A parameter has
other places if its annotation declares a source (``sources.py``), or is a file, a structure or the
request itself. ``bound_parameter`` chooses the places at startup. Each request calls
``parameter.find``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import Parameter
from itertools import chain
from operator import attrgetter, not_
from typing import TYPE_CHECKING, Annotated, Any, NewType, TypeAlias, get_args, get_origin

from micropie._core.binding.annotations import (
    MAPPINGS,
    Hint,
    bare,
    built_in,
    metadata_of,
    owner_of,
    takes_json_text,
    without_none,
)
from micropie._core.binding.fields import (
    elements_in,
    field_of,
    fields_of,
    is_grid,
    kinds_in,
    members_of,
    root_of,
    structure_name,
    structures_of,
    written_kinds,
)
from micropie._core.binding.signatures.sources import (
    Body,
    Cookie,
    Form,
    Header,
    Query,
    SessionSource,
    Source,
    declared_source,
)
from micropie._core.binding.values.constraints import BrokenConstraint
from micropie._core.binding.values.converters import (
    ANYTHING,
    NUMBERS,
    Converter,
    OwnTypes,
    as_it_is,
    converter_for,
    takes_any_text,
    with_metadata,
)
from micropie._core.errors import HTTPError, SetupError
from micropie._core.http import NULL, BindingError, BindingErrors, ParameterError, Request
from micropie._core.http.forms import (
    MULTIPART,
    JsonText,
    UploadFile,
    json_in,
    nested,
    outer_name,
    rows,
)
from micropie._core.http.json import link_text
from micropie._core.http.websockets import WebSocketRequest

if TYPE_CHECKING:
    from micropie._core.binding.structures.makers import Maker

REQUIRED = Parameter.empty

# The parts of a request for which the body must be parsed. For a file, parse forms that aren't
# multipart as well. Such a form contains only the file's name. The error message explains this.
OF_BODY = ("json", "form", "file")


# A part of a request that may contain the value of a parameter, such as the query. The first
# function returns the part, or None if the request doesn't have it. The second is called with the
# parameter, a value from the part, and the part's name. It returns the argument, and raises
# ``BindingError`` for an invalid value. If the second function is None, the handler gets the value
# unchanged.
Place: TypeAlias = tuple[
    Callable[[Request], object], Callable[["BoundParameter", Any, str], object] | None
]


@dataclass(slots=True)
class BoundParameter:
    """A parameter that gets its value from a request.

    - ``key``: the name of the value in ``places``, by default the parameter's name.
    - ``converter``: converts the value, and describes valid values.
    - ``default``: ``REQUIRED`` if the parameter has no default.
    - ``places``: the places to search, in this order, as a dict by name.
    - ``is_whole``: whether the value is a whole query, form or document, and not one value from it.
    - ``is_stated``: whether the annotation declares the source.
    - ``maker``: for a structure, what creates it from a whole query, form or document.
    - ``is_in_path``: whether the value may be a segment of the path. A segment takes precedence
      over all places.
    - ``is_exact``: whether the type contains a Decimal. For such a type, JSON is parsed without
      floats, which takes longer.
    """

    name: str
    key: str
    converter: Converter = ANYTHING
    default: object = REQUIRED
    places: Mapping[str, Place] = field(default_factory=dict)
    is_whole: bool = False
    is_stated: bool = False
    maker: Maker | None = None
    is_in_path: bool = False
    is_exact: bool = False

    @property
    def first_place(self) -> str:
        """The name of the first place that is searched, or "" if the value never comes from the
        client.
        """
        return next(iter(self.places), "")

    @property
    def is_document(self) -> bool:
        """Whether the value is the whole body."""
        return self.is_whole and self.first_place in ("form", "json")

    @property
    def is_in_body(self) -> bool:
        """Whether the value may be the body or a part of it."""
        return not self.places.keys().isdisjoint(OF_BODY)

    @property
    def takes_json_part(self) -> bool:
        """Whether the value may be the document in a part of a form that contains JSON."""
        is_text = self.converter.many is None and takes_any_text(self.converter)
        return "form" in self.places and (self.is_whole or not is_text)

    @property
    def label(self) -> str:
        """The beginning of an error message about the parameter: "Parameter 'page'", "Header
        'X-Token'" or "The JSON body".
        """
        if self.is_stated and self.first_place == "json":
            return "The JSON body"
        return f"{self.first_place.capitalize() if self.is_stated else 'Parameter'} {self.key!r}"

    def find(self, request: Request) -> object:
        """Return the parameter's value for a request, from the first place that has it. If no place
        has it, return the default.

        Raises ``BindingError`` if a required value is missing or if a value can't be converted.
        Raises 415 if micropie doesn't parse the body's content type.
        """
        exchange, key, places = request._exchange, self.key, self.places
        if self.is_whole:
            for name in places:
                get, read = places[name]
                value = get(request)
                if value is not None:
                    return value if read is None else read(self, value, name)
        else:
            if "query" in places and key in (query := exchange.query):
                return _from_texts(self, query[key], "query")
            for name, by_name in exchange.body.by_place:
                if name not in places:
                    continue
                get, read = places[name]
                values: Any = get(request) if get is _EXACT else by_name
                if key in values:
                    value = values[key]
                    return value if read is None else read(self, value, name)
        if exchange.body.form is not None:
            return self._left_out(request, exchange.body.form)
        if self.default is REQUIRED:
            raise _missing(self, request)
        return self.default

    def _left_out(self, request: Request, form: Mapping[str, Sequence[str]]) -> object:
        """Return the value of a parameter if a form was sent without a field for it. For example,
        a browser sends no field for an unticked box.
        """
        empty, has_files = self.converter.empty, self.first_place == "file"
        if self.converter.many is not None:
            uploads = request._exchange.body.uploads
            for place, values in (("form", form), ("file", uploads)):
                _, read = self.places.get(place, (None, None))
                if read is not None and (found := _listed(self.key, values)):
                    return read(self, found, place)
        if empty is not None and "form" in self.places:
            return _from_texts(self, empty, "form")
        # A form that isn't multipart sends only the file's name.
        came_as_text = has_files and any(form.get(self.key, ()))
        is_missing = came_as_text and request._exchange.framing[0] != MULTIPART
        if empty is not None and has_files and not is_missing:
            # If a constraint requires at least one file, the parameter counts as missing.
            with suppress(BindingError):
                return _from_files(self, [], "file")
            is_missing = True
        if is_missing or self.default is REQUIRED:
            raise _missing(self, request)
        return self.default

    def check_linked(self, value: object, own: OwnTypes) -> None:
        """Raise ``ValueError`` for a value in a link that would not be read from it: True for an
        int, or a datetime for a date. A value may break a constraint, as page 0 does.
        """
        if self.converter.schema is not None and not isinstance(value, str | None):
            text, expected = link_text(own.linked(value)), self.converter.expected
            try:
                self.converter.from_text(text)
            except BrokenConstraint:
                return
            except ValueError:
                raise ValueError(
                    f"no link can fill the parameter {self.name!r} with {value!r}: pass {expected}"
                ) from None

    def is_plain(self, is_number: bool) -> bool:
        """Return whether a value from the path needs no conversion. ``is_number``: whether a
        wildcard has already converted the segment to a number.
        """
        convert = self.converter.from_text
        is_value = convert is str or (is_number and convert in NUMBERS)
        return is_value and self.is_in_path and self.converter.many is None


class _Listed(BoundParameter):
    """A list, whose values in the query may be called ``tags[]``, as by axios and PHP."""

    def find(self, request: Request) -> object:
        """See ``BoundParameter``."""
        query = request._exchange.query
        if self.converter.many is not None and "query" in self.places and self.key not in query:
            found = _listed(self.key, query)
            if found:
                return _from_texts(self, found, "query")
        return super().find(request)


class _Renewed(_Listed):
    """A parameter whose default the handler may change: each request gets a copy of its own."""

    @property
    def default(self) -> object:
        return deepcopy(self._default)

    @default.setter
    def default(self, value: object) -> None:
        self._default = value


def specialized(parameter: BoundParameter) -> BoundParameter:
    """Return the parameter or, for a list or a default that can be changed, one of a subclass."""
    made = BoundParameter if parameter.converter.many is None else _Listed
    if parameter.places and not isinstance(parameter.default, Hashable):
        with suppress(Exception):  # it contains a lock or a connection, for example
            deepcopy(parameter.default)
            made = _Renewed
    return made(*attrgetter(*BoundParameter.__slots__)(parameter))


# -- converting values ---------------------------------------------------------------------------


def from_path(parameter: BoundParameter, value: object) -> object:
    """Return the argument for ``value``, which is a segment of the path or the value of a wildcard.
    The value of a wildcard may be a number.

    Raises 400 if the value can't be converted. Raises 404 if the parameter never gets its value
    from the path, for example because it is a file or a whole body.
    """
    if not parameter.is_in_path:
        raise HTTPError(404)
    if not isinstance(value, str):
        if parameter.is_plain(is_number=True):
            return value
        value = str(value)  # the converter needs a string
    return _from_texts(parameter, [value], "path")


def _from_texts(parameter: BoundParameter, texts: Sequence[str], place: str) -> object:
    converter = parameter.converter
    convert = converter.from_text
    if converter.many is None or (converter.is_either and len(texts) == 1):
        text = texts[0]
        try:
            return convert(text)
        except ValueError as error:
            # If the parameter has a default, "" counts as no value, because browsers send it for a
            # form field left empty.
            if not text and parameter.default is not REQUIRED:
                return parameter.default
            raise _binding_error(parameter, place, text, error) from None
    values: Sequence[object] = texts
    if not converter.is_either:
        # A comprehension would make each call slower, because Python would store its variables in
        # cells.
        values = [*map(partial(_converted, parameter, place=place, convert=convert), texts)]
    return _converted(parameter, values, place, converter.many)


def _listed(key: str, values: Mapping[str, Any]) -> list[Any]:
    """Return the values of a form's fields or files that are named as elements of the list ``key``:
    ``key[]``, as by jQuery, axios and PHP, or ``key[0]``, as by Dropzone.
    """
    named = {name: values[name] for name in values if name.startswith(f"{key}[")}
    node: Any = nested(named).get(key, [])
    parts = [node] if isinstance(node, list) else rows(node)
    return [*chain.from_iterable(part for part in parts if isinstance(part, list))]


def _from_parts(
    parameter: BoundParameter, texts: Sequence[str], place: str, is_json: bool = False
) -> object:
    """Return the argument for the fields of a form, or for its parts that contain JSON. The JSON of
    a single value may be its text, as for a number. ``is_json``: whether all texts are JSON,
    whatever their media type is.
    """
    converter = parameter.converter
    if not (is_json or all(isinstance(text, JsonText) for text in texts)):
        return _from_texts(parameter, texts, place)
    if converter.many is None and converter.takes_text:
        with suppress(BindingError):
            return _from_texts(parameter, texts, place)
    is_list = converter.many is not None and not converter.is_either
    return _converted(parameter, _json_in(parameter, texts, is_list), place)


def _json_in(parameter: BoundParameter, texts: Sequence[str], is_list: bool) -> object:
    """Return the JSON document in the parts of a form; see ``json_in``. Raises 400 if a part is
    malformed.
    """
    try:
        return json_in(texts, is_list, parameter.is_exact)
    except ValueError as error:
        raise _binding_error(
            parameter, "form", texts[0], sentence=f"{parameter.label}: {error}"
        ) from None


def _from_files(parameter: BoundParameter, files: Sequence[UploadFile], place: str) -> object:
    """Return the uploaded file, or all files if the parameter is a list. Raises 400 if the
    parameter's annotation doesn't declare a file.
    """
    if parameter.is_in_path and parameter.converter.expected != ANYTHING.expected:
        raise _binding_error(parameter, place, None)
    if parameter.converter.many is None:
        return files[0]
    return _converted(parameter, files, place, parameter.converter.many)


def _made(
    maker: Maker, is_optional: bool, parameter: BoundParameter, given: Any, place: str
) -> object:
    """Create a structure from a JSON document, or from the fields of a form or a query."""
    document, is_json = given, place == "json"
    if (
        not is_json
        and isinstance(given.get(parameter.key, ("",))[0], JsonText)
        and parameter.key not in maker.json_fields
    ):
        is_list = built_in(bare(root_of(maker.hint))[0]) is not None
        texts = given[parameter.key] if is_list else given[parameter.key][:1]
        document, is_json = _json_in(parameter, texts, is_list), True
    if document is NULL or document is None:
        if is_optional or parameter.default is None:
            return None
        raise _binding_error(parameter, place, None)
    try:
        if not is_json:
            document = maker.document_of(given, place == "form")
        made = maker.make(document, is_json)
    except ValueError as error:
        from micropie._core.binding.structures.invalid import (
            problems_of,  # imported only on an error
        )

        about = f"The {place}" if parameter.is_stated else f"Parameter {parameter.name!r}"
        found = problems_of(error, maker, document, is_json)
        raise _errors_inside(parameter, place, f"{about} is invalid", found) from None
    converter = parameter.converter  # ``from_json`` may check the list's length
    return made if converter.from_json is as_it_is else _converted(parameter, made, place)


def _with_json(name: str, request: Request) -> object:
    """Return the form of a request if its part ``name`` contains JSON."""
    form = request._exchange.body.form
    return form if isinstance((form or {}).get(name, ("",))[0], JsonText) else None


def _converted(
    parameter: BoundParameter,
    value: object,
    place: str,
    convert: Callable[[Any], object] | None = None,
) -> object:
    """Return the value converted with ``convert``, which is by default the converter's
    ``from_json``. Raises ``BindingError`` if the value is invalid.
    """
    try:
        return (convert or parameter.converter.from_json)(value)
    except ValueError as error:
        raise _binding_error(parameter, place, value, error) from None


def _binding_error(
    parameter: BoundParameter,
    place: str,
    value: object,
    error: ValueError | None = None,
    sentence: str = "",
) -> BindingError:
    """Return the error for a value that a parameter doesn't accept. ``value``: the value, or None
    if it is missing.

    - ``error``: the exception that the conversion raised.
    - ``sentence``: the message for developers. By default, the message describes valid values.
    """
    converter = parameter.converter
    expected = converter.expected
    words, is_custom = converter.error_message(value, error)
    inside = None if is_custom else getattr(error, "inside", None)
    if inside is not None:
        from micropie._core.binding.structures.invalid import (
            problems_in_json,  # imported only on an error
        )

        reason, hint = inside
        found = problems_in_json(reason, hint, value, parameter.key)
        return _errors_inside(parameter, place, parameter.label, found)
    if is_custom:
        sentence = f"{parameter.label}: {words}"
    elif not sentence:
        is_text = not converter.takes_text and isinstance(value, str) and value != ""
        if is_text and place in ("query", "form"):  # even a JSON object is only text there
            words = f"Please send a JSON body with {expected}."
        sentence = f"{parameter.label} must be {expected}."
    return BindingError(
        [ParameterError(parameter.name, place, value, expected, (), sentence, parameter.key, words)]
    )


def _errors_inside(
    parameter: BoundParameter, place: str, about: str, found: Iterable[ParameterError]
) -> BindingError:
    """Return the error for a value with errors inside it. ``about``: how their sentences begin."""
    return BindingError(
        [
            ParameterError(
                parameter.name,
                place,
                one.given,
                one.expected,
                one.path,
                f"{about}: {one.sentence}.",
                one.field,
                one.words,
            )
            for one in found
        ]
    )


_AN_OBJECT = "a JSON object"


def _missing(parameter: BoundParameter, request: Request) -> HTTPError:
    """Return the error for a required parameter without a value. It is a 415 if micropie doesn't
    parse the body's content type.
    """
    exchange = request._exchange
    missing = f"{parameter.label} is missing"
    advice = f"; expected {parameter.converter.expected}."
    if parameter.places is IN_URL:
        advice = f" in the path and the query{advice}"
    elif parameter.is_in_path and not isinstance(exchange.body.document, dict | None):
        advice = ": the JSON body is not an object."
    elif "file" in parameter.places and parameter.key in (exchange.body.form or ()):
        advice = '; only the file name arrived: the form needs enctype="multipart/form-data".'
    elif isinstance(exchange.body.document, dict) and parameter.converter.expected == _AN_OBJECT:
        advice = f"; expected {_AN_OBJECT}; to take the whole body, write Annotated[dict, Body()]."
    elif parameter.is_whole and parameter.first_place == "json" and exchange.body.form is not None:
        if "form" not in parameter.places or exchange.framing[0] != MULTIPART:
            return HTTPError(415, f"{missing}: the request's Content-Type is that of a form.")
    elif parameter.is_in_body and (problem := exchange.unread_body()) is not None:
        return HTTPError(problem[0], f"{missing}: {problem[1]}")
    return _binding_error(parameter, "", None, sentence=missing + advice)


# -- the places ------------------------------------------------------------------------------------

# Where a value is looked up by its name, in this order. The path is searched first.
BY_NAME: dict[str, Place] = {
    "query": (attrgetter("_exchange.query"), _from_texts),
    "json": (attrgetter("_exchange.body.document"), _converted),
    "form": (attrgetter("_exchange.body.form"), _from_texts),
    "file": (attrgetter("_exchange.body.uploads"), _from_files),
}
# The JSON body for types that contain a Decimal. Its numbers are not parsed as floats, which would
# lose digits.
_EXACT = attrgetter("_exchange.body.exact_document")
# Replaces ``BY_NAME`` for a parameter that has no annotation or is annotated with ``Any``. The
# handler gets JSON values unchanged.
_AS_IT_IS = BY_NAME | {"json": (BY_NAME["json"][0], None)}
# Replaces ``BY_NAME`` for a parameter that a part of a form may fill with its JSON.
_WITH_PARTS = BY_NAME | {"form": (BY_NAME["form"][0], _from_parts)}
# Replaces ``BY_NAME`` for a list of lists.
_OF_GRID = BY_NAME | {"form": (BY_NAME["form"][0], partial(_from_parts, is_json=True))}
# Where the value of a provider's parameter is looked up if the path doesn't contain it. The body is
# left out, because its fields are for the handler: a field that happened to have the parameter's
# name would determine which resource the provider opens.
IN_URL = {"query": BY_NAME["query"]}


def parameter_by_name(
    name: str, converter: Converter, default: object, annotation: Hint = None
) -> BoundParameter:
    """Return a parameter whose value is looked up by its name."""
    places = _AS_IT_IS if converter.from_json is as_it_is else _by_name(converter, annotation)
    return BoundParameter(name, name, converter, default, places, is_in_path=True)


def _by_name(converter: Converter, annotation: Hint) -> Mapping[str, Place]:
    is_text = converter.many is None and takes_any_text(converter)
    # so are the values of ``Json[X]``, and the elements of a ``list[Json[X]]``
    kinds = written_kinds(annotation)
    if is_text or any(map(takes_json_text, kinds)):
        return BY_NAME
    is_text = converter.many is None or converter.takes_text
    return _OF_GRID if not is_text and is_grid(field_of(annotation)) else _WITH_PARTS


# -- choosing the places, once ---------------------------------------------------------------------


def bound_parameter(parameter: Parameter, is_provider: bool, own: OwnTypes) -> BoundParameter:
    """Return the ``BoundParameter`` for a parameter of a handler or a provider: where it gets its
    value, and its converter.

    Raises ``SetupError`` for an annotation that can't be used.

    A provider's parameter differs from a handler's in two ways. Without an annotation, it keeps its
    default, so that no client can set it. With an annotation that declares no source, its value
    comes from the path or the query only.
    """
    name, default = parameter.name, parameter.default
    stated, annotation = declared_source(parameter.annotation)
    kind, many, optional = unwrapped(annotation)
    if is_provider and annotation is REQUIRED:
        if default is REQUIRED:
            raise SetupError(
                "it has no annotation: annotate it, for example with the type of a resource"
            )
        return BoundParameter(name, name, default=default)
    if isinstance(stated, SessionSource):
        from micropie._core.binding.structures.stored import (
            StoredFields,  # imported only by applications that use it
        )

        return _of_request(name, StoredFields(annotation, own))
    if structures_of(annotation):
        return _exact(_of_structure(name, annotation, default, stated, own), annotation, own)
    or_none = None if optional and default is REQUIRED else default
    if kind is UploadFile and isinstance(stated, Form | None):
        return _of_file(name, stated.name_for(name) if stated else name, annotation, or_none)
    if stated is not None:
        return _exact(_of_source(name, annotation, or_none, stated, own), annotation, own)
    if kind is BindingErrors:
        # ``Plan.bind`` fills this parameter with the errors.
        return BoundParameter(name, name, default=BindingErrors)
    if kind is Request or kind is WebSocketRequest:
        return _of_request(name, as_it_is)
    if isinstance(kind, NewType) and not many:
        raise SetupError(
            f"nothing provides {kind.__name__}: write @app.provides({kind.__name__}) above a "
            f"function that returns it, or Annotated[{kind.__name__}, Query()] to read the value "
            "from the query"
        )
    bound = parameter_by_name(name, converter_for(annotation, own), default, annotation)
    return replace(bound, places=IN_URL) if is_provider else _exact(bound, annotation, own)


def _of_file(name: str, key: str, annotation: Hint, default: object) -> BoundParameter:
    kind, many, optional = unwrapped(annotation)
    converter = ANYTHING._replace(
        expected="a file",
        many=list if many else None,
        required="Please choose a file.",
        empty=() if many and not optional else None,
    )
    converter = _with_metadata(converter, annotation, list if many else kind, many)
    return BoundParameter(name, key, converter, default, {"file": BY_NAME["file"]})


def _of_request(name: str, get: Callable[[Request], object]) -> BoundParameter:
    """Return a parameter that gets an object of the server, which no listing contains."""
    return BoundParameter(name, name, places={"": (get, None)}, is_whole=True, is_stated=True)


def _exact(bound: BoundParameter, annotation: Hint, own: OwnTypes) -> BoundParameter:
    """Return ``bound`` or, if the parameter's type contains a Decimal, a copy that gets the numbers
    in JSON with all their digits.
    """
    kinds = [*kinds_in(annotation)]
    for kind in kinds:
        if isinstance(kind, type) and kind in own.decoders:
            kinds += kinds_in(own.taken_by(kind))
    module = sys.modules.get("decimal")  # imported by now if an annotation contains Decimal
    if module is None or module.Decimal not in kinds:
        return bound
    places = {
        name: (_EXACT if name == "json" else get, read)
        for name, (get, read) in bound.places.items()
    }
    return replace(bound, places=places, is_exact=bound.is_in_body)


# By the kind of a whole body: a list, one structure, or a dict.
_EXPECTED: Mapping[object, str] = {
    list: "a JSON array of objects",
    None: "a JSON object or a form",
    **dict.fromkeys(MAPPINGS, "a JSON object whose values are objects"),
}


def _of_structure(
    name: str, annotation: object, default: object, stated: Source | None, own: OwnTypes
) -> BoundParameter:
    """Return the parameter for an annotation that contains structures. A single structure is
    created from a whole body, query or form. A list or dict of structures is created from a whole
    body.
    """
    from micropie._core.binding.structures.makers import (
        maker_for,  # imported only by applications with structures
    )

    hint, optional = _within(annotation)
    maker = maker_for(hint, own)  # first, because the fields of a class may be unreadable
    root, _ = bare(root_of(hint))
    members = members_of(root)
    is_array = any(elements_in(one) is not None for one in members or (root,))
    kind = list if is_array else None if members else owner_of(root)
    if stated is None or isinstance(stated, Body):
        places = {"json": BY_NAME["json"]}
        if kind is None:
            places["form"] = BY_NAME["form"]
        elif kind is list or stated is None:
            places["form"] = partial(_with_json, name), None
        expected = _EXPECTED.get(kind, "JSON of one of several types")
        if optional and default is REQUIRED:
            default = None
    elif kind or not isinstance(stated, Query | Form):
        raise SetupError(
            "a class that has fields needs Query(), Form() or Body(), and a list or dict of its "
            "objects needs Body()"
        )
    else:
        is_needed = any(one.required for one in chain(*map(fields_of, members)))
        if optional and default is REQUIRED and is_needed:
            default = None
        place = BY_NAME[stated.place]
        expected = f"the fields of a {structure_name(hint)}"
        if isinstance(stated, Query) or default is REQUIRED:
            # If the parameter is required and the form is missing, use an empty form, so that the
            # errors list all required fields. If the parameter is optional and the query is empty,
            # or has only other names, use the default.
            get: Any = place[0]
            empty: object = {} if default is REQUIRED else None
            is_other = (
                (lambda given: maker.names.isdisjoint(map(outer_name, given)))
                if is_needed and empty is None
                else not_
            )
            place = (lambda request: empty if is_other(given := get(request)) else given), None
        places = {stated.place: place}
    converter = ANYTHING._replace(expected=expected)
    return BoundParameter(
        name,
        name,
        _with_metadata(converter, annotation, hint, not members_of(hint)),
        default,
        {key: (get, partial(_made, maker, optional)) for key, (get, _) in places.items()},
        is_whole=True,
        is_stated=len(places) == 1,
        maker=maker,
    )


def _with_metadata(converter: Converter, annotation: object, kind: object, many: bool) -> Converter:
    """Return a copy of a converter for files or structures, with the constraints and the
    ``Message`` of the annotation added. ``many``: whether the parameter is a list.
    """
    metadata = metadata_of(without_none(annotation)[0])
    found = with_metadata(converter, kind, metadata)
    if not many and found.expected != converter.expected:
        raise SetupError(
            f"its annotation requires {found.expected}, but only a list can have such a "
            "constraint: check the value in the handler, or move the constraint to a field of the "
            "parameter's class"
        )
    return found


def _of_source(
    name: str, annotation: object, default: object, stated: Source, own: OwnTypes
) -> BoundParameter:
    """Return a parameter whose value comes only from the declared source ``stated``."""
    converter, key = converter_for(annotation, own), stated.name_for(name)
    if not isinstance(stated, Body) and not converter.takes_text:
        raise SetupError(
            f"the {stated.place} contains only text, which can't be converted to "
            f"{annotation!r}: annotate the parameter with str (or, for a query or form, with a "
            "class that has a field for each value)"
        )
    if isinstance(stated, Header | Cookie):

        def texts(request: Request) -> object:
            found = stated.texts(request, key, converter.many is not None)
            # Join repeated headers with commas, as WSGI servers do. Using only one of them would be
            # unsafe, because one may come from the client and another from a proxy.
            return [", ".join(found)] if found and converter.many is None else found or None

        place: Place = texts, _from_texts
    elif isinstance(stated, Body):
        place = (
            BY_NAME["json"][0],
            lambda bound, value, name: _converted(bound, None if value is NULL else value, name),
        )
    else:
        place = _by_name(converter, annotation)[stated.place]
    is_whole = isinstance(stated, Header | Cookie | Body)
    return BoundParameter(name, key, converter, default, {stated.place: place}, is_whole, True)


def unwrapped(annotation: Hint) -> tuple[Hint, bool, bool]:
    """Return three values: the type X in ``X``, ``list[X]``, ``X | None`` or ``Annotated[X, ...]``;
    whether the annotation is a list; whether it is optional.
    """
    annotation, optional = _within(annotation)
    if built_in(get_origin(annotation)) is not list:
        return annotation, False, optional
    element, *_ = get_args(annotation) or (str,)  # a bare ``typing.List`` has no element type
    return element, True, optional


def _within(annotation: Hint) -> tuple[Hint, bool]:
    """Return the type X from ``Annotated[X, ...]``, ``X | None`` or both, and whether the
    annotation is optional.

    A union of structures keeps its ``Annotated``, because pydantic may need the metadata to choose
    the member.
    """
    if get_origin(annotation) is Annotated and len(members_of(annotation)) < 2:
        annotation = get_args(annotation)[0]
    inner, optional = without_none(annotation)
    return (_within(inner)[0], True) if optional else (inner, False)
