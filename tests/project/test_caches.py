"""Two inputs that differ in what a kept value depends on never get each other's value.

``CACHES`` has every cache and table of the package, with what shows that its key is right. A new
one that is made by a name of ``MAKERS`` has to be added here. A plain dict is noticed by nobody:
add it to ``PLAIN``, if a request has a part in its keys.
"""

from __future__ import annotations

import ast
import gzip
import logging
import re
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import brotli
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import micropie
from micropie import App, HTTPError
from micropie._core.execution.call_steps import CallSteps
from micropie._core.files.fingerprints import IDENTIFIED, KNOWN
from micropie._core.files.lookup import Facts, ResolvedFile, local_version
from micropie._core.files.recent import CONTENTS, RECENT
from micropie._core.http.addresses import HostTable
from micropie._core.http.csrf import _masked as masked
from micropie._core.http.escaping import Escaped
from micropie._core.http.headers.conditional import entity_tag
from micropie._core.http.headers.fields import KnownHead, NameTable
from micropie._core.http.headers.signing import AppSigner
from micropie._core.http.settings import Settings
from micropie._core.mounts.prefixes import PrefixTable
from micropie._core.sessions.store import SessionStore
from micropie.channels import Channels, RedisChannels
from micropie.middleware import MemoryRates, RateLimit
from micropie.sessions import (
    Changes,
    InMemorySessionBackend,
    RedisSessionBackend,
    SQLiteSessionBackend,
)
from micropie.testing import TestClient
from tests.support.clients import MakeClient

PACKAGE = Path(micropie.__file__).parent
TESTS = Path(__file__).parents[1]

MAKERS = {
    *("lru_cache", "cache", "cached_if_short", "NameTable"),
    *("Recent", "RecentLooks", "OrderedDict", "WeakKeyDictionary", "HostTable", "PrefixTable"),
}

# What shows that two inputs have two values: a test of this module or of another one, "a function"
# for the functions of ``FUNCTIONS``, or why no request has a part in the keys.
FUNCTION = "a function"
AUTHORS = "the keys are an author's: types, templates, names, settings"
NO_KEY = "one value for the process"

