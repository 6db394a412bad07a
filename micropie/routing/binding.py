"""A handler's signature, compiled once into a ``Plan`` that turns a request into the handler's arguments.

Path segments fill positional parameters; what is left is looked up by name: in the query, in the form or the top
level of a JSON body, among the files, then the parameter's default. Never in the session: what a client can
write into a URL must not reach what the author reads from elsewhere.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Collection, Sequence
from inspect import Parameter
from operator import itemgetter
from types import SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, NamedTuple

from micropie.errors import BadRequest, HTTPError, SetupError
from micropie.http.forms import UploadFile
from micropie.routing.converters import ANYTHING, Converter, converter_for, is_structure, structure_converter

if TYPE_CHECKING:
    from micropie.http.request import Request

_MISSING: Any = object()
_NOTHING: dict[str, Any] = {}
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class _Named(NamedTuple):
    """One parameter of a handler. ``from_text`` and ``from_json`` are None where nothing is to be converted.

    ``source`` gives the value of a parameter that is not looked up like the others: a file, a whole body.
    """

    name: str
    default: Any
    converter: Converter
    from_text: Callable[[str], Any] | None
    from_json: Callable[[Any], Any] | None
    many: Callable[[list[Any]], Any] | None
    source: Callable[[_Named, Request], Any] | None = None


class Plan:
    """How a handler wants to be called: ``plan.call(*plan.bind(request, segments, values))``.

    ``takes_socket``: the first argument of the call is given by the caller, before those that are bound.

    ``takes_path``: segments of a path may become its arguments, ``most_segments`` of them. ``texts``: so many
    segments are the arguments as they stand, so that there is nothing to bind; -1 if there is always something.
    """

    def __init__(self, function: Callable[..., Any], takes_socket: bool = False) -> None:
        parameters = _parameters(function)
        self._taken = _taken_names(function)
        if takes_socket:
            self._taken.add(_without_socket(parameters))
        hints = _hints(function, {parameter.name for parameter in parameters})
        self._positional: list[_Named] = []
        self._keywords: list[_Named] = []
        self._rest: _Named | None = None
        self._rest_of_names: Converter | None = None
        for parameter in parameters:
            self._add(parameter, hints.get(parameter.name, parameter.annotation))
        self.takes_path = bool(self._positional) or self._rest is not None
        self._names = {named.name for named in self._positional + self._keywords}
        self._takes_keywords = bool(self._keywords) or self._rest_of_names is not None
        self.most_segments = sys.maxsize if self._rest is not None else len(self._positional)
        all_text = not self._takes_keywords and all(map(_is_text, self._positional))
        self.plain_args = len(self._positional) if all_text else -1
        plain = not self._takes_keywords and all(map(_is_plain, self._positional))
        self._pick = _picker([named.name for named in self._positional]) if plain and self._positional else None
        self.call = _with_keywords(function) if self._takes_keywords else function

    def check_no_body(self) -> None:
        """Raise ``SetupError`` if a parameter wants what only a body brings: a file, a whole document."""
        for named in self._positional + self._keywords:
            if named.source is not None:
                raise SetupError(f"its parameter {named.name!r} is filled from a body, and a WebSocket has none")

    def check_wildcards(self, names: Sequence[str], route: str) -> None:
        """Raise ``SetupError`` if a wildcard of ``route`` has no parameter to go to."""
        for name in names:
            if name not in self._names and self._rest_of_names is None:
                raise SetupError(f"the route {route!r} has <{name}>, but its handler has no parameter {name!r}")

    def check_needs_no_body(self, handler: str) -> None:
        """Raise ``SetupError`` if a parameter could come from a body alone: that of ``@reads_body`` is not received."""
        for named in self._positional + self._keywords:
            if named.source is not None:
                raise SetupError(
                    f"{handler}: {named.name!r} takes {named.converter.expected}, but @reads_body leaves the body to "
                    "the handler: read it there, by self.request.parts() for example, or leave @reads_body out"
                )

    def bind(self, request: Request, segments: Sequence[Any], values: dict[str, Any]) -> Sequence[Any]:
        """The arguments of one ``call``. ``segments``: what the path has beyond the handler's name; ``values``: an
        explicit route's wildcards. Raises 400 for a parameter that is missing or does not convert.
        """
        given = len(segments)
        if self._pick is not None and not given and not values:
            found = _from_one_place(self._pick, request)
            if found is not None:
                return found
        if given:
            arguments = [_from_segment(*pair) for pair in zip(self._positional, segments, strict=False)]
            rest = self._rest
            if given > len(self._positional) and rest is not None:  # without one the router has said 404
                arguments += [_from_segment(rest, segment) for segment in segments[len(self._positional) :]]
            else:
                arguments += _by_name(self._positional[given:], request, values)
        else:
            arguments = _by_name(self._positional, request, values)
        if self._takes_keywords:
            arguments.append(self._bind_keywords(request, values))
        return arguments

    def _bind_keywords(self, request: Request, values: dict[str, Any]) -> dict[str, Any]:
        found = _by_name(self._keywords, request, values)
        keywords = {named.name: value for named, value in zip(self._keywords, found, strict=True)}
        if self._rest_of_names is not None:
            keywords.update(self._others(self._rest_of_names, request, values))
        return keywords

    def _add(self, parameter: Parameter, annotation: Any) -> None:
        if parameter.kind is Parameter.VAR_POSITIONAL:
            self._rest = _plain(parameter.name, _converter(annotation, parameter.name))
        elif parameter.kind is Parameter.VAR_KEYWORD:
            self._rest_of_names = _converter(annotation, parameter.name)
        else:
            target = self._positional if parameter.kind in _POSITIONAL else self._keywords
            target.append(_named(parameter, annotation))

    def _others(self, converter: Converter, request: Request, values: dict[str, Any]) -> dict[str, Any]:
        """What ``**kwargs`` gets: the names that no parameter took, one value as it is, several as a list."""
        query, body = request.query_params, request.body_params
        others = {}
        for name in dict.fromkeys([*values, *query, *body, *request.files]):
            if name not in self._names and name not in self._taken:
                found = query.get(name) or body.get(name) or request.uploads.get(name) or ()
                several = name not in values and len(found) > 1
                named = _plain(name, converter._replace(many=list) if several else converter)
                others[name] = _by_name([named], request, values)[0]
        return others


def _with_keywords(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, called with its keyword arguments as a dict behind the others: a step has one tuple."""
    return lambda *arguments: function(*arguments[:-1], **arguments[-1])


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    fixed = _without_partials(function)[1]
    return [one for one in inspect.signature(function).parameters.values() if one.name not in fixed]


