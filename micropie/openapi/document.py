"""The OpenAPI document of an application: version 3.1 (https://spec.openapis.org/oas/v3.1.1), or
3.2 with ``Docs(openapi="3.2")``, which has the method QUERY and streams of items.

Handlers are described from their names, paths, annotations, docstrings and ``@describe``. A handler
without a route decorator accepts several paths and methods. Only one path and one method are
described: the path with the required parameters, and POST if the handler takes a file, a structure
or a dict, otherwise GET.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from inspect import Parameter
from itertools import chain, count
from types import NoneType
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from micropie import (
    App,
    BadRequest,
    BindingError,
    EventStream,
    HTTPError,
    MethodNotAllowed,
    Redirect,
    describe,
)
from micropie.extensions import Application, Inspector, RouteEntry, TypeInfo, dumps, loads
from micropie.openapi.docs import Docs
from micropie.openapi.schemas import (
    PROBLEM,
    Schema,
    Schemas,
    with_short_names,
    without_infinities,
)

# The methods that a path item may have.
_METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "QUERY"})
_WITHOUT_BODY = frozenset({"GET", "HEAD", "TRACE"})
# With these methods, a body contains only what no query can contain.
_IN_QUERY = _WITHOUT_BODY | {"DELETE", "OPTIONS"}
_KINDS: dict[str, Schema] = {
    "int": {"type": "integer", "format": "int64"},
    "float": {"type": "number"},
}
_LINES = "application/jsonl"
_EMPTY: Schema = {"type": "string", "const": ""}  # some generators ignore ``const`` without a type
_JSON, _PROBLEM, _FORM, _MULTIPART, _BYTES = (
    "application/json",
    "application/problem+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "application/octet-stream",
)

_MALFORMED = "The request is malformed"


# A parameter, and where in a request its value comes from.
_Value: TypeAlias = tuple[Parameter, Any]


class Sorted(NamedTuple):
    """The parameters of a handler, grouped by where in a request their values come from."""

    path: list[_Value]
    query: list[_Value]
    fields: list[_Value]
    document: _Value | None


def build_document(app: App, docs: Docs) -> Schema:
    """Return the OpenAPI document of an application and the applications inside it. Paths and
    handlers' names are relative to ``app``.
    """
    inspector = Inspector(app, inside=True)
    own = inspector.applications()[0]
    builder = Builder(own, docs)
    prefix = own.path.removeprefix(own.host)
    for entry in inspector.routes():
        if is_described(entry):
            builder.add(entry)
    document: Schema = {"openapi": f"{docs.openapi}.0", "info": info_of(app, docs)}
    servers = docs.servers or ([quote(prefix)] if prefix else ())
    if servers:
        document["servers"] = [{"url": url} for url in servers]
    document["paths"] = dict(sorted(builder.paths.items()))
    tags = {name: {"description": sentence} for name, sentence in docs.tags.items()}
    every = [one for path in document["paths"].values() for one in path.values()]
    # If there are inner applications, the outermost one's operations get a tag too.
    names = [type(app).__name__, *sorted(builder.tags)] if builder.tags else []
    for operation in every if names else ():
        operation.setdefault("tags", names[:1])
    used = sorted({name for operation in every for name in operation.get("tags", ())})
    for name in (*names, *used):
        tags.setdefault(name, builder.tags.get(name, {}))
    if tags:
        document["tags"] = [{"name": name, **sentence} for name, sentence in tags.items()]
    components: dict[str, Mapping[str, object]] = {
        "schemas": builder.components,
        "securitySchemes": builder.security_schemes,
    }
    if builder.paths:
        document["components"] = {
            name: dict(sorted(found.items())) for name, found in components.items() if found
        }
    finite: Schema = without_infinities(with_short_names(document))
    return finite


def is_described(entry: RouteEntry) -> bool:
    """Return whether a document may include a route. micropie's own handlers, such as the one for
    static files, aren't described.
    """
    module = str(getattr(entry.route.function, "__module__", ""))
    is_builtin = module.partition(".")[0] == "micropie"
    is_hidden = entry.hidden or entry.is_default or is_builtin
    return not is_hidden and description_of(entry).include_in_schema


def description_of(entry: RouteEntry) -> describe:
    """Return the ``describe`` object of a route, or an empty one."""
    return entry.route.description or describe()


def info_of(app: App, docs: Docs) -> dict[str, object]:
    """Return the ``info`` object of a document."""
    info: dict[str, object] = {"title": docs.title or type(app).__name__, "version": docs.version}
    about = {
        "termsOfService": docs.terms_of_service,
        "contact": docs.contact and dict(docs.contact),
        "license": docs.license and dict(docs.license),
        "description": docs.description or doc_of(type(app)),
    }
    return info | {name: value for name, value in about.items() if value}


class Builder:
    """Describes the routes of one document."""

    def __init__(self, own: Application, docs: Docs) -> None:
        self.own = own
        self.common = describe(responses=docs.responses)
        self.paths: dict[str, dict[str, object]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        # Add micropie's ``Problem`` first, so that it keeps its name if the application has a class
        # ``Problem``, too.
        self.components = {"Problem": PROBLEM}
        self.inputs = Schemas(own, self.components, "validation")
        self.answers = Schemas(own, self.components, "serialization")
        self.security_schemes: dict[str, Mapping[str, object]] = {}
        # 3.1 by default, because many generators of clients refuse 3.2.
        self.is_3_2 = docs.openapi == "3.2"
        # The names of the parameters in each path, by the path with "{}" in place of these names.
        self._same_paths: dict[str, list[str]] = {}
        self._ids: set[str] = set()

    def add(self, entry: RouteEntry) -> None:
        """Add the operations of a route."""
        route = entry.route
        self.inputs.own = self.answers.own = entry.application.types
        takes_body = route.body_parameter is not None or route.reads_body
        methods = [
            one
            for one in route.methods or ["POST" if takes_body else "GET"]
            if one in entry.methods
        ]
        for method in methods:
            if method not in _METHODS or (method == "QUERY" and not self.is_3_2):
                continue
            sorted_inputs = sort_inputs(entry, method)
            path, names = self.path_of(entry, sorted_inputs)
            operations = self.paths.setdefault(path, {})
            operations[method.lower()] = self._operation(
                entry, method, sorted_inputs, names, len(methods) > 1
            )

    def path_of(self, entry: RouteEntry, sorted_inputs: Sorted) -> tuple[str, dict[str, str]]:
        """Return a route's path, and the names of its parameters in that path.

        In OpenAPI ``/{a}`` and ``/{b}`` are the same path, so the names of the first such route are
        used.
        """
        pattern = entry.route.pattern.removeprefix(self.own.path)
        for name, rule in entry.route.wildcards.items():
            pattern = pattern.replace(f"<{name}:{rule}>" if rule else f"<{name}>", f"{{{name}}}", 1)
        if not entry.route.wildcards:
            pattern = (
                pattern.rstrip("/") + "".join(f"/{{{one.name}}}" for one, _ in sorted_inputs.path)
                or "/"
            )
        own = re.findall(r"\{(\w+)\}", pattern)
        shape = re.sub(r"\{\w+\}", "{}", pattern)
        names = self._same_paths.setdefault(shape, own)
        return re.sub(r"\{\}", "{{{}}}", shape).format(*names), dict(zip(own, names, strict=True))

    def _operation(
        self,
        entry: RouteEntry,
        method: str,
        sorted_inputs: Sorted,
        names: Mapping[str, str],
        is_one_of_several: bool,
    ) -> dict[str, object]:
        route, description, application = entry.route, description_of(entry), entry.application
        summary, _, rest = doc_of(entry.route.function).partition("\n")
        name = route.name.removeprefix(self.own.scope)
        identifier = description.operation_id or name + (
            f"_{method.lower()}" if is_one_of_several else ""
        )
        while identifier in self._ids:
            identifier += f"_{method.lower()}"
        self._ids.add(identifier)
        found: dict[tuple[object, str], dict[str, object]] = {}
        for one in chain(
            self._path_parameters(entry, sorted_inputs, names),
            self.query_parameters(sorted_inputs),
        ):
            is_header, text = one["in"] == "header", str(one["name"])
            # OpenAPI ignores these headers as parameters (section "Parameter Object").
            if not is_header or text.lower() not in _IGNORED_HEADERS:
                # several parameters may read one value
                first = found.setdefault((one["in"], text.lower() if is_header else text), one)
                first["required"] = first["required"] or one["required"]
        parameters = [*found.values()]
        security = self._security(application)
        if route.reads_body and method not in _IN_QUERY:
            body: Schema | None = _read_by_the_handler(entry)
        else:
            body = self._body(application, sorted_inputs)
        kinds = [] if body is None else [*body["content"]]
        conditions = _conditions_of(entry)
        hooks = application.middlewares
        causes: dict[int, object] = {
            401: _challenges(application),
            403: any(getattr(hook, "scopes", ()) for hook in hooks),
            404: route.wildcards,
            413: body or route.reads_body,
            # If the body is optional, a body of another type counts as missing, so there is no 415.
            415: body is not None and (body["required"] or kinds not in ([_JSON], [_BYTES])),
            **dict.fromkeys(conditions.union(*map(_refusals, application.checks)), True),
            **{status: True for hook in hooks for status in getattr(hook, "statuses", ())},
        }
        errors = {str(status): _phrase(status) for status, cause in causes.items() if cause}
        if parameters or kinds not in ([], [_BYTES]):
            errors["400"] = "A parameter is missing or invalid"
        known = {str(one["name"]).lower() for one in parameters if one["in"] == "header"}
        parameters += [
            {"name": name, "in": "header", "schema": {"type": "string"}}
            for name, statuses in _CONDITIONAL.items()
            if statuses & conditions and name.lower() not in known
        ]
        operation = {
            "operationId": identifier,
            "summary": description.summary or summary,
            "description": description.description or rest.strip(),
            "tags": self._tags(application) if description.tags is None else [*description.tags],
            "deprecated": description.deprecated,
            "parameters": parameters,
            "requestBody": body,
            "security": security and [security],
            "responses": self._responses(entry, errors, conditions),
        }
        return {name: value for name, value in operation.items() if value}

    def _tags(self, inner: Application) -> list[str]:
        """Return the tags of a route: the name of its application, or no tag for the outermost
        application.
        """
        application = type(inner.app)
        if inner.app is self.own.app:
            return []
        about = doc_of(application)
        self.tags[application.__name__] = {"description": about} if about else {}
        return [application.__name__]

    def _path_parameters(
        self, entry: RouteEntry, sorted_inputs: Sorted, names: Mapping[str, str]
    ) -> Iterator[dict[str, object]]:
        known = {one.name: one for one, _ in sorted_inputs.path}
        for own, name in names.items():
            rule = entry.route.wildcards.get(own, "")
            schema, _ = _without_null(self.inputs.of(known[own].annotation) if own in known else {})
            number = _KINDS.get(rule)
            if number is not None:  # keep the constraints that the annotation declares
                schema = (
                    {**schema, **number}
                    if schema.get("type") in ("integer", "number")
                    else dict(number)
                )
            schema = schema or {"type": "string"}
            if rule.startswith("re:"):
                schema["pattern"] = f"^(?:{rule[3:]})$"
            yield {"name": name, "in": "path", "required": True, "schema": schema}

    def query_parameters(self, sorted_inputs: Sorted) -> Iterator[dict[str, object]]:
        """Yield OpenAPI's description of each parameter in the query, the headers and the cookies.

        A structure has a parameter for each of its fields, at any depth. Clients send an object in
        many ways, and this is one that all of them can send.
        """
        for parameter, where in sorted_inputs.query:
            # If a parameter may come from several places, describe it as a query parameter.
            place = where.first_place if where.is_stated else "query"
            schema = self._with_default(parameter)
            fields = self._sent_fields(schema) if where.is_whole and place == "query" else None
            if fields is None:
                required = self._is_required(where, schema)
                yield _sent_as_text(where.key, place, required, schema)
            else:
                yield from self._flat(fields, "", where.default is Parameter.empty, [fields])

    def _flat(
        self, fields: Schema, prefix: str, required: bool, outer: Sequence[Schema]
    ) -> Iterator[dict[str, object]]:
        """Yield the query parameters of a structure. ``outer``: the fields of the structures around
        it, and its own. Only the first structure of a list is described, because names contain
        numbers.
        """
        for name, field in fields["properties"].items():
            is_needed, path = required and name in fields["required"], f"{prefix}{name}"
            items = _without_null(field)[0].get("items")
            inner = self._sent_fields(items or field)
            if not required:  # a client that sends the default of one field would need the others
                field = {key: one for key, one in field.items() if key != "default"}
            if inner is None:
                members = self._members_of(field)
                # OpenAPI has a style for "counts[a]", but not for deeper names
                if all(self._members_of(one) is None for one in members or ()):
                    style = {} if members is None else {"style": "deepObject", "explode": True}
                    yield _sent_as_text(path, "query", is_needed, field) | style
            elif inner not in outer:
                path += "[0]." if items else "."
                yield from self._flat(inner, path, is_needed, [*outer, inner])

    def _resolved(self, schema: Schema) -> Schema:
        """Return a schema without null or, for a reference, the schema to which it refers."""
        members, _ = _without_null(schema)
        name = members.get("$ref", "").rpartition("/")[2]
        return self._resolved(self.components[name]) if name in self.components else members

    def _fields_of(self, schema: Schema) -> Schema | None:
        """Return the schema that has the properties of a structure, or None for another type."""
        found = self._resolved(schema)
        return found if "properties" in found else None

    def _members_of(self, schema: Schema) -> Collection[Schema] | None:
        """Return the schemas of what an object or the objects of a list contain, or None for
        another type.
        """
        members, _ = _without_null(schema)
        if "items" in members:
            inner = self._members_of(members["items"])
            return None if inner is None else [members["items"]]
        fields = self._sent_fields(members)
        if fields is not None:
            return [*fields["properties"].values()]
        found = self._resolved(members)
        values, is_object = found.get("additionalProperties"), found.get("type") == "object"
        return ([values] if isinstance(values, dict) else []) if is_object else None

    def _sent_fields(self, schema: Schema) -> Schema | None:
        """Return the properties of a structure, or of all members of a union of structures. Those
        that each member requires are required. Return None for another type.
        """
        members = self._resolved(schema)
        stated = members.get("oneOf") or members.get("anyOf")
        union = [*map(self._sent_fields, stated)] if stated else [self._fields_of(members)]
        known = [one for one in union if one is not None]
        if len(known) < len(union):
            return None
        found: dict[str, list[Schema]] = {}
        for name, field in chain.from_iterable(one["properties"].items() for one in known):
            known_fields = found.setdefault(name, [])
            known_fields += [field] if field not in known_fields else []
        needed = [name for name in found if all(name in one.get("required", ()) for one in known)]
        properties = {
            name: fields[0] if len(fields) == 1 else {"anyOf": fields}
            for name, fields in found.items()
        }
        return {"properties": properties, "required": needed}

    def _is_required(self, where: Any, schema: Schema) -> bool:
        """Return whether a query or form parameter is required. A structure is optional if all of
        its fields have defaults.
        """
        structure = self._fields_of(schema)
        has_needed = structure is None or bool(structure.get("required"))
        return has_needed and where.default is Parameter.empty

    def _with_default(self, parameter: Parameter) -> Schema:
        schema = self.inputs.of(parameter.annotation)
        if parameter.default is Parameter.empty or parameter.default is None:
            return schema
        try:
            # a Decimal is encoded as a string, but described as a number
            number = parameter.default if schema.get("type") == "number" else None
            value = loads(dumps(parameter.default if number is None else float(number)))
        except ValueError:  # the default is infinity, NaN or an object that JSON can't represent
            return schema
        # The application's encoder may return another JSON type than the schema has.
        is_other = schema.get("type") == "string" and not isinstance(value, str)
        if is_other or value not in schema.get("enum", [value]):
            return schema
        return {**schema, "default": value}

    def _body(self, application: Application, sorted_inputs: Sorted) -> Schema | None:
        """Return OpenAPI's description of the body.

        If the application's errors are JSON, the description lists only JSON, although forms are
        accepted too.
        """
        kinds = [_JSON] if application.settings.errors == "json" else [_JSON, _FORM]
        document, fields = sorted_inputs.document, sorted_inputs.fields
        if document is not None and not fields:
            return self._document(*document, kinds)
        if not fields:
            return None
        properties = {where.key: self._with_default(one) for one, where in fields}
        needed = [where.key for _, where in fields if where.default is Parameter.empty]
        # A form that isn't multipart contains no JSON, such as a dict.
        has_json = not all(where.converter.takes_text for _, where in fields)
        is_form = any(where.is_stated for _, where in fields)
        if any(where.first_place == "file" for _, where in fields) or (is_form and has_json):
            kinds = [_MULTIPART]
        elif is_form or has_json:
            kinds = [_FORM if is_form else _JSON]
        if document is not None:
            # Beside fields of a form, a structure is filled from fields of its own names, and any
            # other document is a part that contains JSON.
            parameter, where = document
            schema = self.inputs.of(parameter.annotation)
            structure = self._fields_of(schema) or {
                "properties": {where.key: schema},
                "required": [where.key],
            }
            properties = {**structure["properties"], **properties}
            if where.default is Parameter.empty:
                needed = [*structure.get("required", ()), *needed]
        schema = {
            "type": "object",
            "properties": properties,
            **({"required": needed} if needed else {}),
        }
        # Without a field, a list has no values, whatever its default is, unless it may be null.
        of_field = {one.key: properties[one.key] for _, one in fields}
        listed = [key for key, one in of_field.items() if one.get("minItems") and "type" in one]
        in_form = dict.fromkeys([*needed, *listed])
        as_form = {
            **schema,
            "properties": {name: self._in_form(found) for name, found in properties.items()},
            **({"required": [*in_form]} if in_form else {}),
        }
        content = {kind: {"schema": schema if kind == _JSON else as_form} for kind in kinds}
        return {"required": bool(needed), "content": content}

    def _is_nested(self, schema: Schema) -> bool:
        """Return whether a schema is that of a list of lists."""
        items = _without_null(schema)[0].get("items", {})
        return bool(self._resolved(items).get("type") == "array")

    def _in_form(self, schema: Schema) -> Schema:
        """Return the schema of a form field, in which empty text means null. For an array, say
        nothing of this text, because orval sends such a union as one value. A bool or an array that
        isn't sent is false or empty, whatever its default. A list of lists is JSON in a text,
        because clients would send the values of all lists as one list.
        """
        members, is_nullable = _without_null(schema)
        kind = members.get("type")
        if self._is_nested(members):
            return {"type": "string", "contentMediaType": _JSON, "contentSchema": members}
        if kind == "array" or (kind == "boolean" and not is_nullable):
            return {name: one for name, one in members.items() if is_nullable or name != "default"}
        return {"anyOf": [*members.get("anyOf", [members]), _EMPTY]} if is_nullable else members

    def _document(self, parameter: Parameter, where: Any, kinds: Sequence[str]) -> Schema:
        """Return OpenAPI's description of a body that fills one parameter."""
        schema = self.inputs.of(parameter.annotation)
        if where.first_place == "form":
            # Clients send the objects in a class as parts that contain JSON.
            sent = self._sent_fields(_without_null(schema)[0]) or {"properties": {}}
            is_flat = all(self._members_of(one) is None for one in sent["properties"].values())
            kinds = [_FORM if is_flat else _MULTIPART]
        elif "form" not in where.places or self._sent_fields(schema) is None:
            kinds = [_JSON]
        # Even if all fields are optional, a JSON body must be at least {}.
        required = where.default is Parameter.empty and (
            kinds[0] == _JSON or self._is_required(where, schema)
        )
        if not required:  # openapi-python-client can't leave out a body that may be null
            schema, _ = _without_null(schema)
        as_form, sent = schema, self._sent_fields(schema) or {"properties": {}}
        if any(map(self._is_nested, sent["properties"].values())):
            properties = {name: self._in_form(one) for name, one in sent["properties"].items()}
            as_form = {"type": "object", **sent, "properties": properties}
        content = {kind: {"schema": schema if kind == _JSON else as_form} for kind in kinds}
        return {"required": required, "content": content}

    def _answers(
        self,
        entry: RouteEntry,
        results: Sequence[object],
        stated: int | None,
        *,
        is_304: bool,
    ) -> tuple[dict[str, list[Schema]], bool]:
        """Return two values: the responses for the types in ``results``, grouped by status; and
        whether the handler has no other responses.

        ``stated``: the status of results whose type declares none. ``is_304``: whether the result
        None is sent as a 304.
        """
        found, is_known = _by_status(results, stated)
        answers: dict[str, list[Schema]] = {}
        for number, kinds in found.items():
            structures = tuple(one for one in kinds if TypeInfo(one).structure is not None)
            others = [one for one in kinds if one not in structures and not _is_error(one)]
            # None comes last, because its description depends on the other types: None is sent as
            # null if another type is sent as JSON.
            others.sort(key=lambda one: one is NoneType)
            if is_304 and len(kinds) > 1:
                others = [one for one in others if one is not NoneType]
            # Describe all structures as one union, which may have a discriminator.
            union = [typing.Union[structures]] if structures else []  # noqa: UP007 - the number of types varies
            for annotation in [*union, *others]:
                described = self._response(entry, annotation, number)
                is_known = is_known and described is not None
                if described is not None:
                    status, response = described
                    same = answers.setdefault(status, [])
                    is_null = annotation is NoneType and any(map(_is_json, same))
                    null: Schema = {"content": {_JSON: {"schema": self.answers.of(None)}}}
                    same.append({**response, **(null if is_null else {})})
        return answers, is_known

    def _responses(
        self, entry: RouteEntry, errors: Mapping[str, str], conditions: Collection[int]
    ) -> dict[str, object]:
        application, description = entry.application, description_of(entry)
        # If the handler may send a 304, None in its annotation means the 304. In a
        # ``response_model``, None means null.
        is_304 = 304 in conditions and description.response_model is None
        answers, is_known = self._answers(entry, entry.results, description.status, is_304=is_304)
        responses = {status: _any_of(found) for status, found in answers.items()}
        for source in (self.common, description):
            for number in source.responses or ():
                answer = self._stated(application, number, *source.response_of(number))
                if source is description or str(number) not in responses:
                    responses[str(number)] = answer
        if not is_known and description.status is not None:
            responses.setdefault(
                str(description.status), {"description": _phrase(description.status)}
            )
        self._add_errors(entry, responses, errors)
        if "304" in responses:
            for status in responses.keys() & {"200", "304"}:
                responses[status].setdefault("headers", {})["ETag"] = {"schema": {"type": "string"}}
        other = (
            self._error(application, None, "Any other error")
            if is_known
            else {"description": "Any other response"}
        )
        return {**dict(sorted(responses.items())), "default": other}

    def _add_errors(
        self,
        entry: RouteEntry,
        responses: dict[str, Schema],
        errors: Mapping[str, str],
    ) -> None:
        application = entry.application
        for status, sentence in errors.items():
            handled, about = self._handled(entry, int(status), sentence)
            for code, answer in handled.items():
                _add_content(responses.setdefault(code, answer), answer)
            if about is None:
                continue
            # 303 and 304 have no body. 401 and 403 may come from access checks, which may send any
            # body.
            is_standard = status in ("303", "304", "401", "403")
            describe_answer = self._stated if is_standard else self._error
            answer = describe_answer(application, int(status), about)
            # an access check may send a 401 without this header
            if status in _HEADERS and (status != "401" or _challenges(application)):
                answer["headers"] = {_HEADERS[status]: {"schema": {"type": "string"}}}
            known = responses.setdefault(status, answer)
            if "content" in known:
                _add_content(known, answer)

    def _handled(
        self, entry: RouteEntry, number: int, sentence: str
    ) -> tuple[dict[str, Schema], str | None]:
        """Return the responses that the application's error handlers send for errors with the
        status ``number``. The keys are the statuses of these responses. Also return a sentence that
        describes the errors that micropie handles itself, or None if there are none.

        A response of unknown type is described like micropie's own error response.
        """
        responses: dict[str, Schema] = {}
        for key, results in entry.application.error_results(number):
            answers, is_known = self._answers(entry, results, number, is_304=False)
            if not is_known or any(TypeInfo(one).answer[0] is None for one in results):
                break
            for status, found in answers.items():
                responses[status] = {**_any_of(found), "description": sentence}
            if key is not BindingError:
                return responses, None
            sentence = _MALFORMED
        return responses, sentence

    def _response(
        self, entry: RouteEntry, annotation: object, stated: int | None
    ) -> tuple[str, dict[str, object]] | None:
        """Return the status and the description of a response, or None if the annotation doesn't
        determine them.
        """
        status = stated or 200
        kind = TypeInfo(annotation).kind
        if isinstance(kind, type) and issubclass(kind, Redirect):
            status = status if status in _REDIRECTS else 303
            return str(status), {"description": _phrase(status)}
        # Omit the schema of an event stream, because tools disagree about whether it describes one
        # event or the whole stream.
        content = (
            {"text/event-stream": {}} if is_event_stream(kind) else self._content(entry, annotation)
        )
        if content is None:
            return None
        answer: dict[str, object] = {"description": _phrase(status) or str(status)}
        return str(status), answer | ({"content": content} if content else {})

    def _content(self, entry: RouteEntry, annotation: object) -> dict[str, Schema] | None:
        """Return the descriptions of a response's body by content type, or None if the annotation
        doesn't determine them.
        """
        if annotation in (None, NoneType):
            return {}
        info, function = TypeInfo(annotation), entry.route.function
        is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        items = info.items(is_generator)
        if items:
            schema = self.answers.of(typing.Union[items])  # noqa: UP007 - the number of types varies
            lines = {"type": "array", "items": schema}
            text = {"type": "string", "contentMediaType": _LINES, "contentSchema": lines}
            return {_LINES: {"itemSchema": schema} if self.is_3_2 else {"schema": text}}
        how = info.sent_as
        if how == "html":
            return {"text/html": {"schema": {"type": "string"}}}
        is_text = how == "text"
        is_vague = how == "" and isinstance(info.kind, type)
        if is_text or how == "stream" or (is_vague and is_generator):
            kinds = ["text/html" if entry.application.settings.text == "html" else "text/plain"]
            if kinds == ["text/plain"] and entry.mentions("html"):
                kinds.append("text/html")  # ``html`` is annotated to return str
            schema = self.answers.of(annotation) if is_text else {}
            schema = {"type": "string", **({"enum": schema["enum"]} if "enum" in schema else {})}
            return {one: {"schema": schema} for one in kinds}
        if is_vague or how in ("response", "awaited"):
            return None
        return {_JSON: {"schema": self.answers.of(annotation)}}

    def _stated(
        self, application: Application, number: int, sentence: str, model: object = None
    ) -> dict[str, object]:
        """Return the description of a response, from its sentence, its type or both.

        An error without a type gets micropie's schema if the application's errors are JSON.
        Otherwise the error's content isn't described.
        """
        sentence = sentence or _phrase(number) or str(number)
        if model is not None:
            return {
                "description": sentence,
                "content": {_JSON: {"schema": self.answers.of(model)}},
            }
        is_error = number >= 400 and application.settings.errors == "json"
        return self._error(application, number, sentence) if is_error else {"description": sentence}

    def _error(
        self, application: Application, number: int | None, sentence: str
    ) -> dict[str, object]:
        """Return the description of micropie's error response for a status (None for any status).

        If the application has an error handler for the error, the content isn't described.
        """
        # The sentence ``_MALFORMED`` describes the status's errors other than ``BindingError``.
        is_others = sentence == _MALFORMED
        keys = [key for handlers in application.error_handlers for key in handlers]
        if any(_may_answer(key, number) for key in keys if not is_others or key != BindingError):
            return {"description": sentence}
        text, problem = {"type": "string"}, {"$ref": "#/components/schemas/Problem"}
        forms: dict[str, Schema] = {"text/plain": text, "text/html": text, _PROBLEM: problem}
        kinds = {"json": [_PROBLEM], "text": ["text/plain"]}.get(application.settings.errors, forms)
        content = {kind: {"schema": forms[kind]} for kind in kinds}
        return {"description": sentence, "content": content}

    def _security(self, application: Application) -> dict[str, list[str]]:
        """Return the security requirement of the access checks: the names of security schemes, each
        with its scopes.
        """
        needed: dict[str, list[str]] = {}
        for guard in application.middlewares:
            scheme = getattr(guard, "security_scheme", None)
            if scheme is not None:
                scopes = needed.setdefault(self._scheme_name(guard, dict(scheme)), [])
                scopes += [one for one in getattr(guard, "scopes", ()) if one not in scopes]
        return needed

    def _scheme_name(self, guard: object, scheme: dict[str, object]) -> str:
        """Return the name of a security scheme: the name of the access check's class or function.
        If another scheme has this name, a number is added.
        """
        own = getattr(guard, "__name__", type(guard).__name__)
        names = (own if number == 1 else f"{own}{number}" for number in count(1))
        name = next(name for name in names if self.security_schemes.get(name, scheme) == scheme)
        self.security_schemes[name] = scheme
        return name