CACHES = {
    "asgi/streaming.py:_NAMES": "test_a_table_of_names_has_a_value_for_each_name",
    "asgi/streaming.py:_TYPES": "test_a_table_of_names_has_a_value_for_each_name",
    "_core/binding/values/constraints.py:_samples": NO_KEY,
    "_core/binding/values/converters.py:_with_zone": AUTHORS,
    "_core/binding/fields.py:fields_of": AUTHORS,
    "_core/binding/fields.py:_elements_with": AUTHORS,
    "_core/binding/fields.py:hints_of_class": AUTHORS,
    "_core/binding/signatures/results.py:_hints_inside": AUTHORS,
    "_core/binding/structures/invalid.py:_fields_in_objects": AUTHORS,
    "_core/binding/structures/invalid.py:_has_clear_names": AUTHORS,
    "_core/binding/values/adapters.py:_takes_parsed": AUTHORS,
    "_core/binding/values/unions.py:_inside": AUTHORS,
    "channels/redis.py:_warn_once": "test_a_message_logged_once_is_logged_for_each_text",
    "debug/access.py:_tell": "test_a_message_logged_once_is_logged_for_each_text",
    "debug/source.py:_classes_in": AUTHORS,
    "_core/execution/placement.py:handler_named": AUTHORS,
    "_core/execution/steps/redis_client.py:_limited": "the keys are classes of redis-py",
    "_core/execution/threads.py:_new": "the keys are waiting tasks, and have no values",
    "_core/execution/threads.py:_queues": "the keys are waiting tasks, and have no values",
    "_core/files/content_types.py:_types": NO_KEY,
    "_core/files/content_types.py:content_type_of": FUNCTION,
    "_core/files/fingerprints.py:IDENTIFIED": "test_R48_a_cached_file_is_only_sent_for_its_own_url",
    "_core/files/fingerprints.py:KNOWN": "test_R48_a_cached_file_is_only_sent_for_its_own_url",
    "_core/files/lookup.py:_may_be_file": FUNCTION,
    "_core/files/lookup.py:codings_for": FUNCTION,
    "_core/files/lookup.py:resolved_root": AUTHORS,
    "_core/files/recent.py:CONTENTS": "test_R48_a_cached_file_is_only_sent_for_its_own_url",
    "_core/files/recent.py:RECENT": "test_R48_a_cached_file_is_only_sent_for_its_own_url",
    "_core/files/recent.py:_entries": "test_R48_a_cached_file_is_only_sent_for_its_own_url",
    "_core/files/static.py:_head": "test_R48_a_cached_file_is_only_sent_for_its_own_url",
    "_core/http/forms/multipart.py:_LINES": "test_a_table_of_names_has_a_value_for_each_name",
    "_core/http/forms/multipart.py:_SHORT_HEADS": "test_a_table_of_names_has_a_value_for_each_name",
    "_core/http/headers/conditional.py:http_date": FUNCTION,
    "_core/http/headers/cookies.py:_attributes_of": FUNCTION,
    "_core/http/escaping.py:is_html_type": AUTHORS,
    "_core/http/headers/fields.py:CAPITALS": "test_a_table_of_names_has_a_value_for_each_name",
    "_core/http/headers/fields.py:known_private": FUNCTION,
    "_core/http/json.py:_conversion_of": AUTHORS,
    "_core/http/json.py:_exact_decoder": NO_KEY,
    "_core/http/json.py:_hides": AUTHORS,
    "_core/http/headers/media_types.py:codec_of": FUNCTION,
    "_core/http/headers/media_types.py:content_type": FUNCTION,
    "_core/http/headers/media_types.py:disposition": FUNCTION,
    "_core/http/headers/signing.py:of_salt": (
        "http/test_signing.py::test_each_salt_and_key_gives_the_signature_of_itsdangerous"
    ),
    "_core/http/problem.py:_encoded": FUNCTION,
    "_core/http/problem.py:_ESCAPED": "test_a_table_of_names_has_a_value_for_each_name",
    "_core/http/problem.py:_wanted_of": FUNCTION,
    "_core/errors.py:_supported": AUTHORS,
    "_core/http/response.py:_KEYS": "test_a_table_of_names_has_a_value_for_each_name",
    "_core/http/response.py:_USUAL_KEYS": "test_a_table_of_names_has_a_value_for_each_name",
    "_core/http/response.py:_charset_of": FUNCTION,
    "_core/http/response.py:_with_charset": FUNCTION,
    "_core/http/response.py:warn_once": "test_a_message_logged_once_is_logged_for_each_text",
    "_core/mounts/prefixes.py:_escaped": FUNCTION,
    "_core/mounts/wsgi_call.py:_status_of": FUNCTION,
    "_core/mounts/wsgi_in_asgi.py:_KEYS": "test_a_table_of_names_has_a_value_for_each_name",
    "wsgi/exchange.py:_KEYS": "test_a_table_of_names_has_a_value_for_each_name",
    "middleware/metrics.py:_instruments": "the keys are registries",
    "openapi/pages.py:_documents": "the keys are applications",
    "middleware/proxy_headers.py:_ip": FUNCTION,
    "middleware/rate_limit.py:_network": FUNCTION,
    "middleware/rate_limit.py:_of_app": "the keys are applications",
    "middleware/rate_limit.py:_prefixes": "the keys are applications",
    "middleware/rate_limit.py:_until": "test_clients_and_limits_are_counted_separately",
    "middleware/trusted_hosts.py:_hosts": "test_a_host_is_found_as_by_comparing_each_one",
    "_core/routing/discovery/marks.py:_installed": NO_KEY,
    "_core/routing/site.py:_hosts": "test_a_host_is_found_as_by_comparing_each_one",
    "_core/routing/site.py:_mounts": "test_a_mount_is_found_as_by_comparing_each_one",
    "_core/sessions/memory.py:_sessions": "test_two_session_ids_never_share_a_session",
    "_core/sessions/store.py:cookie_name": "test_a_session_cookie_has_the_attributes_of_its_request",
    "_core/sessions/store.py:_formatter": "test_a_session_cookie_has_the_attributes_of_its_request",
    "_core/streams/events.py:_encode_text": FUNCTION,
    "_core/streams/events.py:warn_of_format": NO_KEY,
    "_core/streams/events.py:warn_of_dict": NO_KEY,
    "_core/templates/context.py:_without_app": AUTHORS,
    "_core/templates/environment.py:compiled": AUTHORS,
    "_core/templates/environment.py:known_layout": AUTHORS,
    "_core/templates/environment.py:known_names": AUTHORS,
}

