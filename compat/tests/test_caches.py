"""Two inputs that differ in what a kept value depends on never get each other's value
(tests/project/test_caches.py).
"""

from __future__ import annotations

import gc
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import micropie_compat
from micropie.testing import TestClient
from micropie_compat import bottle, cherrypy
from micropie_compat.cherrypy.lib import sessions
from micropie_compat.cherrypy.locks import LockTable
from tests.project.test_caches import (
    AUTHORS,
    FUNCTION,
    IDS,
    NO_KEY,
    caches_of,
    compare_with_plain,
    not_shown,
    texts,
)
from tests.support.clients import MakeClient

PACKAGE = Path(micropie_compat.__file__).parent
TESTS = Path(__file__).parent

CACHES = {
    "bottle/dicts.py:_environ_key": FUNCTION,
    "bottle/dicts.py:_header_name": FUNCTION,
    "bottle/files.py:_http_date": FUNCTION,
    "bottle/templates.py:engine": NO_KEY,
    "carrier.py:_status_of": FUNCTION,
    "cherrypy/lib/caching.py:_entries": "test_R48_a_cached_page_is_only_sent_for_the_same_request",
    "cherrypy/lib/httputil.py:_title": FUNCTION,
    "cherrypy/lib/httputil.py:_valid_status": FUNCTION,
    "cherrypy/lib/sessions.py:cache": "test_two_session_ids_never_share_a_session",
    "cherrypy/lib/static.py:_types": NO_KEY,
    "cherrypy/messages.py:served": AUTHORS,
    "pixie_web/templates.py:_compiled": AUTHORS,
    "pixie_web/templates.py:_read": AUTHORS,
    "originals.py:_found_importers": AUTHORS,
    "originals.py:warn_of_originals": AUTHORS,
}

# Dicts that keep what requests name.
PLAIN = {
    "bottle/templates.py:TEMPLATES": "test_R77_a_cached_template_depends_on_its_folders_and_options",
    "bottle/routing.py:static": (
        "test_bottle_hostile.py::test_a_rule_matches_what_its_expressions_match_in_turn"
    ),
    "cherrypy/lib/caching.py:_pending": "test_R48_a_cached_page_is_only_sent_for_the_same_request",
    "cherrypy/lib/caching.py:_varies": "test_R48_a_cached_page_is_only_sent_for_the_same_request",
    "cherrypy/locks.py:_locks": "test_two_session_ids_never_share_a_session",
}

FUNCTIONS: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "bottle/dicts.py:_environ_key": st.tuples(texts("Content-Type", "content_type", "x")),
    "bottle/files.py:_http_date": st.tuples(st.integers(0, 2)),
    "bottle/dicts.py:_header_name": st.tuples(texts("content-type", "Content_Type", "x")),
    "carrier.py:_status_of": st.tuples(texts("200 OK", "200", "404 Not here", "99 x")),
    "cherrypy/lib/httputil.py:_title": st.tuples(texts("content-type", "x_y")),
    "cherrypy/lib/httputil.py:_valid_status": st.tuples(
        texts("200 OK", "404", "1", "True")
        | st.sampled_from([None, True, False, 0, 1, 200, 404, 599, 600, HTTPStatus.OK])
    ),
}


def test_every_cache_is_listed() -> None:
    """A failure names a cache that has to be added, with the test that shows its key is right."""
    assert caches_of(PACKAGE) == {*CACHES}


def test_each_listed_cache_has_a_test() -> None:
    assert not_shown(PACKAGE, {**CACHES, **PLAIN}, FUNCTIONS, TESTS, Path(__file__)) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_cached_result_equals_the_function_s_result(name: str) -> None:
    compare_with_plain("micropie_compat", name, FUNCTIONS[name])


