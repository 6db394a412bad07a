"""The tree of segments: which route wins, what a look-up and the set-up cost, and a naive matcher
that agrees.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micropie import App, HttpMiddleware, SetupError, get, post, route
from micropie._core.routing.discovery.patterns import Pattern, Segment
from micropie._core.routing.routes import Refusal
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.growth import calling, grows_too_fast
from tests.support.steps import steps_of


def text(client: TestClient, path: str, method: str = "GET") -> str | int:
    """The body of a 200, else the status."""
    response = client.request(method, path)
    return response.text if response.status_code == 200 else response.status_code


def app_of(patterns: Sequence[str]) -> App:
    """An application whose routes answer with their own pattern."""
    app = App()
    for pattern in patterns:
        app.get(pattern, name=pattern)(lambda pattern=pattern, **values: pattern)
    return app


def found(app: App, path: str, method: str = "GET") -> str | int:
    """The name of the route of a path, or the status."""
    found = app._micropie.compiled().router.find(
        method, [segment for segment in path.split("/") if segment]
    )
    if isinstance(found[0], Refusal):
        status: int = found[1][0].status
        return status
    return found[0].name


# -- the most specific route wins ------------------------------------------------------------------

MOST_SPECIFIC_FIRST = [
    ("/x", ["/x", "/x<rest>", "/<rest>x<more>", "/<word:re:[a-z0-9]+>", "/<word>", "/<rest:path>"]),
    ("/7", ["/7", "/<n:int>", "/<n:float>", "/<n:re:[0-9]>", "/<n>", "/<n:path>"]),
    ("/ab-1", [
        "/ab-<n>", "/a<word>-<n>", "/<word>-<n>", "/<word:re:.+>", "/<word>", "/<word:path>",
    ]),
    ("/a/b", [
        "/a/b", "/a/<x>", "/a/<x:path>", "/<x>/b", "/<x>/<y>", "/<x>/<y:path>", "/<x:path>/b",
        "/<x:path>",
    ]),
    ("/a/b/c", [
        "/a/<x:path>", "/<x:int>/b/c", "/<x>/b/c", "/<x:path>/b/c", "/<x:path>/<y>/c",
        "/<x:path>/c",
    ]),
    ("/a/b.c", ["/a/<x>.c", "/a/<x>", "/a/<x:path>.c", "/a/<x:path>"]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "patterns"), MOST_SPECIFIC_FIRST)
def test_the_most_specific_route_wins_in_any_order(path: str, patterns: list[str]) -> None:
    fitting = [pattern for pattern in patterns if found(app_of([pattern]), path) == pattern]
    assert len(fitting) >= 4
    for first, second in itertools.combinations(fitting, 2):
        assert found(app_of([first, second]), path) == found(app_of([second, first]), path) == first
    assert found(app_of(fitting), path) == found(app_of(fitting[::-1]), path) == fitting[0]


def test_of_two_matching_expressions_the_first_defined_wins() -> None:
    letters, words = "/<x:re:[a-z]+>", "/<x:re:\\w+>"
    assert found(app_of([letters, words]), "/a") == letters
    assert found(app_of([words, letters]), "/a") == words


def test_the_search_backtracks_where_a_more_specific_path_ends(make_client: MakeClient) -> None:
    client = make_client(
        app_of(["/a/b/c", "/a/<x>/d", "/<x>/b/<y:int>", "/<x>/b/<y>/e", "/<x:path>/f"])
    )
    answers = {
        "/a/b/c": "/a/b/c",
        "/a/b/d": "/a/<x>/d",
        "/a/b/5": "/<x>/b/<y:int>",
        "/a/b/c/e": "/<x>/b/<y>/e",
        "/a/b/c/f": "/<x:path>/f",
        "/a/b/z": 404,
        "/f": 404,
    }
    assert {path: text(client, path) for path in answers} == answers


class Site(App):
    """Names, and explicit routes that took them away when they came first."""

    def about(self) -> str:
        return "about"

    def greet(self, name: str) -> str:
        return f"greet {name}"

    @get("/<name>")
    def page(self, name: str) -> str:
        return f"page {name}"

    @get("/<a>/<b>")
    def pair(self, a: str, b: str) -> str:
        return f"pair {a} {b}"


class Blog(App):
    def index(self, slug: str = "") -> str:
        return f"blog {slug}"

    def show(self, slug: str) -> str:
        return f"show {slug}"


@pytest.fixture
def site_client(make_client: MakeClient, tmp_path: Path) -> TestClient:
    (tmp_path / "site.css").write_text("css")
    app: Any = Site()
    app.blog = Blog()
    app.static("/static", tmp_path)
    return make_client(app)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/about", "about"),
        ("/about/", "about"),
        ("/other", "page other"),
        ("/greet/Bob", "greet Bob"),
        ("/greet", 400),
        ("/about/x", "pair about x"),
        ("/blog", "blog "),
        ("/blog/show", 400),
        ("/blog/show/x", "show x"),
        ("/blog/x", "blog x"),
        ("/blog/x/y", 404),
        ("/static/site.css", "css"),
        ("/static/none.css", 404),
        ("/static", "page static"),
    ],
)
def test_names_inner_applications_and_directories_are_literal_segments(
    site_client: TestClient, path: str, answer: str | int
) -> None:
    assert text(site_client, path) == answer


def test_the_deepest_default_precedes_others_but_not_explicit_routes(
    make_client: MakeClient,
) -> None:
    class Inner(App):
        def index(self, word: str = "") -> str:
            return f"inner index {word}"

    class Middle(App):
        def default(self, *rest: str) -> str:
            return f"middle default {rest}"

    class Root(App):
        def default(self, *rest: str) -> str:
            return f"root default {rest}"

        @get("/<a>/<b>")
        def pair(self, a: str, b: str) -> str:
            return f"pair {a} {b}"

    root: Any = Root()
    root.inner, root.middle, root.middle.leaf = Inner(), Middle(), Inner()
    client = make_client(root)
    answers = {
        "/inner/x": "inner index x",
        "/inner/x/y": "root default ('inner', 'x', 'y')",
        "/middle/x": "middle default ('x',)",
        "/middle/leaf/x": "inner index x",
        "/middle/leaf/x/y": "middle default ('leaf', 'x', 'y')",
        "/other/x": "pair other x",
        "/x": "root default ('x',)",
        "/": "root default ()",
        "/middle": "middle default ()",
    }
    assert {path: text(client, path) for path in answers} == answers


def test_an_outer_index_does_not_take_an_inner_application_s_paths(
    make_client: MakeClient,
) -> None:
    class Root(App):
        def index(self, *rest: str) -> str:
            return f"index {rest}"

    root: Any = Root()
    root.blog = type("Leaf", (App,), {"page": lambda self: "page"})()
    client = make_client(root)
    answers = {"/x/y": "index ('x', 'y')", "/blog/page": "page", "/blog/x": 404, "/blog": 404}
    assert {path: text(client, path) for path in answers} == answers


# -- methods ---------------------------------------------------------------------------------------


def test_a_route_without_the_method_yields_and_is_listed_in_allow(
    make_client: MakeClient,
) -> None:
    class Root(App):
        @get("/things/new")
        def new(self) -> str:
            return "new"

        @post("/things/<name>")
        def create(self, name: str) -> str:
            return f"create {name}"

        def default(self, *rest: str) -> str:
            return "default"

    client = make_client(Root())
    answers = [text(client, "/things/new", method) for method in ("GET", "POST")]
    assert answers == ["new", "create new"]
    refused = client.put("/things/new")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert client.put("/things/other").headers["allow"] == "OPTIONS, POST"
    assert text(client, "/others", "PUT") == "default"


def test_a_default_and_an_index_with_declared_methods_refuse_others(
    make_client: MakeClient,
) -> None:
    class Root(App):
        @get
        def default(self, *rest: str) -> str:
            return "default"

        def index(self, word: str = "") -> str:
            return "index"

    client = make_client(Root())
    seen = (text(client, "/x"), text(client, "/x", "POST"), text(client, "/", "POST"))
    assert seen == ("default", 405, "index")


# -- conflicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a/<x>-<y>", "/a/<z>-<w>/"),
        ("/a/<x:path>/end", "/a/<y:path>/end"),
        ("/<x:re:a|b>/<y>", "/<y:re:a|b>/<x>"),
        ("/", "/"),
    ],
)
def test_two_patterns_of_the_same_paths_conflict(first: str, second: str) -> None:
    app = App()
    for pattern in (first, second):
        app.get(pattern, name=pattern + "!" * len(pattern))(lambda **values: "")
    with pytest.raises(SetupError, match=r"^both "):
        app._micropie.compiled()


@pytest.mark.parametrize(
    "patterns",
    [
        ("/a/<x:path>", "/a/<x:path>/end"),
        ("/<x:re:[ab]>", "/<x:re:a|b>"),
        ("/a<x>", "/<x>a"),
        ("/<x>", "/<x:int>"),
    ],
)
def test_patterns_of_different_paths_do_not_conflict(patterns: tuple[str, str]) -> None:
    app_of(patterns)._micropie.compiled()


def test_a_method_s_name_and_an_equal_explicit_path_conflict() -> None:
    class Root(App):
        def page(self, word: str = "") -> str:
            return "page"

    app = Root()
    app.route("/page")(lambda: "explicit")
    with pytest.raises(SetupError, match=r"handle .*/page"):
        app._micropie.compiled()

    index = Root()
    index.index = route()(lambda: "index")
    index.route("/")(lambda: "explicit")
    with pytest.raises(SetupError, match=r"handle .*/: "):
        index._micropie.compiled()


# -- what reaches index and default because nothing else takes it ----------------------------------


class Paged(App):
    def index(self, page: int = 1) -> str:
        return f"page {page}"


class Numbers(App):
    def default(self, first: int, *rest: float) -> str:
        return f"{first} {rest}"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", "page 1"),
        ("/2", "page 2"),
        ("/favicon.ico", 404),
        ("/?page=x", 400),
        ("/index/x", 400),
        ("/numbers/1/2.5", "1 (2.5,)"),
        ("/numbers/x", 404),
        ("/numbers/1/2.5/x", 404),
        ("/numbers", 400),
    ],
)
def test_a_default_whose_values_are_invalid_gets_a_404(
    make_client: MakeClient, path: str, answer: str | int
) -> None:
    app: Any = Paged()
    app.numbers = Numbers()
    assert text(make_client(app), path) == answer


# -- how values reach the handler ------------------------------------------------------------------


def test_wildcards_reach_their_parameters_in_any_order(make_client: MakeClient) -> None:
    app = App()
    app.get("/in-order/<n:int>/<word>")(lambda n, word: [n, word])
    app.get("/turned/<n:int>/<word>")(lambda word, n: [n, word])
    app.get("/more/<n:int>")(lambda n, word="-": [n, word])
    app.get("/keyword/<n:int>")(lambda *, n: [n])
    app.get("/word/<word>")(lambda word: [word])

    @app.get("/converted/<n>/<words>")
    def converted(n: int, words: list[str]) -> list[Any]:
        return [n, words]

    client = make_client(app)
    answers = {
        "/in-order/5/a": [5, "a"],
        "/turned/5/a": [5, "a"],
        "/more/5": [5, "-"],
        "/more/5?word=b": [5, "b"],
        "/more/5?n=6": [5, "-"],
        "/keyword/5": [5],
        "/word/a": ["a"],
        "/converted/5/a": [5, ["a"]],
    }
    assert {path: client.get(path).json() for path in answers} == answers
    assert client.get("/converted/x/a").status_code == 400


def test_path_values_are_available_on_the_request(make_client: MakeClient) -> None:
    app = App()
    app.get("/turned/<n:int>/<word>")(lambda word, n: [*app.request.path_params])
    app.get("/one/<word>")(lambda word: [*app.request.path_params])
    app.get("/none")(lambda: [*app.request.path_params])
    client = make_client(app)
    answers = [client.get(path).json() for path in ("/turned/5/a", "/one/a", "/none")]
    assert answers == [[5, "a"], ["a"], []]


def test_hooks_see_the_route_s_name_and_pattern(make_client: MakeClient) -> None:
    class Guard(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            route = request.route
            return {"body": "none" if route is None else f"{route.name} {route.pattern}"}

    root: Any = Site()
    root.blog = Blog()
    root.mount("/shop", Blog())
    root.get("/users/<number:int>/posts/<slug>", name="post")(lambda number, slug: "")
    root.middlewares.append(Guard())
    client = make_client(root)
    seen = {
        "/about": "about /about",
        "/greet/x": "greet /greet",
        "/blog/x": "blog.index /blog",
        "/blog/show/x": "blog.show /blog/show",
        "/users/5/posts/x": "post /users/<number:int>/posts/<slug>",
        "/shop/show/x": "shop.show /shop/show",
        "/a/b/c/d": "none",
    }
    assert {path: client.get(path).text for path in seen} == seen


# -- what it costs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["/r{}/<n:int>", "/<tenant>/r{}/<n:int>", "/<rest:path>/r{}"])
def test_routing_costs_the_same_with_ten_and_a_thousand_routes(pattern: str) -> None:
    few, many = (
        app_of([pattern.format(number) for number in range(count)]) for count in (10, 1000)
    )
    path = (
        pattern.format(5)
        .replace("<tenant>", "t")
        .replace("<n:int>", "1")
        .replace("<rest:path>", "x/y")
    )
    assert found(few, path) == found(many, path) == pattern.format(5)
    # The least of some: the collector may call the finalizer of somebody else's object in the
    # middle.
    few_calls, many_calls = (
        min(steps_of(partial(found, app, path)) for _ in range(5)) for app in (few, many)
    )
    assert few_calls == many_calls


@pytest.mark.parametrize("pattern", ["/r{}/<n:int>", "/<tenant>/r{}/<n:int>"])
def test_compiling_costs_the_same_for_each_route(pattern: str) -> None:
    few, many = (
        app_of([pattern.format(number) for number in range(count)]) for count in (100, 400)
    )
    few._micropie.compiled()  # caches are warm
    few._micropie.changed()
    assert steps_of(many._micropie.compiled) <= 4.1 * steps_of(few._micropie.compiled)


def test_a_thousand_methods_share_one_table() -> None:
    names = {f"m{number}": (lambda self, number=number: str(number)) for number in range(1000)}
    app = type("Root", (App,), names)()
    assert [found(app, f"/m{number}") for number in (0, 999, 1000)] == ["m0", "m999", 404]


def test_applications_can_be_nested_a_hundred_levels_deep(make_client: MakeClient) -> None:
    root: Any = App()
    inner = root
    for number in range(100):
        inner.a = type(
            "Inner", (App,), {"default": lambda self, *rest, number=number: f"{number} {len(rest)}"}
        )()
        inner = inner.a
    client = make_client(root)
    answers = [text(client, "/a" * 100), text(client, "/a" * 50 + "/x/y"), text(client, "/x")]
    assert answers == ["99 0", "49 2", 404]


# A rule, and the beginning, the repeated text and the end of a path that it doesn't match.
ADVERSARIAL = [
    ("/archive/<year>-<month>-<day>", "/archive/", "1-", "/x"),
    ("/archive/<year>-<month>-<day>.html", "/archive/", "1-", ""),
    ("/<a>ab<b>ab<c>abc", "/", "ab", ""),
    ("/<a:int>-<b:int>-<c:int>-<d:int>", "/", "1-", ""),
    ("/<a:float>", "/", "1", "."),
    ("/<rest:path>/end", "", "/a", ""),
    ("/<rest:path>/a/a/b", "", "/a", ""),
    ("/<a>/<rest:path>x/a/<b>", "", "/a", ""),
]


@pytest.mark.parametrize(("pattern", "start", "repeated", "end"), ADVERSARIAL)
def test_R28_routing_any_path_takes_linear_time(
    pattern: str, start: str, repeated: str, end: str
) -> None:
    """The path is so short that cubic time takes a second: other routers backtrack."""
    app = app_of([pattern])
    assert found(app, start + repeated * 400 + end) == 404
    entry = calling(lambda path: found(app, path), times=20)
    assert not grows_too_fast(entry, start, repeated, end, 800)


def test_R28_a_long_segment_is_not_matched_against_expressions() -> None:
    """Which might backtrack: one that this text does match."""
    app = app_of(["/<word:re:a+b>"])
    assert found(app, "/" + "a" * 254 + "b") == "/<word:re:a+b>"
    assert found(app, "/" + "a" * 255 + "b") == 404


def test_every_node_of_the_route_tree_is_visited_at_most_once() -> None:
    # All 256 combinations of text and wildcards that fit "/a/a/a/a/a/a/a/a", but for their last
    # segment.
    patterns = ["/" + "/".join(choice) + "/z" for choice in itertools.product("ax", repeat=8)]
    app = app_of(
        [functools.reduce(lambda p, n: p.replace("x", f"<w{n}>", 1), range(8), p) for p in patterns]
    )
    nodes = 2**9
    assert found(app, "/a" * 8 + "/y") == 404
    assert steps_of(lambda: found(app, "/a" * 8 + "/y")) < 4 * nodes
    assert found(app, "/b" * 8 + "/z") == "/<w0>/<w1>/<w2>/<w3>/<w4>/<w5>/<w6>/<w7>/z"


# -- a naive matcher -------------------------------------------------------------------------------


def fits(segments: Sequence[Segment], path: Sequence[str]) -> bool:
    """Whether a pattern matches a path: every way to give each segment of the pattern some of the
    path's is tried.
    """
    if not segments or not path:
        return not segments and not path
    first, *others = segments
    if first.text is not None:
        return path[0] == first.text and fits(others, path[1:])
    lengths = range(1, len(path) + 1) if first.is_path else (1,)
    return any(
        first.match("/".join(path[:length])) is not None and fits(others, path[length:])
        for length in lengths
    )


def specificity(patterns: Sequence[Pattern], pattern: Pattern) -> list[tuple[Any, ...]]:
    """What patterns that match the same path are compared by, segment by segment; the least is the
    most specific.
    """
    key: list[tuple[Any, ...]] = []
    for position, segment in enumerate(pattern.segments):
        if segment.text is not None:
            key.append((0,))
            continue
        kind = max(
            ("int", "float", "re", "", "path").index(one.rule.partition(":")[0])
            for one in segment.wildcards
        )
        literal_length = len(segment.join([""] * len(segment.wildcards)))
        tail = len(pattern.segments) - position if segment.is_path else 0
        # The first pattern that begins with the same segments, and is as long after a path
        # wildcard.
        keys = [
            one.key if one.text is None else one.text for one in pattern.segments[: position + 1]
        ]
        order = next(
            number
            for number, other in enumerate(patterns)
            if [one.key if one.text is None else one.text for one in other.segments[: position + 1]]
            == keys
            and (not segment.is_path or len(other.segments) - position == tail)
        )
        key.append((2 if segment.is_path else 1, -literal_length, kind, -tail, order))
    return key


SEGMENTS = [
    "a", "b", "1", "<{}:int>", "<{}:float>", "<{}:re:[ab]>", "<{}:re:[b1]+>", "<{}>", "a<{}>",
    "<{}>-<{}>",
]  # fmt: skip
PATHS = ["<{}:path>", "a<{}:path>", "<{}:path>b"]


@st.composite
def explicit_patterns(draw: st.DrawFn) -> str:
    segments = draw(st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4))
    if draw(st.booleans()):
        segments.insert(draw(st.integers(0, len(segments))), draw(st.sampled_from(PATHS)))
    text = "/" + "/".join(segments)
    return text.format(*(f"w{number}" for number in range(text.count("{}"))))


@settings(max_examples=100)
@given(
    st.lists(explicit_patterns(), min_size=1, max_size=8, unique=True),
    st.lists(
        st.lists(
            st.sampled_from(["a", "b", "1", "ab", "1.5", "a-b", "b1", "é", "a/b"]), max_size=5
        ),
        min_size=5,
    ),
)
def test_the_route_tree_finds_what_a_naive_matcher_finds(
    texts: list[str], paths: list[list[str]]
) -> None:
    app, patterns = App(), [Pattern(text) for text in texts]
    for pattern in patterns:
        app.get(pattern.text, name=pattern.text)(lambda **values: None)
    try:
        router = app._micropie.compiled().router
    except SetupError:  # two of them match the same paths
        return
    for path in paths:
        candidates = [pattern for pattern in patterns if fits(pattern.segments, path)]
        expected = min(candidates, key=lambda pattern: specificity(patterns, pattern), default=None)
        found = router.find("GET", path)
        if isinstance(found[0], Refusal):
            assert expected is None
        else:
            assert expected is not None
            assert (found[0].name, [*found[2]]) == (expected.text, expected.names)
