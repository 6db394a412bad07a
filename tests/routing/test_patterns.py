"""Explicit paths and their wildcards: matched, refused at set-up, and filled in again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from micropie import App, SetupError, route
from micropie._core.routing.discovery.patterns import LONGEST_FOR_RE, Pattern
from micropie._core.routing.routes import Refusal
from micropie.testing import TestClient

ESCAPED_SLASH = "\0"  # in the paths below: "/" within a segment


def matched(pattern: str, path: str) -> Any:
    """The values of the wildcards by name, None if the path does not match."""
    app = App()
    app.get(pattern)(lambda **values: None)
    segments = [segment.replace(ESCAPED_SLASH, "/") for segment in path.strip("/").split("/")]
    found = app._micropie.compiled().router.find("GET", segments if segments != [""] else [])
    return None if isinstance(found[0], Refusal) else found[2]


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("/hello/<name>", "/hello/Bob", {"name": "Bob"}),
        ("/hello/<name>", "/hello/a.b-c d", {"name": "a.b-c d"}),
        ("/hello/<name>", "/hello/line\nend", {"name": "line\nend"}),
        ("/hello/<name>", f"/hello/a{ESCAPED_SLASH}b", {"name": "a/b"}),
        ("/hello/<name>/", "/hello/Bob", {"name": "Bob"}),
        ("/<a>/<b>", "/x/y", {"a": "x", "b": "y"}),
        ("/<a>-<b>", "/x-y", {"a": "x", "b": "y"}),
        ("/v1/jobs/<name>:cancel", "/v1/jobs/x:cancel", {"name": "x"}),
        ("/<a>:<b>", "/x:y", {"a": "x", "b": "y"}),
        ("/<name>*", "/x*", {"name": "x"}),
        ("/<price:int>$", "/5$", {"price": 5}),
        ("/<a>-<b>", "/x-y-z", {"a": "x", "b": "y-z"}),
        ("/<a>-<b>", "/--z", {"a": "-", "b": "z"}),
        ("/<a>---<b>", "/x-----y", {"a": "x", "b": "--y"}),
        ("/<a:int>-<b:int>", "/-5--7", {"a": -5, "b": -7}),
        ("/<n:int>px<rest>", "/5px5px", {"n": 5, "rest": "5px"}),
        ("/v<major:int>.<minor:int>", "/v1.20", {"major": 1, "minor": 20}),
        ("/<x:float>-<unit>", "/1.5-m", {"x": 1.5, "unit": "m"}),
        ("/x<value>x", "/xxx", {"value": "x"}),
        ("/<year:int>-<month:int>.html", "/2026-11.html", {"year": 2026, "month": 11}),
        ("/n/<n:int>", "/n/0", {"n": 0}),
        ("/n/<n:int>", "/n/-12", {"n": -12}),
        ("/n/<n:int>", "/n/007", {"n": 7}),
        ("/n/<n:int>", f"/n/{2**63 - 1}", {"n": 2**63 - 1}),
        ("/n/<n:int>", f"/n/{-(2**63)}", {"n": -(2**63)}),
        ("/f/<x:float>", "/f/1.5", {"x": 1.5}),
        ("/f/<x:float>", "/f/-2", {"x": -2.0}),
        ("/p/<rest:path>", "/p/a", {"rest": "a"}),
        ("/p/<rest:path>", "/p/a/b/c", {"rest": "a/b/c"}),
        ("/p/<rest:path>/end", "/p/a/end/end", {"rest": "a/end"}),
        ("/p/<rest:path>/end/<last>", "/p/a/end/b/end/z", {"rest": "a/end/b", "last": "z"}),
        ("/p/<rest:path>.txt", "/p/a/b.c/d.txt", {"rest": "a/b.c/d"}),
        ("/p/x<rest:path>/<last:int>", "/p/xa/b/3", {"rest": "a/b", "last": 3}),
        ("/r/<word:re:[a-z]+>", "/r/abc", {"word": "abc"}),
        ("/r/<word:re:a|b>", "/r/b", {"word": "b"}),
        ("/r/<word:re:(?:ab)+>", "/r/abab", {"word": "abab"}),
        ("/r/<word:re:[0-9]{2}>", "/r/12", {"word": "12"}),
        (r"/r/<word:re:\w\>\d>", "/r/a>1", {"word": "a>1"}),
        (r"/r/<word:re:\d+(?=x)x>", "/r/1x", {"word": "1x"}),
        ("/r/<word:re:(a|b)+>", "/r/ab", {"word": "ab"}),
        ("/r/<word:re:(?i)[a-z]+>", "/r/aB", {"word": "aB"}),
        ("/r/<word:re:.+>", "/r/" + "x" * LONGEST_FOR_RE, {"word": "x" * LONGEST_FOR_RE}),
        ("/r/<word:re:[a-z]+>-<n:re:[0-9]>", "/r/ab-1", {"word": "ab", "n": "1"}),
        ("/r/<word:re:[a-z/]+>", f"/r/a{ESCAPED_SLASH}b", {"word": "a/b"}),
        ("/r/<word:re:x:y>", "/r/x:y", {"word": "x:y"}),
        ("/a.b/<x>", "/a.b/1", {"x": "1"}),
        ("/a+b(c)/<x>", "/a+b(c)/1", {"x": "1"}),
        ("/é/<x>", "/é/ü", {"x": "ü"}),
        ("/plain", "/plain", {}),
        ("/", "/", {}),
    ],
)
def test_a_pattern_matches_its_paths(pattern: str, path: str, values: dict[str, Any]) -> None:
    found = matched(pattern, path)
    assert found == values
    seen = {name: type(value) for name, value in values.items()}
    assert seen == {k: type(v) for k, v in (found or {}).items()}


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/hello/<name>", "/hello"),
        ("/hello/<name>", "/hello/"),
        ("/hello/<name>", "/hello/a/b"),
        ("/hello/<name>", f"/hello/..{ESCAPED_SLASH}b"),
        ("/<a>-<b>", "/-y"),
        ("/<a>-<b>", "/x-"),
        ("/<a>-<b>", "/x"),
        ("/<a>-<b:int>", "/x-y-1"),
        ("/<a>-<b:int>", "/x-1-1"),
        ("/x<value>x", "/xx"),
        ("/x<value>x", "/x"),
        ("/x<value>x", "/yax"),
        ("/ab<a>b", "/ab"),
        ("/hello/<name>", "/Hello/a"),
        ("/hello/<name>", "x/hello/a"),
        ("/n/<n:int>", "/n/x"),
        ("/n/<n:int>", "/n/-"),
        ("/n/<n:int>", "/n/--1"),
        ("/n/<n:int>", "/n/1.5"),
        ("/n/<n:int>", "/n/+1"),
        ("/n/<n:int>", "/n/1_0"),
        ("/n/<n:int>", "/n/\u0663"),
        ("/n/<n:int>", "/n/1\n"),
        ("/n/<n:int>", "/n/" + "9" * 5000),
        ("/n/<n:int>", f"/n/{2**63}"),
        ("/n/<n:int>", f"/n/{-(2**63) - 1}"),
        ("/n/<n:int>", f"/n/{'0' * 20}"),
        ("/f/<x:float>", "/f/nan"),
        ("/f/<x:float>", "/f/inf"),
        ("/f/<x:float>", "/f/1e5"),
        ("/f/<x:float>", "/f/" + "9" * 400),
        ("/f/<x:float>", "/f/" + "9" * 300 + "." + "9" * 301),
        ("/p/<rest:path>", "/p/"),
        ("/p/<rest:path>/end", "/p/end"),
        ("/p/<rest:path>.txt", "/p/.txt"),
        ("/p/<rest:path>.txt", "/p/a.txt/b"),
        ("/p/<rest:path>", f"/p/a/..{ESCAPED_SLASH}b"),
        ("/r/<word:re:[a-z]+>", "/r/abC"),
        ("/r/<word:re:a|b>", "/r/ab"),
        ("/r/<word:re:[a-z/]+>", f"/r/a{ESCAPED_SLASH}1"),
        ("/r/<word:re:[a-z/]+>", "/r/a/b"),
        ("/r/<word:re:.+>", "/r/" + "x" * (LONGEST_FOR_RE + 1)),
        ("/r/<word:re:.*>", "/r/"),
        ("/a.b/<x>", "/aXb/1"),
        ("/plain", "/plain\n"),
    ],
)
def test_a_pattern_does_not_match_other_paths(pattern: str, path: str) -> None:
    assert matched(pattern, path) is None


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("users", "write '/users'"),
        ("", "must begin with '/'"),
        ("<name>", "must begin with '/'"),
        ("/<name", "has an invalid wildcard"),
        ("/name>", "has an invalid wildcard"),
        ("/<>", "without a name"),
        ("/<:int>", "without a name"),
        ("/<1st>", "has an invalid wildcard"),
        ("/<first-name>", "has an invalid wildcard"),
        ("/<a>/<a>", "two wildcards named <a>"),
        ("/<n:integer>", "invalid type in <n:integer>: write int"),
        ("/<n:int:5>", "invalid type in <n:int:5>: write int"),
        ("/<n:re>", "has a wildcard of type re without a regular expression"),
        ("/<n:re:>", "has a wildcard of type re without a regular expression"),
        ("/<n:re:[a->", "has an invalid regular expression"),
        ("/<n:re:(>", "has an invalid regular expression"),
        ("/<a><b>", "text between <a> and <b>"),
        ("/<a:int><b>", "text between <a> and <b>"),
        ("/<a:path>/<b:path>", "two path wildcards"),
        ("/<a:path>-<b>", "and another wildcard in one segment"),
        ("/<a>-<b:path>", "and another wildcard in one segment"),
        ("/<a:path>-<b:path>", "and another wildcard in one segment"),
        (r"/<n:re:\1>", "has an invalid regular expression"),
    ],
)
def test_an_unreadable_pattern_is_refused_with_a_suggestion(pattern: str, sentence: str) -> None:
    with pytest.raises(SetupError) as caught:
        Pattern(pattern)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "values", "path"),
    [
        ("/hello/<name>", {"name": "a/b ?#"}, "/hello/a%2Fb%20%3F%23"),
        ("/hello/<name>", {"name": 5}, "/hello/5"),
        ("/a b/<n:int>/é", {"n": -3}, "/a%20b/-3/%C3%A9"),
        ("/f/<x:float>", {"x": 1.5}, "/f/1.5"),
        ("/f/<x:float>", {"x": 0.00005}, "/f/0.00005"),
        ("/f/<x:float>", {"x": -1e16}, "/f/-10000000000000000"),
        ("/f/<x:float>", {"x": Decimal("1E-7")}, "/f/0.0000001"),
        ("/f/<x:float>", {"x": "7"}, "/f/7"),
        ("/p/<rest:path>", {"rest": "a/b c"}, "/p/a/b%20c"),
        ("/r/<word:re:[a-z]+>", {"word": "abc"}, "/r/abc"),
        ("/r/<word:re:[a-z/]+>", {"word": "a/b"}, "/r/a%2Fb"),
        ("/<a>-<b>", {"a": "x", "b": "y-z"}, "/x-y-z"),
    ],
)
def test_a_pattern_is_filled_in(pattern: str, values: dict[str, Any], path: str) -> None:
    assert Pattern(pattern).fill(values) == path
    assert values == {}


def test_values_without_a_wildcard_are_not_filled_in() -> None:
    values: dict[str, object] = {"n": 1, "page": 2}
    assert Pattern("/n/<n:int>").fill(values) == "/n/1"
    assert values == {"page": 2}


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("/n/<n:int>", {"n": "x"}),
        ("/n/<n:int>", {"n": 1.5}),
        ("/n/<n:int>", {"n": 10**31}),
        ("/f/<x:float>", {"x": float("nan")}),
        ("/f/<x:float>", {"x": float("inf")}),
        ("/hello/<name>", {"name": ""}),
        ("/hello/<name>", {"name": "a\0b"}),
        ("/r/<word:re:[a-z]+>", {"word": "ABC"}),
        ("/<a>-<b>", {"a": "x-y", "b": "z"}),
        ("/x<a>", {"a": ""}),
        ("/p/<rest:path>/end", {"rest": "/a"}),
    ],
)
def test_an_invalid_value_is_refused(pattern: str, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="does not match"):
        Pattern(pattern).fill(values)


def test_a_missing_value_raises_key_error() -> None:
    with pytest.raises(KeyError, match="n"):
        Pattern("/n/<n:int>").fill({})


PATTERNS = [
    "/a/<value>", "/b/<value:path>", "/c/<value:re:[a-z/.]+>", "/d/x<value>y",
    "/e/<value:path>/end",
]  # fmt: skip


def answering_app() -> tuple[App, dict[str, str]]:
    app = App()
    for pattern in PATTERNS:
        app.get(pattern, name=pattern[1:])(lambda value: {"value": value})
    app.greet = route()(lambda value: {"value": value})
    return app, {pattern: pattern for pattern in PATTERNS}


def round_trip(client: TestClient, url: str) -> Any:
    response = client.get("/", extensions={"target": url.encode("ascii")})
    return response.json()["value"] if response.status_code == 200 else response.status_code


@pytest.mark.parametrize("protocol", ["asgi", "wsgi"])
@pytest.mark.parametrize("name", [*PATTERNS, "greet"])
def test_every_built_url_matches_with_the_same_value(protocol: Any, name: str) -> None:
    app, _ = answering_app()

    @given(
        st.text(
            st.characters(exclude_categories=["Cs"]) | st.sampled_from("/.%?#&+\0\nab"),
            min_size=1,
            max_size=6,
        )
    )
    @example("..")
    @example(".")
    @example("/")
    @example("a/b")
    @example("a//b")
    @example("a/../b")
    @example("a/")
    @example("%2F")
    def check(value: str) -> None:
        try:
            url = (
                app.url_for(name, value) if name == "greet" else app.url_for(name[1:], value=value)
            )
        except ValueError:
            return
        assert round_trip(client, url) == value

    with TestClient(app, protocol=protocol) as client:
        check()