@given(saved=st.lists(IDS, unique=True, max_size=6), asked=IDS)
def test_two_session_ids_never_share_a_session(saved: list[str], asked: str) -> None:
    kept = sessions.RamSession.cache
    locks = LockTable()
    kept.clear()
    for one in saved:
        session = sessions.RamSession(id=one)
        kept[one] = {"id": one}, session.now().replace(year=9999)
    found = kept.get(asked)
    assert (found and found[0]["id"]) == (asked if asked in saved else None)
    kept.clear()
    assert all(locks.acquire(one, 0) for one in saved)
    assert locks.acquire(asked, 0) is (asked not in saved)


class Pages:
    """Pages that show all that they depend on, and name the headers among it in Vary."""

    @cherrypy.expose
    def index(self, *segments: str, **values: str) -> str:
        return self._shown("index", segments, values)

    @cherrypy.expose
    def default(self, *segments: str, **values: str) -> str:
        return self._shown("default", segments, values)

    @cherrypy.expose
    def modes(self) -> str:
        """Show a header that another one chooses, so that Vary differs from answer to answer."""
        headers = cherrypy.request.headers
        chosen = {"1": "X-Z", "2": "X-A"}.get(headers.get("X-Mode"), "X-Mode")
        cherrypy.response.headers["Vary"] = ", ".join(dict.fromkeys(["X-Mode", chosen]))
        return f"{headers.get('X-Mode')} {chosen}={headers.get(chosen)}"

    def _shown(self, name: str, segments: Any, values: Any) -> str:
        request = cherrypy.request
        return repr((name, request.base, request.script_name, segments, sorted(values.items())))


def kept_site(is_on: bool) -> Any:
    tree = cherrypy._cptree.Tree()
    for script_name in ("", "/shop"):
        config = {"/": {"tools.caching.on": is_on, "tools.trailing_slash.on": False}}
        tree.mount(Pages(), script_name, config)
    return tree


TARGETS = ["/", "/a", "/a/", "/a%2Fb", "/a/b", "/shop", "/shop/", "/shop/a", "/a?b", "/a%3Fb"]
TARGETS += ["/a?b=", "/shop/../a", "/modes", "/modes?", "/?a=1&b=2", "/?b=2&a=1", "/%61"]
SOME = st.sampled_from([None, "", "1", "2", "1, 2"])


def test_R48_a_cached_page_is_only_sent_for_the_same_request(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cherrypy, "_cache", None, raising=False)
    plain, keeping = make_client(kept_site(False)), make_client(kept_site(True))
    headers = st.fixed_dictionaries(
        {"Host": st.sampled_from(["a.example", "b.example", "a.example:1"])},
        optional=dict.fromkeys(("X-Mode", "X-A", "X-Z"), SOME),
    )
    requests = st.tuples(st.sampled_from(["GET", "GET", "HEAD"]), st.sampled_from(TARGETS), headers)

    def ask(client: TestClient, request: tuple[str, str, dict[str, Any]]) -> object:
        method, target, fields = request
        answer = client.request(
            method,
            "/",
            headers={name: value for name, value in fields.items() if value is not None},
            extensions={"target": target.encode()},
        )
        return answer.status_code, answer.text

    def in_mode(**fields: str) -> tuple[str, str, dict[str, str]]:
        return "GET", "/modes", {f"X-{name}": value for name, value in fields.items()}

    @example([in_mode(Mode="1", Z="2"), in_mode(Mode="2", A="2"), in_mode(Mode="2", A="1")])
    @given(st.lists(requests, min_size=2, max_size=8))
    def compare(asked: list[tuple[str, str, dict[str, Any]]]) -> None:
        if getattr(cherrypy, "_cache", None) is not None:
            cherrypy._cache.clear()
        for one in asked * 2:
            assert ask(keeping, one) == ask(plain, one)

    compare()


