"""Context variables: one context for each request, wherever its parts run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from micropie import App, HttpMiddleware
from tests.support.clients import MakeClient

seen: ContextVar[str] = ContextVar("seen", default="")
own: ContextVar[str] = ContextVar("own", default="none")


def add(mark: str) -> str:
    seen.set(seen.get() + mark)
    return seen.get()


class Root(App):
    def sync(self) -> str:
        return add("s")

    async def asynchronous(self) -> str:
        await checkpoint()
        return add("a")

    def fails(self) -> str:
        add("f")
        raise KeyError

    async def fails_later(self) -> str:
        add("g")
        raise KeyError

    def chunks(self) -> Iterator[str]:
        for _ in range(5):
            yield add("c")

    async def async_chunks(self) -> AsyncIterator[str]:
        for _ in range(5):
            await checkpoint()
            yield add("c")

    async def quick_chunks(self) -> AsyncIterator[str]:
        for _ in range(5):
            yield add("c")


class Sync(HttpMiddleware):
    def before_request(self, request: Any) -> None:
        add("<")

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("x-seen", add(">")))


class Async(HttpMiddleware):
    async def before_request(self, request: Any) -> None:
        await checkpoint()
        add("(")

    async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("x-seen", add(")")))


def around(request: Any) -> Any:
    add("[")
    try:
        response = yield
    except Exception:
        return 500, "failed", {"x-seen": add("]")}
    response.headers.add("x-seen", add("]"))


async def async_around(request: Any) -> Any:
    add("{")
    try:
        response = yield
    except Exception:
        yield 500, "failed", {"x-seen": add("}")}
    else:
        response.headers.add("x-seen", add("}"))


@pytest.mark.parametrize(
    ("middleware", "begin", "end"),
    [(Sync(), "<", ">"), (Async(), "(", ")"), (around, "[", "]"), (async_around, "{", "}")],
    ids=["def", "async def", "generator", "async generator"],
)
@pytest.mark.parametrize(
    ("path", "mark"),
    [("sync", "s"), ("asynchronous", "a"), ("fails", "f"), ("fails_later", "g"), ("chunks", "")],
)
def test_R68_hook_and_handler_see_each_other_s_context_variables(
    make_client: MakeClient, middleware: Any, begin: str, end: str, path: str, mark: str
) -> None:
    app = Root()
    app.middlewares.append(middleware)
    client = make_client(app)
    for _ in range(2):  # nothing is left of the first request when the second comes
        answer = client.get(f"/{path}")
        assert answer.headers["x-seen"] == begin + mark + end
        if mark in ("s", "a"):
            assert answer.text == begin + mark


@pytest.mark.parametrize("path", ["chunks", "async_chunks", "quick_chunks"])
def test_R68_a_stream_has_one_context_from_its_first_chunk_to_its_end(
    make_client: MakeClient, path: str
) -> None:
    app = Root()
    app.middlewares.extend([Sync(), Async()])
    client = make_client(app)
    for _ in range(2):
        assert client.get(f"/{path}").text == "".join("<()>" + "c" * count for count in range(1, 6))


class Resets(App):
    """What a generator sets before its first chunk it may reset at its end, as Flask's
    ``stream_with_context`` does.
    """

    def sync(self) -> Iterator[str]:
        token = own.set("set")
        try:
            yield own.get()
            yield own.get()
        finally:
            own.reset(token)
        yield own.get()

    async def quick(self) -> AsyncIterator[str]:
        token = own.set("set")
        try:
            yield own.get()
            yield own.get()
        finally:
            own.reset(token)
        yield own.get()

    async def waits(self) -> AsyncIterator[str]:
        token = own.set("set")
        try:
            yield own.get()
            await checkpoint()
            yield own.get()
        finally:
            own.reset(token)
        yield own.get()


@pytest.mark.parametrize("path", ["sync", "quick", "waits"])
def test_R68_a_stream_may_reset_at_its_end_a_variable_set_at_its_beginning(
    make_client: MakeClient, path: str
) -> None:
    client = make_client(Resets())
    assert client.get(f"/{path}").text == "setsetnone"
    assert own.get() == "none"
    with client.stream("GET", f"/{path}") as answer:  # and where its client leaves in the middle
        next(answer.iter_raw())
    assert client.get(f"/{path}").text == "setsetnone"


class Bound(App):
    def sync(self) -> str:
        return own.get()

    async def asynchronous(self) -> str:
        await checkpoint()
        return own.get()


class Outside(HttpMiddleware):
    """Tells what is left of the variable when the inner middleware has ended."""

    def before_request(self, request: Any) -> None:
        assert own.get() == "none"

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("x-own", own.get()))


class AsyncPair(HttpMiddleware):
    """Sets a variable in an async hook, and resets it in another one."""

    async def before_request(self, request: Any) -> None:
        await checkpoint()
        request.state.token = own.set("bound")

    async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        own.reset(request.state.token)


async def async_generator(request: Any) -> Any:
    token = own.set("bound")
    yield
    own.reset(token)


@pytest.mark.parametrize("inner", [AsyncPair(), async_generator], ids=["hooks", "generator"])
@pytest.mark.parametrize("path", ["sync", "asynchronous"])
def test_an_async_part_may_reset_a_variable_that_another_has_set(
    make_client: MakeClient, inner: Any, path: str
) -> None:
    app = Bound()
    app.middlewares.extend([Outside(), inner])
    client = make_client(app)
    for _ in range(2):
        answer = client.get(f"/{path}")
        assert (answer.status_code, answer.text) == (200, "bound")
        assert answer.headers["x-own"] == "none"
