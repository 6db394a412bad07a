"""Bodies with a Content-Encoding: none is decoded, and the refusal says so."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from micropie import App, post, reads_body
from tests.support.clients import MakeClient

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=B"
PARTS = b'--B\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--B--\r\n'


class Hooks(App):
    @post
    def hook(self, name: str) -> str:
        return name

    @post
    def whole(self) -> Any:
        return self.request.json()

    @post
    @reads_body
    async def raw(self) -> str:
        return gzip.decompress(await self.request.body()).decode()


@pytest.mark.parametrize("path", ["/hook", "/whole"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"name": "x"}'),
        ("application/hooks+json", b'{"name": "x"}' + b" " * 100_000),
        (FORM, b"name=x"),
        (MULTIPART, PARTS),
    ],
)
def test_an_encoded_body_gets_a_415(
    make_client: MakeClient, path: str, kind: str, body: bytes
) -> None:
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    client = make_client(Hooks())
    answer = client.post(path, content=gzip.compress(body), headers=headers)
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert "This server doesn't accept request bodies with a Content-Encoding." in answer.text
    assert client.post("/raw", content=gzip.compress(body), headers=headers).content == body


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "Identity"}])
def test_any_other_malformed_body_gets_a_400(
    make_client: MakeClient, headers: dict[str, str]
) -> None:
    client = make_client(Hooks())
    for kind, body in (("application/json", b"{"), (FORM, b"%ff"), ("multipart/form-data", b"x")):
        answer = client.post("/hook", content=body, headers={"Content-Type": kind, **headers})
        assert (answer.status_code, answer.headers.get("accept-encoding")) == (400, None)
