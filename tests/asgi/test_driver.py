"""One request under ASGI: the messages that are sent, and that nothing more is asked of a server
than needed.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from micropie import App
from tests.asgi.calls import Call, get, http_scope, piece, run
from tests.support.threads import started_threads


class Root(App):
    async def index(self) -> str:
        return "index"

    def sync(self) -> Any:
        return {"a": 1}

    def nothing(self) -> Any:
        return 204, None


def test_a_fixed_response_is_two_messages(backend: str) -> None:
    assert run(backend, get, Root()).sent == [
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"x-content-type-options", b"nosniff"),
                (b"content-type", b"text/html; charset=utf-8"),
                (b"content-length", b"5"),
            ],
        },
        {"type": "http.response.body", "body": b"index"},
    ]


def test_a_204_response_is_two_messages(backend: str) -> None:
    assert run(backend, get, Root(), "/nothing").sent == [
        {"type": "http.response.start", "status": 204, "headers": []},
        {"type": "http.response.body", "body": b""},
    ]


def test_head_sends_an_empty_body(backend: str) -> None:
    call = run(backend, get, Root(), "/sync", "HEAD")
    assert (call.headers["content-length"], call.body) == ("7", b"")


@pytest.mark.parametrize("path", ["/", "/sync", "/nowhere", "/%ff"])
def test_an_unused_body_is_not_received(backend: str, path: str) -> None:
    assert run(backend, get, Root(), path, "POST").received == 0


def test_header_names_are_lower_case_bytes(backend: str) -> None:
    class Named(App):
        def index(self) -> Any:
            return 200, "x", {"X-OWN": "\xff"}

    assert (b"x-own", b"\xff") in run(backend, get, Named()).sent[0]["headers"]


def test_an_async_handler_needs_no_thread(backend: str) -> None:
    async def main() -> None:
        for path in ("/", "/nowhere"):
            await get(Root(), path)

    with started_threads() as started:
        run(backend, main)
    assert started == []


@pytest.mark.parametrize("headers", [(), iter(()), [[b"host", b"x"]]])
def test_request_headers_may_be_any_iterable(backend: str, headers: Any) -> None:
    assert run(backend, lambda: get(Root(), headers=list(headers))).status == 200


@pytest.mark.parametrize(
    ("client", "seen"),
    [
        (("127.0.0.1", "50000"), b'["127.0.0.1",50000]'),  # granian's port
        (["::1", 50000], b'["::1",50000]'),
        (("192.0.2.1", None), b'["192.0.2.1",0]'),
        (("", "0"), b"null"),  # granian's UNIX socket
        (None, b"null"),
    ],
)
def test_the_client_is_read_in_any_form_that_servers_use(
    backend: str, client: Any, seen: bytes
) -> None:
    class Looks(App):
        def index(self) -> Any:
            return 200, {"client": self.request.client}

    assert run(backend, lambda: get(Looks(), client=client)).body == b'{"client":' + seen + b"}"


def test_a_failing_send_raises_the_server_s_error(backend: str) -> None:
    async def broken(message: Any) -> None:
        raise RuntimeError("the server's own")

    async def main() -> None:
        await Root()(http_scope(), Call(piece(b"")).receive, broken)

    with pytest.raises(RuntimeError, match="the server's own"):
        run(backend, main)


def test_a_blocked_send_can_be_cancelled(backend: str) -> None:
    async def stuck(message: Any) -> None:
        await anyio.sleep_forever()

    async def main() -> bool:
        with anyio.move_on_after(0.01) as scope:
            await Root()(http_scope(), Call(piece(b"")).receive, stuck)
        return scope.cancelled_caught

    assert run(backend, main)