def _refusals(check: Callable[..., object]) -> set[int]:
    """Return the statuses with which an access check can reject a request, according to its return
    annotation. They include 303 if the annotation contains ``Redirect``. They include 403 unless
    the annotation is ``Redirect | Literal[True]`` or ``Literal[True]``.
    """
    try:
        answer = Inspector.signature_of(check).return_annotation
    except ValueError:  # the check is a built-in without a signature
        return {403}
    kinds = {*TypeInfo(answer).members}
    # the check can reject a request only by raising an exception
    if kinds <= {Redirect, typing.Literal[True]}:
        return {303} if Redirect in kinds else set()
    return {303, 403} if Redirect in kinds else {403}


def _conditions_of(entry: RouteEntry) -> set[int]:
    """Return the statuses that a handler sends for conditional requests, from its declarations and
    from the methods that it calls.
    """
    code = getattr(entry.route.function, "__code__", None)
    found = {status for name, status in _CALLED.items() if name in getattr(code, "co_names", ())}
    # The compiler stores the names of a call's keyword arguments as a constant, a tuple.
    names = (one for one in getattr(code, "co_consts", ()) if isinstance(one, tuple))
    if 412 in found and any("required" in one for one in names):
        found.add(428)
    return found | {*map(int, description_of(entry).responses or ())} & {304, 412, 428}


