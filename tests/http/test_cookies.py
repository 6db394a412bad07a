"""Cookies: read without ever failing, written strictly."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from micropie import App
from micropie._core.http.headers.cookies import CookieAttributes, format_cookie, parse_cookies
from tests.asgi.calls import get, run
from tests.support.clients import MakeClient

COOKIES = {
    "": {},
    "a=1": {"a": "1"},
    "a=1; b=2": {"a": "1", "b": "2"},
    "a=1;b=2": {"a": "1", "b": "2"},
    " a = 1 ;; b=2; ": {"a": "1", "b": "2"},
    "a=1; a=2": {"a": "1"},
    "a=b=c": {"a": "b=c"},
    "a=": {"a": ""},
    "a": {},
    "=1": {},
    'a="1 2"': {"a": "1 2"},
    'a="': {"a": '"'},
    'a=""': {"a": ""},
    'a="x': {"a": '"x'},
    "$Version=1; a=1": {"$Version": "1", "a": "1"},
    "a=%20": {"a": "%20"},
    "a=\xe9": {"a": "\xe9"},
    "a b=1; c=2": {"a b": "1", "c": "2"},
    "__proto__=1": {"__proto__": "1"},
    "a\t=\t1": {"a": "1"},
    "\xa0a=1; \x85a=2; a=3": {"\xa0a": "1", "\x85a": "2", "a": "3"},
    "a=\xa01": {"a": "\xa01"},
    "town=K\xc3\xb6ln; a=1": {"town": "Köln", "a": "1"},  # as document.cookie="town=Köln" is sent
    "K\xc3\xb6ln=\xf0\x9f\xa5\xa7": {"Köln": "🥧"},
    'a="\xc3\xb6"; b=\xc3': {"a": "ö", "b": "\xc3"},
    "\xe9=1; \xc3\xa9=2": {"\xe9": "1"},
    "a=\xed\xa0\x80": {"a": "\xed\xa0\x80"},  # half a surrogate is no UTF-8
}


class Echo(App):
    def index(self) -> Any:
        return self.request.cookies


@pytest.mark.parametrize("header", COOKIES)
def test_reading_is_the_same_in_every_world(make_client: MakeClient, header: str) -> None:
    answer = make_client(Echo()).get("/", headers=[(b"Cookie", header.encode("latin-1"))])
    assert (answer.status_code, answer.json()) == (200, COOKIES[header])


def test_R49_cookies_after_the_first_thousand_are_not_read() -> None:
    pairs = [f"{number}={number}" for number in range(1001)]
    assert [*parse_cookies("; ".join(pairs[:1000]))] == [str(number) for number in range(1000)]
    assert parse_cookies("; ".join(pairs)) == parse_cookies("; ".join(pairs[:1000]))


def test_R49_a_name_with_an_odd_blank_is_not_that_of_a_cookie_with_a_prefix() -> None:
    """Browsers take ``\xa0__Host-id`` from any host of the domain, and send it before the real
    one.
    """
    header = "\xa0__Host-id=theirs; \x1f__Host-id=theirs; __Host-id=ours"
    assert parse_cookies(header)["__Host-id"] == "ours"
    assert "__Host-id" not in parse_cookies("\xa0__Host-id=theirs")


def test_they_are_read_once_for_a_request(make_client: MakeClient) -> None:
    class Twice(App):
        def index(self) -> Any:
            return self.request.cookies is self.request.cookies

    assert make_client(Twice()).get("/", headers={"Cookie": "a=1"}).json() is True


class Changes(App):
    def index(self, how: str) -> Any:
        cookies: Any = self.request.cookies
        if how == "set":
            cookies["a"] = "2"
        elif how == "delete":
            del cookies["a"]
        else:
            getattr(cookies, how)(*[{"a": "2"}] * (how in ("update", "__ior__")))

    def read(self) -> Any:
        cookies: Any = self.request.cookies
        changed = pickle.loads(pickle.dumps(cookies))
        changed["b"] = "2"
        return cookies, {**cookies}, changed, copy.copy(cookies) == cookies


CHANGES = ["set", "delete", "update", "__ior__", "pop", "popitem", "clear", "setdefault"]


@pytest.mark.parametrize("how", CHANGES)
def test_what_the_client_sent_is_not_the_place_to_set_one(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    client = make_client(Changes())
    answer = client.get("/", params={"how": how}, headers={"Cookie": "a=1"})
    assert answer.status_code == 500
    assert "write response.set_cookie(name, value) or response.delete_cookie(name)" in caplog.text


def test_a_copy_of_the_cookies_is_a_dict(make_client: MakeClient) -> None:
    sent = {"a": "1"}
    answer = make_client(Changes()).get("/read", headers={"Cookie": "a=1"})
    assert answer.json() == [sent, sent, {**sent, "b": "2"}, True]


def test_no_cookie_header(make_client: MakeClient) -> None:
    assert make_client(Echo()).get("/").json() == {}


def test_R4_several_cookie_headers(make_client: MakeClient) -> None:
    answer = make_client(Echo()).get("/", headers=[("Cookie", "a=1"), ("Cookie", "b=2")])
    assert answer.json() == {"a": "1", "b": "2"}


def test_R4_http_2_splits_the_cookie_header(backend: str) -> None:
    headers = [(b"cookie", b"a=1"), (b"x-between", b"1"), (b"cookie", b"b=2; a=3")]
    assert run(backend, lambda: get(Echo(), headers=headers)).body == b'{"a":"1","b":"2"}'


def test_bad_cookies_lock_nobody_out(make_client: MakeClient) -> None:
    client = make_client(Echo())
    for byte in set(range(1, 0x100)) - set(b"\r\n"):
        answer = client.get("/", headers=[(b"Cookie", b"bad=x%cy; good=1" % byte)])
        assert (answer.status_code, answer.json()["good"]) == (200, "1"), byte


# -- writing ---------------------------------------------------------------------------------------

NOON = datetime(2026, 5, 1, 12, 0, 0)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, "n=v; Path=/; SameSite=Lax"),
        ({"path": None, "samesite": None}, "n=v"),
        ({"path": "/a b", "samesite": None}, "n=v; Path=/a b"),
        ({"max_age": 60}, "n=v; Max-Age=60; Path=/; SameSite=Lax"),
        ({"max_age": timedelta(days=1, seconds=1.5)}, "n=v; Max-Age=86401; Path=/; SameSite=Lax"),
        ({"max_age": 0}, "n=v; Max-Age=0; Path=/; SameSite=Lax"),
        ({"expires": NOON}, "n=v; Expires=Fri, 01 May 2026 12:00:00 GMT; Path=/; SameSite=Lax"),
        (
            {"expires": NOON.replace(tzinfo=timezone(timedelta(hours=2)))},
            "n=v; Expires=Fri, 01 May 2026 10:00:00 GMT; Path=/; SameSite=Lax",
        ),
        ({"domain": "example.org"}, "n=v; Domain=example.org; Path=/; SameSite=Lax"),
        ({"secure": True, "httponly": True}, "n=v; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"samesite": "strict"}, "n=v; Path=/; SameSite=Strict"),
        ({"samesite": "NONE", "secure": True}, "n=v; Path=/; Secure; SameSite=None"),
        ({"partitioned": True, "secure": True}, "n=v; Path=/; Secure; Partitioned; SameSite=Lax"),
        ({"partitioned": False}, "n=v; Path=/; SameSite=Lax"),
    ],
)
def test_writing(attributes: dict[str, Any], expected: str) -> None:
    assert format_cookie("n", "v", **attributes) == expected


@pytest.mark.parametrize(
    "name", ["", "a b", "a=b", "a;b", "é", 'a"', "a,b", "a\n", "\na", "a\x00", "a/b"]
)
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="can't be named"):
        format_cookie(name, "v")


@pytest.mark.parametrize(
    "value", ["a b", "a;b", "a,b", '"a"', "é", "a\\b", "a\n", "\x7f", "a\r\nSet-Cookie: b=1"]
)
def test_a_value_that_cookies_cannot_hold(value: str) -> None:
    with pytest.raises(ValueError, match="percent-encode"):
        format_cookie("n", value)


@pytest.mark.parametrize("attribute", ["path", "domain"])
@pytest.mark.parametrize("value", ["a;Domain=evil.com", "a\n", "\x00", "é"])
def test_an_attribute_that_headers_cannot_hold(attribute: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{attribute.title()} of cookie 'n'"):
        format_cookie("n", "v", **{attribute: value})  # type: ignore[arg-type]


def test_samesite_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="must be 'Lax', 'Strict', 'None' or None"):
        format_cookie("n", "v", samesite="sometimes")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("n", {"samesite": "None"}),
        ("n", {"partitioned": True}),
        ("__Secure-n", {}),
        ("__Host-n", {}),
        ("__Host-n", {"secure": True, "path": "/shop"}),
        ("__Host-n", {"secure": True, "path": None}),
        ("__Host-n", {"secure": True, "domain": "example.org"}),
    ],
)
def test_what_browsers_refuse(name: str, attributes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{name}.* browsers refuse it"):
        format_cookie(name, "v", **attributes)


def test_names_with_a_prefix() -> None:
    assert format_cookie("__Host-n", "v", secure=True) == "__Host-n=v; Path=/; Secure; SameSite=Lax"
    found = format_cookie("__Secure-n", "v", secure=True, path="/a")
    assert found == "__Secure-n=v; Path=/a; Secure; SameSite=Lax"


def test_the_page_names_all_attributes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "everyday.md").read_text()
    parameters = {
        one.name
        for one in inspect.signature(format_cookie).parameters.values()
        if one.kind is one.KEYWORD_ONLY
    }
    assert parameters == CookieAttributes.__required_keys__ | CookieAttributes.__optional_keys__
    assert [name for name in parameters if f"`{name}" not in page] == []


def test_a_cookie_is_deleted_as_it_was_set(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> None:
            self.response.delete_cookie("__Host-n", secure=True, partitioned=True)

    assert make_client(Root()).get("/").headers["set-cookie"] == (
        "__Host-n=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; Partitioned; SameSite=Lax"
    )


def test_a_cookie_that_browsers_would_drop_is_refused() -> None:
    assert len(format_cookie("n", "v" * (4096 - 2), path=None, samesite=None)) == 4096
    with pytest.raises(ValueError, match="4096"):
        format_cookie("n", "v" * (4096 - 1), path=None, samesite=None)


def test_cookies_go_round(make_client: MakeClient) -> None:
    class Root(Echo):
        def put(self) -> None:  # type: ignore[override]
            self.response.set_cookie("a", "1", max_age=60, httponly=True)
            self.response.set_cookie("b", "2", path="/elsewhere")

    client = make_client(Root())
    client.get("/put")
    assert client.get("/").json() == {"a": "1"}
