"""Bind a request's values to a handler's parameters: its signature is compiled once into a ``Plan``.

Path segments fill positional parameters. Each remaining parameter is looked up by name: in the query, in the form or
the top level of a JSON body, among the files; its default comes last. The session is never searched, so that a
value which a client writes into a URL is never taken for one from the session, nor the other way round.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import typing
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter
from itertools import chain, repeat
from operator import itemgetter
from types import SimpleNamespace, UnionType
from typing import Any, NamedTuple, TypeAlias, TypeVar

from micropie.errors import BadRequest, HTTPError, SetupError
from micropie.execution.placement import layers
from micropie.http.binding_errors import BindingError, BindingErrors, ParameterError
from micropie.http.forms import UploadFile
from micropie.http.request import Request, WebSocketRequest
from micropie.routing.converters import ANYTHING, Collect, Converter, converter_for, is_structure, structure_converter
from micropie.routing.sources import Body, Form, Query, Source

_Value = TypeVar("_Value")

_REQUIRED = Parameter.empty
_NOTHING: dict[str, list[str]] = {}

MOST_ERRORS = 100  # in one body, to be described
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class BoundParameter(NamedTuple):
    """One parameter of a handler. ``from_text`` and ``from_json`` are None where nothing has to be converted.

    ``source`` returns the value of a parameter that is not looked up by name: a file, or the whole body, which is the
    case if ``takes_document``. ``is_stated``: the annotation names the source.
    """

    name: str
    default: object
    converter: Converter
    from_text: Callable[[str], object] | None
    from_json: Callable[[object], object] | None
    many: Collect | None
    source: _Source | None = None
    takes_document: bool = False
    is_stated: bool = False


class ProvidedParameter(NamedTuple):
    """A parameter that a provider fills. ``place`` among the positional arguments; None if it is given by name."""

    name: str
    key: object
    place: int | None


_Source: TypeAlias = "Callable[[BoundParameter, Request], object]"
_Picker: TypeAlias = Callable[[Mapping[str, Any]], Sequence[Any]]


class Plan:
    """The way to call a handler: ``plan.call(*plan.bind(request, segments, values))``.

    ``takes_socket``: the caller puts a WebSocket before the arguments that are bound.

    ``provided``: the types that providers give. A parameter that is annotated with one of them is not bound; the plan's
    own ``provided`` lists these. ``is_provider``: the function
    is a provider, whose parameters without an annotation keep their defaults.

    ``most_segments``: how many segments of a path may become arguments. ``plain_args``: if the path gives exactly this
    many segments, they are the arguments as they are and ``bind`` can be skipped; -1 if it can never be skipped.
    """

    def __init__(
        self,
        function: Callable[..., object],
        takes_socket: bool = False,
        provided: Collection[object] = (),
        is_provider: bool = False,
    ) -> None:
        signature = inspect.signature(function)
        # Names whose values no client may choose: **kwargs never gets them.
        self._taken = _fixed_names(function)
        parameters = [one for one in signature.parameters.values() if one.name not in self._taken]
        if takes_socket:
            if not parameters or parameters[0].kind not in _POSITIONAL:
                raise SetupError("a WebSocket handler takes the socket first: write async def ws_name(self, ws)")
            self._taken.add(parameters.pop(0).name)
        hints = _hints(function, {parameter.name for parameter in parameters})
        parameters = [one.replace(annotation=hints.get(one.name, one.annotation)) for one in parameters]
        self.provided: list[ProvidedParameter] = []
        parameters = self._without_provided(parameters, provided, is_provider)
        # For descriptions of the handler: what it is, and its parameters with their annotations.
        self.function = function
        self.parameters = [one for one in parameters if not is_provider or one.annotation is not _REQUIRED]
        self._positional: list[BoundParameter] = []
        self._keywords: list[BoundParameter] = []
        self._rest: BoundParameter | None = None  # *args
        self._other_names: Converter | None = None  # **kwargs
        for parameter in parameters:
            annotation: object = parameter.annotation
            if parameter.kind is Parameter.VAR_POSITIONAL:
                self._rest = _by_converter(parameter.name, converter_for(annotation, parameter.name))
            elif parameter.kind is Parameter.VAR_KEYWORD:
                self._other_names = converter_for(annotation, parameter.name)
            else:
                target = self._positional if parameter.kind in _POSITIONAL else self._keywords
                bound = _of_provider(parameter) if is_provider else None
                target.append(bound or _bound_parameter(parameter.name, annotation, parameter.default))
        sourced = [one for one in self._positional if one.is_stated]
        if sourced and not self._positional[-1].is_stated and not is_provider:
            raise SetupError(
                f"the parameter {self._positional[-1].name!r} comes after {sourced[0].name!r}, which states its "
                "source: write those with a source last, or after *"
            )
        self.most_segments = sys.maxsize if self._rest is not None else len(self._positional)
        self._takes_errors = any(one.source is _no_errors for one in self._positional + self._keywords)
        self._names = {parameter.name for parameter in self._positional + self._keywords}
        given_by_name = any(one.place is None for one in self.provided)
        self._takes_keywords = bool(self._keywords) or self._other_names is not None or given_by_name
        all_text = not self._takes_keywords and all(
            one.from_text is None and one.many is None and one.source is None for one in self._positional
        )
        self.plain_args = len(self._positional) if all_text else -1
        # Takes the arguments out of a dict by name, if no text needs converting; no value of a JSON object either if
        # ``_picks_json``.
        self._pick: _Picker | None = None
        self._picks_json = all(one.from_json is None for one in self._positional)
        if all_text and self._positional:
            names = [parameter.name for parameter in self._positional]
            # ``itemgetter`` takes a fifth of the time of a list comprehension, but returns a single value bare.
            self._pick = itemgetter(*names) if len(names) > 1 else lambda values: (values[names[0]],)
        self.call = function
        documents = [one.name for one in self._positional + self._keywords if one.takes_document]
        if len(documents) > 1:
            raise SetupError(
                f"the parameters {documents[0]!r} and {documents[1]!r} would both take the whole body: write one class "
                "with a field for each, or annotate them as dict to take the body's fields of their names"
            )
        if self._takes_keywords:  # a step has one tuple of arguments: a dict at its end has the keyword arguments
            self.call = lambda *arguments: function(*arguments[:-1], **arguments[-1])

    def _without_provided(
        self, parameters: list[Parameter], provided: Collection[object], is_provider: bool
    ) -> list[Parameter]:
        """Return the parameters that a request fills, and keep the places of those that providers fill."""
        left = []
        for index, parameter in enumerate(parameters):
            is_variable = parameter.kind in _VARIABLE
            key = None if is_variable or not provided else _provided_key(parameter.annotation, provided)
            if key is None and not (is_variable and is_provider):
                left.append(parameter)
            elif key is not None:
                place = index if parameter.kind in _POSITIONAL else None
                self.provided.append(ProvidedParameter(parameter.name, key, place))
                self._taken.add(parameter.name)
        return left

    def with_provided(self, arguments: Sequence[Any], values: Mapping[object, object]) -> Sequence[object]:
        """Return the ``arguments`` of one call with what the providers gave, by its type."""
        complete = [*arguments]
        for name, key, place in self.provided:
            if place is None:
                complete[-1][name] = values[key]
            else:
                complete.insert(place, values[key])
        return complete

    @property
    def names_in_path(self) -> list[str]:
        """The parameters that the segments of a path fill, in their order."""
        return [one.name for one in self._positional]

    @property
    def reads_values(self) -> bool:
        """Whether a parameter is filled by what the client sent."""
        return any(one.source not in _NO_INPUT for one in self._positional + self._keywords)

    @property
    def body_parameter(self) -> BoundParameter | None:
        """The first parameter whose value only a body can bring, a file or a whole document, or None."""
        candidates = self._positional + self._keywords
        return next((one for one in candidates if one.source is _file or one.takes_document), None)

    def check_wildcards(self, names: Sequence[str], route: str) -> None:
        """Raise ``SetupError`` if the handler has no parameter for a wildcard of ``route``."""
        for name in names:
            if name not in self._names and self._other_names is None:
                raise SetupError(f"the route {route!r} has <{name}>, but its handler has no parameter {name!r}")

    def takes_body(self, segments: Sequence[str], values: Mapping[str, object]) -> bool:
        """Return whether the path leaves a parameter that the body may fill. The arguments are those of ``bind``."""
        left = max(len(self._positional) - len(segments), 0) + len(self._keywords) - len(values)
        return left > 0 or self._other_names is not None

    def begins_with(self, names: Sequence[str]) -> bool:
        """Return whether the handler's first positional parameters are ``names``, in this order."""
        return [parameter.name for parameter in self._positional[: len(names)]] == [*names]

    def plain_args_of(self, converted: Sequence[bool]) -> int:
        """Return ``plain_args`` for a route whose wildcards fill the first parameters; numbers are ``converted``."""
        complete = len(converted) == len(self._positional) and not self._takes_keywords
        plain = complete and all(
            parameter.source is None and parameter.many is None and (is_converted or parameter.from_text is None)
            for parameter, is_converted in zip(self._positional, converted, strict=True)
        )
        return len(converted) if plain else -1

    def bind_fallback(
        self, request: Request, segments: Sequence[str], values: Mapping[str, object]
    ) -> Sequence[object]:
        """``bind`` for a path that no other handler takes: a segment that does not convert means 404, not 400."""
        parameters = chain(self._positional, repeat(self._rest))
        try:
            for parameter, segment in zip(parameters, segments, strict=False):
                assert parameter is not None  # noqa: S101 - the router gives no more than ``most_segments``
                _from_segment(parameter, segment)
        except BadRequest:
            raise HTTPError(404) from None
        return self.bind(request, segments, values)

    def bind(self, request: Request, segments: Sequence[str], values: Mapping[str, object]) -> Sequence[object]:
        """Return the arguments of one ``call``.

        ``segments`` are those of the path after the handler's name, ``values`` the wildcards of an explicit route.
        Raises 400 for a parameter that is missing or does not convert.
        """
        given = len(segments)
        try:
            if not given:
                if not values and self._pick is not None:
                    picked = _plain_values(self._pick, request, self._picks_json)
                    if picked is not None:
                        return picked
                arguments = _by_name(self._positional, request, values)
            else:
                arguments = [_from_segment(*pair) for pair in zip(self._positional, segments, strict=False)]
                rest = self._rest
                if given > len(self._positional) and rest is not None:  # without *args the router has answered 404
                    arguments += [_from_segment(rest, segment) for segment in segments[len(self._positional) :]]
                else:
                    arguments += _by_name(self._positional[given:], request, values)
            if self._takes_keywords:
                found = _by_name(self._keywords, request, values)
                keywords = {parameter.name: value for parameter, value in zip(self._keywords, found, strict=True)}
                if self._other_names is not None:
                    keywords.update(self._others(self._other_names, request, values))
                arguments.append(keywords)
        except BindingError:
            pass  # outside of ``except``, so that what is raised there has no false context
        else:
            return arguments
        return self._bind_with_errors(request, segments, values)

    def _bind_with_errors(
        self, request: Request, segments: Sequence[str], values: Mapping[str, object]
    ) -> Sequence[object]:
        """Bind once more, each parameter by itself. Raises ``BindingError`` with all that does not fit.

        If the handler has a parameter for the errors, nothing is raised: what does not fit has its default, or None.
        """
        errors: list[ParameterError] = []
        found = _no_errors(None, request)

        def one(parameter: BoundParameter, segment: str | None = None) -> object:
            if parameter.source is _no_errors:
                return found
            try:
                if segment is not None:
                    return _from_segment(parameter, segment)
                return _by_name([parameter], request, values)[0]
            except BindingError as error:
                source = "path" if segment is not None else _source_of(parameter.name, request, values)
                errors.extend(one if one.source else replace(one, source=source) for one in error.errors)
            return None if parameter.default is _REQUIRED else parameter.default

        given = len(segments)
        arguments = [one(*pair) for pair in zip(self._positional, segments, strict=False)]
        arguments += [one(parameter) for parameter in self._positional[given:]]
        if self._rest is not None:
            arguments += [one(self._rest, segment) for segment in segments[len(self._positional) :]]
        if self._takes_keywords:
            keywords = {parameter.name: one(parameter) for parameter in self._keywords}
            if self._other_names is not None:
                try:
                    keywords.update(self._others(self._other_names, request, values))
                except BindingError as error:
                    errors.extend(error.errors)
            arguments.append(keywords)
        if not self._takes_errors:
            raise BindingError(errors)
        found.extend(errors)
        return arguments

    def _others(self, converter: Converter, request: Request, values: Mapping[str, object]) -> dict[str, object]:
        """Return the values for ``**kwargs``, those that no parameter takes: one as it is, several as a list."""
        query, body = request.query_params, request.body_params
        others = {}
        for name in dict.fromkeys([*values, *query, *body, *request.files]):
            if name not in self._names and name not in self._taken:
                found = query.get(name) or body.get(name) or request.uploads.get(name) or ()
                several = name not in values and len(found) > 1
                parameter = _by_converter(name, converter._replace(many=list) if several else converter)
                others[name] = _by_name([parameter], request, values)[0]
        return others


