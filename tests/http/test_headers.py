"""Headers that came and headers that go: case-insensitive, duplicates kept, every byte intact."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from micropie import App, Headers, MutableHeaders
from tests.asgi.calls import get, run
from tests.support.clients import MakeClient
from tests.wsgi.calls import get as wsgi_get


class Echo(App):
    def index(self, name: str) -> Any:
        return {"one": self.request.headers.get(name), "all": self.request.headers.get_all(name)}

    def everything(self) -> Any:
        return dict(self.request.headers)


def test_R4_repeated_headers_are_kept(make_client: MakeClient) -> None:
    answer = make_client(Echo()).get(
        "/?name=x-one", headers=[("X-One", "1"), ("X-Other", "x"), ("X-One", "2")]
    )
    assert answer.json()["one"].replace(", ", ",") == "1,2"


def test_R3_header_bytes_from_80_to_ff_are_preserved(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> Any:
            return 200, "", {"X-Back": self.request.headers["x-one"]}

    value = bytes(range(0x80, 0x100))
    answer = make_client(Root()).get("/", headers=[(b"X-One", value)])
    assert (b"x-back", value) in [(name.lower(), sent) for name, sent in answer.headers.raw]


def test_request_headers_are_the_same_under_every_protocol(connect: MakeClient) -> None:
    headers = {"X-One": "1", "Content-Type": "text/x", "X-Utf-8": "é".encode(), "Accept": "*/*"}
    seen = [
        connect(Echo(), world).post("/everything", headers=headers, content=b"abc").json()  # type: ignore[arg-type]
        for world in ("wsgi", "asyncio", "trio")
    ]
    assert seen[0] == seen[1] == seen[2]
    found = (seen[0]["content-type"], seen[0]["content-length"], seen[0]["x-utf-8"])
    assert found == ("text/x", "3", "\xc3\xa9")


def test_raw_request_headers_are_available(backend: str) -> None:
    class Root(App):
        def index(self) -> Any:
            return repr(self.request.headers.raw)

    headers = [(b"x-one", b"\xff"), (b"x-one", b"")]
    call = run(backend, lambda: get(Root(), headers=headers))
    assert call.body == b"[(b'x-one', b'\\xff'), (b'x-one', b'')]"


def test_an_empty_content_type_and_length_are_none() -> None:
    status, body = wsgi_get(Echo(), "/everything", CONTENT_TYPE="", CONTENT_LENGTH="")
    assert (status, body) == (200, b'{"host":"testserver"}')


class Questions(App):
    def index(self) -> Any:
        headers = self.request.headers
        names = [
            "X-One", "x-one", "X-ONE", "x_one", "x-none", "x-\u212a", "x-\xe9", "Host",
            "content-type", "Content-Length", "",
        ]  # fmt: skip
        one_by_one = [[headers.get(name), headers.get_all(name), name in headers] for name in names]
        everything = dict(headers)
        assert one_by_one == [
            [headers.get(name), headers.get_all(name), name in headers] for name in names
        ]
        with pytest.raises(KeyError, match="X-None"):
            headers["X-None"]
        number: Any = 1
        return [
            one_by_one,
            everything,
            headers.get("x-none", default="default"),
            number in headers,
            hasattr(headers, "x"),
        ]


def test_looking_up_one_header_gives_the_same_as_all_headers(make_client: MakeClient) -> None:
    client = make_client(Questions())
    headers = {"X-One": "1", "X-K": "2", "X_one": "3", "Content-Type": "text/x"}
    found, everything, *others = client.post("/", headers=headers, content=b"abc").json()
    one: list[Any] = ["1", ["1"], True]
    absent: list[Any] = [None, [], False]
    host, kind, length = ([value, [value], True] for value in ("testserver", "text/x", "3"))
    assert found == [one, one, one, *[absent] * 4, host, kind, length, absent]
    assert (
        everything.items()
        >= {"x-one": "1", "x-k": "2", "host": "testserver", "content-type": "text/x"}.items()
    )
    assert others == ["default", False, False]


def test_looking_up_a_repeated_header_gives_the_same_as_all_headers(backend: str) -> None:
    headers = [(b"x-one", b"1"), (b"x-other", b"2"), (b"x-one", b"3")]
    call = run(backend, lambda: get(Echo(), "/?name=X-One", headers=headers))
    assert call.body == b'{"one":"1, 3","all":["1","3"]}'


def test_headers_are_a_mapping() -> None:
    headers = Headers([(b"a", b"1"), (b"a", b"2"), (b"b", b"3")])
    seen = (list(headers), len(headers), headers["A"], "b" in headers)
    assert seen == (["a", "b"], 2, "1, 2", True)
    assert headers.get_all("A") == ["1", "2"]
    assert headers.raw == [(b"a", b"1"), (b"a", b"2"), (b"b", b"3")]
    assert repr(headers) == "Headers([(b'a', b'1'), (b'a', b'2'), (b'b', b'3')])"
    assert pickle.loads(pickle.dumps(headers)).raw == headers.raw  # for a call in the pool
    with pytest.raises(KeyError):
        headers["c"]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (
            [(b"a", b"1"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"a", b"2"), (b"b", b"3")],
            {"A": "1, 2", "Cookie": "a=1; b=2", "b": "3", "none": None},
        ),
        ([(b"a", b"1"), (b"x_y", b"4")], {"A": "1", "x_y": None, "none": None}),
    ],
    ids=["repeated", "once"],
)
def test_each_look_up_of_a_header_finds_the_same(
    pairs: list[tuple[bytes, bytes]], expected: dict[str, str | None]
) -> None:
    for name, value in expected.items():
        headers = Headers(pairs)
        assert [headers.get(name) for _ in range(3)] == [value] * 3


def test_each_look_up_of_authorization_is_recorded() -> None:
    noted: list[str] = []
    headers = Headers([(b"a", b"1")], noted.append)
    assert [headers.get("Authorization") for _ in range(2)] == [None, None]
    assert noted == ["authorization"] * 2


def test_many_headers_with_the_same_name_are_joined_in_linear_time() -> None:
    """One by one they would be copied 100,000 times, which takes longer than a test may."""
    value = "x" * 100
    headers = Headers([(b"accept", value.encode()), (b"cookie", b"a=1")] * 200_000)
    assert len(headers["accept"]) == 200_000 * len(value + ", ") - len(", ")
    assert len(headers["cookie"]) == 200_000 * len("a=1; ") - len("; ")


@pytest.mark.parametrize("sent", [1000, 1001])
def test_a_request_may_have_at_most_1000_headers(make_client: MakeClient, sent: int) -> None:
    headers = [(f"X-{number}", "1") for number in range(sent)]
    client = make_client(Echo())
    del client.headers["accept"], client.headers["user-agent"], client.headers["accept-encoding"]
    del client.headers["connection"]
    answer = client.get("/everything", headers=headers[:-1])  # and Host
    seen = (answer.status_code, len(answer.text) > 1000)
    assert seen == ((200, True) if sent == 1000 else (431, False))
    # which looks at a header
    assert client.get("/no/such/page", headers=headers).status_code == 404


def test_many_cookie_headers_are_joined_in_linear_time(backend: str) -> None:
    class Root(App):
        def index(self) -> Any:
            return self.request.session.get("name", "nobody")

    headers = [(b"cookie", b"a=" + b"1" * 100)] * 200_000
    assert run(backend, lambda: get(Root(), headers=headers)).body == b"nobody"


def test_content_headers_appear_once_in_an_environ() -> None:
    """Some servers repeat them as HTTP_CONTENT_TYPE and HTTP_CONTENT_LENGTH."""
    repeated = {"HTTP_CONTENT_TYPE": "text/x", "HTTP_CONTENT_LENGTH": "3"}
    status, body = wsgi_get(
        Echo(), "/everything", "POST", b"abc", CONTENT_TYPE="text/x", **repeated
    )
    seen = (status, body)
    assert seen == (200, b'{"host":"testserver","content-type":"text/x","content-length":"3"}')


def test_the_content_length_in_an_environ_may_be_a_number() -> None:
    status, body = wsgi_get(Echo(), "/everything", "POST", b"abc", CONTENT_LENGTH=3)
    assert (status, body) == (200, b'{"host":"testserver","content-length":"3"}')


# -- MutableHeaders --------------------------------------------------------------------------------


def test_setting_a_header_replaces_every_spelling() -> None:
    headers = MutableHeaders([("A", "1"), ("B", "2"), ("a", "3")])
    headers["a"] = "4"
    assert headers.items() == [("B", "2"), ("a", "4")]


def test_adding_a_header_repeats_it() -> None:
    headers = MutableHeaders({"A": "1"})
    headers.add("a", "2")
    seen = (headers.get_all("A"), headers["a"], len(headers), list(headers))
    assert seen == (["1", "2"], "1", 2, ["A", "a"])


def test_deleting_a_header_twice_raises_key_error() -> None:
    headers = MutableHeaders({"A": "1"})
    del headers["a"]
    assert len(headers) == 0
    with pytest.raises(KeyError):
        del headers["a"]
    with pytest.raises(KeyError):
        headers["a"]


def test_headers_support_in_and_get() -> None:
    headers = MutableHeaders({"A": "1"})
    number: object = 5
    assert ("a" in headers, "b" in headers, number in headers) == (True, False, False)
    assert (headers.get("a"), headers.get("b"), headers.get("b", "x")) == ("1", None, "x")


def test_headers_support_update_and_setdefault() -> None:
    headers = MutableHeaders({"A": "1"})
    headers.update({"a": "2", "B": "3"})
    headers.update([("c", "4")])
    assert headers.setdefault("A", "x") == "2"
    assert headers.setdefault("D", "5") == "5"
    assert headers.items() == [("a", "2"), ("B", "3"), ("c", "4"), ("D", "5")]


def test_a_copy_of_headers_is_independent() -> None:
    pairs = [("A", "1")]
    headers = MutableHeaders(pairs)
    headers.add("B", "2")
    headers.items().append(("C", "3"))
    assert (pairs, headers.items()) == ([("A", "1")], [("A", "1"), ("B", "2")])
