"""An author's certain errors raise ``SetupError`` before the first request, with what to write."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

from micropie import (
    App,
    Request,
    SetupError,
    describe,
    get,
    hidden,
    post,
)
from micropie.middleware import RateLimit
from tests.support.clients import MakeClient


def refusal(make: Callable[[], App]) -> str:
    """Return what is said where an application is made or compiled."""
    with pytest.raises(SetupError) as caught:
        make()._micropie.compiled()
    return str(caught.value)


class Depends:
    """Stands for FastAPI's, by its module."""

    __module__ = "fastapi.params"


DEPENDS: Any = Depends()


class Provide:
    """Stands for dependency_injector's, by its module."""

    __module__ = "dependency_injector.wiring"

    def pies(self) -> str:
        return "apple"


PROVIDE: Any = Provide()


class Wired(App):
    def index(self, _pies: Any = PROVIDE, *, pies: Any = PROVIDE) -> str:
        return "x"


class Asks(App):
    def index(self, request):  # type: ignore[no-untyped-def]
        return "x"


class Injects(App):
    def index(self, db: Any = DEPENDS) -> str:
        return "x"


class Static(App):
    @staticmethod
    def index(self):  # type: ignore[no-untyped-def] # noqa: PLW0211
        return "x"


class Unbound:
    """A decorator that makes no method, because Python doesn't bind its objects."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)

    def __call__(self) -> None: ...


class Counted(App):
    @Unbound
    def index(self):  # type: ignore[no-untyped-def]
        return "x"


class Socket(App):
    async def ws_chat(self, ws: Any) -> None: ...


class SocketByName(App):
    async def chat(self, ws):  # type: ignore[no-untyped-def]
        await ws.accept()


class TooLarge(App):
    @post
    def order(self, order: Order) -> str:
        return "x"


@dataclasses.dataclass
class Order:
    number: Annotated[int, msgspec.Meta(lt=2**63)]


def one_hook() -> App:
    class Limited(App):
        middlewares = RateLimit(5)  # type: ignore[assignment]

    return Limited()


def no_hooks() -> App:
    class Bare(App):
        middlewares = None  # type: ignore[assignment]

    return Bare()


def health_with_argument() -> App:
    app = App()
    app.health("/health", {"db": lambda request: True})  # type: ignore[dict-item, misc]
    return app


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Asks, "write request: Request. If you want a value from the query, write request: str"),
        (
            Injects,
            "parameter 'db': Depends of fastapi can't be used here: write a parameter such as db: Db",
        ),
        (
            Wired,
            "'pies': Provide of dependency_injector can't be used here: write a name with _",
        ),
        (Static, "'self': nothing passes self, so it would be read from the query: leave out self"),
        (Counted, "the decorator that makes this no method, such as @staticmethod"),
        (
            SocketByName,
            "write async def ws_name(self, ws), or @websocket above async def name(self, ws)",
        ),
        (TooLarge, "TooLarge.order: the types of its parameters are invalid: Integer bounds"),
        (one_hook, "must be a list: write middlewares = [...]"),
        (no_hooks, "Bare.middlewares must be a list: write middlewares = [...]"),
        (health_with_argument, "a dict of functions without parameters"),
        (lambda: App(title="Shop"), "write docs=Docs(title=...)"),  # type: ignore[call-arg]
        (lambda: describe("Bakes."), 'write describe(summary="Bake a pie.")'),  # type: ignore[arg-type]
        (lambda: describe(status_code=201), "no status_code: write status=..."),  # type: ignore[arg-type]
        (lambda: describe(model=Order), "no model: write response_model=..."),  # type: ignore[arg-type]
    ],
)
def test_author_errors_are_reported_at_startup(make: Callable[[], App], words: str) -> None:
    assert words in refusal(make)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: App(prefix="/api"), 'write app.mount("/prefix", Shop())'),  # type: ignore[call-arg]
        (lambda: App(middleware=[]), "write app.middlewares.append"),  # type: ignore[call-arg]
        (lambda: App("shop"), "not 'shop'. If you passed a name, as in App(__name__), write App()"),  # type: ignore[arg-type]
        (lambda: get("/pies", status_code=201), 'no status_code: write "return 201, pie" in the'),  # type: ignore[call-overload]
        (lambda: App().get("/pies/:name") and App(), "write <name> for :name"),
    ],
)
def test_arguments_of_other_frameworks_are_reported_at_startup(
    make: Callable[[], App], words: str
) -> None:
    assert words in refusal(make)


def test_a_websocket_handler_without_a_url_is_reported_at_startup(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Socket(expose="explicit", debug=True)._micropie.compiled()
    assert "Socket.ws_chat has no URL" in caplog.text


def test_intentional_signatures_are_not_refused(make_client: MakeClient) -> None:
    class Fine(App):
        def index(self, request: str, self_: str = "s") -> str:
            return request

        def fallback(self, request="none"):  # type: ignore[no-untyped-def]
            return request

        def own(self, request: Request) -> str:
            return request.path

    class Quiet(App):
        @hidden
        async def ws_helper(self) -> None: ...

        def ws_count(self) -> int:
            return 1

        @get
        def index(self) -> int:
            return self.ws_count()

    client = make_client(Fine())
    assert client.get("/?request=text").text == "text"
    assert client.get("/fallback").text == "none"
    assert client.get("/own").text == "/own"
    assert make_client(Quiet(expose="explicit")).get("/").text == "1"


def test_text_is_not_accepted_as_a_utc_offset() -> None:
    class Wrong(App):
        def index(self, at: Annotated[str, msgspec.Meta(tz=True)]) -> str:
            return at

    assert "no str is with an offset" in refusal(Wrong)


def test_run_is_not_a_handler() -> None:
    with pytest.raises(SetupError, match=r'@route\("/run"\) above it keeps its path'):

        class Starts(App):
            def run(self) -> str:  # type: ignore[override]
                return "started"

    class Serves(App):
        @hidden
        def run(self, **options: Any) -> None:
            raise LookupError("serves by itself")

    with pytest.raises(LookupError, match="serves by itself"):
        Serves().run(port=1)
