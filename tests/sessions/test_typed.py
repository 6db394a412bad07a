"""``Session[Cart]``: an object of the author's class, whose fields are keys of the session."""

from __future__ import annotations

import enum
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, NotRequired, TypedDict
from uuid import UUID

import anyio
import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import micropie.sessions
from micropie import (
    App,
    HTTPError,
    InMemorySessionBackend,
    Request,
    Session,
    SessionBackend,
    SetupError,
    post,
    requires,
    run_in,
)
from micropie.sessions import SignedCookieSessionBackend
from tests.support.clients import MakeClient

SECRET = "secret" * 8


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


@dataclass
class Line:
    name: str
    price: Decimal


FIELDS: dict[str, tuple[Any, Callable[[], Any], Any]] = {
    # name: annotation, default, values
    "day": (date | None, lambda: None, st.none() | st.dates()),
    "at": (datetime | None, lambda: None, st.none() | st.datetimes()),
    "total": (
        Decimal,
        lambda: Decimal(0),
        st.decimals(
            allow_nan=False, allow_infinity=False, min_value=-1_000_000, max_value=1_000_000
        ),
    ),
    "size": (Size, lambda: Size.SMALL, st.sampled_from(Size)),
    "key": (UUID | None, lambda: None, st.none() | st.uuids()),
    "wait": (
        timedelta,
        timedelta,
        st.timedeltas(min_value=timedelta(-999), max_value=timedelta(999)),
    ),
    "names": (list[str], list, st.lists(st.text(st.characters(codec="utf-8")))),
    "counts": (
        dict[str, int],
        dict,
        st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers(-(2**60), 2**60)),
    ),
    "data": (bytes, bytes, st.binary()),
    "ratio": (float, float, st.floats(allow_nan=False, allow_infinity=False)),
    "is_open": (bool, lambda: False, st.booleans()),
}
HINTS = {name: hint for name, (hint, _, _) in FIELDS.items()}
EMPTY = {name: make() for name, (_, make, _) in FIELDS.items()}


def _defaults(factory: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(name, hint, factory(make)) for name, (hint, make, _) in FIELDS.items()]


KINDS: dict[str, Any] = {
    "dataclass": make_dataclass("Kept", _defaults(lambda make: field(default_factory=make))),
    "attrs": attrs.make_class(
        "Kept",
        {name: attrs.field(type=hint, factory=make) for name, (hint, make, _) in FIELDS.items()},
    ),
    "struct": msgspec.defstruct(
        "Kept", _defaults(lambda make: msgspec.field(default_factory=make)), rename="camel"
    ),
    "tagged": msgspec.defstruct(
        "Kept",
        _defaults(lambda make: msgspec.field(default_factory=make)),
        tag="kept",
        omit_defaults=True,
    ),
    "pydantic": pydantic.create_model(  # type: ignore[call-overload]
        "Kept",
        **{
            name: (hint, pydantic.Field(default_factory=make, alias=f"x-{name}"))
            for name, hint, make in _defaults(lambda make: make)
        },
        __config__=pydantic.ConfigDict(
            populate_by_name=True, ser_json_bytes="base64", val_json_bytes="base64"
        ),
    ),
    "typed dict": TypedDict("Kept", HINTS, total=False),  # type: ignore[operator]
}


def put(kept: Any, values: dict[str, Any]) -> None:
    if isinstance(kept, dict):
        kept.update(values)
    else:
        for name, value in values.items():
            setattr(kept, name, value)


def fields_in(kept: Any) -> dict[str, Any]:
    return kept if isinstance(kept, dict) else {name: getattr(kept, name) for name in FIELDS}


def site(kind: Any, backend: SessionBackend | None = None) -> Any:
    """Return an application that keeps an object of this class, and the list of what its handler
    got. ``site.values`` are set on the object.
    """

    class Root(App):
        def index(self, kept: Any) -> None:
            app.got = {**fields_in(kept)}
            put(kept, app.values)

    Root.index.__annotations__["kept"] = Session[kind]  # type: ignore[misc]
    app: Any = Root(backend or InMemorySessionBackend())
    app.values, app.got = {}, None
    return app


