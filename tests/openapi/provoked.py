"""Provoke each answer that a document declares, and have the generated client read each.

Most statuses are provoked alike for each operation: ``PROVOCATIONS``. What an operation alone
knows, such as the name that is taken, stands in a table of its application: a ``Plan``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx2 as httpx
import jsonschema  # type: ignore[import-untyped]

JSON = "application/json"
# What openapi-python-client reads of an answer: it has no words for pages and events.
READ = {JSON, "application/problem+json", "text/html", "text/plain"}
MORE_THAN_ALLOWED = 2_700_000
"""Bytes of JSON or of a form's fields: ``max_data_size`` is 2,621,440."""
FAIL = "X-Fail"
"""A header for which the hook of ``tests.openapi.served`` raises an error of its status."""
NOBODY = "nobody"
"""The name of a client without a log-in and without cookies."""
# It fits no number, no time, no enumeration, no id.
WRONG = "~"
UNKNOWN_ID = "00000000-0000-0000-0000-00000000ffff"

Kwargs = dict[str, Any]
"""What a generated function gives to httpx."""


@dataclass
class Operation:
    """An operation of a document, and the module that was generated for it."""

    name: str
    method: str
    path: str
    about: dict[str, Any]
    document: dict[str, Any]
    module: Any

    @property
    def declared(self) -> dict[str, Any]:
        found: dict[str, Any] = self.about["responses"]
        return found

    @property
    def schemes(self) -> list[str]:
        return [name for scheme in self.about.get("security", ()) for name in scheme]

    def parameters(self, place: str) -> list[dict[str, Any]]:
        return [one for one in self.about.get("parameters", ()) if one["in"] == place]

    def valid(self, kwargs: Kwargs) -> Kwargs:
        """Return a copy that can be changed."""
        copied = {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in kwargs.items()
        }
        return {"headers": {}, "params": {}, **copied}


@dataclass
class Plan:
    """What only an application knows of its operations.

    ``values``: right ones, by the operation and the parameter, where others are refused.
    ``further``: requests of an operation, each as changes of what httpx is given: a dict replaces
    some keys; with "as" the client of a scheme, NOBODY for one without any log-in and cookie.
    ``endless``: operations whose streams don't end, of which only the head is read; ``fails``:
    those that fail on purpose. ``log_ins``: arguments of the generated ``Client`` by the security
    scheme. ``first``: operations to begin with. ``prepare`` is called before all, with a
    client of httpx that shares the cookies, and returns headers for all requests, such as a log-in.
    """

    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    further: Mapping[str, Sequence[Kwargs]] = field(default_factory=dict)
    log_ins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    first: Collection[str] = ()
    endless: Collection[str] = ()
    fails: Collection[str] = ()
    prepare: Callable[[httpx.Client], Mapping[str, str]] = lambda client: {}


NOTHING_OWN = Plan()


def operations_of(document: dict[str, Any], modules: Mapping[str, Any]) -> dict[str, Operation]:
    found = {}
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            name = re.sub(r"\W+|(?<=[a-z0-9])(?=[A-Z])", "_", about["operationId"]).lower()
            found[name] = Operation(name, method, path, about, document, modules[name])
    return found


# -- reading an answer


def status_read(operation: Operation, client: Any, answer: httpx.Response) -> str:
    """Return the declared status of an answer: "default" if only that covers it.

    Fails if its media type or its body is not as declared, and if the generated client reads
    another value of it.
    """
    where = (
        f"{operation.name}: {answer.request.method} {answer.request.url} -> {answer.status_code}"
    )
    key = str(answer.status_code)
    key = key if key in operation.declared else "default"
    told = operation.declared[key]
    for name in told.get("headers", ()):
        assert name.lower() in answer.headers, (where, name)
    content = told.get("content")
    if content is None:
        # nothing, or an answer of the author's own, of which the document knows the status at most
        return key
    if not answer.content:
        assert "may be empty" in told["description"], where
        return key
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    assert media_type in content, (where, media_type, [*content], answer.text)
    schema = content[media_type].get("schema", {})
    if "json" in media_type:
        jsonschema.Draft202012Validator(
            {**schema, "components": operation.document.get("components", {})}
        ).validate(answer.json())
    # openapi-python-client reads an answer as the first media type that it knows, whatever it has
    first = next((one for one in content if one in READ), None)
    if first is not None and ("json" not in first or first == media_type):
        check_parsed(operation, client, answer, schema, where)
    return key