@pytest.mark.parametrize("has_sessions", [True, False])
def test_R48_a_page_that_reads_a_cookie_is_not_cached(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, has_sessions: bool
) -> None:
    """The tool for sessions looks for its own cookie, which makes no page one visitor's."""

    class Counting:
        made = 0

        @cherrypy.expose
        def index(self) -> str:
            self.made += 1
            return str(self.made)

        @cherrypy.expose
        def mine(self) -> str:
            return repr(
                cherrypy.request.cookie.get("user") and cherrypy.request.cookie["user"].value
            )

    monkeypatch.setattr(cherrypy, "_cache", None, raising=False)
    config = {"/": {"tools.caching.on": True, "tools.sessions.on": has_sessions}}
    client = make_client(cherrypy.Application(Counting(), "", config))
    cookies = ("user=ann", "user=bob", "other=1")
    shown = [client.get("/mine", headers={"Cookie": one}).text for one in cookies]
    assert shown == ["'ann'", "'bob'", "None"]
    assert [client.get("/", headers={"Cookie": one}).text for one in cookies] == ["1"] * 3


@pytest.mark.parametrize("show", [True, False])
def test_R48_a_developer_s_traceback_is_never_cached(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, show: bool
) -> None:
    """A 404 is kept for everybody; with a traceback it is for a browser on this machine alone."""

    class Broken:
        made = 0

        @cherrypy.expose
        def index(self) -> str:
            self.made += 1
            raise cherrypy.HTTPError(404, f"page {self.made}")

    monkeypatch.setattr(cherrypy, "_cache", None, raising=False)
    config = {"/": {"tools.caching.on": True, "request.show_tracebacks": show}}
    app = cherrypy.Application(Broken(), "", config)
    near = make_client(app, client=("127.0.0.1", 1), base_url="http://localhost")
    far = make_client(app, client=("203.0.113.9", 1), base_url="http://localhost")
    shown, hidden, again = near.get("/"), far.get("/"), near.get("/")
    assert ("Traceback" in shown.text, "Traceback" in hidden.text) == (show, False)
    assert shown.headers.get("cache-control") == ("no-store" if show else None)
    assert ("page 2" in hidden.text, "page 2" in again.text) == (show, show)


def test_R77_a_cached_template_depends_on_its_folders_and_options(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "page.tpl").write_text(f"{folder} {{{{name}}}} [[name]]")
    shown = set()
    for _ in range(20):
        for folder in ("one", "two"):
            for options in ({}, {"variable_start_string": "[[", "variable_end_string": "]]"}):
                places = [str(tmp_path / folder)]  # a list of its own, whose id is another's soon
                shown.add(
                    (
                        folder,
                        bool(options),
                        bottle.jinja2_template(
                            "page.tpl", template_lookup=places, template_settings=options, name="x"
                        ),
                    )
                )
                del places
                gc.collect(1)  # what is as young as that
    assert shown == {
        ("one", False, "one x [[name]]"),
        ("one", True, "one {{name}} x"),
        ("two", False, "two x [[name]]"),
        ("two", True, "two {{name}} x"),
    }


def test_the_template_cache_is_bounded_and_accepts_any_options() -> None:
    bottle.TEMPLATES.clear()

    class Marker:
        __hash__ = None  # type: ignore[assignment]

    kept, other = Marker(), Marker()
    for value, expected in (
        (["a"], 1),
        (["a"], 1),
        (["b"], 2),
        ({"c"}, 3),
        (kept, 4),
        (kept, 4),
        (other, 5),
    ):
        text = bottle.jinja2_template(
            "{{ one }} {{ two }}",
            template_settings={"globals": {"one": value}, "filters": {"f": len}},
            two=2,
        )
        assert text == f"{value} 2"
        assert len(bottle.TEMPLATES) == expected
    for number in range(1100):
        bottle.jinja2_template(f"{number}{{{{ one }}}}", template_adapter=Quick)
    assert len(bottle.TEMPLATES) <= 1000
    bottle.TEMPLATES.clear()


class Quick(bottle.BaseTemplate):
    """An engine that compiles nothing."""

    def prepare(self, **options: Any) -> None:
        """Keep nothing."""

    def render(self, *values: Any, **more: Any) -> str:
        """Return nothing."""
        return ""
