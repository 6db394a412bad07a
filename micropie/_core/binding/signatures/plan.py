"""Bind the values of a request to a handler's parameters. At startup, the handler's signature is
compiled to a ``Plan``.

Path segments fill positional parameters. Every other parameter is looked up by name: first in the
query, then in the form or the top level of a JSON body, then among the files. If none of these has
it, the parameter gets its default. Only ``Session[...]`` reads the session, because a client could
send another value with the same name in the URL.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections import defaultdict
from collections.abc import (
    Collection,
    Container,
    Hashable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace
from inspect import Parameter
from itertools import takewhile
from operator import attrgetter
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NewType, get_args, get_origin

from micropie._core.binding.annotations import (
    Hint,
    bare,
    hints_of,
    metadata_of,
    type_name,
    without_none,
)
from micropie._core.binding.fields import kinds_in, written_kinds
from micropie._core.binding.signatures.parameters import (
    REQUIRED,
    BoundParameter,
    bound_parameter,
    from_path,
    parameter_by_name,
    specialized,
    unwrapped,
)
from micropie._core.binding.signatures.sources import (
    SessionSource,
    Source,
    declared_source,
)
from micropie._core.binding.values.constraints import MOST_ERRORS, is_adapted
from micropie._core.binding.values.converters import NO_OWN_TYPES, OwnTypes, converter_for
from micropie._core.errors import (
    HTTPError,
    SetupError,
    annotations_of,
    parameters_of,
    signature_of,
)
from micropie._core.execution.placement import AnyFunction, innermost, layers
from micropie._core.http import (
    CSRF_FIELD,
    BindingError,
    BindingErrors,
    ParameterError,
    Request,
    translated,
)
from micropie._core.http.forms import nested, outer_name
from micropie._core.on_demand import by_name

if TYPE_CHECKING:
    from micropie._core.binding.signatures.messages import Messages

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class ProvidedParameter(NamedTuple):
    """A parameter that gets its value from a provider.

    - ``key``: the type or function by which the provider is found.
    - ``position``: the parameter's index among the positional arguments, or None if it is passed by
      name.
    """

    name: str
    key: object
    position: int | None


class Plan:
    """How to call a handler: ``plan.call(*plan.bind(request, segments, values))``.

    Arguments:

    - ``function``: the handler, or a provider.
    - ``takes_socket``: whether the first parameter is a WebSocket, which the caller passes before
      the bound arguments.
    - ``provided``: the types for which there are providers. A parameter annotated with one of these
      types gets the provider's resource, not a value from the request.
    - ``is_provider``: whether the function is a provider. A provider's parameters without an
      annotation keep their defaults.
    - ``own``: the application's encoders and decoders.
    - ``takes_segments``: whether path segments fill parameters by their position. Otherwise they
      fill ``*args`` only.

    Attributes:

    - ``own``: the application's encoders and decoders.
    - ``parameters``: the parameters that get a value from the client, with annotations evaluated to
      types. Listings contain these parameters.
    - ``provided``: the parameters that get a value from a provider.
    - ``parses_always``: whether to parse a form or JSON even if the path contains all the
      arguments. This is so if a provider depends on the body.
    - ``most_segments``: the maximum number of path segments that can become arguments. They fill
      the parameters before the first that can't get its value from the path.
    - ``names_in_path``: the names of the parameters that segments fill, in order.
    - ``bound``: the parameters by name, with the places of their values.
    - ``reads_values``: whether any parameter gets a value from the client.
    - ``body_parameter``: the first parameter whose value can only come from a body (a file, a form
      or its field, a whole document, or a dict), or None.
    - ``json_fields``: the names under which a part of a form may contain JSON; with a "[" at the
      end, those under which parts for values inside may.
    - ``messages``: the object that converts the WebSocket's messages, by the types that its
      annotation declares. None if it declares no types, which allows any messages.
    """

    messages: Messages | None = None

    def __init__(
        self,
        function: AnyFunction,
        takes_socket: bool = False,
        provided: Container[object] = (),
        is_provider: bool = False,
        own: OwnTypes = NO_OWN_TYPES,
        takes_segments: bool = False,
    ) -> None:
        self.function = self.call = function
        self.own = own
        found = signature_of(function).parameters.values()
        # The names of parameters that don't get their values from the client. A client must not set
        # these parameters through ``**kwargs``.
        self._taken = _fixed_names(function)
        signature = [one for one in found if one.name not in self._taken]
        if takes_socket:
            if not signature or signature[0].kind not in _POSITIONAL:
                raise SetupError(
                    "a WebSocket handler takes the socket first: write async def ws_name(self, ws)"
                )
            socket = signature.pop(0)
            self._taken.add(socket.name)
            if "[" in str(socket.annotation):
                # Evaluate only an annotation that declares types of messages. Other annotations may
                # be names that are imported for type checkers only.
                from micropie._core.binding.signatures.messages import (
                    messages_of,  # imported only on use, because few handlers declare these types
                )

                (socket,) = annotated(function, [socket])
                self.messages = messages_of(function, socket.annotation, own)
        signature = annotated(function, signature)
        self.provided = [*_provided_parameters(signature, provided)]
        self._taken |= {one.name for one in self.provided}
        self._taken |= _private_names(signature, self._taken)
        parameters = [
            one
            for one in signature
            if one.name not in self._taken and not (is_provider and one.kind in _VARIABLE)
        ]
        self.parameters = [
            one for one in parameters if not is_provider or one.annotation is not REQUIRED
        ]

        bound: defaultdict[object, list[BoundParameter]] = defaultdict(list)
        for one in parameters:
            try:
                _refuse_mistaken(one, own)
                _refuse_what_is_inside(one.annotation, provided)
                bound[one.kind].append(
                    parameter_by_name(one.name, converter_for(one.annotation, own), REQUIRED)
                    if one.kind in _VARIABLE
                    else specialized(bound_parameter(one, is_provider, own))
                )
            except SetupError as error:
                raise SetupError(f"parameter {one.name!r}: {error}") from None
        self._positional = [one for kind in _POSITIONAL for one in bound[kind]]
        self._keywords = bound[Parameter.KEYWORD_ONLY]
        # contains the *args parameter, if there is one
        self._rest = bound[Parameter.VAR_POSITIONAL]
        # contains the **kwargs parameter, if there is one
        self._others = bound[Parameter.VAR_KEYWORD]
        self._all = self._positional + self._keywords
        self.bound: Mapping[str, BoundParameter] = {one.name: one for one in self._all}
        self._taken |= self.bound.keys() | {one.key for one in self._all if not one.is_whole}
        self._outer, self.json_fields = _names_in_forms(self._all)
        # The parameters for which a JSON body or a form must be parsed, either to find the value or
        # to find out why it is missing.
        self._in_body = {one.name for one in self._all if one.is_in_body}
        self._is_fixed = not self._rest and not self._others
        self._takes_errors = any(one.default is BindingErrors for one in self._all)
        _check_documents(self._all)
        if takes_segments or self._rest:
            _check_order(self._positional)
        in_path = [*takewhile(attrgetter("is_in_path"), self._positional)]
        self.most_segments = sys.maxsize if self._rest else len(in_path) * takes_segments
        given_by_name = [one for one in self.provided if one.position is None]
        self._takes_keywords = bool(self._keywords or self._others or given_by_name)
        # The flow calls handlers with positional arguments only. So pass the keyword arguments as a
        # dict, in the last argument.
        if self._takes_keywords:
            self.call = lambda *arguments: function(*arguments[:-1], **arguments[-1])
        self.parses_always = False
        self.names_in_path = [one.name for one in self._positional]
        self.reads_values = any(one.first_place for one in self._all)
        self.body_parameter = next(
            (
                one
                for one in self._all
                if one.is_in_body and not ("query" in one.places and one.converter.takes_text)
            ),
            None,
        )

    @property
    def takes_session(self) -> bool:
        """Whether a parameter gets an object for the session."""
        return any(
            isinstance(declared_source(one.annotation)[0], SessionSource) for one in self.parameters
        )

    def with_provided(
        self, arguments: Sequence[Any], values: Mapping[object, object]
    ) -> Sequence[object]:
        """Return the ``arguments`` of one call, completed with the resources that providers have
        opened for it.

        ``values``: the resources, as a dict by the key of the provider.
        """
        complete = [*arguments]
        for name, key, position in self.provided:
            if position is None:
                complete[-1][name] = values[key]
            else:
                complete.insert(position, values[key])
        return complete

    def check_wildcards(self, rules: Mapping[str, str], route: str) -> None:
        """Raise ``SetupError`` if the handler has no parameter for one of the wildcards, or if the
        path can't fill the parameter, or if a float would fill an int.

        - ``rules``: the types of the wildcards, such as "int", as a dict by name.
        - ``route``: the route's path, for the message.
        """
        code = getattr(self.function, "__code__", None)
        written = getattr(self.function, "__qualname__", "its handler")
        ints = [
            one.name
            for one in self.parameters
            if bare(one.annotation)[0] is int
            # pydantic reads 1.0 as an int, and its validators may read any number
            and not any(map(is_adapted, kinds_in(one.annotation)))
        ]
        for name, rule in rules.items():
            bound = self.bound.get(name)
            if rule == "float" and name in ints:
                raise SetupError(
                    f"the route {route!r} has <{name}:float>, but {written} has the parameter "
                    f"{name}: int: write <{name}:int>, or {name}: float"
                )
            if bound is not None and not (bound.is_in_path and bound.converter.takes_text):
                raise SetupError(
                    f"the route {route!r} has <{name}>, but the path can't fill the parameter "
                    f"{name!r} of {written}: rename one of them, or change the annotation"
                )
            if bound is None and not self._others:
                is_self = code is not None and code.co_varnames[:1] == (name,)
                raise SetupError(
                    f"the route {route!r} has <{name}>, but {written} has no parameter {name!r}"
                    + (
                        f": its first parameter gets self, so write self before {name}"
                        if is_self
                        else ""
                    )
                )

    def plain_args(self, wildcards: Sequence[bool]) -> int:
        """Return the number of path segments with which the handler can be called directly, without
        ``bind``. This is possible if the segments fill all the handler's parameters and none of
        these needs a conversion. Return -1 if ``bind`` is always needed.

        ``wildcards``: whether each wildcard of the route converts its value to a number, in the
        order of the handler's parameters. The sequence is empty for a handler found by its name,
        which gets strings.
        """
        given = wildcards or [False] * len(self._positional)
        if (
            self._takes_keywords
            or len(given) != len(self._positional)
            or not all(map(BoundParameter.is_plain, self._positional, given))
        ):
            return -1
        return len(given)

    def bind(
        self,
        request: Request,
        segments: Sequence[str],
        values: Mapping[str, object],
        is_fallback: bool = False,
    ) -> Sequence[object]:
        """Return the arguments for one ``call``.

        - ``segments``: the path segments after the handler's name.
        - ``values``: the values of an explicit route's wildcards, as a dict by name.
        - ``is_fallback``: whether the handler is for paths that match no other handler. If so, a
          segment that can't be converted raises 404 instead of 400.

        If a parameter may be in a form or a JSON document, the body is parsed, and a malformed body
        raises 400. Raises ``BindingError`` with all parameters that are missing or can't be
        converted. If the handler has a ``BindingErrors`` parameter, it gets these errors instead,
        and each invalid parameter gets its default, or None.
        """
        exchange = request._exchange
        body = exchange.body
        if self.parses_always:
            body.parsed(exchange)
        errors: list[ParameterError] = []
        arguments: list[object] = []
        parameters = self._all if self._is_fixed else self._all_for(request, segments, values)
        count = len(segments)
        for one in parameters:
            try:
                if count and len(arguments) < count:
                    value = from_path(one, segments[len(arguments)])
                elif values and one.is_in_path and one.name in values:
                    value = from_path(one, values[one.name])
                else:
                    if body.parse is not None and one.name in self._in_body:
                        body.parsed(exchange)
                    value = one.find(request)
            except BindingError as error:
                if is_fallback and len(arguments) < count:
                    raise HTTPError(404) from None
                errors += error.errors
                value = None if one.default is REQUIRED else one.default
            arguments.append(value)
        if errors or self._takes_errors:
            arguments = self._reported(request, arguments, errors)
        if self._takes_keywords:
            first = max(count, len(self._positional))
            names = [one.name for one in parameters[first:]]
            arguments[first:] = [dict(zip(names, arguments[first:], strict=True))]
        return arguments

    def _all_for(
        self, request: Request, segments: Sequence[str], values: Mapping[str, object]
    ) -> Sequence[BoundParameter]:
        """Return the parameters for one request. ``*args`` is replaced by a parameter for each
        segment that fills no other parameter, and ``**kwargs`` by a parameter for each name in the
        request.
        """
        rest = self._rest * (len(segments) - len(self._positional))
        found = [*self._positional, *rest, *self._keywords]
        for others in self._others:
            exchange = request._exchange
            query, body, uploads = exchange.query, exchange.fields, exchange.body.uploads
            several = others.converter
            if several.many is None:
                several = several._replace(many=list)
            # The token of a form is for ``CSRFMiddleware``.
            token = {CSRF_FIELD}.intersection(exchange.body.form or ())
            for name in dict.fromkeys([*values, *query, *body, *uploads]):
                if name in self._taken or name in token or outer_name(name) in self._outer:
                    continue
                given = query.get(name) or body.get(name) or uploads.get(name) or ()
                is_one = name in values or len(given) <= 1  # several values become a list
                converter = others.converter if is_one else several
                found.append(replace(others, name=name, key=name, converter=converter))
        return found

    def _reported(
        self, request: Request, arguments: list[object], errors: Sequence[ParameterError]
    ) -> list[object]:
        """Return ``arguments``, with the errors as the value of the ``BindingErrors`` parameter. If
        the handler has no such parameter, raise a ``BindingError`` with the errors. If there are
        very many, the rest is left out.
        """
        errors = errors[:MOST_ERRORS]
        if request._exchange.config.settings.translations is not None:
            errors = [replace(one, words=translated(request, one.words)) for one in errors]
        if not self._takes_errors:
            raise BindingError(errors)
        report = BindingErrors(
            errors,
            self._sent(request),
            is_submitted=request._exchange.body.form is not None,
        )
        return [report if value is BindingErrors else value for value in arguments]

    def _sent(self, request: Request) -> dict[str, object]:
        """Return the values of the query and the form by name, to show the form again. Several
        values with the same name are a list.
        """
        from micropie._core.binding.structures.forms import (
            values_of,  # imported only if a form may be shown again
        )

        sent = {**request._exchange.query, **request._exchange.fields}
        lists = {
            one.key
            for one in self._all
            if one.converter.many is not None and not one.converter.is_either
        }.union(*(one.maker.lists for one in self._all if one.maker))
        given = {
            name: values if name in lists else values_of(values) for name, values in sent.items()
        }
        tree: dict[str, object] = {}
        for name, node in nested(sent).items():
            value = values_of(node, has_lists=True)
            is_one = name in lists and not isinstance(value, list)  # of "tags[]"
            tree[str(name)] = [value] if is_one else value
        return tree | given


# -- compiling a signature -------------------------------------------------------------------------


def _check_order(parameters: Sequence[BoundParameter]) -> None:
    """Raise ``SetupError`` if a parameter that the path may fill comes after a parameter that
    declares another source.
    """
    stated = None
    for one in parameters:
        if one.is_stated:
            stated = stated or one
        elif one.is_in_path and stated is not None:
            raise SetupError(
                f"{stated.name!r} can't get its value from the path, but comes before "
                f"{one.name!r}, which can: move {stated.name!r} to the end, or after *"
            )


def _names_in_forms(parameters: Sequence[BoundParameter]) -> tuple[set[str], set[str]]:
    """Return the names that have values inside, such as ``tags[0]`` and ``lines[0].pie``, and those
    of parts that may contain JSON; see ``Plan.json_fields``.
    """
    outer = {one.key for one in parameters if one.converter.many is not None}
    in_json = {one.key for one in parameters if one.takes_json_part}
    for one in parameters:
        if one.maker:
            outer |= one.maker.names
            if one.is_document:
                in_json.update(one.maker.json_fields)
    return outer, in_json | {f"{name}[" for name in in_json & outer}


def _check_documents(parameters: Sequence[BoundParameter]) -> None:
    """Raise ``SetupError`` if two parameters would take the whole body."""
    documents = [one.name for one in parameters if one.first_place == "json"]
    if len(documents) > 1:
        raise SetupError(
            f"the parameters {documents[0]!r} and {documents[1]!r} would both take the whole "
            "body: write one class with a field for each parameter. Or annotate both parameters "
            "as dict: then each gets only the body's field of its own name"
        )


def _provided_parameters(
    parameters: Sequence[Parameter], provided: Container[object]
) -> Iterator[ProvidedParameter]:
    """Yield the parameters that providers fill. The annotation of such a parameter is a type for
    which there is a provider, perhaps inside ``Annotated`` or ``X | None``. Or it contains the
    provider function itself: ``Annotated[User, current_user]``, perhaps in ``... | None``.
    """
    for index, parameter in enumerate(parameters):
        key, many, _ = unwrapped(parameter.annotation)
        stated = _stated_provider(parameter.annotation)
        # Look for a provider of Repository[User], then for one of Repository.
        keys = () if many else filter(is_key, (key, get_origin(key)))
        key = stated or next((one for one in keys if one in provided), None)
        if (
            key is not None
            and parameter.kind not in _VARIABLE
            and declared_source(parameter.annotation)[0] is None
        ):
            yield ProvidedParameter(
                parameter.name, key, index if parameter.kind in _POSITIONAL else None
            )


def _stated_provider(annotation: Hint) -> object:
    """Return the provider that an annotation contains, or None."""
    inner, is_optional = without_none(annotation)
    stated = next(filter(is_provider, metadata_of(annotation)), None)
    if stated is None and (is_optional or get_origin(annotation) is Annotated):
        return _stated_provider(inner if is_optional else get_args(annotation)[0])
    return stated


def is_provider(item: object) -> bool:
    """Return whether an item in ``Annotated`` is a provider: a function, perhaps bound, partial or
    decorated with a cache. Any other callable object may be a constraint of another library.
    """
    if inspect.isfunction(item) or inspect.ismethod(item) or isinstance(item, functools.partial):
        return True
    wrapped = getattr(item, "__dict__", {}).get("__wrapped__")
    return inspect.isfunction(wrapped) and not isinstance(item, type)


def _refuse_what_is_inside(annotation: Hint, provided: Container[object]) -> None:
    """Raise ``SetupError`` for a source or a provider deep inside an annotation, where it would be
    ignored, so that the client would choose the value. Also raise it for a union or a collection
    with a type that has a provider, and for a provider beside a source.
    """
    source, kind = declared_source(annotation)
    provider = _stated_provider(kind)
    if source is not None and provider is not None:
        raise SetupError(
            f"the annotation declares {source!r} and the provider {type_name(provider)}: remove "
            "one of them"
        )
    for inner in written_kinds(kind):
        inner_source, _ = declared_source(inner)
        if inner_source is not None:
            raise SetupError(
                f"{inner_source!r} has no effect inside its annotation: write it outside, as in "
                "Annotated[list[int], Query()]"
            )
        if source is not None:  # then the client fills the whole value
            continue
        for provider in filter(is_provider, metadata_of(inner)):
            raise SetupError(
                f"{type_name(provider)} has no effect inside its annotation: write it outside, as "
                "in Annotated[list[User], current_users]"
            )
        for key in filter(is_key, (inner, get_origin(inner))):
            if key in provided:
                raise SetupError(
                    f"{type_name(key)} has a provider, but the client would fill "
                    f"{type_name(bare(kind)[0])}: write {type_name(key)} alone, or "
                    "Annotated[..., Body()] for a body"
                )


def is_key(annotation: object) -> bool:
    """Return whether an annotation can be a type for which there is a provider: a class, a NewType,
    or a generic class such as ``Repository`` or ``Repository[User]``.
    """
    origin = get_origin(annotation)
    return origin not in (Annotated, UnionType) and isinstance(origin or annotation, type | NewType)


def python_call_of(function: AnyFunction) -> AnyFunction:
    """Return what Python runs when ``function`` is called: ``__call__`` for a callable object, or
    the function, method or class itself.
    """
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return getattr(function, "__call__", function)  # noqa: B004 - the bound method


def provider_keys(
    function: AnyFunction,
    given: int,
    provided: Container[object],
    refuses_others: bool = False,
) -> Mapping[str, object]:
    """Return the keys of the providers that fill a function's parameters, as a dict by parameter
    name.

    - ``given``: the number of parameters to skip, because the caller passes their values.
    - ``refuses_others``: whether to raise ``SetupError`` for a required parameter that no provider
      fills.
    """
    function = python_call_of(function)
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        return {}
    # Don't follow ``__wrapped__``, because the call passes its arguments to the wrapper, not to the
    # wrapped function.
    parameters = parameters_of(function)[given:]
    found = _provided_parameters(annotated(function, parameters), provided)
    keys = {one.name: one.key for one in found}
    for one in parameters if refuses_others else ():
        if one.name not in keys and one.default is REQUIRED and one.kind not in _VARIABLE:
            raise SetupError(
                f"nothing provides its parameter {one.name!r}: write @app.provides(...) for "
                "the type of this parameter"
            )
    return keys


def _refuse_mistaken(parameter: Parameter, own: OwnTypes) -> None:
    """Raise ``SetupError`` for a parameter whose annotation or default is certainly wrong, for
    example because it comes from another framework. Without the error, the parameter would silently
    be filled from the query.
    """
    kind, *metadata = get_args(parameter.annotation) or [parameter.annotation]
    owner = get_origin(parameter.annotation)
    for stated in (kind, owner, type(parameter.default), *map(type, metadata)):
        origin = str(getattr(stated, "__module__", "")).partition(".")[0]
        name = getattr(stated, "__name__", type(stated).__name__)
        is_mistaken = origin in _OTHER_FRAMEWORKS or f"{origin}.{name}" in _NO_VALUES
        if is_mistaken and stated not in own.decoders:
            advice = _INSTEAD.get(name, _INSTEAD["Depends"])
            raise SetupError(f"{name} of {origin} can't be used here: write {advice}")
    default, name = parameter.default, parameter.name
    if not isinstance(parameter.annotation, Hashable):
        raise SetupError(
            f"it is annotated with {parameter.annotation!r}, which is no type: write a type, such "
            "as list[int] or a dataclass"
        )
    if inspect.isroutine(parameter.annotation):
        function = parameter.annotation.__name__
        raise SetupError(
            "it is annotated with a function: write a type, such as Any for any value, or "
            f"Annotated[..., {function}] if the function provides the value"
        )
    if isinstance(default, Source):
        source = type(default).__name__
        raise SetupError(f"{source}() is not a default: write {name}: Annotated[..., {source}()]")
    plain, _ = bare(parameter.annotation)
    if isinstance(default, str) and plain in (int, float, bool):
        raise SetupError(
            f"its default is a str, but its annotation is {plain.__name__}: change one of them"
        )
    if parameter.annotation is not REQUIRED or default is not REQUIRED:
        return
    if name == "self":
        raise SetupError(
            "nothing passes self, so it would be read from the query: leave out self, or the "
            "decorator that makes this no method, such as @staticmethod"
        )
    if name in _NOT_ANNOTATED:
        raise SetupError(
            "it has no annotation, so it would be read from the query: write "
            f"{_NOT_ANNOTATED[name]}. If you want a value from the query, write {name}: str"
        )


_RESPONSE = "self.response in the handler, and remove this parameter"
_INSTEAD = by_name(
    {
        "a parameter such as db: Db, and @app.provides(Db) above the function that opens a Db": (
            "Depends"
        ),
        "the class of this name, imported from micropie": (
            "Query Header Cookie Form Body Request UploadFile"
        ),
        "Session[Cart] for a class Cart, with Session from micropie, or self.request.session": (
            "Session"
        ),
        "request.after_response(function) in the handler": "BackgroundTasks BackgroundTask",
        "a name with _, which no request fills, as in _service=Provide[...]": "Provide Closing",
        _RESPONSE: "Response JSONResponse",
        "<number:int> in the path, and number: int as a parameter": "Path",
        "a parameter such as pie: UploadFile, imported from micropie": (
            "File FileStorage UploadedFile"
        ),
        "a parameter such as request: Request, imported from micropie": (
            "HTTPConnection HttpRequest"
        ),
        "@websocket above the handler, or async def ws_name(self, ws)": "WebSocket",
    }
)
_NOT_ANNOTATED = {
    "request": "request: Request",
    "req": "req: Request",
    "response": _RESPONSE,
    "res": _RESPONSE,
    "ws": "async def ws_name(self, ws), or @websocket above async def name(self, ws)",
}
_OTHER_FRAMEWORKS = {
    *("fastapi", "litestar", "starlette", "django", "flask", "werkzeug"),
    "dependency_injector",
}
_NO_VALUES = {"micropie.Response", "micropie.Session", "micropie.WebSocket"}


def _fixed_names(function: AnyFunction) -> set[str]:
    """Return the names of the parameters for which ``functools.partial`` or a bound method already
    has values.
    """
    names: set[str] = set()
    for layer in layers(function):
        if isinstance(layer, functools.partial):
            names.update(layer.keywords)
        elif inspect.ismethod(layer):
            first, *_ = signature_of(layer.__func__).parameters.values()
            if first.kind is Parameter.POSITIONAL_OR_KEYWORD:
                names.add(first.name)
    return names


def _private_names(parameters: Sequence[Parameter], taken: Collection[str]) -> set[str]:
    """Return the parameter names that begin with an underscore. Requests never set these
    parameters, so they keep their defaults.

    Raises ``SetupError`` if such a parameter has no default, or comes before a parameter that the
    path may fill.
    """
    names: set[str] = set()
    fills_positions = False  # whether the path may fill one of the parameters after this one
    for one in reversed(parameters):
        if one.name.startswith("_") and one.name not in taken and one.kind not in _VARIABLE:
            if one.default is REQUIRED or (
                fills_positions and one.kind is not Parameter.KEYWORD_ONLY
            ):
                raise SetupError(
                    f"requests can't fill its parameter {one.name!r}, because the name begins "
                    "with _: rename it, or move it to the end and give it a default"
                )
            names.add(one.name)
        elif one.kind < Parameter.KEYWORD_ONLY:
            fills_positions = True
    return names


def annotated(function: AnyFunction, parameters: Sequence[Parameter]) -> list[Parameter]:
    """Return ``parameters`` with annotations evaluated to types. Their annotations may be strings.

    The function's other annotations are not evaluated, because they may use names that are imported
    for type checkers only.
    """
    hints = hints_for(function, {one.name for one in parameters})
    return [one.replace(annotation=hints.get(one.name, one.annotation)) for one in parameters]


def hints_for(function: AnyFunction, names: Container[str]) -> Mapping[str, Hint]:
    """Return those annotations of a function, or of a callable object, that have one of these
    names, evaluated to types.
    """
    inner = innermost(function)
    if not hasattr(inner, "__globals__"):
        inner = type(inner).__call__
    stated = {name: hint for name, hint in annotations_of(inner).items() if name in names}
    return hints_of(stated, inner)
