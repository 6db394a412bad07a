"""A page's form, sent as a visitor does."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest

from micropie import App, UploadFile, post, reads_body
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
        "/a/page token=2&name=Bob&empty=&news=on&size=m&photo=&note=x",
    ),
    (
        "/a/page",
        {"spam": "on", "kind": "a"},
        "/a/page token=2&name=Ann&empty=&news=on&size=m&photo=&spam=on&kind=a",
    ),
    ("/a/page", {"go": ""}, "/a/out token=1&go="),
    ("/a/page", {"id": "7"}, "/a/tags tag=a&tag=c&id=7"),
    ("/a/page", {"tag": []}, "/a/tags id="),
    ("/old", None, "/new/out token=1"),
]


@pytest.mark.parametrize(("page", "data", "sent"), SENT)
def test_a_form_of_a_page_can_be_submitted(
    page: str, data: dict[str, Any] | None, sent: str
) -> None:
    with TestClient(forms) as client:
        assert client.post_form(page, data).text == sent


def test_a_form_with_a_file_and_an_empty_file_input_can_be_submitted() -> None:
    with TestClient(forms) as client:
        # a form without enctype sends the name alone
        sent = client.post_form("/", {"empty": None}, files={"photo": ("a.png", b"PNG")}).text
        assert sent == "/ token=2&name=Ann&empty=&news=on&size=m&photo=a.png"
        with pytest.raises(
            ClientError,
            match="has the fields nam; the page's forms have: token, go; token, name, empty, news, spam, size",
        ):
            client.post_form("/", {"nam": "Bob"})
        with pytest.raises(httpx.HTTPStatusError):
            client.post_form("/missing")


@pytest.mark.anyio
async def test_the_async_client_submits_a_form() -> None:
    async with AsyncTestClient(forms) as client:
        assert (await client.post_form("/a/page", {"go": ""})).text == "/a/out token=1&go="


MULTIPART = """<form method=post enctype=Multipart/Form-Data action=/parts><input name=n value=1>
<input type=checkbox name=yes checked></form>
<form method=post enctype="multipart/form-data" action=/files><input name=title value=t>
<input type=file name=photo><input type=file name=other disabled></form>"""
DISABLED = """<form method=post action=/got><input name=role value=admin disabled><input name=n>
<fieldset disabled><legend>a<input name=first value=1></legend><input name=second value=2>
<legend><input name=third value=3></legend><fieldset><legend><input name=fourth value=4></legend>
</fieldset></fieldset><fieldset><input name=fifth value=5></fieldset><input name=sixth value=6>
</form></fieldset></legend>"""

ELSEWHERE = """<input form=mine name=before value=1><input name=nobody value=2>
<input type=file form=mine name=photo>
<form id=mine method=post action=/got enctype="multipart/form-data"><input name=n>
<input form=other name=foreign value=3></form><input name=behind value=4>
<textarea form=mine name=note></textarea>
<form method=post action=/got id=other><input name=m></form>"""


class Pages(App):
    async def elsewhere(self) -> str:
        return ELSEWHERE

    async def multipart(self) -> str:
        return MULTIPART

    async def disabled(self) -> str:
        return DISABLED

    @post
    @reads_body
    async def parts(self) -> Any:
        return [[one.name, one.filename, await one.text()] async for one in self.request.parts()]

    @post
    async def files(self, title: str, photo: list[UploadFile]) -> Any:
        return [title, [one.filename for one in photo], list(self.request.files)]

    @post
    async def got(self, **values: str) -> Any:
        return values


def test_a_form_is_encoded_as_it_declares() -> None:
    with TestClient(Pages()) as client:
        sent = {"n": True}
        found = client.post_form("/multipart", sent).json()
        assert found == [["n", None, "true"], ["yes", None, "on"]]
        given = client.post_form("/multipart", {"n": ["1", None, b"2"]}).json()
        assert given == [["n", None, "1"], ["n", None, ""], ["n", None, "2"], ["yes", None, "on"]]
        assert client.post_form("/multipart", {"title": "x"}).json() == ["x", [], []]
        two = [("photo", ("a", b"1")), ("photo", ("b", b"2"))]
        assert client.post_form("/multipart", files=two).json() == ["t", ["a", "b"], ["photo"]]


def test_disabled_controls_are_not_sent() -> None:
    with TestClient(Pages()) as client:
        expected = {"n": "v", "first": "1", "fifth": "5", "sixth": "6"}
        assert client.post_form("/disabled", {"n": "v"}).json() == expected
        for name in ("role", "second", "third", "fourth"):
            with pytest.raises(ClientError, match=f"has the fields {name}"):
                client.post_form("/disabled", {name: "x"})


def test_a_control_belongs_to_the_form_that_it_references_or_is_inside() -> None:
    with TestClient(Pages()) as client:
        sent = client.post_form("/elsewhere", {"n": "v", "note": "x"}).json()
        assert sent == {"before": "1", "photo": "", "n": "v", "note": "x"}
        assert client.post_form("/elsewhere", {"m": "v"}).json() == {"foreign": "3", "m": "v"}
        for name in ("nobody", "behind"):
            with pytest.raises(ClientError, match=f"has the fields {name}"):
                client.post_form("/elsewhere", {name: "x"})