def _is_error(annotation: object) -> bool:
    """Return whether an annotation is ``Never`` or an exception class. These don't describe a
    response of the handler itself.
    """
    is_raised = isinstance(annotation, type) and issubclass(annotation, HTTPError)
    return is_raised or annotation in (typing.NoReturn, typing.Never)


def is_event_stream(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, EventStream)


def _phrase(status: int) -> str:
    """Return the standard phrase for a status, or "" if it has none."""
    if status not in _NAMED:
        return ""
    # The default message of an HTTPError is the status and its phrase from the current RFC.
    return str(HTTPError(status).message)[4:] if status >= 400 else HTTPStatus(status).phrase


_NAMED = frozenset(HTTPStatus)


def _may_answer(key: int | type[Exception], number: int | None) -> bool:
    """Return whether an error handler for ``key`` may handle errors with a status (None for any
    status).
    """
    if number is None or isinstance(key, int):
        return number in (None, key)
    if not issubclass(key, HTTPError):
        return key is Exception
    return all(number == status for kind, status in _STATUSES if issubclass(key, kind))


def _by_status(
    results: Sequence[object], stated: int | None
) -> tuple[dict[int | None, list[object]], bool]:
    """Return the types of bodies in the annotations of results, grouped by status, and whether all
    statuses are known.
    """
    is_known = True
    found: dict[int | None, list[object]] = {}
    for annotation in results:
        statuses, bodies = TypeInfo(annotation).answer
        if statuses is not None or (stated is not None and bodies != (annotation,)):
            for number in statuses or [stated]:
                found.setdefault(number, []).extend(bodies)
            continue
        is_known = False
        if all(one in (None, NoneType) for one in bodies):  # a 204, as usual in REST APIs
            found.setdefault(204, []).extend(bodies)
    return found, is_known