# Dicts that keep what requests name.
PLAIN = {
    "channels/hub.py:_mailboxes": "test_a_message_only_reaches_its_channel",
    "channels/redis.py:_joining": "test_a_message_in_redis_only_reaches_its_channel",
    "channels/redis.py:_requested": "test_a_message_in_redis_only_reaches_its_channel",
    "channels/redis.py:_unconfirmed": "test_a_message_in_redis_only_reaches_its_channel",
    "_core/execution/loop.py:_values": "the keys are event loops",
    "_core/files/recent.py:_slow": "the keys are an author's directories",
    "_core/routing/site.py:exact": "routing/test_tree.py::test_the_route_tree_finds_what_a_naive_matcher_finds",
}


# What is kept outside of this process's memory, or sent to a client to come back: the function or
# the method that makes the key, and the test of two things that differ in one part.
STORED = {
    "middleware/rate_limit.py:_named": "test_clients_and_limits_are_counted_separately",
    "middleware/redis_rate_store.py:hit": (
        "middleware/test_rate_limit.py"
        "::test_a_user_named_like_an_address_does_not_share_its_counter"
    ),
    "middleware/metrics.py:_labels_of": (
        "middleware/test_metrics.py::test_requests_are_counted_by_method_pattern_and_status"
    ),
    "sessions/redis.py:merge": "test_sessions_in_redis_never_share_a_key",
    "sessions/sqlite.py:_load": "test_two_session_ids_never_share_a_session",
    "channels/redis.py:publish": "test_channels_in_redis_never_share_a_name",
    "_core/http/headers/signing.py:AppSigner": (
        "test_a_signed_text_is_only_valid_for_one_cookie_or_purpose"
    ),
    "_core/http/headers/conditional.py:entity_tag": "test_an_etag_identifies_one_text",
    "_core/files/lookup.py:identified_by": "test_each_version_of_a_file_has_its_own_etag",
    "_core/http/csrf.py:_masked": "test_a_csrf_token_belongs_to_one_secret_and_page",
}


# -- the list is complete --------------------------------------------------------------------------


def _name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return _name_of(node.func)
    if isinstance(node, ast.Subscript):
        return _name_of(node.value)
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _made(value: ast.AST | None) -> bool:
    nodes = ast.walk(value) if value is not None else ()
    return any(isinstance(node, ast.Call) and _name_of(node) in MAKERS for node in nodes)


def caches_in(source: str) -> Iterator[str]:
    """Yield the names of what is made by ``MAKERS``: a decorated function, or an assigned name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(_name_of(decorator) in MAKERS for decorator in node.decorator_list):
                yield node.name
        elif isinstance(node, ast.AnnAssign) and _made(node.value):
            yield _name_of(node.target)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = [*zip(target.elts, node.value.elts, strict=True)]
                yield from (_name_of(one) for one, value in pairs if _made(value))


def caches_of(package: Path) -> set[str]:
    """Return the names of all caches of a package, as ``CACHES`` has them."""
    return {
        f"{path.relative_to(package).as_posix()}:{name}"
        for path in package.rglob("*.py")
        for name in caches_in(path.read_text())
    }


def test_every_cache_is_listed() -> None:
    """A failure names a cache that has to be added, with the test that shows its key is right."""
    assert caches_of(PACKAGE) == {*CACHES}


def test_a_new_cache_is_detected() -> None:
    source = """
