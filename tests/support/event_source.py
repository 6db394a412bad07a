"""A parser of server-sent events as browsers have it (HTML standard, section 9.2.6)."""

from __future__ import annotations

from typing import NamedTuple


class Received(NamedTuple):
    """One event, as a page gets it."""

    data: str
    name: str
    last_event_id: str


def parsed(stream: bytes) -> list[Received]:
    """Return the events of a complete stream."""
    received = []
    data: list[str] = []
    name = last_id = ""
    text = stream.decode().removeprefix("\ufeff")
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
        if not line:
            if data:
                received.append(Received("\n".join(data), name or "message", last_id))
            data, name = [], ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last_id = value
    return received
