"""``compat.bottle`` against clients that would stop it or pass by a guard.

The original is slower where it says so.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import HTTPError, HttpMiddleware, Request
from micropie.testing import TestClient
from micropie_compat import bottle as ours
from tests.support.clients import MakeClient
from tests.support.growth import LENGTH, calling, grows_too_fast

MASKS = {"": "[^/]+", ":int": r"-?\d+", ":float": r"-?[\d.]+", ":path": ".+?", ":re:[ab]+": "[ab]+"}

literals = st.text("a-1/.", max_size=3)


@given(
    kinds=st.lists(st.sampled_from(sorted(MASKS)), min_size=1, max_size=4),
    between=st.lists(literals, min_size=5, max_size=5),
    path=st.text("ab-1./\n", max_size=12),
)
def test_a_rule_matches_what_its_expressions_match_in_turn(
    kinds: list[str], between: list[str], path: str
) -> None:
    rule, pattern = "/" + between[0], "/" + re.escape(between[0])
    for number, (kind, literal) in enumerate(zip(kinds, between[1:], strict=False)):
        rule += f"<w{number}{kind}>{literal}"
        pattern += f"(?P<w{number}>{MASKS[kind]}){re.escape(literal)}"
    router = ours.Router(strict=True)
    router.add(rule, "GET", "target")
    # the groups of a rule are counted among those of all
    router.add("/<:re:.*>x", "GET", "another")
    plain = re.fullmatch(pattern, "/" + path)
    found: Any = None
    with suppress(ours.HTTPError):
        found = router.search("GET", "/" + path, is_quick=False)
    if plain is None:
        assert found is None
        return
    try:
        values = {
            name: {":int": int, ":float": float}.get(kind, str)(plain[name])
            for name, kind in zip(plain.groupdict(), kinds, strict=True)
        }
    except ValueError:
        assert found is None
    else:
        assert found == ("target", values)


@pytest.mark.parametrize(
    ("rule", "start", "repeated", "end", "length"),
    [
        ("/archive/<y>-<m>-<d>", "/archive/", "-1", "/x", 800),
        ("/archive/<y>-<m>-<d>.html", "/archive/", "-1", "", 800),
        ("/<a><b><c><d>", "/", "a", "/", 200),
        ("/<a:int><b:int><c:int>", "/", "1", "x", 800),
        ("/<a>-<b:int>-<c>-<d:int>", "/", "-1", "/", LENGTH // 2),
        ("/<a:float>.<b:float>.<c:float>", "/", "1.", "x", 800),
        ("/<a:path>/x/<b:path>/y", "/", "a/x/", "", LENGTH),
        ("/<a:path><b:int>", "/", "1", "x", LENGTH),
        ("/<a:path>1<b>", "/", "1", "/", LENGTH),
        ("/<a:re:.*>-<b:re:.*>-<c:re:.*>-", "/", "-", "x", 800),
    ],
)
def test_R28_matching_a_path_takes_linear_time(
    rule: str, start: str, repeated: str, end: str, length: int
) -> None:
    """Where Bottle's own rule takes cubic time, the path is so short that this is a second."""
    router = ours.Router()
    router.add(rule, "GET", None)

    def find(path: str) -> None:
        for method in ("POST", "GET"):
            with pytest.raises(ours.HTTPError) as refusal:
                router.search(method, path, is_quick=False)
            assert refusal.value.status_code == 404

    assert not grows_too_fast(calling(find, times=20), start, repeated, end, length)


@pytest.mark.parametrize("kind", [r"\d+", r"[\w-]+", r"[a-z\]0-9-]+"])
def test_a_rule_of_many_segments_matches_a_long_path(kind: str) -> None:
    router = ours.Router()
    router.add("/".join(f"<{name}:re:{kind}>" for name in "abcdef"), "GET", "target")
    for path in ("/".join("123456"), "/".join(["1" * 1000] * 6)):
        assert router.search("GET", path, is_quick=False) == (
            "target",
            dict(zip("abcdef", path.split("/"), strict=True)),
        )


def test_a_custom_converter_works_beside_other_wildcards_in_a_segment() -> None:
    router = ours.Router()
    router.add_filter("upper", lambda conf: ("[^/]+", str.upper, None))
    router.add("/<a:upper>-<b>-<:upper>.<c:upper>", "GET", "target")
    router.add("/few/<:upper>-<b>", "GET", "few")
    assert router.search("GET", "/few/x-y", is_quick=False) == ("few", {"b": "y"})
    assert router.search("GET", "/x-y-z-?.end", is_quick=False) == (
        "target",
        {"a": "X-Y", "b": "z", "c": "END"},
    )


class Guard(HttpMiddleware):
    """Lets nobody see pages outside of ``/static/``."""

    def before_request(self, request: Request) -> None:
        if not request.path.startswith("/static/"):
            raise HTTPError(401)


@pytest.mark.parametrize("path", ["/app%2fstatic/x", "/app%2Fx/admin", "/elsewhere%2f"])
def test_R12_a_path_that_is_not_below_the_prefix_is_refused(path: str) -> None:
    app = ours.Bottle()
    app.route("<path:path>", callback=lambda path: path)
    app.native.middlewares.append(Guard())
    with TestClient(app, backend="asyncio", root_path="/app") as client:
        assert client.get(f"http://testserver{path}").status_code in (400, 401)


def test_R12_hooks_see_the_path_that_is_routed(make_client: MakeClient) -> None:
    seen: list[str] = []

    class Looks(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            seen.append(request.path)

    app = ours.Bottle()
    app.route("<path:path>", callback=lambda path: path)
    app.native.middlewares.append(Looks())
    client = make_client(app)
    for path in ("/static/%2e%2e/x", "/static%2f..%2fx", "/a%2fb//c/"):
        assert client.get(path).text == seen.pop()