def _hints(function: Callable[..., Any], names: Collection[str]) -> dict[str, Any]:
    """The annotations of parameters; those of others may name what is imported for type checkers only."""
    unwrapped: Any = inspect.unwrap(_without_partials(function)[0])
    if not hasattr(unwrapped, "__globals__") and not hasattr(unwrapped, "__func__"):
        unwrapped = type(unwrapped).__call__
    try:
        annotations = {name: hint for name, hint in unwrapped.__annotations__.items() if name in names}
        wanted = SimpleNamespace(__annotations__=annotations)
        return typing.get_type_hints(wanted, unwrapped.__globals__, include_extras=True)
    except (NameError, AttributeError, SyntaxError) as error:
        where = unwrapped.__qualname__
        raise SetupError(f"an annotation of {where} can't be read: {error}; import it at run time as well") from None


def _without_socket(parameters: list[Parameter]) -> str:
    """Take a WebSocket handler's first parameter, which is the socket, out of the list. Returns its name."""
    if not parameters or parameters[0].kind not in _POSITIONAL:
        raise SetupError("a WebSocket handler takes the socket first: write async def ws_name(self, ws)")
    return parameters.pop(0).name


def _without_partials(function: Any) -> tuple[Any, set[str]]:
    """What ``functools.partial`` wraps, and the names that it fixes: the author's, not the client's to choose."""
    fixed: set[str] = set()
    while isinstance(function, functools.partial):
        fixed.update(function.keywords)
        function = function.func
    return function, fixed


def _taken_names(function: Any) -> set[str]:
    """The names that a call has already: ``self``, and what a partial fixes. No ``**kwargs`` may name them."""
    inner, taken = _without_partials(function)
    bound: Any = inspect.unwrap(inner)
    if hasattr(bound, "__self__"):
        first = next(iter(inspect.signature(bound.__func__).parameters.values()))
        if first.kind is Parameter.POSITIONAL_OR_KEYWORD:
            taken.add(first.name)
    return taken


def _converter(annotation: Any, name: str) -> Converter:
    return ANYTHING if annotation is Parameter.empty else converter_for(annotation, name)


def _named(parameter: Parameter, annotation: Any) -> _Named:
    default = _MISSING if parameter.default is Parameter.empty else parameter.default
    name = parameter.name
    kind, many, optional = _parts(annotation)
    if kind is UploadFile:
        converter = ANYTHING._replace(expected="a file", optional=optional)
        return _Named(name, default, converter, None, None, list if many else None, _file)
    if is_structure(kind):
        expected = "a JSON array of objects" if many else "a JSON object or a form"
        converter = ANYTHING._replace(expected=expected, optional=optional)
        return _Named(name, default, converter, None, None, None, _body_source(kind, many, name))
    converter = _converter(annotation, name)
    from_text = None if converter.from_text is ANYTHING.from_text else converter.from_text
    from_json = None if converter.from_json is ANYTHING.from_json else converter.from_json
    return _Named(name, default, converter, from_text, from_json, converter.many)


def _parts(annotation: Any) -> tuple[Any, bool, bool]:
    """What ``X``, ``list[X]``, ``X | None`` and ``Annotated[X, ...]`` are about; whether many; whether optional."""
    optional = many = False
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = annotation.__origin__
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            annotation, optional = members[0], True
    if typing.get_origin(annotation) is list:
        annotation, many = typing.get_args(annotation)[0], True
    return annotation, many, optional