SAMPLES = {
    "day": date(2026, 1, 31),
    "at": datetime(2026, 1, 31, 12, 30, 0, 5),
    "total": Decimal("1.10"),
    "size": Size.LARGE,
    "key": UUID(int=5),
    "wait": timedelta(days=1, microseconds=1),
    "names": ["a", "ü"],
    "counts": {"a": 2**60},
    "data": b"\0\xff",
    "ratio": 0.1,
    "is_open": True,
}


@pytest.mark.parametrize("name", KINDS)
def test_the_fields_last_in_each_backend(
    make_client: MakeClient, backend: SessionBackend, name: str
) -> None:
    app = site(KINDS[name], backend)
    client = make_client(app)
    app.values = SAMPLES
    assert "set-cookie" in client.get("/").headers
    app.values = {"total": Decimal("2.20")}
    client.get("/")
    assert app.got == SAMPLES
    app.values = {}
    client.get("/")
    assert app.got == SAMPLES | {"total": Decimal("2.20")}


@pytest.mark.parametrize("name", KINDS)
def test_an_object_that_does_not_change_stores_nothing(make_client: MakeClient, name: str) -> None:
    app = site(KINDS[name])
    answer = make_client(app).get("/")
    assert app.got == ({} if name == "typed dict" else EMPTY)
    assert "set-cookie" not in answer.headers


@pytest.fixture(scope="module", params=KINDS)
def random_site(request: pytest.FixtureRequest) -> Iterator[Any]:
    from tests.support.clients import connecting

    with connecting() as connect:
        app = site(KINDS[request.param])
        yield app, connect(app, "wsgi")


@given(
    st.lists(st.fixed_dictionaries({}, optional={n: f[2] for n, f in FIELDS.items()}), max_size=3)
)
def test_all_values_are_read_as_they_were_set(
    random_site: Any, steps: list[dict[str, Any]]
) -> None:
    app, client = random_site
    client.cookies.clear()
    expected: dict[str, Any] | None = None
    for values in [*steps, {}]:
        app.values = values
        assert client.get("/").status_code == 200
        expected = app.got if expected is None else expected
        assert app.got == expected
        expected = {**expected, **values}


MANY = 30
Many: Any = make_dataclass("Many", [(f"n{number}", int, 0) for number in range(MANY)])


class Writers(App):
    """Handlers that all have their object before any of them changes it."""

    def __init__(self, backend: SessionBackend) -> None:
        super().__init__(backend)
        self.waiting, self.all_here = 0, anyio.Event()

    def index(self, many: Session[Many]) -> Any:
        return many

    @post
    async def begin(self, many: Session[Many]) -> None:
        many.n0 = -1
        self.waiting, self.all_here = 0, anyio.Event()

    @post
    async def write(self, number: int, *, many: Session[Many]) -> None:
        self.waiting += 1
        if self.waiting == MANY:
            self.all_here.set()
        await self.all_here.wait()
        setattr(many, f"n{number}", number)


def test_thirty_requests_at_once_change_a_field_each(
    make_client: MakeClient, shared: SessionBackend
) -> None:
    client = make_client(Writers(shared), validate=False)
    client.post("/begin")
    with ThreadPoolExecutor(MANY) as pool:
        done = [*pool.map(lambda one: client.post(f"/write/{one}").status_code, range(MANY))]
    assert done == [200] * MANY
    assert client.get("/").json() == {f"n{number}": number for number in range(MANY)}


# -- beside the dict -------------------------------------------------------------------------------


@dataclass
class Cart:
    items: list[str] = field(default_factory=list)
    count: Annotated[int, msgspec.Meta(ge=0)] = 0


class Loose(TypedDict):
    note: NotRequired[str]


def cart_of(session: Session[Cart]) -> Cart:
    return session


def has_items(request: Request, cart: Annotated[Cart, cart_of]) -> bool:
    cart.count += 10
    return bool(cart.items)


