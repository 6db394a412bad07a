"""Pages with forms, as a browser uses them: ``forms``, ``login``, ``blog``, ``paste``,
``shortener``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape

import httpx2 as httpx
import pytest

from tests.project.examples.serving import Browse, browsing, serving_examples
from tests.servers.harness import ANSWER_WITHIN, ServerOf

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerOf]:
    with serving_examples(
        "forms login blog paste shortener", tmp_path_factory.mktemp("pages")
    ) as server_of:
        yield server_of


@pytest.fixture(params=["daphne", "gunicorn-gthread"])
def browse(request: pytest.FixtureRequest, server_of: ServerOf) -> Iterator[Browse]:
    with browsing(server_of(request.param)) as browse:
        yield browse


def token(page: httpx.Response) -> dict[str, str]:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    return {"csrf_token": unescape(found[1])}


def said(page: httpx.Response) -> list[str]:
    return [
        unescape(sentence)
        for sentence in re.findall(r'role="(?:status|alert)">([^<]*)<', page.text)
    ]


def limited(send: Callable[[], httpx.Response]) -> bool:
    """Send until the answer is a 429, at most 40 times: of ten at once every sixth second allows
    one more.
    """
    return any(send().status_code == 429 for _ in range(40))


def test_the_forms_example_shows_errors_and_accepts_valid_input(browse: Browse) -> None:
    client = browse("forms")
    page = client.get("")
    assert page.text.count('name="guests[') == 4
    assert 'name="news" checked' in page.text
    typed = {
        "name": "<Ann>",
        "at": "soon",
        "guests[0].name": "Bob",
        "guests[0].vegan": "on",
        "guests[1].name": "",
    }
    wrong = client.post("", data={**token(page), **typed, "pies": "cherry"})
    assert wrong.status_code == 422
    assert said(wrong) == [
        "Please enter a date and time such as 2026-01-31T13:45:00.",
        "Please choose one of apple, plum.",
        "Please fill in this field.",
    ]
    for kept in (
        'value="&lt;Ann&gt;"',
        'value="soon"',
        'value="Bob"',
        'name="guests[0].vegan" checked',
        'name="news">',
    ):
        assert kept in wrong.text
    right = {
        **token(wrong),
        **typed,
        "at": "2026-12-24T18:30",
        "guests[1].name": "Eve",
        "pies": ["apple", "plum"],
    }
    assert said(client.post("", data={**right, "at": "2026-12-21T18:30"})) == [
        "We are closed on Mondays."
    ]
    booked = client.post("", data=right)
    assert booked.url.path == "/forms/"
    assert said(booked) == [
        "<Ann>: apple and plum pie at 18:30 on 24 December 2026 with Bob (vegan), Eve."
    ]
    assert said(client.get("")) == []
    assert client.post("", data=right, headers={"Origin": "http://evil.example"}).status_code == 403


def test_the_login_example_logs_in_and_out(browse: Browse) -> None:
    ann, mallory = browse("login"), browse("login")
    assert ann.get("secret").url.path == "/login/"
    account = {"name": "<Ann>", "password": "apple pie"}
    page = ann.post("sign_up", data={**token(ann.get("")), **account})
    assert said(page) == ["Welcome, <Ann>!"]
    assert ann.get("secret").text == "The pie is in the oven, &lt;Ann&gt;."

    fields = token(mallory.get(""))
    assert said(mallory.post("sign_up", data={**fields, **account, "password": "another pie"})) == [
        "That name is taken."
    ]
    for name in ("<Ann>", "Nobody"):
        page = mallory.post("log_in", data={**fields, "name": name, "password": "guessed pie"})
        assert said(page) == ["Name or password is wrong."]
    assert mallory.get("secret").url.path == "/login/"

    stolen = {"Cookie": f"session_id={ann.cookies['session_id']}"}
    ann.post("log_out", data=token(ann.get("")))
    assert ann.get("secret").url.path == "/login/"
    refused = httpx.get(f"{ann.base_url}secret", headers=stolen, timeout=ANSWER_WITHIN)
    assert refused.status_code == 303
    again = ann.post("log_in", data={**token(ann.get("")), **account})
    assert said(again) == ["Welcome, <Ann>!"]
    guess = {**fields, "name": "x", "password": "12345678"}
    assert limited(lambda: mallory.post("log_in", data=guess))


def test_the_blog_example_publishes_posts(browse: Browse) -> None:
    client = browse("blog")
    fields = token(client.get(""))
    for number in range(6):
        page = client.post(
            "write", data={**fields, "title": f"Pie {number}", "text": "<b>Flour</b>"}
        )
    assert said(page) == ["Published."]
    assert "&lt;b&gt;Flour&lt;/b&gt;" in page.text
    page = client.post(f"{page.url}/comments", data={**fields, "text": "Tasty & good"})
    assert "<p>Tasty &amp; good" in page.text
    first = client.get("")
    assert re.findall(r">(Pie \d)<", first.text) == [f"Pie {number}" for number in (5, 4, 3, 2, 1)]
    older = re.findall(r'href="([^"]+)">older', first.text)[0]
    assert re.findall(r">(Pie \d)<", client.get(first.url.join(unescape(older))).text)[0] == "Pie 0"
    assert client.get("?page=99").status_code == client.get("posts/999").status_code == 404
    assert client.post("posts/999/comments", data={**fields, "text": "x"}).status_code == 404


def test_the_paste_example_stores_text(browse: Browse) -> None:
    client = browse("paste")
    sent = "<script>é</script>".encode()
    made = client.post("", content=sent, headers={"Content-Type": "text/plain"})
    assert made.status_code == 201
    shown = client.get(made.text.strip())
    assert (shown.content, shown.headers["content-type"]) == (sent, "text/plain; charset=utf-8")
    assert (
        client.get(made.text.strip(), headers={"If-None-Match": shown.headers["etag"]}).status_code
        == 304
    )
    assert (
        client.post("page", data={**token(client.get("")), "text": "from a page"}).text
        == "from a page"
    )
    assert client.get("A" * 16).status_code == client.get("../blog.db").status_code == 404
    assert browse("paste").post("", content=b"x" * (1024**2 + 1)).status_code == 413


def test_the_shortener_example_redirects(browse: Browse) -> None:
    client = browse("shortener")
    long = "https://example.com/a?b=c"
    made = client.post("links", data={"url": long})
    assert made.status_code == 201
    followed = client.get(made.json()["short"], follow_redirects=False)
    assert (followed.status_code, followed.headers["location"]) == (302, long)
    for wrong in (
        "javascript:alert(1)",
        "//evil.example",
        "http://",
        "http://[",
        "https://a b",
        "pie",
    ):
        assert client.post("links", json={"url": wrong}).status_code == 400
    assert client.get("nowhere").json()["detail"] == "There is no such link."
    assert limited(lambda: client.post("links", json={"url": long}))
    assert client.get(made.json()["short"], follow_redirects=False).status_code == 302
