"""Cookies: read without ever failing, written strictly."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import datetime, timedelta, timezone
from http.cookies import SimpleCookie
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
    r'a="x\054y"; b=1': {"a": "x,y", "b": "1"},
    r'a="\"\\"': {"a": '"\\'},
    r'a="\400\8\"': {"a": "4008\\"},
    r'a="\303\266"': {"a": "ö"},  # as Werkzeug writes it, and http.cookies the next one
    r'a="\366"': {"a": "ö"},
    'a="\\303\\203\\302\\266"; b=\xc3\xb6': {"a": "Ã¶", "b": "ö"},  # nothing is decoded twice
    r'a=x\054y; b="x': {"a": r"x\054y", "b": '"x'},
}


class Echo(App):
    def index(self) -> Any:
        return self.request.cookies


@pytest.mark.parametrize("header", COOKIES)
def test_cookies_are_read_alike_under_every_protocol(make_client: MakeClient, header: str) -> None:
    answer = make_client(Echo()).get("/", headers=[(b"Cookie", header.encode("latin-1"))])
    assert (answer.status_code, answer.json()) == (200, COOKIES[header])


def test_R49_cookies_after_the_first_thousand_are_not_read() -> None:
    pairs = [f"{number}={number}" for number in range(1001)]
    assert [*parse_cookies("; ".join(pairs[:1000]))] == [str(number) for number in range(1000)]
    assert parse_cookies("; ".join(pairs)) == parse_cookies("; ".join(pairs[:1000]))


def test_R49_an_odd_blank_does_not_give_a_cookie_a_name_with_a_prefix() -> None:
    """Browsers take ``\xa0__Host-id`` from any host of the domain, and send it before the real
    one.
    """
    header = "\xa0__Host-id=theirs; \x1f__Host-id=theirs; __Host-id=ours"
    assert parse_cookies(header)["__Host-id"] == "ours"
    assert "__Host-id" not in parse_cookies("\xa0__Host-id=theirs")


def test_cookies_are_parsed_once_for_a_request(make_client: MakeClient) -> None:
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
def test_changing_request_cookies_raises_an_error_with_a_hint(
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


def test_a_request_without_a_cookie_header_has_no_cookies(make_client: MakeClient) -> None:
    assert make_client(Echo()).get("/").json() == {}


def test_R4_several_cookie_headers_are_joined(make_client: MakeClient) -> None:
    answer = make_client(Echo()).get("/", headers=[("Cookie", "a=1"), ("Cookie", "b=2")])
    assert answer.json() == {"a": "1", "b": "2"}


def test_R4_cookie_headers_split_by_http_2_are_joined(backend: str) -> None:
    headers = [(b"cookie", b"a=1"), (b"x-between", b"1"), (b"cookie", b"b=2; a=3")]
    assert run(backend, lambda: get(Echo(), headers=headers)).body == b'{"a":"1","b":"2"}'


def test_malformed_cookies_do_not_hide_valid_ones(make_client: MakeClient) -> None:
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
        ({"max_age": 0.5}, "n=v; Max-Age=1; Path=/; SameSite=Lax"),
        ({"max_age": -0.5}, "n=v; Max-Age=0; Path=/; SameSite=Lax"),
        ({"max_age": timedelta(milliseconds=1)}, "n=v; Max-Age=1; Path=/; SameSite=Lax"),
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
def test_cookies_are_formatted_with_their_attributes(
    attributes: dict[str, Any], expected: str
) -> None:
    assert format_cookie("n", "v", **attributes) == expected


@pytest.mark.parametrize(
    "name", ["", "a b", "a=b", "a;b", "é", 'a"', "a,b", "a\n", "\na", "a\x00", "a/b"]
)
def test_an_invalid_cookie_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't be named"):
        format_cookie(name, "v")


@pytest.mark.parametrize(
    "value", ["a b", "a;b", "a,b", '"a"', "é", "a\\b", "a\n", "\x7f", "a\r\nSet-Cookie: b=1"]
)
def test_an_invalid_cookie_value_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="percent-encode"):
        format_cookie("n", value)


@pytest.mark.parametrize("attribute", ["path", "domain"])
@pytest.mark.parametrize("value", ["a;Domain=evil.com", "a\n", "\x00", "é"])
def test_an_invalid_cookie_attribute_is_refused(attribute: str, value: str) -> None:
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
def test_a_cookie_that_browsers_refuse_is_refused(name: str, attributes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{name}.* browsers refuse it"):
        format_cookie(name, "v", **attributes)


def test_cookie_names_with_a_prefix_need_its_attributes() -> None:
    assert format_cookie("__Host-n", "v", secure=True) == "__Host-n=v; Path=/; Secure; SameSite=Lax"
    found = format_cookie("__Secure-n", "v", secure=True, path="/a")
    assert found == "__Secure-n=v; Path=/a; Secure; SameSite=Lax"


def test_the_docs_list_all_cookie_attributes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "everyday.md").read_text()
    parameters = {
        one.name
        for one in inspect.signature(format_cookie).parameters.values()
        if one.kind is one.KEYWORD_ONLY
    }
    assert parameters == CookieAttributes.__required_keys__ | CookieAttributes.__optional_keys__
    assert [name for name in parameters if f"`{name}" not in page] == []


def test_a_cookie_is_deleted_with_the_attributes_it_was_set_with(make_client: MakeClient) -> None:
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


def test_a_cookie_that_was_set_is_read_again(make_client: MakeClient) -> None:
    class Root(Echo):
        def put(self) -> None:  # type: ignore[override]
            self.response.set_cookie("a", "1", max_age=60, httponly=True)
            self.response.set_cookie("b", "2", path="/elsewhere")

    client = make_client(Root())
    client.get("/put")
    assert client.get("/").json() == {"a": "1"}


def test_cookies_written_by_http_cookies_are_read() -> None:
    written, characters = SimpleCookie(), [chr(code) for code in range(1, 256)]
    for character in characters:
        _, quoted = written.value_encode(f"x{character}y")
        header = f"a={quoted}; b=1".encode().decode("latin-1")
        assert parse_cookies(header) == {"a": f"x{character}y", "b": "1"}, quoted
    _, quoted = written.value_encode("".join(characters))
    assert parse_cookies(f"a={quoted}")["a"] == "".join(characters)