class Shop(App):
    def index(self, cart: Session[Cart]) -> Any:
        return [cart, dict(self.request.session)]

    @post
    def add(self, item: str, *, cart: Session[Cart]) -> Any:
        cart.items.append(item)
        return dict(self.request.session)

    @post
    def both(self, cart: Session[Cart]) -> Any:
        """The object wins where it has changed."""
        session = self.request.session
        cart.count = 1
        session["count"], session["items"] = 2, ["dict"]
        counted = session.update_atomic("hits", lambda number: (number or 0) + 1)
        return [cart, counted]

    @post
    def later(self) -> Any:
        session = self.request.session
        return [session.update_atomic("count", lambda number: (number or 0) + 5)]

    @post
    def leave(self, stays: str, *, cart: Session[Cart]) -> Any:
        cart.items.append("left")
        self.request.session.clear()
        if stays:
            cart.count = 7

    @post
    def renew(self, cart: Session[Cart]) -> None:
        self.request.session.regenerate()
        cart.count = 3

    @post
    def back(self, cart: Session[Cart]) -> None:
        cart.count = 0

    @post
    def refused(self, cart: Session[Cart]) -> None:
        cart.count = 4
        raise HTTPError(409)

    def stream(self, cart: Session[Cart]) -> Iterator[str]:
        cart.count = 5
        yield "a"
        cart.count = 6
        yield "b"

    @post
    def wrong(self, cart: Session[Cart]) -> str:
        cart.count = -1
        return "x"

    def with_provider(
        self, mine: Annotated[Cart, cart_of], loose: Session[Loose], *, cart: Session[Cart]
    ) -> Any:
        assert mine is cart
        with self.request.resource(cart_of) as same:
            assert same is cart
        return loose

    @requires(has_items)
    def checked(self, cart: Session[Cart]) -> Any:
        return cart.count

    @post
    def note(self, text: str, *, loose: Session[Loose]) -> Any:
        if text:
            loose["note"] = text
        else:
            del loose["note"]


@pytest.fixture
def shop(make_client: MakeClient) -> Any:
    return make_client(Shop())


def stored(client: Any) -> Any:
    return client.get("/").json()[1]


def test_the_dict_shows_changed_fields(shop: Any) -> None:
    assert shop.post("/add/pie").json() == {"items": ["pie"]}
    assert shop.get("/").json() == [{"items": ["pie"], "count": 0}, {"items": ["pie"]}]


def test_a_changed_field_wins_over_the_dict(shop: Any) -> None:
    assert shop.post("/both").json() == [{"items": [], "count": 1}, 1]
    assert stored(shop) == {"count": 1, "items": ["dict"], "hits": 1}
    assert shop.post("/later").json() == [6]
    assert shop.post("/both").json()[1] == 2


def test_a_field_with_its_default_again_stays_stored(shop: Any) -> None:
    shop.post("/both")
    shop.post("/back")
    assert stored(shop)["count"] == 0


@pytest.mark.parametrize("stays", ["", "yes"])
def test_after_clear_only_later_changes_are_stored(shop: Any, stays: str) -> None:
    shop.post("/add/pie")
    old = shop.cookies["session_id"]
    shop.post(f"/leave?stays={stays}")
    assert stored(shop) == ({"count": 7} if stays else {})
    assert shop.cookies.get("session_id") != old


def test_regenerate_keeps_the_fields(shop: Any) -> None:
    shop.post("/add/pie")
    old = shop.cookies["session_id"]
    shop.post("/renew")
    assert stored(shop) == {"items": ["pie"], "count": 3}
    assert shop.cookies["session_id"] != old


def test_a_refused_request_stores_its_changes(shop: Any) -> None:
    assert shop.post("/refused").status_code == 409
    assert stored(shop) == {"count": 4}


def test_a_stream_stores_what_it_changes_before_its_first_chunk(shop: Any) -> None:
    assert shop.get("/stream").text == "ab"
    assert stored(shop) == {"count": 5}


def test_providers_checks_and_handlers_share_the_object(shop: Any) -> None:
    assert shop.get("/with_provider").json() == {}
    assert shop.get("/checked").status_code == 403
    shop.post("/add/pie")
    assert shop.get("/checked").json() == 20
    assert stored(shop) == {"items": ["pie"], "count": 20}


def test_a_removed_key_of_a_typed_dict_is_removed(shop: Any) -> None:
    shop.post("/note", data={"text": "x"})
    assert stored(shop) == {"note": "x"}
    shop.post("/note", data={"text": ""})
    assert stored(shop) == {}