def _plain(name: str, converter: Converter) -> _Named:
    return _Named(name, _MISSING, converter, converter.from_text, converter.from_json, converter.many)


def _is_text(named: _Named) -> bool:
    return named.from_text is None and named.source is None


def _from_segment(named: _Named, segment: Any) -> Any:
    if named.source is not None:
        raise HTTPError(404)
    if named.many is not None:
        return named.many([_converted(named, named.from_text, segment)])
    return segment if named.from_text is None else _converted(named, named.from_text, segment)


def _is_plain(named: _Named) -> bool:
    return _is_text(named) and named.from_json is None and named.many is None


def _picker(names: list[str]) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """What takes the values of ``names`` out of a dict at C's speed; raises ``KeyError``."""
    if len(names) > 1:
        return itemgetter(*names)
    name = names[0]
    return lambda found: (found[name],)  # itemgetter would give the bare value


def _from_one_place(pick: Callable[[dict[str, Any]], Sequence[Any]], request: Request) -> Sequence[Any] | None:
    """The values of parameters that nothing is to be done to, if the query or the body has them all: the short cut
    that most requests take."""
    query = request.query_params
    body = request.document or request.form_fields
    try:
        if query:
            return [texts[0] for texts in pick(query)]
        if type(body) is dict:
            found = pick(body)
            return found if body is request.document else [texts[0] for texts in found]
    except KeyError:
        pass
    return None


def _by_name(wanted: Sequence[_Named], request: Request, values: dict[str, Any]) -> list[Any]:
    """The values of parameters, each from the first place that has its name."""
    query = request.query_params
    form = request.form_fields or _NOTHING
    document = request.document
    members = document if type(document) is dict else _NOTHING
    arguments = []
    for named in wanted:
        name, default, _, from_text, from_json, many, source = named
        if source is not None:
            value = source(named, request)
        elif name in values:
            value = _from_wildcard(named, values[name])
        elif name in query or name in form:
            texts = query[name] if name in query else form[name]
            if many is not None:
                value = many([_converted(named, from_text, text) for text in texts])
            else:
                value = texts[0] if from_text is None else _converted(named, from_text, texts[0])
        elif name in members:
            value = members[name] if from_json is None else _converted(named, from_json, members[name])
        elif name in request.uploads:
            value = _upload(named, request)
        elif default is not _MISSING:
            value = default
        else:
            raise _missing(named)
        arguments.append(value)
    return arguments


def _missing(named: _Named) -> BadRequest:
    return BadRequest(f"Parameter {named.name!r} is missing; expected {named.converter.expected}.")


def _from_wildcard(named: _Named, value: Any) -> Any:
    is_raw_text = isinstance(value, str) and named.from_text is not None
    value = _converted(named, named.from_text, value) if is_raw_text else value
    return value if named.many is None else named.many([value])


def _upload(named: _Named, request: Request) -> Any:
    """A file's parameter gets the file; one that is annotated as something else does not."""
    if named.converter.expected != ANYTHING.expected and named.source is None:
        raise BadRequest(f"Parameter {named.name!r} must be {named.converter.expected}.")
    uploads = request.uploads[named.name]
    return named.many(uploads) if named.many is not None else uploads[0]


def _file(named: _Named, request: Request) -> Any:
    """The source of a parameter that is annotated with ``UploadFile``."""
    if named.name in request.uploads:
        return _upload(named, request)
    if named.default is not _MISSING:
        return named.default
    if named.converter.optional:
        return None
    raise _missing(named)


def _converted(named: _Named, convert: Callable[[Any], Any] | None, value: Any) -> Any:
    if convert is None:
        return value
    try:
        return convert(value)
    except ValueError:
        raise BadRequest(f"Parameter {named.name!r} must be {named.converter.expected}.") from None


def _body_source(structure: Any, many: bool, name: str) -> Callable[[_Named, Request], Any]:
    """The source of a parameter that takes the whole body: a JSON document, or a form."""
    convert_one = structure_converter(structure, name)

    def convert(document: Any, is_form: bool) -> Any:
        if not many:
            return convert_one(document, is_form)
        if not isinstance(document, list):
            raise ValueError("Expected `array`")
        return [convert_one(element, False) for element in document]

    def from_body(named: _Named, request: Request) -> Any:
        document = request.get_json
        is_form = document is None and bool(request.form_fields)
        if is_form:
            document = request.body_params
        if document is None:
            if named.default is _MISSING and not named.converter.optional:
                raise _missing(named)
            return None if named.default is _MISSING else named.default
        try:
            return convert(document, is_form)
        except ValueError as error:
            raise BadRequest(f"Parameter {named.name!r} does not fit: {_first_line(error)}") from None

    return from_body


def _first_line(error: ValueError) -> str:
    """What msgspec or pydantic says is wrong, in one line and without the client's own values."""
    details = getattr(error, "errors", None)
    if callable(details):  # pydantic: its text spans lines and repeats the input
        first = details()[0]
        return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]])) + "."
    return f"{error}."
