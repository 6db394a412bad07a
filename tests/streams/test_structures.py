"""A file is streamed, and a structure with a method ``read`` is JSON."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from tests.support.clients import MakeClient
from tests.support.results import shown


@dataclass
class Message:
    text: str

    def read(self) -> None:
        """Mark the message as read."""
        raise NotImplementedError


class Model(pydantic.BaseModel):
    text: str

    def read(self, by: str, at: str) -> None:
        raise NotImplementedError


class Struct(msgspec.Struct):
    text: str

    async def read(self) -> None:
        raise NotImplementedError


class Pair(NamedTuple):
    text: str
    more: str

    def read(self) -> None:
        raise NotImplementedError


@dataclass
class Wrapper:
    """A file that is a dataclass."""

    file: io.BytesIO

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


def temporary() -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - the response closes it
    file.write(b"pie")
    file.seek(0)
    return file


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        (Message("pie"), {"text": "pie"}),
        (Model(text="pie"), {"text": "pie"}),
        (Struct("pie"), {"text": "pie"}),
        (Pair("pie", "cake"), ["pie", "cake"]),
        ((201, Message("pie")), {"text": "pie"}),
    ],
)
@pytest.mark.parametrize("is_annotated", [True, False])
def test_a_structure_with_a_method_read_is_sent_as_json(
    make_client: MakeClient, result: object, sent: object, is_annotated: bool
) -> None:
    annotation = type(result) if is_annotated and type(result) is not tuple else Any
    answer = make_client(shown(annotation, result)).get("/")
    assert (answer.json(), answer.headers["content-type"]) == (sent, "application/json")


def test_the_document_describes_a_structure_with_a_method_read_as_json() -> None:
    described = shown(Message, Message("pie")).openapi()["paths"]["/"]["get"]["responses"]["200"]
    assert [*described["content"]] == ["application/json"]


@pytest.mark.parametrize(
    "make",
    [lambda: io.BytesIO(b"pie"), lambda: Wrapper(io.BytesIO(b"pie")), temporary],
)
def test_a_file_is_streamed(make_client: MakeClient, make: Callable[[], object]) -> None:
    assert make_client(shown(Any, make())).get("/").content == b"pie"
