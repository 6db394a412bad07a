"""The copy of a request that a handler in the pool sees, in this process."""

from __future__ import annotations

import copyreg
import functools
import pickle
from collections.abc import Sequence
from contextvars import copy_context
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from micropie._core.execution.placement import HandlerName, pooled_name
from micropie._core.execution.pool.remote import packed_call
from micropie._core.flow.pooled import PooledExchange, PooledHandler, PooledRequest, copied
from micropie._core.http.body.received import NULL, ReceivedBody
from micropie._core.http.exchange import Exchange
from micropie._core.http.forms.data import DEFAULT_LIMITS, Limits
from micropie._core.http.headers.fields import Headers
from micropie._core.http.peer import Address, Peer
from micropie._core.http.request import current_request

EXCHANGE: Any = SimpleNamespace(config=SimpleNamespace(limits=DEFAULT_LIMITS))
NAME = HandlerName("tests.flow.test_pooled", "plain", None)


def plain() -> str:
    return "plain"


HEADERS = [
    ("host", "example.com"),
    ("cookie", "a=1; b=2"),
    ("content-type", "a/b"),
    ("content-length", "12"),
]


def sent(headers: Sequence[tuple[str, str]] = HEADERS, **changes: Any) -> Sequence[Any]:
    """Return the copy of a request as it is sent to a process."""
    values = {
        "method": "POST",
        "path": "/a b",
        "raw_path": lambda: b"/a%20b",
        "root_path": "",
        "path_params": ["x"],
        "headers": Headers([(name.lower().encode(), value.encode()) for name, value in headers]),
        "query_string": "q=1",
        "config": SimpleNamespace(limits=DEFAULT_LIMITS, enter_in_pool=()),
        "body": ReceivedBody(),
        "answer": SimpleNamespace(session={"user": "Ann"}, depend_on=[].append),
        "opened_session": lambda: {"user": "Ann"},
        "scheme": "https",
        "client": Address("192.0.2.1", 80),
        "peer": Peer(),
        "id": "",
        "enter_in_pool": (),
        "reads_body": False,
        **changes,
    }
    return copied(cast("Exchange", SimpleNamespace(**values)))


def copy(**changes: Any) -> PooledExchange:
    """Return the copy of a request as a process gets it."""
    return PooledExchange(*pickle.loads(pickle.dumps(sent(**changes))))


def test_a_request_in_a_process_can_be_read() -> None:
    request = PooledRequest(copy())
    seen = (request.method, request.path, request.scheme, request.host)
    assert seen == ("POST", "/a b", "https", "example.com")
    found = (request.client, request.query("q"), request.cookies)
    assert found == (("192.0.2.1", 80), "1", {"a": "1", "b": "2"})
    assert (request.content_type, request.content_length, request.raw_path) == (
        "a/b",
        12,
        b"/a%20b",
    )
    assert (dict(request.session), request.headers["cookie"]) == ({"user": "Ann"}, "a=1; b=2")
    assert (len(request.session), repr(request.session)) == (1, "{'user': 'Ann'}")


def test_a_request_in_a_process_has_defaults_for_missing_values() -> None:
    request = PooledRequest(copy(client=None, scheme="", headers=[]))
    assert (request.client, request.scheme, request.host) == (None, "", "localhost")
    assert (request.cookies, request.content_type, request.content_length) == ({}, "", None)


def test_a_request_in_a_process_lacks_scope_response_and_body() -> None:
    request = PooledRequest(copy())
    for name in ("scope", "response"):
        with pytest.raises(RuntimeError, match="process"):
            getattr(request, name)
    for read in (
        request.body,
        request.read,
        request.stream,
        lambda: next(request.chunks()),
        request.parts,
    ):
        with pytest.raises(RuntimeError, match="a handler in the process pool can't read the body"):
            read()


def test_a_request_in_a_process_is_read_only() -> None:
    request = PooledRequest(copy())
    for change in (
        lambda: setattr(request, "session", {}),
        lambda: request.session.update(a=1),
        lambda: request.session.clear(),
        lambda: request.after_response(plain),
        lambda: request.on_close(plain),
        lambda: request.on_failure(plain),
        lambda: request.carry_into_process(plain),
        lambda: getattr(request._exchange.config, "templates"),  # noqa: B009
    ):
        with pytest.raises(RuntimeError, match="in the process pool"):
            change()


def test_a_json_body_with_exact_decimals_is_parsed_once() -> None:
    body = ReceivedBody()
    body.keep(b'{"price": 0.10000000000000000001}')
    body.parse_later("json", is_large=False)
    body.parsed(EXCHANGE)
    assert body.exact_document == {"price": Decimal("0.10000000000000000001")}
    assert body.exact_document is body.exact_document


def test_a_json_null_stays_none() -> None:
    body = ReceivedBody()
    body.keep(b"null")
    body.parse_later("json", is_large=False)
    assert body.parsed(EXCHANGE) is NULL

    def call() -> object:
        request = pickle.loads(pickle.dumps(sent(body=body)))
        assert PooledHandler(NAME)(request, []) == ("plain", ())
        return current_request().json()

    assert copy_context().run(call) is None


class Together:
    """Can be pickled alone, and not twice in one go."""

    count = 0

    def __reduce__(self) -> Any:
        Together.count += 1
        if Together.count == 1:
            raise TypeError("once")
        return copyreg.__newobj__, (Together,)  # type: ignore[attr-defined]


def test_an_error_of_pickling_arguments_together_is_raised_unchanged() -> None:
    with pytest.raises(TypeError, match="once"):
        packed_call(pickle.dumps, PooledHandler(NAME), (sent(), [Together()]))


def test_a_request_like_an_empty_one_is_sent_without_objects() -> None:
    assert b"micropie" not in pickle.dumps(sent())
    body = ReceivedBody()
    body.keep(b"{}")
    body.parse_later("json", is_large=False)
    limits = Limits(max_fields=3)
    other = copy(body=body, config=SimpleNamespace(limits=limits, enter_in_pool=()))
    assert (other.body.parse, other.body.data, other.config.limits) == ("json", b"{}", limits)


def test_a_value_of_the_request_that_cannot_be_pickled_is_named() -> None:
    copied_request = sent(enter_in_pool=(lambda: None,))
    with pytest.raises(pickle.PicklingError, match="but the request's enter_in_pool, of type tup"):
        packed_call(pickle.dumps, PooledHandler(NAME), (copied_request, []))


def test_a_partial_without_arguments_has_its_function_s_name() -> None:
    assert pooled_name(functools.partial(plain), "plain") == NAME
