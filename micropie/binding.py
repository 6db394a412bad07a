"""A handler's signature, compiled once into a ``Plan`` that turns a request into the handler's arguments.

Path segments fill positional parameters; what is left is looked up by name: in the query, in the form or the top
level of a JSON body, among the files, then the parameter's default. Never in the session: what a client can
write into a URL must not reach what the author reads from elsewhere.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, Any, NamedTuple

from micropie.conversion import ANYTHING, Converter, converter_for, is_structure, structure_converter
from micropie.errors import BadRequest, HTTPError, SetupError
from micropie.forms import UploadFile

if TYPE_CHECKING:
    from micropie.request import Request

Arguments = tuple[Sequence[Any], dict[str, Any]]
Bind = Callable[["Request", Sequence[Any], dict[str, Any]], Arguments]

_MISSING: Any = object()
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class _Named(NamedTuple):
    """One parameter of a handler and where its value comes from."""

    name: str
    default: Any
    converter: Converter
    structure: Callable[[Any, bool], Any] | None = None
    is_file: bool = False


class Plan:
    """How a handler wants to be called. ``takes_path``: segments of a path may become its arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        parameters, hints = _signature(function)
        self._positional: list[_Named] = []
        self._keywords: list[_Named] = []
        self._rest_of_path: Converter | None = None
        self._rest_of_names: Converter | None = None
        for parameter in parameters:
            self._add(parameter, hints.get(parameter.name, parameter.annotation))
        self.takes_path = bool(self._positional) or self._rest_of_path is not None
        self._named = {named.name: named for named in self._positional + self._keywords}
        self.bind: Bind = self._bind_nothing if not self._named and not self._takes_rest else self._bind

    @property
    def _takes_rest(self) -> bool:
        return self._rest_of_path is not None or self._rest_of_names is not None

    def _add(self, parameter: Parameter, annotation: Any) -> None:
        if parameter.kind is Parameter.VAR_POSITIONAL:
            self._rest_of_path = _converter(annotation, parameter.name)
        elif parameter.kind is Parameter.VAR_KEYWORD:
            self._rest_of_names = _converter(annotation, parameter.name)
        else:
            target = self._positional if parameter.kind in _POSITIONAL else self._keywords
            target.append(_named(parameter, annotation))

    def check_wildcards(self, names: Sequence[str], route: str) -> None:
        """Raise ``SetupError`` if a wildcard of ``route`` has no parameter to go to."""
        for name in names:
            if name not in self._named and self._rest_of_names is None:
                raise SetupError(f"the route {route!r} has <{name}>, but its handler has no parameter {name!r}")

    def _bind_nothing(self, request: Request, segments: Sequence[Any], values: dict[str, Any]) -> Arguments:
        if segments:
            raise HTTPError(404)
        return (), {}

    def _bind(self, request: Request, segments: Sequence[Any], values: dict[str, Any]) -> Arguments:
        """``segments``: what the path has beyond the handler's name; ``values``: an explicit route's wildcards."""
        given = len(self._positional)
        arguments = [_from_segment(*pair) for pair in zip(self._positional, segments, strict=False)]
        if len(segments) > given:
            arguments += self._rest(segments[given:])
        else:
            arguments += [_by_name(named, request, values) for named in self._positional[len(segments) :]]
        keywords = {named.name: _by_name(named, request, values) for named in self._keywords}
        if self._rest_of_names is not None:
            keywords.update(self._others(request, values))
        return arguments, keywords

    def _rest(self, segments: Sequence[str]) -> list[Any]:
        if self._rest_of_path is None:
            raise HTTPError(404)
        rest = _Named("path", _MISSING, self._rest_of_path)
        return [_from_segment(rest, segment) for segment in segments]

    def _others(self, request: Request, values: dict[str, Any]) -> dict[str, Any]:
        """What ``**kwargs`` gets: the names that no parameter took, one value as it is, several as a list."""
        assert self._rest_of_names is not None  # noqa: S101
        names = dict.fromkeys([*values, *request.query_params, *_body_names(request), *request.files])
        others = {}
        for name in names:
            if name not in self._named:
                several = request.query_params.get(name) or request.body_params.get(name) or ()
                converter = self._rest_of_names
                if len(several) > 1 and name not in values:
                    converter = converter._replace(many=list)
                others[name] = _by_name(_Named(name, _MISSING, converter), request, values)
        return others


