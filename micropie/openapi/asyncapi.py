"""The AsyncAPI document of an application, which describes its WebSockets and event streams:
https://www.asyncapi.com/docs/reference/specification/v3.0.0.

Each WebSocket and each event stream is a channel. "Send" and "receive" are from the application's
point of view. The types of messages come from the annotation ``ws: WebSocket[Received, Sent]``;
without type arguments a message may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Never

from micropie import App
from micropie.extensions import Application, Inspector, RouteEntry, TypeInfo
from micropie.openapi.docs import Docs
from micropie.openapi.document import (
    Builder,
    Sorted,
    doc_of,
    info_of,
    is_described,
    is_event_stream,
    sort_inputs,
)
from micropie.openapi.schemas import Schema, rewritten, with_short_names, without_infinities

_TEXT: Schema = {"type": "string"}
_AS_THEY_ARE: Mapping[object, Schema] = {
    str: {"contentType": "text/plain", "payload": _TEXT},
    bytes: {"contentType": "application/octet-stream", "payload": {**_TEXT, "format": "binary"}},
}
# The key in a binding for the parameters in each place.
_BINDINGS: Mapping[object, str] = {"query": "query", "header": "headers"}
_WEBSOCKET_BINDING, _HTTP_BINDING = "0.1.0", "0.3.0"  # versions of the binding formats


def build_channels(app: App, docs: Docs) -> Schema:
    """Return the AsyncAPI document of an application and the applications inside it."""
    inspector = Inspector(app, inside=True)
    builder = _ChannelBuilder(inspector.applications()[0], docs)
    for entry in inspector.routes(websockets=True):
        if is_described(entry):
            builder.add_socket(entry)
    for entry in inspector.routes():
        if is_described(entry) and any(map(_has_events, entry.results)):
            builder.add_events(entry)
    document: Schema = {
        "asyncapi": "3.0.0",
        "info": info_of(app, docs),
        "defaultContentType": "application/json",
        "channels": builder.channels,
        "operations": builder.operations,
        "components": {"schemas": dict(sorted(builder.components.items()))},
    }
    converted: Schema = rewritten(without_infinities(with_short_names(document)), _as_draft_7)
    return converted


class _ChannelBuilder(Builder):
    def __init__(self, own: Application, docs: Docs) -> None:
        super().__init__(own, docs)
        self.channels: dict[str, Schema] = {}
        self.operations: dict[str, Schema] = {}
        del self.components["Problem"]

    def add_socket(self, entry: RouteEntry) -> None:
        """Add the channel of a WebSocket, with the messages that it receives and sends."""
        name, inputs = self._channel(entry)
        received, sent = entry.messages or (object, object)
        self.channels[name]["bindings"] = {
            "ws": {"method": "GET", **self._in_url(inputs), "bindingVersion": _WEBSOCKET_BINDING}
        }
        if received is not Never:
            self._operation_of(name, "receive", self._message(received, is_received=True))
        self._operation_of(name, "send", self._message(sent, is_received=False))

    def add_events(self, entry: RouteEntry) -> None:
        """Add the channel of a handler that returns an ``EventStream``."""
        name, inputs = self._channel(entry)
        (method, *_) = entry.route.methods or ("GET",)
        message = {"contentType": "text/event-stream", "payload": _TEXT}
        binding = {"method": method, **self._in_url(inputs), "bindingVersion": _HTTP_BINDING}
        binding.pop("headers", None)  # AsyncAPI allows these headers only in a message's binding
        self._operation_of(name, "send", message, bindings={"http": binding})

    def _channel(self, entry: RouteEntry) -> tuple[str, Sorted]:
        self.inputs.own = self.answers.own = entry.application.types
        inputs = sort_inputs(entry, "GET")
        address, names = self.path_of(entry, inputs)
        summary, _, rest = doc_of(entry.route.function).partition("\n")
        about = {"summary": summary, "description": rest.strip()}
        name = entry.route.name.removeprefix(self.own.scope)
        self.channels[name] = {
            "address": address,
            **{key: text for key, text in about.items() if text},
            "messages": {},
            **({"parameters": {one: {} for one in names.values()}} if names else {}),
        }
        return name, inputs

    def _in_url(self, inputs: Sorted) -> dict[str, Schema]:
        """Return the schemas of the query and the headers, for the binding of a channel."""
        schemas: dict[str, Schema] = {}
        for one in self.query_parameters(inputs):
            if one["in"] in _BINDINGS:
                key = _BINDINGS[one["in"]]
                schema = schemas.setdefault(key, {"type": "object", "properties": {}})
                schema["properties"][one["name"]] = one["schema"]
                if one["required"]:
                    schema.setdefault("required", []).append(one["name"])
        return schemas

    def _message(self, annotation: object, *, is_received: bool) -> Schema:
        kind = TypeInfo(annotation).bare
        message = _AS_THEY_ARE.get(kind, {})
        schemas = self.inputs if is_received else self.answers
        payload = {} if kind in (bytes, object) else schemas.of(annotation)
        return {**message, "payload": payload} if payload else dict(message)

    def _operation_of(self, name: str, action: str, message: Schema, **others: object) -> None:
        channel = f"#/channels/{name}"
        self.channels[name]["messages"][action] = message
        self.operations[f"{name}.{action}"] = {
            "action": action,
            "channel": {"$ref": channel},
            "messages": [{"$ref": f"{channel}/messages/{action}"}],
            **others,
        }


def _has_events(annotation: object) -> bool:
    return any(is_event_stream(TypeInfo(one).kind) for one in TypeInfo(annotation).answer[1])


def _as_draft_7(found: Schema) -> Schema:
    """Return a schema converted to JSON Schema draft 7, which AsyncAPI uses."""
    tag = found.get("discriminator")
    if isinstance(tag, dict) and isinstance(tag.get("propertyName"), str):
        found["discriminator"] = tag["propertyName"]
    if isinstance(found.get("prefixItems"), list):
        found["items"] = found.pop("prefixItems")
    return found