def _add_content(known: Schema, answer: Schema) -> None:
    """Add to a response the bodies of another response with the same status.

    The application's own bodies come first, because most generated clients read only the first one.
    """
    if "content" in answer:
        known["content"] = {**known.get("content", {}), **answer["content"]}


def _is_json(answer: Schema) -> bool:
    return _JSON in answer.get("content", ())


def _any_of(answers: Sequence[Schema]) -> Schema:
    """Return one description for several responses with the same status."""
    contents: dict[str, list[Schema]] = {}
    for answer in answers:
        for kind, media in answer.get("content", {}).items():
            if media not in contents.setdefault(kind, []):
                contents[kind].append(media)
    if not contents:
        return answers[0]
    is_empty = any("content" not in answer for answer in answers)
    return {
        "description": answers[0]["description"] + ("; the body may be empty" if is_empty else ""),
        "content": {
            kind: found[0]
            if len(found) == 1
            else {key: {"anyOf": [media[key] for media in found]} for key in found[0]}
            for kind, found in contents.items()
        },
    }


# The header that a response with each status must have: RFC 9110, sections 11.6.1 and 10.2.3; RFC
# 6585, section 4.
_HEADERS = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}
# The status that a handler may send if it calls one of these methods: RFC 9110, section 13. With
# ``required=True``, it may also send 428.
_CALLED = {"not_modified": 304, "check_precondition": 412}
_IGNORED_HEADERS = ("accept", "content-type", "authorization")
_CONDITIONAL = {"If-None-Match": {304, 412}, "If-Match": {412, 428}}
# Exceptions whose status is always the same.
_STATUSES = ((BadRequest, 400), (MethodNotAllowed, 405))
_VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_REDIRECTS = range(300, 400)