@functools.lru_cache
def one(text): ...
@cached_if_short(9)
def two(text): ...
three: Table[str] = HostTable([])
self.four, self.five = OrderedDict(), {}
"""
    assert [*caches_in(source)] == ["one", "two", "three", "four"]


def not_shown(
    package: Path, lists: Mapping[str, str], functions: Container[str], tests: Path, own: Path
) -> list[str]:
    """Return the entries of the lists without the attribute that they name, or without what shows
    that its key is right. ``tests`` is the folder of the tests that they name, and ``own`` the file
    of those that are named alone.
    """
    missing = []
    for name, shown in lists.items():
        path, _, attribute = name.partition(":")
        is_shown = bool(re.search(rf"\b{attribute}\b", (package / path).read_text()))
        if shown == FUNCTION:
            is_shown &= name in functions
        elif "test_" in shown:
            file, _, test = shown.rpartition("::")
            is_shown &= f"def {test}(" in (tests / file if file else own).read_text()
        missing += [] if is_shown else [name]
    return missing


def test_each_listed_cache_has_a_test() -> None:
    assert not_shown(PACKAGE, {**CACHES, **PLAIN, **STORED}, FUNCTIONS, TESTS, Path(__file__)) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("app.py:no_such_name", NO_KEY),
        ("app.py:App", FUNCTION),
        ("app.py:App", "test_that_nobody_has_written"),
        ("app.py:App", "routing/test_tree.py::test_that_nobody_has_written"),
    ],
)
def test_a_listed_cache_without_a_test_is_detected(name: str, shown: str) -> None:
    assert not_shown(PACKAGE, {name: shown}, {}, TESTS, TESTS / "routing" / "test_tree.py") == [
        name
    ]


# -- functions of a text ---------------------------------------------------------------------------


class Twin(str):
    """Text that equals another, as an author's or a library's own kind of text does."""

    __slots__ = ()


def texts(*usual: str, alphabet: str = "aA1 ;=,/-.\n") -> st.SearchStrategy[str]:
    """Draw usual texts, others that are nearly the same, their twins, and HTML of the same
    characters.
    """
    some = st.sampled_from(usual) | st.text(alphabet, max_size=5)
    some |= st.sampled_from(usual).flatmap(
        lambda one: st.sampled_from([one.upper(), one.lower(), f" {one}", f"{one} ", one[:-1]])
    )
    return some | some.map(Twin) | some.map(Escaped)


FUNCTIONS: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "_core/files/content_types.py:content_type_of": st.tuples(
        texts("a.txt", "a.html", "a.gz", ".txt")
    ),
    "_core/files/lookup.py:codings_for": st.tuples(
        texts("gzip", "br", "gzip;q=0", "*", "br, gzip")
    ),
    "_core/files/lookup.py:_may_be_file": st.tuples(
        texts("a.css", "/a.css", "a.css/", "a/.b", "a//b", "a\\b", "c:a", "\0", "")
    ),
    "_core/http/headers/conditional.py:http_date": st.tuples(
        st.integers(-3, 3) | st.integers(0, 2**31) | st.booleans()
    ),
    "_core/http/headers/cookies.py:_attributes_of": st.tuples(
        st.sampled_from(["a", "__Host-a", "__Secure-a", "__host-a"]),
        st.sampled_from([None, "", "/", "/a", "/;"]),
        st.sampled_from([None, "", "a.example"]),
        *[st.sampled_from([True, False, 1, 0])] * 2,
        st.sampled_from([None, "Lax", "lax", "None", "strict", "x"]),
        st.sampled_from([True, False, 1, 0]),
    ),
    "_core/http/headers/fields.py:known_private": st.tuples(
        st.sampled_from(
            [
                KnownHead(pairs)
                for pairs in (
                    [],
                    [("vary", "Cookie")],
                    [("vary", "cookie")],
                    [("cache-control", "public, max-age=1")],
                )
            ]
        ),
        st.sampled_from([(), ("cookie",), ("authorization",), ("cookie", "authorization")]),
        st.booleans(),
    ),
    "_core/http/headers/media_types.py:codec_of": st.tuples(
        texts("utf-8", "UTF8", "latin-1", "cp1252", "rot13")
    ),
    "_core/http/headers/media_types.py:content_type": st.tuples(
        texts("text/html", "text/html; charset=utf-8", 'a/b; c="d;e"', "a/b; c=d; e=f")
    ),
    "_core/http/headers/media_types.py:disposition": st.tuples(
        texts('form-data; name="a"', 'form-data; name="a"; filename="b"', "form-data; name=a;x")
    ),
    "_core/http/problem.py:_encoded": st.tuples(
        st.sampled_from([400, 404, 405]),
        texts("404 Not Found", "<b>", "&lt;b&gt;", ""),
        st.sampled_from([(), (("vary", "Accept"),), (("Allow", "GET"), ("vary", "Accept"))]),
        st.sampled_from(["html", "json", "text"]),
        st.booleans(),
    ),
    "_core/http/problem.py:_wanted_of": st.tuples(
        texts("text/html", "application/json", "text/plain, application/json;q=0.5", "*/*")
    ),
    "_core/http/response.py:_charset_of": st.tuples(
        texts("text/html", "text/html; charset=utf-8", "text/html; charset=latin-1")
    ),
    "_core/http/response.py:_with_charset": st.tuples(
        texts("text/html", "Text/plain; charset=utf-8", "application/json", "text/csv; header=x")
    ),
    "_core/mounts/prefixes.py:_escaped": st.tuples(texts("", "/", "/a b", "/a%20b", "/é", "//")),
    "_core/mounts/wsgi_call.py:_status_of": st.tuples(
        texts("200 OK", "200", "200  OK", "404 OK", "099 x", "100 x", "200 a\nb", "one")
    ),
    "middleware/proxy_headers.py:_ip": st.tuples(
        texts("192.0.2.1", "::1", "::ffff:192.0.2.1", "01.2.3.4", "fe80::1%a", alphabet="0123:.f")
    ),
    "middleware/rate_limit.py:_network": st.tuples(
        texts("192.0.2.1", "2001:db8::1", "2001:db8::2", "::ffff:192.0.2.1", alphabet="0123:.f/")
    ),
    "_core/streams/events.py:_encode_text": st.tuples(texts("a", "a\nb", "a\r\nb", "a\r\rb")),
}


def outcome(function: Callable[..., object], arguments: tuple[Any, ...]) -> object:
    try:
        value = function(*arguments)
    except Exception as error:
        return type(error), str(error)
    return value, getattr(value, "__dict__", None)  # of the status, its reason


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_cached_result_equals_the_function_s_result(name: str) -> None:
    compare_with_plain("micropie", name, FUNCTIONS[name])


def compare_with_plain(package: str, name: str, inputs: st.SearchStrategy[tuple[Any, ...]]) -> None:
    """Compare the results of a function that keeps them with those of the function below."""
    path, _, attribute = name.partition(":")
    module = import_module(f"{package}.{path.removesuffix('.py').replace('/', '.')}")
    function = getattr(module, attribute)
    table = getattr(function, "__self__", None)  # of ``cached_if_short``
    plain = table._make if isinstance(table, NameTable) else function.__wrapped__

    @given(st.lists(inputs, max_size=8))
    def ask(calls: list[tuple[Any, ...]]) -> None:
        for arguments in calls:
            assert outcome(function, arguments) == outcome(plain, arguments)

    ask()
    # twins would come back for the usual texts of later tests
    (function.cache_clear if table is None else table.clear)()


@given(names=st.lists(texts("content-type", "Content-Type", "x-y", "x_y"), max_size=20))
def test_a_table_of_names_has_a_value_for_each_name(names: list[str]) -> None:
    table: NameTable[str, tuple[str, int]] = NameTable(lambda name: (name, len(name)), most=4)
    assert [table[name] for name in names] == [(name, len(name)) for name in names]


@pytest.mark.parametrize(
    ("module", "function", "inputs"),
    [
        ("_core.http.response", "warn_once", [("Keep-Alive",), ("Connection",)]),
        ("channels.redis", "_warn_once", [("room", "a"), ("room", "b"), ("rooma", ""), ("", "a")]),
        ("debug.access", "_tell", [("http://localhost/a",), ("http://localhost/b",)]),
    ],
)
def test_a_message_logged_once_is_logged_for_each_text(
    caplog: pytest.LogCaptureFixture, module: str, function: str, inputs: list[tuple[str, ...]]
) -> None:
    log = getattr(import_module(f"micropie.{module}"), function)
    log.cache_clear()
    with caplog.at_level(logging.WARNING, "micropie"):
        for texts_of in inputs:
            log(*texts_of)
            log(*texts_of)
    assert len(caplog.records) == len({record.getMessage() for record in caplog.records})
    assert len(caplog.records) == len(inputs)
    log.cache_clear()


# -- tables that a request is looked up in ---------------------------------------------------------

LABELS = st.lists(st.sampled_from(["a", "b", "a-b"]), min_size=1, max_size=3).map(".".join)
HOSTS = LABELS | LABELS.map("*.{}".format)


@example(entries=["*.a", "*.b.a"], host="a.b.a", end="")
@given(
    entries=st.lists(HOSTS, unique=True, max_size=5),
    host=LABELS,
    end=st.sampled_from(["", ".", ":80", ".:1"]),
)
def test_a_host_is_found_as_by_comparing_each_one(entries: list[str], host: str, end: str) -> None:
    suffixes = [one for one in entries if one[0] == "*" and host.endswith(one[1:])]
    expected = host if host in entries else max(suffixes, key=len, default=None)
    assert HostTable([(one, one) for one in entries]).find(host + end) == expected


SEGMENTS = st.lists(st.sampled_from(["a", "b", "é"]), min_size=1, max_size=3)
SPELLINGS = {"a": ["a", "%61"], "b": ["b", "%62"], "é": ["%C3%A9", "%c3%a9"]}


@given(
    prefixes=st.lists(SEGMENTS, unique_by=tuple, max_size=6),
    path=SEGMENTS,
    joints=st.lists(st.sampled_from(["/", "/", "%2F", "%2f"]), min_size=2, max_size=2),
    data=st.data(),
)
def test_a_mount_is_found_as_by_comparing_each_one(
    prefixes: list[list[str]], path: list[str], joints: list[str], data: st.DataObject
) -> None:
    """An escaped slash separates no segments."""
    address, segments = "", [""]
    for segment, joint in zip(path, ["/", *joints], strict=False):
        address += joint + data.draw(st.sampled_from(SPELLINGS[segment]))
        segments = (
            [*segments, segment] if joint == "/" else [*segments[:-1], f"{segments[-1]}/{segment}"]
        )
    fitting = [one for one in prefixes if segments[1 : len(one) + 1] == one]
    table = PrefixTable([("/" + "/".join(one), one) for one in prefixes])
    assert table.find(address.encode()) == max(fitting, key=len, default=None)


IDS = st.text("aAb-_ ~", min_size=1, max_size=3)


@settings(max_examples=30)
@given(saved=st.lists(IDS, unique=True, max_size=6), asked=IDS)
def test_two_session_ids_never_share_a_session(
    tmp_path_factory: pytest.TempPathFactory, saved: list[str], asked: str
) -> None:
    path = tmp_path_factory.mktemp("sessions") / "sessions.db"
    backends: list[Any] = [InMemorySessionBackend(), SQLiteSessionBackend(path)]
    for ours in backends:
        for one in saved:
            ours.save(one, {"id": one}, 60)
        assert ours.load(asked).get("id") == (asked if asked in saved else None)
    backends[1].close()


@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from(["", "a", "b"]),
            st.sampled_from(["http", "https", "HTTPS"]),
            st.sampled_from(["", "/a", "/b", "/a b"]),
        ),
        max_size=9,
    ),
    session_cookie=st.sampled_from([None, "s", "__Secure-s"]),
)
def test_a_session_cookie_has_the_attributes_of_its_request(
    requests: list[tuple[str, str, str]], session_cookie: str | None
) -> None:
    def new_store() -> SessionStore:
        settings = Settings(session_cookie=session_cookie)
        return SessionStore(InMemorySessionBackend(), settings, "/below")

    store = new_store()
    for request in requests:
        assert store.cookie(*request) == new_store().cookie(*request)


class KeptRedis:
    """Notes the keys with which a backend calls Redis, in place of its client."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, ...]] = []

    @contextmanager
    def reached(self) -> Iterator[KeptRedis]:
        yield self

    def set(self, key: str, *_: object, **__: object) -> None:
        self.keys.append((key,))

    def ask(self, ends: float, name: str, key: str, *_: object) -> CallSteps[str]:
        self.keys.append((key,))
        yield from ()
        return '{"a": 1}'

    def run_steps(
        self, ends: float, script: str, keys: tuple[str, ...], *arguments: object
    ) -> CallSteps[int]:
        self.keys.append(keys)
        yield from ()
        return 1


