"""The rules of a WebSocket without one: its states, codes, reasons, sizes, and whose pages it
answers.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import websocket as decorator
from micropie._core.errors import ConnectionClosed
from micropie._core.http.addresses import is_origin
from micropie._core.http.websockets import (
    ACCEPT,
    CLOSE,
    CLOSED,
    CLOSING,
    CONNECTING,
    FINISH,
    GONE,
    LEAVE,
    OPEN,
    RECEIVE,
    REFUSED,
    REFUSING,
    SEND,
    TRANSITIONS,
    MessageError,
    Progress,
    check_code,
    is_allowed_origin,
    is_too_big,
    truncate_reason,
)

STATES = (CONNECTING, OPEN, REFUSING, REFUSED, CLOSING, CLOSED, GONE)
ACTIONS = (ACCEPT, RECEIVE, SEND, CLOSE, FINISH, LEAVE)


def in_state(state: str) -> Progress:
    progress = Progress()
    if state in (OPEN, CLOSING, CLOSED):
        progress.step(ACCEPT, "accept")
    if state in (REFUSING, REFUSED, CLOSING, CLOSED):
        progress.end(CLOSE, 1000, "bye")
    if state in (REFUSED, CLOSED):
        progress.step(FINISH, "close")
    if state is GONE:
        progress.end(LEAVE, 1001, "")
    assert progress.state is state
    return progress


@pytest.mark.parametrize(("state", "action"), list(product(STATES, ACTIONS)))
def test_an_action_is_allowed_if_the_table_has_it_and_refused_otherwise(
    state: str, action: str
) -> None:
    progress = in_state(state)
    assert progress.may(action) is ((state, action) in TRANSITIONS)
    if (state, action) in TRANSITIONS:
        progress.step(action, "it")
        assert progress.state is TRANSITIONS[state, action]
    else:
        with pytest.raises((RuntimeError, ConnectionClosed)):
            progress.step(action, "it")
        assert progress.state is state


SENTENCES = {
    (CONNECTING, "send_text"): (
        RuntimeError,
        "send_text() on a WebSocket that has not been accepted: await ws.accept() first",
    ),
    (OPEN, "accept"): (RuntimeError, "accept() on a WebSocket that has already been accepted"),
    (CLOSED, "accept"): (RuntimeError, "accept() on a WebSocket that was closed with 1000 bye"),
    (REFUSED, "accept"): (RuntimeError, "accept() on a WebSocket that was refused bye"),
    (GONE, "accept"): (
        ConnectionClosed,
        "accept() on a WebSocket that was closed by the client with 1001",
    ),
    (CLOSING, "accept"): (RuntimeError, "accept() on a WebSocket that was closed with 1000 bye"),
    (REFUSING, "accept"): (RuntimeError, "accept() on a WebSocket that was refused bye"),
    (CLOSING, "send_text"): (
        ConnectionClosed,
        "send_text() on a WebSocket that was closed with 1000 bye",
    ),
    (CLOSED, "send_text"): (
        ConnectionClosed,
        "send_text() on a WebSocket that was closed with 1000 bye",
    ),
    (REFUSED, "receive_text"): (
        ConnectionClosed,
        "receive_text() on a WebSocket that was refused bye",
    ),
    (GONE, "send_json"): (
        ConnectionClosed,
        "send_json() on a WebSocket that was closed by the client with 1001",
    ),
}


@pytest.mark.parametrize(("state", "what"), list(SENTENCES))
def test_the_error_for_misuse_names_the_action_and_the_state(state: str, what: str) -> None:
    kind, sentence = SENTENCES[state, what]
    error = in_state(state).refusal(what)
    assert (type(error), str(error)) == (kind, sentence)


def test_the_first_reason_to_end_counts() -> None:
    progress = in_state(OPEN)
    assert progress.end(LEAVE, 1001, "away")
    assert not progress.end(CLOSE, 1000, "")
    assert (progress.state, progress.code, progress.reason) == (GONE, 1001, "away")
    error = progress.closed()
    seen = (error.code, error.reason, str(error))
    assert seen == (1001, "away", "the WebSocket is closed: 1001 away")
    assert ConnectionClosed().code == Progress().closed().code == 1006


def test_a_message_error_is_a_value_error_and_a_connection_closed() -> None:
    assert issubclass(MessageError, ConnectionClosed)
    assert issubclass(MessageError, ValueError)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, *range(1007, 1010), 1011, 1012, 1013, 1014, 3000, 4000, 4999]
)
def test_valid_close_codes_can_be_sent(code: int) -> None:
    check_code(code)


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1010, 1015, 1016, 2999, 5000, -1, True, "1000", None, 1000.0]
)
def test_R55_reserved_close_codes_are_refused(code: Any) -> None:
    with pytest.raises(ValueError, match="can't be closed with"):
        check_code(code)


@given(st.text(max_size=200))
def test_R55_a_close_reason_fits_a_frame_and_ends_at_a_whole_character(reason: str) -> None:
    fitted = truncate_reason(reason)
    assert len(fitted.encode()) <= 123
    whole = reason.encode("utf-8", "replace").decode()
    assert whole.startswith(fitted)
    assert fitted == whole or len(whole[: len(fitted) + 1].encode()) > 123


@pytest.mark.parametrize(
    ("content", "limit", "too_big"),
    [
        ("abc", 3, False),
        ("abcd", 3, True),
        ("ééé", 6, False),
        ("ééé", 5, True),
        (b"abc", 3, False),
        (b"abcd", 3, True),
        ("", 0, False),
        ("\ud800" * 4, 3, True),
        ("\U0001f967", 4, False),
        ("\U0001f967", 3, True),
    ],
)
def test_R57_a_message_s_size_is_measured_in_bytes(
    content: str | bytes, limit: int, too_big: bool
) -> None:
    assert is_too_big(content, limit) is too_big


# Origin, scheme, host, others, whether it may.
ORIGINS: list[tuple[str | None, str, str, list[str], bool]] = [
    (None, "https", "a.test", [], True),
    ("https://a.test", "https", "a.test", [], True),
    ("http://a.test", "http", "a.test", [], True),
    ("HTTPS://A.Test", "https", "a.test", [], True),
    ("https://a.test:443", "https", "a.test", [], True),
    ("https://a.test", "https", "a.test:443", [], True),
    ("http://a.test", "http", "a.test:80", [], True),
    ("http://a.test:8000", "http", "a.test:8000", [], True),
    ("http://[::1]:8000", "http", "[::1]:8000", [], True),
    ("http://a.test", "https", "a.test", [], False),
    ("https://a.test", "http", "a.test", [], False),
    ("http://a.test:8001", "http", "a.test:8000", [], False),
    ("http://a.test", "http", "a.test:443", [], False),
    ("https://evil.test", "https", "a.test", [], False),
    ("https://a.test.evil.test", "https", "a.test", [], False),
    ("https://evila.test", "https", "a.test", [], False),
    ("https://a.test@evil.test", "https", "a.test", [], False),
    ("https://user@a.test", "https", "a.test", [], False),
    ("https://a.test/", "https", "a.test", [], False),
    ("https://a.test, https://a.test", "https", "a.test", [], False),
    ("https://evil.test\thttps://a.test", "https", "a.test", [], False),
    ("null", "https", "a.test", [], False),
    ("", "https", "a.test", [], False),
    ("file://", "https", "a.test", [], False),
    ("a.test", "https", "a.test", [], False),
    ("https://b.test", "https", "a.test", ["https://b.test"], True),
    ("https://b.test:443", "https", "a.test", ["https://B.test"], True),
    ("https://a.test", "https", "a.test", ["https://b.test"], True),
    ("http://b.test", "https", "a.test", ["https://b.test"], False),
    ("https://c.b.test", "https", "a.test", ["https://b.test"], False),
    ("chrome-extension://abcdef", "https", "a.test", ["chrome-extension://abcdef"], True),
    ("https://c.b.test", "https", "a.test", ["https://*.b.test"], True),
    ("https://d.c.b.test:443", "https", "a.test", ["HTTPS://*.B.test"], True),
    ("https://c.b.test:8443", "https", "a.test", ["https://*.b.test:8443"], True),
    ("https://b.test", "https", "a.test", ["https://*.b.test"], False),
    ("https://.b.test", "https", "a.test", ["https://*.b.test"], False),
    ("https://cb.test", "https", "a.test", ["https://*.b.test"], False),
    ("http://c.b.test", "https", "a.test", ["https://*.b.test"], False),
    ("https://c.b.test:8443", "https", "a.test", ["https://*.b.test"], False),
    ("https://evil.test", "https", "a.test", ["*"], True),
    ("null", "https", "a.test", ["*"], True),
]


@pytest.mark.parametrize(("origin", "scheme", "host", "others", "allowed"), ORIGINS)
def test_R52_origins_are_compared_with_the_host(
    origin: str | None, scheme: str, host: str, others: list[str], allowed: bool
) -> None:
    assert is_allowed_origin(origin, scheme, host, others) is allowed


@pytest.mark.parametrize(
    "value",
    ["https://a.test", "http://a.test:8000", "*", "chrome-extension://abc", "https://*.a.test"],
)
def test_valid_origins_are_accepted(value: str) -> None:
    assert is_origin(value)


@pytest.mark.parametrize("value", [
    "a.test", "https://a.test/", "https://*.test", "https://a.test/x", "null", "", None, 5,
    "https://",
])  # fmt: skip
def test_invalid_origins_are_refused(value: Any) -> None:
    assert not is_origin(value)


def test_the_public_name_websocket_is_the_decorator() -> None:
    assert callable(decorator)
