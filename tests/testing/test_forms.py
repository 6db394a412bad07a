"""A page's form, sent as a visitor does."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from micropie.testing import AsyncTestClient, ClientError, TestClient

FORMS = """
<form action="/search"><input name="q"></form><input name="outside">
<form method="post" action="out"><input type="hidden" name="token" value="1"><button name="go">Out</button></form>
<form method="POST"><input type="HIDDEN" name="token" value="2"><input name="name" value="Ann"><input name="empty"><input>
<input type="checkbox" name="news" checked><input type="checkbox" name="spam"><input type="radio" name="size" value="s">
<input type="radio" name="size" value="m" checked><input type="radio" name="size" value="l"><select name="kind">
<option>a</select><textarea name="note"></textarea><input type="file" name="photo"><input type="submit" name="ok" value="x">
<form method="post" action="tags"><input type="checkbox" name="tag" value="a" checked>
<input type="checkbox" name="tag" value="b"><input type="checkbox" name="tag" value="c" checked><input type="hidden" name="id">
"""


async def forms(scope: Any, receive: Any, send: Any) -> None:
    status = 404 if scope["path"] == "/missing" else 307 if scope["path"] == "/old" else 200
    body = FORMS.encode()
    if scope["method"] == "POST":
        body, more = scope["path"].encode() + b" ", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body")
    headers = [(b"location", b"/new/page")] if status == 307 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


SENT = [
    (
        "/a/page",
        {"name": "Bob", "note": "x"},
        "/a/page token=2&name=Bob&empty=&news=on&size=m&note=x",
    ),
    (
        "/a/page",
        {"spam": "on", "kind": "a"},
        "/a/page token=2&name=Ann&empty=&news=on&size=m&spam=on&kind=a",
    ),
    ("/a/page", {"go": ""}, "/a/out token=1&go="),
    ("/a/page", {"id": "7"}, "/a/tags tag=a&tag=c&id=7"),
    ("/a/page", {"tag": []}, "/a/tags id="),
    ("/old", None, "/new/out token=1"),
]


@pytest.mark.parametrize(("page", "data", "sent"), SENT)
def test_a_form_of_a_page_is_sent(page: str, data: dict[str, Any] | None, sent: str) -> None:
    with TestClient(forms) as client:
        assert client.post_form(page, data).text == sent


def test_a_form_with_a_file_and_one_that_is_missing() -> None:
    with TestClient(forms) as client:
        sent = client.post_form("/", files={"photo": ("a.png", b"PNG")}).text
        assert 'name="photo"; filename="a.png"' in sent
        assert 'name="token"\r\n\r\n2' in sent
        with pytest.raises(
            ClientError,
            match="by POST has nam; there are: token, go; token, name, empty, news, spam, size",
        ):
            client.post_form("/", {"nam": "Bob"})
        with pytest.raises(httpx.HTTPStatusError):
            client.post_form("/missing")


@pytest.mark.anyio
async def test_the_async_client_sends_a_form() -> None:
    async with AsyncTestClient(forms) as client:
        assert (await client.post_form("/a/page", {"go": ""})).text == "/a/out token=1&go="