def test_a_value_that_could_not_be_read_again_is_not_stored(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Shop()
    app.error(500)(lambda error: f"sorry {dict(app.request.session)}")
    client = make_client(app)
    answer = client.post("/wrong")
    assert (answer.status_code, answer.text) == (500, "sorry {}")
    assert [
        one.exc_text and "the next request couldn't read" in one.exc_text for one in caplog.records
    ] == [True]
    assert stored(client) == {}


# -- stored values that are no longer valid --------------------------------------------------------


class Pair(pydantic.BaseModel):
    low: int = 0
    high: int = 10

    @pydantic.model_validator(mode="after")
    def check(self) -> Any:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Old(App):
    @post
    def store(self, text: str) -> None:
        self.request.session.update(json.loads(text))

    def look(self) -> Any:
        return dict(self.request.session)

    def cart(self, cart: Session[Cart]) -> Any:
        return cart

    def pair(self, pair: Session[Pair]) -> Any:
        return pair


@pytest.mark.parametrize(
    ("path", "old", "read", "about"),
    [
        ("/cart", {"items": 5, "count": 2}, {"items": [], "count": 2}, "items"),
        ("/cart", {"items": 5, "count": -2}, {"items": [], "count": 0}, "count, items"),
        ("/pair", {"low": 7, "high": 6}, {"low": 0, "high": 10}, "high, low"),
        ("/pair", {"low": 7, "high": "x"}, {"low": 7, "high": 10}, "high"),
    ],
)
def test_invalid_stored_values_become_defaults_and_are_logged_once(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    path: str,
    old: Any,
    read: Any,
    about: str,
) -> None:
    client = make_client(Old())
    client.post("/store", data={"text": json.dumps(old)})
    with caplog.at_level(logging.WARNING, "micropie"):
        assert [client.get(path).json() for _ in range(2)] == [read, read]
    (line,) = caplog.messages
    assert line.endswith(f"get their defaults: {about}")
    assert client.get("/look").json() == old


# -- set-up ----------------------------------------------------------------------------------------


@dataclass
class Needing:
    user: str
    day: date


class TwoNames(pydantic.BaseModel):
    name: str = pydantic.Field("", validation_alias="n", serialization_alias="m")


class Locked(pydantic.BaseModel):
    keys: list[pydantic.SecretStr | None] = []


class Listed(msgspec.Struct, array_like=True):
    name: str = ""


class Sure(TypedDict):
    name: str


def compiled(handler: Any) -> None:
    app = App()
    app.get("/")(handler)
    app._micropie.compiled()


@pytest.mark.parametrize(
    ("hint", "advice"),
    [
        (Session[Needing], "Needing has no default for 'user', 'day': add one"),
        (Session[Sure], "Sure has no default for 'name': .* write NotRequired"),
        (Session[TwoNames], "TwoNames reads 'n', but doesn't write it"),
        (Session[Locked], "Locked contains a SecretStr, whose value isn't written"),
        (Session[Listed], "an empty session can't be a Listed: Expected `array`"),
        (Session[int], "takes one class with fields"),
        (Session[list[Cart]], "takes one class with fields"),
        (Session, "takes one class with fields"),
        (Session[Cart] | None, "takes one class with fields"),
        (micropie.sessions.Session, r"write Session\[Cart\] for a class Cart"),
        (micropie.sessions.Session[Cart], r"write Session\[Cart\] for a class Cart"),  # type: ignore[misc]
    ],
)
def test_other_annotations_are_refused_at_set_up(hint: Any, advice: str) -> None:
    def handler(kept: Any) -> None: ...

    handler.__annotations__["kept"] = hint
    with pytest.raises(SetupError, match=advice):
        compiled(handler)


@run_in("process")
def pooled(cart: Session[Cart]) -> None: ...


@run_in("process")
def pooled_by_provider(cart: Annotated[Cart, cart_of]) -> None: ...


@pytest.mark.parametrize("handler", [pooled, pooled_by_provider])
def test_a_process_cannot_have_one(handler: Any) -> None:
    with pytest.raises(SetupError, match="where it can't change the session: read self"):
        compiled(handler)


def test_links_and_documents_do_not_mention_it() -> None:
    app = Shop()
    assert app.url_for("add", "pie") == "/add/pie"
    with pytest.raises(ValueError, match="no link can fill the parameter 'cart'"):
        app.url_for("add", "pie", cart=Cart())
    document = json.dumps(app.openapi())
    assert '"item"' in document
    assert "cart" not in document.lower()
    assert "loose" not in document.lower()


def test_a_signed_cookie_is_read_and_written(make_client: MakeClient) -> None:
    client = make_client(Shop(SignedCookieSessionBackend(SECRET)))
    client.post("/add/pie")
    client.post("/add/tart")
    assert stored(client) == {"items": ["pie", "tart"]}