WRITTEN = IDS | st.sampled_from(["a:claim", "a claim", "session:a", "a\\0claim", "aclaim"])


@example(one="a", other="a:claim", prefix="session:")
@given(one=WRITTEN, other=WRITTEN, prefix=st.sampled_from(["session:", "s", ""]))
def test_sessions_in_redis_never_share_a_key(one: str, other: str, prefix: str) -> None:
    """``Changes`` writes a second key beside the session's, which is no other session's either."""
    backend = RedisSessionBackend("redis://localhost", prefix)
    kept: Any = KeptRedis()
    backend._redis = kept

    def keys_of(session_id: str) -> set[str]:
        kept.keys.clear()
        backend.load(session_id)
        backend.save(session_id, {"a": 1}, 60)
        backend.save(session_id, {}, 60)
        backend.merge(session_id, Changes({"b": 2}), 60)
        backend.ping()
        assert kept.keys.pop() == (prefix,)  # the key of no session
        return {key for keys in kept.keys for key in keys}

    assert (keys_of(one) == keys_of(other)) is (one == other)
    assert one == other or keys_of(one).isdisjoint(keys_of(other))


def test_channels_in_redis_never_share_a_name() -> None:
    names = ["a", "b", "channel:a", ":a", "a:", "micropie-listener:a", "A", " a"]
    channels, sent = RedisChannels("redis://localhost"), list[str]()

    def send(name: str, message: bytes, most: float) -> Any:
        sent.append(name)
        return Ready()

    class Ready:
        def block(self) -> None: ...

    channels.send = send  # type: ignore[method-assign, assignment]
    for name in names:
        channels.publish(name, "")
    assert len({*sent}) == len(names)
    assert not any(name.startswith("micropie-listener:") for name in sent)


