"""The length of a text area's text: browsers count a line end as one character, and send two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pydantic
import pytest

from micropie import App, post
from tests.support.clients import MakeClient

Short = Annotated[str, msgspec.Meta(max_length=4)]


@dataclass
class Note:
    text: Short | None
    pieces: list[Short]
    free: str = ""


class Model(pydantic.BaseModel):
    text: str = pydantic.Field(max_length=4)
    pieces: list[Annotated[str, pydantic.Field(min_length=2, max_length=4)]]
    free: str = ""


class Notes(App):
    @post
    def plain(self, text: Short | None, pieces: list[Short], free: str) -> Any:
        return [text, pieces, free]

    @post
    def note(self, note: Note) -> Any:
        return [note.text, note.pieces, note.free]

    @post
    def model(self, model: Model) -> Any:
        return [model.text, model.pieces, model.free]


@pytest.mark.parametrize("path", ["/plain", "/note", "/model"])
def test_a_line_end_counts_as_one_character_of_a_limited_length(
    make_client: MakeClient, path: str
) -> None:
    client = make_client(Notes())
    text, free = "a\r\nb\r\n", "a\r\nb"
    sent = {"text": text, "pieces": [text, "c\r\n"], "free": free}
    assert client.post(path, data=sent).json() == ["a\nb\n", ["a\nb\n", "c\n"], free]
    assert client.post(path, data=sent | {"text": "ab\r\ncd"}).status_code == 400
    # JSON has the text that it has
    assert client.post(path, json=sent).status_code == 400