def _challenges(application: Application) -> bool:
    """Return whether middleware other than access checks has a ``security_scheme``. If so, a 401
    always has ``WWW-Authenticate``.
    """
    checks = {*map(id, application.checks)}
    return any(
        hasattr(one, "security_scheme") for one in application.middlewares if id(one) not in checks
    )


def _read_by_the_handler(entry: RouteEntry) -> Schema:
    """Return OpenAPI's description of the body for a handler with ``@reads_body``: a form with any
    fields if the handler calls ``parts``, otherwise bytes of any type.
    """
    if entry.mentions("parts"):
        return {"required": True, "content": {_MULTIPART: {"schema": {"type": "object"}}}}
    schema = {"type": "string", "format": "binary"}
    return {"required": False, "content": {_BYTES: {"schema": schema}}}


def _values_of(entry: RouteEntry) -> list[_Value]:
    """Return the parameters of a handler, of its checks and of its providers."""
    signature = entry.signature
    own = [one for one in signature.parameters if one.kind not in _VARIABLE]
    parameters = [(one, signature.values[one.name]) for one in own]
    for provider in (*entry.asked_by_checks, *signature.needed()):
        known = {one.name for one, _ in parameters}
        parameters += [
            (one.replace(kind=Parameter.KEYWORD_ONLY), provider.values[one.name])
            for one in provider.parameters
            if one.name not in known
        ]
    return parameters