PURPOSES = st.tuples(
    st.sampled_from(["cookie", "link"]), st.text('a.,"link micropie.cookie', max_size=4)
)


@example(one=("cookie", "a"), other=("link", "a"))
@example(one=("link", ""), other=("link", "."))
@given(one=PURPOSES, other=PURPOSES)
def test_a_signed_text_is_only_valid_for_one_cookie_or_purpose(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    signer = AppSigner("k" * 32)

    def load(kind: str, name: str) -> object:
        if kind == "cookie":
            return signer.load(name, text, None, None)
        with suppress(HTTPError):
            return signer.unsign(text, name)
        return None

    text = signer.dump(one[1], "value") if one[0] == "cookie" else signer.sign("value", one[1], 60)
    assert load(*other) == ("value" if one == other else None)


TAGS = st.text('a%2"\\é /W', max_size=4)


@given(one=TAGS, other=TAGS)
def test_an_etag_identifies_one_text(one: str, other: str) -> None:
    assert (entity_tag(one) == entity_tag(other)) is (one == other)


FACTS = st.tuples(*[st.sampled_from([1, 0x11])] * 5)
CODED = st.sampled_from(["", "gzip", "br", "zstd"])


@given(one=st.tuples(FACTS, CODED), other=st.tuples(FACTS, CODED))
def test_each_version_of_a_file_has_its_own_etag(one: Any, other: Any) -> None:
    def tag(facts: Facts, coding: str) -> str:
        return (
            ResolvedFile("", coding, False, *facts, facts)
            .identified_by(local_version(facts), "")
            .etag
        )

    assert (tag(*one) == tag(*other)) is (one == other)


@given(one=IDS, other=IDS)
def test_a_csrf_token_belongs_to_one_secret_and_page(one: str, other: str) -> None:
    salts = b"a" * 22, b"b" * 22
    tokens = {masked(secret.encode(), salt) for secret in (one, other) for salt in salts}
    assert len(tokens) == (2 if one == other else 4)


NAMES = st.text("ab:*. ", min_size=1, max_size=3)


@settings(max_examples=30)
@given(names=st.lists(NAMES, unique=True, min_size=1, max_size=4))
def test_a_message_only_reaches_its_channel(names: list[str]) -> None:
    channels = Channels()
    for name in names:
        with channels.subscribe(*names) as everything, channels.subscribe(name) as own:
            for each in names:
                channels.publish(each, each)
            assert [next(everything) for _ in names] == names
            channels.publish(name, "last")
            assert [next(own), next(own)] == [name, "last"]
    channels.close()


def test_a_prefix_separates_applications_and_a_database_does_not(redis_url: str) -> None:
    """PUBLISH ignores databases, as the reference of ``RedisChannels`` says."""
    urls = redis_url, f"{redis_url.removesuffix('0')}1"
    ours, theirs = RedisChannels(urls[0]), RedisChannels(urls[1])
    others = RedisChannels(urls[0], prefix="other:")
    with ours.subscribe("room") as messages:
        for channels, text in ((others, "of another prefix"), (theirs, "of another database")):
            channels.publish("room", text)
        assert next(messages) == "of another database"
    for channels in (ours, theirs, others):
        channels.close()


def test_a_message_in_redis_only_reaches_its_channel(redis_url: str) -> None:
    names = ["a", "a:", ":a", "A", "b", "a b", "channel:a"]
    channels = RedisChannels(redis_url)
    with ExitStack() as stack:
        subscribed = {name: stack.enter_context(channels.subscribe(name)) for name in names}
        with channels.subscribe("last") as last:
            for name in names:
                channels.publish(name, name)
            channels.publish("last", "")
            next(last)  # whatever was published before has arrived
        received = {name: [*iter(partial(one.get, 0), None)] for name, one in subscribed.items()}
    assert received == {name: [name] for name in names}
    channels.close()


LIMITS = st.tuples(st.sampled_from([1, 11]), st.sampled_from([1, 1.0, 60, 11.0]))
CLIENTS = st.text("1a/:.", max_size=4) | st.integers(0, 12)


class Noting(MemoryRates):
    """Keeps the keys that were counted."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    def hit(self, key: str, limit: int, per: float) -> Any:
        self.keys.append(key)
        return super().hit(key, limit, per)


class Root(App):
    def index(self) -> str:
        return "index"


def by_client(request: Any) -> object:
    return request.state.client


def by_account(request: Any) -> object:
    return request.state.client


# Each place is a function that puts a limit there.
PLACES: list[Callable[[App, RateLimit], object]] = [
    lambda app, limit: app.middlewares.append(limit),
    lambda app, limit: limit(app),
    lambda app, limit: vars(app)["inner"].middlewares.append(limit),
    lambda app, limit: limit(vars(app)["inner"]),
]


@settings(max_examples=30)
@example([((1, 11.0), 0, by_client), ((11, 1), 0, by_client)], ["a"])
@example([((1, 60), 0, by_client), ((1, 60), 1, by_client)], ["a", ":a"])
@example([((1, 60), 0, by_client), ((1, 60), 0, by_account)], ["a"])
@example([((1, 60), 0, by_client), ((1, 60), 0, by_client)], ["a"])
@given(
    st.lists(
        st.tuples(LIMITS, st.integers(0, 3), st.sampled_from([by_client, by_account])),
        min_size=2,
        max_size=5,
    ),
    st.lists(CLIENTS, min_size=1, max_size=3),
)
def test_clients_and_limits_are_counted_separately(limits: list[Any], clients: list[Any]) -> None:
    """A number and its text are one key, as authors get ids from a session, a path or a token.

    Limits that differ in one part, or in none but that they are two, never have a key in common.
    """
    counted = []
    for _ in ("one worker", "another one"):
        store, asking = Noting(), iter(clients)

        def name_client(request: Any, names: Iterator[object] = asking) -> Iterator[None]:
            request.state.client = next(names)
            yield

        app = Root(rates=store)
        app.inner = Root()
        app.middlewares.append(name_client)
        for (limit, per), place, key in limits:
            PLACES[place](app, RateLimit(1_000 * limit, 1_000 * per, key=key))
        with TestClient(app, protocol="wsgi") as client:
            for _ in clients:
                assert client.get("/inner").status_code == 200
        counted.append(store.keys)
    assert counted[0] == counted[1]
    assert len({*counted[0]}) == len(limits) * len({str(client) for client in clients})


# -- files -----------------------------------------------------------------------------------------

CODINGS = ["", "gzip", "gzip;q=0", "br", "br, gzip"]
FILES = ["a.txt", "sub/a.txt", "sub/b.txt", "link.txt", "a%2Etxt", "A.txt", "no.txt"]
MOUNTS = ["/one", "/one-cached", "/one-links", "/one-links-cached", "/two", "/two-cached"]


@pytest.fixture
def folders(tmp_path: Path) -> App:
    """Two directories with files of the same names, served in six ways."""
    app = Root()
    (tmp_path / "outside.txt").write_text("outside")
    for folder in ("one", "two"):
        root = tmp_path / folder
        (root / "sub").mkdir(parents=True)
        for name in ("a.txt", "sub/a.txt", "sub/b.txt"):
            (root / name).write_text(f"{folder} {name}")
        (root / "a.txt.gz").write_bytes(gzip.compress(b"the same " * 9))
        (root / "sub/a.txt.br").write_bytes(brotli.compress(f"{folder} br".encode()))
        (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    for mount in MOUNTS:
        app.static(
            mount,
            tmp_path / mount[1:4],
            cached="cached" in mount,
            follow_symlinks="links" in mount,
            max_age=60 if "cached" in mount else None,
            name=mount[1:],
        )
    return app


def test_R48_a_cached_file_is_only_sent_for_its_own_url(
    make_client: MakeClient, folders: App
) -> None:
    client = make_client(folders)

    def ask(asked: tuple[str, str, str, str]) -> tuple[object, ...]:
        mount, file, coding, version = asked
        answer = client.get(f"{mount}/{file}{version}", headers={"Accept-Encoding": coding})
        names = ("content-encoding", "etag", "cache-control", "vary", "content-type")
        return answer.status_code, answer.content, *(answer.headers.get(name) for name in names)

    def forget() -> None:
        for kept in (CONTENTS, RECENT, KNOWN, IDENTIFIED):
            kept.clear()

    urls = [folders.static_url("a.txt", name=mount[1:]) for mount in ("/one", "/two")]
    versions = ["", *(url[url.index("?") :] for url in urls)]
    fresh: dict[tuple[str, str, str, str], tuple[object, ...]] = {}
    requests = st.tuples(*map(st.sampled_from, (MOUNTS, FILES, CODINGS, versions)))

    @given(st.lists(requests, min_size=2, max_size=8))
    def compare(asked: list[tuple[str, str, str, str]]) -> None:
        for one in asked:
            if one not in fresh:
                forget()
                fresh[one] = ask(one)
        forget()
        assert [ask(one) for one in [*asked, *asked]] == [fresh[one] for one in [*asked, *asked]]

    compare()
    forget()