# -- compiling a signature ---------------------------------------------------------------------------------------------


def _fixed_names(function: Callable[..., object]) -> set[str]:
    """Return the names of the parameters that ``functools.partial`` or a bound method has filled already."""
    names: set[str] = set()
    for layer in layers(function):
        if isinstance(layer, functools.partial):
            names.update(layer.keywords)
        elif inspect.ismethod(layer):
            first = next(iter(inspect.signature(layer.__func__).parameters.values()))
            if first.kind is Parameter.POSITIONAL_OR_KEYWORD:
                names.add(first.name)
    return names


def _hints(function: Callable[..., object], names: Collection[str]) -> dict[str, object]:
    """Return the annotations of the parameters ``names``.

    Other annotations are not read, because they may name imports that only type checkers see.
    """
    *_, inner = layers(function)
    if not hasattr(inner, "__globals__"):
        inner = type(inner).__call__
    try:
        annotations = {name: hint for name, hint in inner.__annotations__.items() if name in names}
        wanted = SimpleNamespace(__annotations__=annotations)
        return typing.get_type_hints(wanted, inner.__globals__, include_extras=True)
    except (NameError, AttributeError, SyntaxError) as error:
        where = inner.__qualname__
        raise SetupError(f"an annotation of {where} can't be read: {error}; import it at run time as well") from None


