"""The AsyncAPI document, by AsyncAPI's own JSON Schema: ``asyncapi-3.0.0.json.gz`` is that of the
npm package @asyncapi/specs 6.11.1 (Apache 2.0) without its texts and the bindings of other
protocols. ``scripts/check_asyncapi.py`` asks the official parser.
"""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from micropie import App, EventStream, Header, Request, WebSocket, requires
from micropie.extensions import Inspector
from micropie.openapi import Docs
from tests.openapi.channels import Heard, Left, Root, Said

SCHEMA = Path(__file__).parent / "asyncapi-3.0.0.json.gz"


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    return Draft7Validator(json.loads(gzip.decompress(SCHEMA.read_bytes())))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return Root().asyncapi("Talk", "2.1")


def test_asyncapi_documents_are_valid(validator: Draft7Validator, document: dict[str, Any]) -> None:
    validator.validate(document)
    assert document["info"] == {"title": "Talk", "version": "2.1", "description": "Talk."}
    assert json.loads(json.dumps(document)) == document
    wrong = copy.deepcopy(document)
    wrong["operations"]["ws_file.send"]["action"] = "say"
    assert not validator.is_valid(wrong)


def test_an_empty_application_has_no_channels(validator: Draft7Validator) -> None:
    document = App(docs=Docs(title="Nothing")).asyncapi()
    validator.validate(document)
    assert (document["info"]["title"], document["channels"]) == ("Nothing", {})


def test_websockets_and_event_streams_are_channels(document: dict[str, Any]) -> None:
    found = {name: one["address"] for name, one in document["channels"].items()}
    assert found == {
        "ws_room": "/room/{room}",
        "ws_file": "/files/{number}",
        "ws_plain": "/plain",
        "inner.ws_model": "/inner/model",
        "ticks": "/ticks/{kind}",
        "moves": "/moves",
    }


def test_messages_have_their_annotated_types(document: dict[str, Any]) -> None:
    schemas, channels = document["components"]["schemas"], document["channels"]
    room = channels["ws_room"]["messages"]
    assert room["receive"]["payload"] == {
        "oneOf": [{"$ref": f"#/components/schemas/{one}"} for one in ("Said", "Left")],
        "discriminator": "type",  # as AsyncAPI has it
    }
    assert room["send"]["payload"]["items"] == {"$ref": "#/components/schemas/Heard"}
    pair = schemas["Heard"]["properties"]["pair"]
    assert (pair["items"], pair["minItems"]) == ([{"type": "integer"}, {"type": "string"}], 2)
    assert "prefixItems" not in pair
    text = {"type": "string"}
    assert channels["ws_file"]["messages"] == {
        "receive": {"contentType": "text/plain", "payload": {**text, "maxLength": 5}},
        "send": {
            "contentType": "application/octet-stream",
            "payload": {**text, "format": "binary"},
        },
    }
    assert channels["ws_plain"]["messages"] == {"receive": {}, "send": {}}
    events = {"contentType": "text/event-stream", "payload": text}
    assert channels["ticks"]["messages"] == channels["moves"]["messages"] == {"send": events}


def test_a_handshake_has_query_parameters_and_headers(document: dict[str, Any]) -> None:
    channel = document["channels"]["ws_room"]
    assert (channel["summary"], channel["description"]) == ("Enter a room.", "All hear all.")
    assert channel["parameters"] == {"room": {}}
    binding = channel["bindings"]["ws"]
    assert binding["query"]["properties"] == {"since": {"type": "integer", "default": 0}}
    assert "required" not in binding["query"]
    assert binding["headers"]["required"] == ["X-Token"]
    assert "theme" not in str(binding)  # AsyncAPI has no place for cookies
    ticks = document["operations"]["ticks.send"]["bindings"]["http"]
    assert ticks == {
        "method": "GET",
        "query": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        "bindingVersion": "0.3.0",
    }


class Tenant:
    """What a provider makes."""


def provided(region: str, *, x_tenant: Annotated[str, Header()]) -> Tenant:
    raise NotImplementedError


class Key:
    """What another provider makes."""


def key_of(key: int = 0) -> Key:
    raise NotImplementedError


def admitted(request: Request, key: Key) -> bool:
    raise NotImplementedError


def test_a_handshake_has_the_parameters_of_providers_and_checks(validator: Draft7Validator) -> None:
    app = App()
    app.provides(Tenant)(provided)
    app.provides(Key)(key_of)

    @app.websocket("/talk")
    @requires(admitted)
    async def ws_talk(ws: WebSocket[str, str], tenant: Tenant) -> None: ...

    @app.get("/ticks")
    @requires(admitted)
    def ticks(tenant: Tenant) -> EventStream:
        raise NotImplementedError

    found = app.asyncapi()
    validator.validate(found)
    (talk,) = [one for one in found["channels"].values() if one["address"] == "/talk"]
    of_ticks = found["operations"]["ticks.send"]["bindings"]["http"]
    query = {
        "type": "object",
        "properties": {"key": {"type": "integer", "default": 0}, "region": {"type": "string"}},
        "required": ["region"],
    }
    assert talk["bindings"]["ws"]["query"] == of_ticks["query"] == query
    assert talk["bindings"]["ws"]["headers"]["required"] == ["x-tenant"]


def test_an_operation_refers_to_its_channel_and_its_message(document: dict[str, Any]) -> None:
    assert document["operations"]["ws_room.receive"] == {
        "action": "receive",
        "channel": {"$ref": "#/channels/ws_room"},
        "messages": [{"$ref": "#/channels/ws_room/messages/receive"}],
    }
    received = {name for name in document["operations"] if name.endswith(".receive")}
    assert received == {
        "ws_room.receive",
        "ws_file.receive",
        "ws_plain.receive",
    }  # not WebSocket[Never, ...]


def test_route_entries_have_the_types_of_messages() -> None:
    found = {
        entry.route.name: entry.messages for entry in Inspector(Root()).routes(websockets=True)
    }
    assert found["ws_room"] == (Said | Left, list[Heard])
    assert found["ws_plain"] is None


def test_an_inner_application_has_its_own_document() -> None:
    class Deep(App):
        async def ws_talk(self, ws: WebSocket[str, str]) -> None: ...

    class Outer(App):
        deep = Deep()

    assert [*Outer().deep.asyncapi()["channels"].values()][0]["address"] == "/talk"  # noqa: RUF015