def _signature(function: Callable[..., Any]) -> tuple[list[Parameter], dict[str, Any]]:
    parameters = list(inspect.signature(function).parameters.values())
    unwrapped = inspect.unwrap(getattr(function, "func", function))
    try:
        return parameters, typing.get_type_hints(unwrapped, include_extras=True)
    except NameError as error:
        where = getattr(unwrapped, "__qualname__", unwrapped)
        raise SetupError(f"an annotation of {where} can't be read: {error}; import it at run time as well") from None
    except TypeError:  # no function, a callable object: it has a signature and no hints
        return parameters, {}


def _converter(annotation: Any, name: str) -> Converter:
    return ANYTHING if annotation is Parameter.empty else converter_for(annotation, name)


def _named(parameter: Parameter, annotation: Any) -> _Named:
    default = _MISSING if parameter.default is Parameter.empty else parameter.default
    if _is_file(annotation):
        many = list if typing.get_origin(annotation) is list else None
        return _Named(parameter.name, default, ANYTHING._replace(expected="a file", many=many), None, True)
    structure = _structure_of(annotation)
    if structure is not None:
        optional = structure is not annotation
        converter = ANYTHING._replace(expected="a JSON object or a form", optional=optional)
        return _Named(parameter.name, default, converter, structure_converter(structure, parameter.name))
    return _Named(parameter.name, default, _converter(annotation, parameter.name))


def _is_file(annotation: Any) -> bool:
    return annotation is UploadFile or UploadFile in typing.get_args(annotation)


def _structure_of(annotation: Any) -> Any:
    """The structure in ``Structure`` or ``Structure | None``, None if there is none."""
    if is_structure(annotation):
        return annotation
    members = [member for member in typing.get_args(annotation) if member is not type(None)]
    return members[0] if len(members) == 1 and is_structure(members[0]) else None


def _from_segment(named: _Named, segment: Any) -> Any:
    if named.structure is not None or named.is_file:
        raise HTTPError(404)
    return _converted(named, named.converter.from_text, segment)


def _by_name(named: _Named, request: Request, values: dict[str, Any]) -> Any:
    if named.name in values:
        value = values[named.name]
        return _converted(named, named.converter.from_text, value) if isinstance(value, str) else value
    if named.structure is not None:
        return _whole_body(named, named.structure, request)
    if not named.is_file:
        found = request.query_params.get(named.name)
        if found:
            return _from_texts(named, found)
        found = _MISSING
        if request.body_params:
            found = _from_body(named, request)
        if found is not _MISSING:
            return found
    if request.files and named.name in request.files:
        return _file(named, request)
    if named.default is not _MISSING:
        return named.default
    raise BadRequest(f"Parameter {named.name!r} is missing; expected {named.converter.expected}.")


def _from_texts(named: _Named, texts: list[str]) -> Any:
    pack = named.converter.many
    if pack is None:
        return _converted(named, named.converter.from_text, texts[0])
    return pack([_converted(named, named.converter.from_text, text) for text in texts])


def _from_body(named: _Named, request: Request) -> Any:
    document = request.get_json
    if isinstance(document, dict):
        if named.name not in document:
            return _MISSING
        return _converted(named, named.converter.from_json, document[named.name])
    found = request.body_params.get(named.name)
    return _from_texts(named, found) if found else _MISSING


def _file(named: _Named, request: Request) -> Any:
    return request.files[named.name]


def _body_names(request: Request) -> list[str]:
    return list(request.body_params)


def _converted(named: _Named, convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except ValueError:
        raise BadRequest(f"Parameter {named.name!r} must be {named.converter.expected}.") from None


def _whole_body(named: _Named, convert: Callable[[Any, bool], Any], request: Request) -> Any:
    document = request.get_json
    from_text = document is None and bool(request.body_params)
    if from_text:
        document = {name: values[0] if len(values) == 1 else values for name, values in request.body_params.items()}
    if document is None:
        if named.default is not _MISSING or named.converter.optional:
            return None if named.default is _MISSING else named.default
        raise BadRequest(f"Parameter {named.name!r} is missing; expected {named.converter.expected}.")
    try:
        return convert(document, from_text)
    except ValueError as error:
        raise BadRequest(f"Parameter {named.name!r} does not fit: {_first_line(error)}") from None


def _first_line(error: ValueError) -> str:
    """What msgspec or pydantic says is wrong, in one line and without the client's own values."""
    details = getattr(error, "errors", None)
    if callable(details):  # pydantic: its text spans lines and repeats the input
        first = details()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}."
    return f"{error}."