def _no_errors(parameter: BoundParameter | None, request: Request) -> BindingErrors:
    """Return the value of a parameter that is annotated with ``BindingErrors``, when all values fit."""
    sent = {**request.query_params, **request.body_params}
    return BindingErrors(given={name: values[0] if len(values) == 1 else values for name, values in sent.items()})


def _request(parameter: BoundParameter, request: Request) -> object:
    """Return the value of a parameter that is annotated with ``Request``."""
    return request


def _kept_default(parameter: BoundParameter, request: Request) -> object:
    """Return the value of a provider's parameter that no client can fill."""
    return parameter.default


_NO_INPUT = (_no_errors, _request, _kept_default)


def _of_provider(parameter: Parameter) -> BoundParameter | None:
    """Return a provider's parameter that keeps its default, because it has no annotation; None for any other."""
    if parameter.annotation is not _REQUIRED:
        return None
    if parameter.default is _REQUIRED:
        raise SetupError(f"its parameter {parameter.name!r} has no annotation, which would tell what fills it")
    return _by_converter(parameter.name, ANYTHING, parameter.default, _kept_default)


def _provided_key(annotation: object, provided: Collection[object]) -> object:
    """Return the provided type of a parameter, also within ``Annotated`` and ``X | None``; None if there is none."""
    if stated_source(annotation)[0] is not None:
        return None
    kind, many, _ = _unwrapped_annotation(annotation)
    return kind if not many and isinstance(kind, Hashable) and kind in provided else None