def check_parsed(
    operation: Operation, client: Any, answer: httpx.Response, schema: dict[str, Any], where: str
) -> None:
    """Fail unless the generated client reads the whole body, as the model of the schema."""
    try:
        parsed = operation.module._build_response(client=client, response=answer).parsed
    except (ValueError, TypeError, KeyError) as error:
        raise AssertionError(f"{where}: {error!r} reading {answer.text!r}") from error
    is_text = isinstance(parsed, str) and parsed == answer.text
    assert is_text or same(written(parsed), answer.json()), (where, parsed, answer.text)
    models = [
        one["$ref"]
        for one in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ()))
        if "$ref" in one
    ]
    if models and hasattr(parsed, "to_dict"):
        names = {re.sub(r"\W|_", "", one.rpartition("/")[2]).lower() for one in models}
        assert type(parsed).__name__.lower() in names, (where, parsed)


def written(value: Any) -> Any:
    """Return what the generated model of an answer is in JSON."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, list):
        return [written(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def same(found: object, expected: object) -> bool:
    """An aware time may be written with "+00:00", and a default be left out."""
    return bool(
        json.loads(json.dumps(found).replace("+00:00", "Z"))
        == json.loads(json.dumps(expected).replace("+00:00", "Z"))
    )


# -- provocations by status: each yields requests, changed from a valid one


def of_400(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    """Each parameter missing, of another type, and no text; a body of another type, half a one."""
    for place, key in (("query", "params"), ("header", "headers"), ("cookie", "cookies")):
        for parameter in operation.parameters(place):
            name = parameter["name"]
            # of an object each field is a parameter
            for own in (*properties_of(operation, parameter["schema"]), name):
                given = valid.get(key, {})
                yield {**valid, key: {other: one for other, one in given.items() if other != own}}
                yield {**valid, key: {**given, own: WRONG}}
    for parameter in operation.parameters("path"):
        for text in (*(() if is_number(parameter) else (WRONG,)), "%ff"):
            yield {**valid, "url": path_with(operation, parameter["name"], text)}
    yield with_query(valid, "a=%ff")
    yield from wrong_bodies(operation, valid)


def wrong_bodies(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    if "json" in valid:
        yield with_content(valid, b"{", JSON)
        for body in wrong_documents(valid["json"]):
            yield {**valid, "json": body}
    elif isinstance(form := valid.get("data"), dict):
        for name in form:
            yield {**valid, "data": {key: one for key, one in form.items() if key != name}}
            yield {**valid, "data": {**form, name: WRONG}}
    elif "files" in valid:
        for body in (b"--x\r\n", b"--x--\r\n"):
            yield with_content(valid, body, "multipart/form-data; boundary=x")
    elif "requestBody" in operation.about:
        yield with_content(valid, b"{", JSON)


def properties_of(operation: Operation, schema: dict[str, Any]) -> Sequence[str]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found = operation.document["components"]["schemas"][name] if name else schema
    return [*found.get("properties", ())]


def wrong_documents(body: Any) -> Iterator[Any]:
    yield [[WRONG]]
    yield WRONG
    if isinstance(body, dict):
        for name in body:
            yield {key: one for key, one in body.items() if key != name}
            yield {**body, name: {WRONG: [[]]}}


def of_401(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    """A log-in that is malformed or wrong; the caller sends it without one as well."""
    yield valid
    for header in ("Bearer wrong", "Basic d3Jvbmc6d3Jvbmc="):
        yield {**valid, "headers": {**valid["headers"], "Authorization": header}}


def of_403(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    """A form that a page of another site sends."""
    yield {**valid, "headers": {**valid["headers"], "Origin": "https://other.example"}}


def of_404(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    """An id that nothing has, or that is none; last an empty one, which is the path of a list."""
    for parameter in operation.parameters("path"):
        for unknown in ("999999", UNKNOWN_ID, WRONG, ""):
            yield {**valid, "url": path_with(operation, parameter["name"], unknown)}


def is_number(parameter: dict[str, Any]) -> bool:
    """Return whether other text leads to another route, or to none."""
    return parameter["schema"].get("type") in ("integer", "number")


def path_with(operation: Operation, name: str, value: str) -> str:
    path = operation.path.replace(f"{{{name}}}", value)
    return re.sub(r"\{\w+\}", "1", path)


def of_412(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    yield {**valid, "headers": {**valid["headers"], "If-Match": '"of yesterday"'}}


def of_413(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    text = b"a" * MORE_THAN_ALLOWED
    content = operation.about["requestBody"]["content"] if "requestBody" in operation.about else {}
    if "multipart/form-data" in content:
        part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + text + b"\r\n--x--\r\n"
        yield with_content(valid, part, "multipart/form-data; boundary=x")
    else:
        for kind in content or ("application/octet-stream",):
            yield with_content(valid, b'["' + text + b'"]', kind)
        yield with_content(valid, text * 7, "application/octet-stream")
    # more than a limit of gigabytes: the server refuses it for the length that its client states
    endless = with_content(valid, begun(), "application/octet-stream")
    yield {**endless, "headers": {**endless["headers"], "Content-Length": str(2**40)}}


def begun() -> Iterator[bytes]:
    """The beginning of a body, after which its client reads the answer, as after a broken pipe."""
    yield b"a"
    raise httpcore.WriteError


def of_415(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    yield with_content(valid, b"text", "text/plain")
    for kind in operation.about["requestBody"]["content"]:
        yield with_content(valid, b"a=1", f"{kind}; charset=utf-16")


def of_428(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    headers = {name: value for name, value in valid["headers"].items() if name != "If-Match"}
    yield {**valid, "headers": headers}


def of_429(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    for _ in range(200):
        yield valid


def of_default(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    """What nobody foresees: ``tests.openapi.served`` has a hook for it."""
    yield {**valid, "headers": {**valid["headers"], FAIL: "507"}}


def with_query(valid: Kwargs, text: str) -> Kwargs:
    others = {key: one for key, one in valid.items() if key != "params"}
    return {**others, "url": f"{valid['url']}?{httpx.QueryParams(valid['params'])}&{text}"}


def with_content(valid: Kwargs, content: bytes | Iterator[bytes], media_type: str) -> Kwargs:
    others = {key: one for key, one in valid.items() if key not in ("json", "data", "files")}
    return {
        **others,
        "content": content,
        "headers": {**valid["headers"], "Content-Type": media_type},
    }


def of_choices(operation: Operation, valid: Kwargs) -> Iterator[Kwargs]:
    """Each value of a parameter that has a choice."""
    for parameter in operation.parameters("query"):
        schema = parameter["schema"]
        choices = ["true", "false"] if schema.get("type") == "boolean" else schema.get("enum", ())
        for one in choices:
            yield {**valid, "params": {**valid["params"], parameter["name"]: one}}


PROVOCATIONS: dict[str, Callable[[Operation, Kwargs], Iterator[Kwargs]]] = {
    "400": of_400,
    "401": of_401,
    "403": of_403,
    "404": of_404,
    "412": of_412,
    "413": of_413,
    "415": of_415,
    "428": of_428,
    "429": of_429,
    "default": of_default,
}


class Provoker:
    """Sends requests of a generated client, and collects the declared answers that came.

    ``clients``: one for each security scheme by its name, "" for one without a log-in.
    """

    def __init__(self, operations: dict[str, Operation], clients: dict[str, Any], plan: Plan):
        self.operations, self.clients, self.plan = operations, clients, plan
        self.seen: dict[str, set[str]] = {name: set() for name in operations}
        # of the calls with right values: those that were refused, by whether they had optional ones
        self.refused: dict[tuple[str, bool], int] = {}
        self.calls = 0

    def send(
        self, operation: Operation, kwargs: Kwargs, scheme: str, address: str = ""
    ) -> httpx.Response:
        """Send a request, from an address of its own, so that no limit of rates is in its way."""
        client = self.clients[scheme]
        self.calls += 1
        address = address or f"10.0.{self.calls // 256}.{self.calls % 256}"
        # uvicorn takes it from a proxy on its own machine
        headers = {"X-Forwarded-For": address, **kwargs.get("headers", {})}
        http: httpx.Client = client.get_httpx_client()
        with http.stream(**{**kwargs, "headers": headers}) as answer:
            status, name = str(answer.status_code), operation.name
            is_meant = FAIL in headers or status in operation.declared or name in self.plan.fails
            assert answer.status_code < 500 or is_meant, (name, kwargs, status)
            if answer.is_success and name in self.plan.endless:
                # the head alone
                media_type = answer.headers["content-type"].partition(";")[0]
                assert media_type in operation.declared[status]["content"], (name, media_type)
                self.seen[name].add(status)
                return answer
            answer.read()
        self.seen[operation.name].add(status_read(operation, client, answer))
        return answer

    def call(self, operation: Operation, minimal: Kwargs, full: Kwargs) -> httpx.Response:
        """Send right values, without optional ones and with them."""
        scheme = self.scheme_of(operation)
        for is_full, arguments in ((True, full), (False, minimal)):
            answer = self.send(operation, operation.module._get_kwargs(**arguments), scheme)
            if answer.is_error:
                self.refused[operation.name, is_full] = answer.status_code
        return answer

    def scheme_of(self, operation: Operation) -> str:
        return next((one for one in operation.schemes if one in self.clients), "")

    def provoke(self, operation: Operation, arguments: Kwargs, answer: httpx.Response) -> None:
        """Provoke what is declared and was not seen; of a 400 each way.

        ``answer``: that to these arguments.
        """
        scheme = self.scheme_of(operation)
        valid = operation.valid(operation.module._get_kwargs(**arguments))
        for one in of_choices(operation, valid):
            self.send(operation, one, scheme)
        if "304" in operation.declared and "etag" in answer.headers:
            headers = {**valid["headers"], "If-None-Match": answer.headers["etag"]}
            self.send(operation, {**valid, "headers": headers}, scheme)
        for changes in map(dict, self.plan.further.get(operation.name, ())):
            by = changes.pop("as", scheme)
            if by == NOBODY:
                self.clients[NOBODY].get_httpx_client().cookies.clear()
            changed = {
                key: {**old, **value} if isinstance(old := valid.get(key), dict) else value
                for key, value in changes.items()
            }
            self.send(operation, {**valid, **changed}, by)
        for status, provocation in PROVOCATIONS.items():
            if status in operation.declared:
                by = NOBODY if status == "401" else scheme
                for kwargs in provocation(operation, valid):
                    if status != "400" and status in self.seen[operation.name]:
                        break
                    address = "10.1.0.1" if status == "429" else ""
                    self.send(operation, kwargs, by, address)

    def missing(self) -> list[str]:
        """Return the declared answers that were not provoked: "operation status"."""
        return [
            f"{name} {status}"
            for name, one in self.operations.items()
            for status in one.declared
            if status not in self.seen[name]
        ]

    def told(self) -> str:
        """Return what a line of a table says."""
        seen = sum(map(len, self.seen.values()))
        missing = self.missing()
        return (
            f"{self.calls} calls, {seen} declared answers of {len(self.operations)} operations"
            + (f"; NOT PROVOKED: {', '.join(missing)}" if missing else "")
        )