def sort_inputs(entry: RouteEntry, method: str) -> Sorted:
    route, parameters = entry.route, _values_of(entry)
    has_body = method not in _WITHOUT_BODY
    has_fields = has_body and not route.reads_body
    document = next((one for one in parameters if one[1].is_document), None)
    sorted_inputs = Sorted([], [], [], document if has_body else None)
    in_query = method in _IN_QUERY or route.reads_body or document is not None
    for position, one in enumerate(parameters):
        parameter, where = one
        is_optional = (
            parameter.default is not Parameter.empty or parameter.kind is Parameter.KEYWORD_ONLY
        )
        # Only JSON contains a dict, or a list of lists.
        is_of_body = where.first_place in ("file", "form") or not where.converter.takes_text
        if parameter.name in route.wildcards:
            sorted_inputs.path.append(one)
        elif where.first_place in ("header", "cookie") or (
            where.first_place == "query" and (where.is_stated or not where.is_in_body)
        ):
            sorted_inputs.query.append(one)
        elif where.is_document or not where.first_place or (is_of_body and not has_fields):
            continue
        elif is_of_body or not in_query:
            sorted_inputs.fields.append(one)
        elif (
            is_optional
            or route.wildcards
            or where.converter.many is not None
            or len(sorted_inputs.path) < position  # the path fills parameters in their order
            or not route.most_segments
        ):
            sorted_inputs.query.append(one)
        else:
            sorted_inputs.path.append(one)
    return sorted_inputs


def _sent_as_text(name: str, place: str, required: bool, schema: Schema) -> dict[str, object]:
    """Return OpenAPI's description of a parameter in the query, a header or a cookie."""
    members, is_nullable = _without_null(schema)
    described = {"name": name, "in": place, "required": required, "schema": members}
    is_empty_null = is_nullable and place == "query" and members.get("type") != "array"
    return {**described, "allowEmptyValue": True} if is_empty_null else described


def _without_null(schema: Schema) -> tuple[Schema, bool]:
    """Return a schema without null, which can't be sent as text, and whether the schema allowed
    null.
    """
    members = schema.get("anyOf", ())
    others = [one for one in members if one != {"type": "null"}]
    if len(others) == len(members):
        return schema, False
    rest = {
        name: value
        for name, value in schema.items()
        if name != "anyOf" and not (name == "default" and value is None)
    }
    return {**rest, **(others[0] if len(others) == 1 else {"anyOf": others})}, True


def doc_of(owner: Callable[..., object]) -> str:
    """Return an object's docstring, or "" if it is inherited from a framework class."""
    is_inherited = str(getattr(owner, "__module__", "")).startswith("micropie.")
    return "" if is_inherited else inspect.cleandoc(owner.__doc__ or "")