def _bound_parameter(name: str, annotation: object, default: object) -> BoundParameter:
    stated, annotation = stated_source(annotation)
    kind, many, optional = _unwrapped_annotation(annotation)
    if stated is not None and not (type(stated) is Body and is_structure(kind)):
        return _from_source(name, annotation, default, stated)
    if kind is BindingErrors:
        return _by_converter(name, ANYTHING, default, _no_errors)
    if kind is Request or kind is WebSocketRequest:
        return _by_converter(name, ANYTHING, default, _request)._replace(is_stated=True)
    if kind is UploadFile:
        converter = ANYTHING._replace(expected="a file", optional=optional, many=list if many else None)
        return _by_converter(name, converter, default, _file)
    if is_structure(kind):
        expected = "a JSON array of objects" if many else "a JSON object or a form"
        converter = ANYTHING._replace(expected=expected, optional=optional)
        parameter = _by_converter(name, converter, default, _body_source(kind, many, name))
        return parameter._replace(takes_document=True)
    return _by_converter(name, converter_for(annotation, name), default)


def stated_source(annotation: object) -> tuple[Source | None, Any]:
    """Return the source that an annotation states, or None, and the annotation without it."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return None, annotation
    kind, *metadata = typing.get_args(annotation)
    found = [item() if isinstance(item, type) and issubclass(item, Source) else item for item in metadata]
    stated = [item for item in found if isinstance(item, Source)]
    others = tuple(item for item in found if not isinstance(item, Source))
    if len(stated) > 1:
        raise SetupError(f"an annotation states two sources, {stated[0]!r} and {stated[1]!r}: leave one out")
    return (stated[0] if stated else None), (typing.Annotated[(kind, *others)] if others else kind)


def _from_source(name: str, annotation: object, default: object, stated: Source) -> BoundParameter:
    """Return the parameter whose value comes from ``stated`` alone."""
    kind, many, _ = _unwrapped_annotation(annotation)
    if is_structure(kind):
        return _whole_source(name, kind, many, default, stated)
    converter, key = converter_for(annotation, name), stated.name_for(name)
    label = f"{stated.place.capitalize()} {key!r}"

    def find(parameter: BoundParameter, request: Request) -> object:
        is_document = type(stated) is Body
        given: Any = request.get_json if is_document else stated.texts(request, key)
        if given is None or given == []:
            if default is not _REQUIRED or converter.optional:
                return None if default is _REQUIRED else default
            raise _absent(parameter, f"{label} is missing; expected {converter.expected}.")
        try:
            if is_document:
                return converter.from_json(given)
            if converter.many is None and stated.is_joined and len(given) > 1:
                given = [", ".join(given)]
            values = [converter.from_text(text) for text in given]
            return values[0] if converter.many is None else converter.many(values)
        except ValueError:
            pass
        sentence = f"{label} must be {converter.expected}."
        raise BindingError([ParameterError(name, stated.place, given, converter.expected, sentence=sentence)])

    return _by_converter(name, converter, default, find)._replace(takes_document=type(stated) is Body, is_stated=True)


def _whole_source(name: str, structure: type, many: bool, default: object, stated: Source) -> BoundParameter:
    """Return the parameter that takes the whole query, or the whole form, as one structure."""
    if many or not isinstance(stated, Query | Form):
        raise SetupError(f"{name!r}: a structure takes a whole query, form or body: write Query(), Form() or Body()")
    converter = structure_converter(structure, name)

    def find(parameter: BoundParameter, request: Request) -> object:
        fields = request.query_params if isinstance(stated, Query) else request._form_fields or _NOTHING
        if not fields and default is not _REQUIRED:
            return default
        try:
            return converter.from_form(fields)
        except ValueError as error:
            problems = [*_problems(error)]
        raise BindingError(
            [
                ParameterError(name, stated.place, given, problem, path, f"The {stated.place} does not fit: {problem}.")
                for problem, path, given in problems
            ]
        )

    expected = f"the fields of a {structure.__name__}"
    return _by_converter(name, ANYTHING._replace(expected=expected), default, find)._replace(is_stated=True)


def _by_converter(
    name: str, converter: Converter, default: object = _REQUIRED, source: _Source | None = None
) -> BoundParameter:
    from_text = None if converter.from_text is ANYTHING.from_text else converter.from_text
    from_json = None if converter.from_json is ANYTHING.from_json else converter.from_json
    return BoundParameter(name, default, converter, from_text, from_json, converter.many, source)


def _unwrapped_annotation(annotation: Any) -> tuple[object, bool, bool]:
    """Return the X of ``X``, ``list[X]``, ``X | None`` and ``Annotated[X, ...]``; whether a list; whether optional."""
    optional = many = False
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = annotation.__origin__
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            annotation, optional = members[0], True
    if typing.get_origin(annotation) is list:
        annotation, many = (typing.get_args(annotation) or (str,))[0], True  # ``typing.List`` has no X
    return annotation, many, optional


# -- finding values ----------------------------------------------------------------------------------------------------


def _plain_values(pick: _Picker, request: Request, picks_json: bool) -> Sequence[object] | None:
    """Return values that need no conversion if the query or the body has them all: the short cut of most requests."""
    query = request.query_params
    document = request._document
    try:
        if query:
            return [texts[0] for texts in pick(query)]
        if type(document) is dict:
            return pick(document) if picks_json else None
        if request._form_fields:
            return [texts[0] for texts in pick(request._form_fields)]
    except KeyError:
        pass
    return None


def _by_name(wanted: Sequence[BoundParameter], request: Request, values: Mapping[str, object]) -> list[object]:
    """Return the values of parameters, each found by its name. Raises 400 if one is missing or does not convert."""
    query = request.query_params
    form = request._form_fields or _NOTHING
    document = request._document
    members = document if type(document) is dict else _NOTHING
    arguments = []
    for parameter in wanted:
        name, default, _, from_text, from_json, many, source, _, _ = parameter
        if source is not None:
            value = source(parameter, request)
        elif name in values:
            value = _from_segment(parameter, values[name])
        elif name in query or name in form:
            texts = query[name] if name in query else form[name]
            if many is not None:
                value = [text if from_text is None else _converted(parameter, from_text, text) for text in texts]
                value = _converted(parameter, many, value)
            else:
                value = texts[0] if from_text is None else _converted(parameter, from_text, texts[0])
        elif name in members:
            value = members[name] if from_json is None else _converted(parameter, from_json, members[name])
        elif name in request.uploads:
            value = _upload(parameter, request)
        elif default is not _REQUIRED:
            value = default
        else:
            raise _missing(parameter, request)
        arguments.append(value)
    return arguments


def _from_segment(parameter: BoundParameter, value: object) -> object:
    """Return the argument for a segment of the path, or for the value of a wildcard, which may be a number.

    Raises 400 if it does not convert, and 404 for a file or a whole body, which no path contains.
    """
    if parameter.source is not None:
        raise HTTPError(404)
    if parameter.from_text is not None and isinstance(value, str):
        value = _converted(parameter, parameter.from_text, value)
    return value if parameter.many is None else parameter.many([value])


def _converted(parameter: BoundParameter, convert: Callable[[_Value], object], value: _Value) -> object:
    try:
        return convert(value)
    except ValueError:
        pass
    raise _misfit(parameter, "", value)


def _misfit(parameter: BoundParameter, source: str, value: object) -> BindingError:
    """Return the error of a value that is not what a parameter expects."""
    expected = parameter.converter.expected
    sentence = f"Parameter {parameter.name!r} must be {expected}."
    return BindingError([ParameterError(parameter.name, source, value, expected, sentence=sentence)])


def _upload(parameter: BoundParameter, request: Request) -> object:
    """Return the uploaded file, or a list of all; raise 400 if the parameter is annotated as something else."""
    if parameter.converter.expected != ANYTHING.expected and parameter.source is None:
        raise _misfit(parameter, "file", None)
    uploads = request.uploads[parameter.name]
    return uploads[0] if parameter.many is None else parameter.many([*uploads])


def _file(parameter: BoundParameter, request: Request) -> object:
    """Return the value of a parameter that is annotated with ``UploadFile``: the file or the default."""
    return _upload(parameter, request) if parameter.name in request.uploads else _default(parameter, request)


def _default(parameter: BoundParameter, request: Request) -> object:
    """Return the default, or None for an optional parameter without one; raise 400 or 415 for a required parameter."""
    if parameter.default is not _REQUIRED:
        return parameter.default
    if parameter.converter.optional:
        return None
    raise _missing(parameter, request)


def _missing(parameter: BoundParameter, request: Request) -> HTTPError:
    """Return the error for a required parameter without a value: 415 if there is a body whose type is not read."""
    missing = f"Parameter {parameter.name!r} is missing"
    if parameter.source is None and request._document is not None and type(request._document) is not dict:
        return _absent(parameter, f"{missing}: the JSON body is not an object.")
    problem = request._unread_body()
    if problem is not None:
        return HTTPError(problem[0], f"{missing}: {problem[1]}")
    return _absent(parameter, f"{missing}; expected {parameter.converter.expected}.")


def _source_of(name: str, request: Request, values: Mapping[str, object]) -> str:
    """Return where the value of a parameter is; "" if there is none."""
    places = {
        "path": values,
        "query": request.query_params,
        "form": request._form_fields or _NOTHING,
        "json": request._document if type(request._document) is dict else _NOTHING,
        "file": request.uploads,
    }
    return next((place for place, found in places.items() if name in found), "")


def _absent(parameter: BoundParameter, sentence: str) -> BindingError:
    return BindingError([ParameterError(parameter.name, "", None, parameter.converter.expected, sentence=sentence)])


def _body_source(structure: type, many: bool, name: str) -> _Source:
    """Return the source of a parameter that takes the whole body: a JSON document, or a form."""
    converter = structure_converter(structure, name)

    def from_body(parameter: BoundParameter, request: Request) -> object:
        document = request.get_json
        is_form = document is None and bool(request._form_fields)
        if document is None and not is_form:
            return _default(parameter, request)
        made: list[object] = []
        try:
            if not many:
                return converter.from_form(request.body_params) if is_form else converter.from_json(document)
            if not isinstance(document, list):
                raise ValueError("Expected `array`")
            for element in document:
                made.append(converter.from_json(element))  # noqa: PERF401 - its length is for the error
        except ValueError as error:
            is_element = isinstance(document, list) and many
            where, before = (f" in element {len(made) + 1}", (len(made),)) if is_element else ("", ())
            source = "form" if is_form else "json"
            begin = f"Parameter {parameter.name!r} does not fit{where}: "
            errors = [
                ParameterError(parameter.name, source, given, problem, (*before, *path), f"{begin}{problem}.")
                for problem, path, given in _problems(error)
            ]
        else:
            return made
        raise BindingError(errors)

    return from_body


_PLACE = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def _problems(error: ValueError) -> Iterator[tuple[str, tuple[str | int, ...], object]]:
    """Yield what is wrong with a body, in one line each: without the client's values, the place, and the value.

    msgspec stops at the first one. pydantic has collected all, but half a million in one body take 10 s to describe.
    """
    if not hasattr(error, "error_count"):
        text = str(error)
        place = _PLACE.search(text)
        steps = _STEP.findall(place[1]) if place is not None else ()
        yield text, tuple(name or (int(index) if index.isdigit() else index) for name, index in steps), None
        return
    count = error.error_count()
    if count > MOST_ERRORS:
        yield f"{count} values are wrong", (), None
        return
    for one in error.errors(include_url=False, include_context=False):  # type: ignore[attr-defined]
        yield ": ".join(filter(None, [".".join(map(str, one["loc"])), one["msg"]])), one["loc"], one["input"]
