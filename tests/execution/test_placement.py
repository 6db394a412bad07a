"""Where a handler runs: what decorators, routes and settings say of it, and what is impossible."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from micropie import App, SetupError, get, route, run_in, where
from tests.support.clients import MakeClient

# The thread that answers: under WSGI the server's own, which is where a `def` runs whatever is said
# of it.
DEF_ON_LOOP = {"wsgi": "thread", "asyncio": "loop", "trio": "loop"}


class Root(App):
    def plain(self) -> str:
        return where()

    async def waits(self) -> str:
        return where()

    @run_in("loop")
    def quick(self) -> str:
        return where()

    @run_in("loop")
    def looped(self) -> str:
        return where()

    @run_in("loop")
    async def on_loop(self) -> str:
        return where()

    @run_in("thread")
    def slow(self) -> str:
        return where()

    @run_in("thread")
    def chunks(self) -> Iterator[str]:
        yield where()
        yield where()

    async def pieces(self) -> AsyncIterator[str]:
        yield where()

    @route("/routed/<name>")
    @run_in("loop")
    def routed(self, name: str) -> str:
        return where()

    @get
    @run_in("loop")
    def named(self) -> str:
        return where()

    @get("/overruled")
    @run_in("thread")
    @run_in("loop")
    def first(self) -> str:
        return where()

    @staticmethod
    @run_in("loop")
    def static_one() -> str:
        return where()


@pytest.mark.parametrize("path", ["/plain", "/slow", "/overruled"])
def test_def_handlers_run_in_a_thread(make_client: MakeClient, path: str) -> None:
    assert make_client(Root()).get(path).text == "thread"


@pytest.mark.parametrize("path", ["/waits", "/on_loop", "/pieces"])
def test_async_handlers_run_on_the_loop(make_client: MakeClient, path: str) -> None:
    assert make_client(Root()).get(path).text == "loop"


@pytest.mark.parametrize("path", ["/quick", "/looped", "/routed/a", "/named", "/static_one"])
def test_def_handlers_run_on_the_loop_if_declared(
    make_client: MakeClient, world: str, path: str
) -> None:
    assert make_client(Root()).get(path).text == DEF_ON_LOOP[world]


def test_a_def_generator_s_chunks_are_produced_in_a_thread(make_client: MakeClient) -> None:
    assert make_client(Root()).get("/chunks").text == "threadthread"


def test_run_in_can_be_an_application_s_default_with_exceptions(
    make_client: MakeClient, world: str
) -> None:
    root = Root(run_in="loop")
    root.inner = Root()
    root.other = Root(run_in="thread")
    client = make_client(root)
    assert client.get("/plain").text == DEF_ON_LOOP[world]
    assert client.get("/slow").text == "thread"
    assert client.get("/waits").text == "loop"
    assert client.get("/chunks").text == "threadthread"
    assert client.get("/inner/plain").text == DEF_ON_LOOP[world]
    assert client.get("/other/plain").text == "thread"
    assert client.get("/other/quick").text == DEF_ON_LOOP[world]


def test_functions_registered_as_routes_can_declare_run_in(
    make_client: MakeClient, world: str
) -> None:
    @run_in("loop")
    def quick() -> str:
        return where()

    app = App()
    for method in ("get", "post", "put", "patch", "delete"):
        getattr(app, method)("/function")(quick)
    app.route("/any")(quick)
    client = make_client(app)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        assert client.request(method, "/function").text == DEF_ON_LOOP[world]
    assert client.get("/any").text == DEF_ON_LOOP[world]


def test_run_in_is_found_below_decorators_and_partials(make_client: MakeClient, world: str) -> None:
    def shouting(function: Any) -> Any:
        @functools.wraps(function)
        def shout(*args: Any) -> Any:
            return function(*args).upper()

        return shout

    app: Any = App()
    app.wrapped = route()(shouting(run_in("loop")(where)))
    app.partial = route()(
        functools.partial(run_in("loop")(lambda prefix: prefix + where()), "in the ")
    )
    client = make_client(app)
    assert client.get("/wrapped").text == DEF_ON_LOOP[world].upper()
    assert client.get("/partial").text == "in the " + DEF_ON_LOOP[world]


def test_a_plain_thread_counts_as_a_thread() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(where()))
    thread.start()
    thread.join()
    assert found == ["thread"]


class Waiting(App):
    @run_in("thread")
    async def handler(self) -> None: ...


class WaitingChunks(App):
    @run_in("thread")
    async def handler(self) -> AsyncIterator[str]:
        yield ""


class WaitingRoute(App):
    @get("/there")
    @run_in("thread")
    async def handler(self) -> None: ...


class Chunks(App):
    @run_in("loop")
    def handler(self) -> Iterator[str]:
        yield ""


class PartialWaiting(App):
    handler = functools.partialmethod(Waiting.handler)


@pytest.mark.parametrize(
    ("app", "says"),
    [
        (Waiting, "write def to run it in a thread"),
        (WaitingChunks, "write def to run it in a"),
        (WaitingRoute, "write def to run it in a"),
        (PartialWaiting, "write def to run it in a"),
        (Chunks, "written with def, which can't run on the event loop"),
    ],
)
def test_an_impossible_placement_raises_a_setup_error(app: type[App], says: str) -> None:
    with pytest.raises(SetupError, match=says) as caught:
        app()._micropie.compiled()
    assert "handler" in str(caught.value)


def test_a_start_function_that_no_process_can_import_raises_a_setup_error() -> None:
    async def load() -> None: ...

    for function, says in (
        (lambda: None, "Define it with def at a module's top level"),
        (load, "write def to run it in a process"),
    ):
        with pytest.raises(SetupError, match=says):
            App(pool_startup=[function])._micropie.compiled()


@pytest.mark.parametrize("wrong", ["portal", "Loop", "", None, 5, ["loop"], run_in])
def test_an_unknown_placement_raises_a_setup_error(wrong: Any) -> None:
    with pytest.raises(SetupError, match='run_in takes "loop"') as caught:
        run_in(wrong)
    assert repr(wrong) in str(caught.value)
