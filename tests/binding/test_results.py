"""The annotation of a result: only the fields of the structure that it names are sent."""

from __future__ import annotations

import enum
import json
import re
import sqlite3
import sys
import typing
from collections import ChainMap, Counter, OrderedDict, UserList, defaultdict, deque
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Container,
    Coroutine,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Reversible,
    Sequence,
    Set,
    ValuesView,
)
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from threading import get_ident
from time import thread_time
from types import SimpleNamespace
from typing import (  # noqa: UP035
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    List,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    cast,
)

import msgspec
import pydantic
import pytest
import typing_extensions

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Request,
    Response,
    SetupError,
    describe,
    get,
    requires,
    run_in,
)
from micropie._core.binding import answers_of, result_filter
from micropie._core.binding.signatures.results import EncodedResult
from micropie._core.binding.structures.makers import SCALARS
from micropie._core.binding.values.finder import Finder
from micropie._core.binding.values.limits import check_result, has_chosen_hashes
from micropie._core.errors import ResponseError
from micropie._core.http.json import dumps
from tests.support.clients import MakeClient
from tests.support.decorators import foreign
from tests.support.results import shown

if TYPE_CHECKING:
    from collections.abc import Sized  # which is not there at run time


@dataclass
class UserOut:
    name: str
    admin: bool = False


@dataclass
class User(UserOut):
    password: str = "secret"


@dataclass
class Card:
    name: str

    def __html__(self) -> str:
        return f"<b>{self.name}</b>"


class Struct(msgspec.Struct):
    name: str


class Model(pydantic.BaseModel):
    name: str


class Account(Model):
    password: str = "secret"


class Team(TypedDict):
    lead: UserOut


T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Page(Generic[T]):
    items: list[T]


class Shelf(msgspec.Struct, Generic[T], tag="shelf", rename="camel"):
    all_items: Sequence[T]


class Table(TypedDict, Generic[T]):
    rows: list[T]


class Book(msgspec.Struct, tag="book"):
    pages: dict[str, Page[UserOut]]
    first: tuple[Page[UserOut], int] | int | None = None


class Thick(Book, tag="book"):
    secret: str = "secret"


class Money:
    def __init__(self, amount: int) -> None:
        self.amount = amount


class Priced(pydantic.BaseModel, arbitrary_types_allowed=True):
    price: Money


class Dated(pydantic.BaseModel):
    day: Annotated[date, pydantic.PlainSerializer(lambda day: day.year, when_used="json")]


class Collar(pydantic.BaseModel):
    is_new: bool = pydantic.Field(alias="isNew")


class Dog(pydantic.BaseModel):
    is_loud: bool = pydantic.Field(alias="isLoud")
    size: int = pydantic.Field(5, serialization_alias="cm")
    collars: list[Collar] = pydantic.Field([Collar(isNew=True)], alias="allCollars")


class Puppy(Dog):
    weeks: int = 6


class Session:
    is_open = True
    thread = 0


class Row:
    """A row of a database, read when its session is open."""

    def __init__(self, session: Session, password: str = "secret") -> None:
        self.session = session
        self.password = password

    @property
    def name(self) -> str:
        assert self.session.is_open
        self.session.thread = get_ident()
        return "ann"


class Rows:
    admin = 1
    name = "ann"
    password = "secret"


class Users(App):
    """A handler for each kind of annotation and result."""

    def from_object(self) -> UserOut:
        return Rows()  # type: ignore[return-value]

    def from_dict(self) -> Struct:
        return {"name": "ann", "password": "secret"}  # type: ignore[return-value]

    @run_in("loop")
    def from_derived(self) -> UserOut:
        return User("ann")

    async def from_model(self) -> Model:
        return Account(name="ann")

    @describe(response_model=UserOut)
    @foreign
    async def decorated(self) -> UserOut:
        return User("ann")

    def models(self) -> list[Model]:
        return [Model(name="bob"), Account(name="ann"), Rows()]  # type: ignore[list-item]

    def some(self) -> Sequence[UserOut]:
        return (User("ann"), UserOut("bob"))

    def nested(self) -> Team:
        return {"lead": User("ann"), "password": "secret"}  # type: ignore[typeddict-unknown-key]

    @describe(include_in_schema=False)
    def priced(self) -> Priced:
        return {"price": Money(5)}  # type: ignore[return-value]

    def dated(self) -> Dated:
        return {"day": date(2026, 1, 31)}  # type: ignore[return-value]

    def aliased(self) -> Dog:
        return Dog.model_validate({"isLoud": True})

    def aliased_of_derived(self) -> Dog | None:
        return Puppy.model_validate({"isLoud": True})

    def aliased_of_dicts(self) -> list[Dog]:
        return [{"isLoud": True}]  # type: ignore[list-item]

    def aliased_inside(self) -> dict[str, object]:
        return {"dogs": (Dog.model_validate({"isLoud": True}),)}

    def optional(self, found: bool = True) -> Optional[UserOut]:
        return User("ann") if found else None

    def or_redirect(self, found: bool = True) -> UserOut | Redirect:
        return User("ann") if found else Redirect("/optional")

    @describe(response_model=UserOut)
    def stated(self) -> Any:
        return 201, User("ann"), {"X-Made": "yes"}

    @describe(response_model=UserOut, status=204)
    def nothing(self) -> Any:
        return 204, None

    @describe(response_model=UserOut)
    def whole(self) -> Any:
        return Response({"password": "own"})

    @describe(response_model=UserOut)
    def streamed(self) -> Any:
        yield "a"
        yield "b"

    @describe(response_model=UserOut)
    def streamed_with_status(self) -> Any:
        return 202, iter(["a", "b"])

    def other(self) -> dict[str, UserOut]:
        return {"ann": User("ann")}

    def grouped(self) -> list[list[UserOut]]:
        return [[User("ann")], []]

    def missing(self) -> UserOut:
        return {"password": "hidden"}  # type: ignore[return-value]

    def wrong(self) -> list[UserOut]:
        return [{"name": 5}]  # type: ignore[list-item]

    def wrong_model(self) -> Model:
        return {"name": 5}  # type: ignore[return-value]

    def missing_in_model(self) -> Model:
        return {"password": "hidden"}  # type: ignore[return-value]

    def one(self) -> list[Model]:
        return Model(name="ann")  # type: ignore[return-value]

    def several(self) -> UserOut:
        return [UserOut("ann")]  # type: ignore[return-value]

    def bare(self) -> List:  # type: ignore[type-arg]  # noqa: UP006
        return [User("ann")]


ANN = {"name": "ann", "admin": False}
DOG = {"isLoud": True, "cm": 5, "allCollars": [{"isNew": True}]}
ANSWERS: dict[str, Any] = {
    "/from_object": {"name": "ann", "admin": True},
    "/from_dict": {"name": "ann"},
    "/from_derived": ANN,
    "/from_model": {"name": "ann"},
    "/decorated": ANN,
    "/models": [{"name": "bob"}, {"name": "ann"}, {"name": "ann"}],
    "/some": [ANN, {"name": "bob", "admin": False}],
    "/nested": {"lead": ANN},
    "/priced": {"price": 5},
    "/dated": {"day": 2026},
    "/aliased": DOG,
    "/aliased_of_derived": DOG,
    "/aliased_of_dicts": [DOG],
    "/aliased_inside": {"dogs": [DOG]},
    "/optional": ANN,
    "/or_redirect": ANN,
    "/stated": ANN,
    "/whole": {"password": "own"},
    "/bare": [{**ANN, "password": "secret"}],
    "/other": {"ann": ANN},
    "/grouped": [[ANN], []],
}


def test_only_the_annotation_s_fields_are_sent(make_client: MakeClient) -> None:
    client = make_client(Users(encoders={Money: lambda money: money.amount}))
    assert {path: client.get(path).json() for path in ANSWERS} == ANSWERS
    stated = client.get("/stated")
    assert (stated.status_code, stated.headers["x-made"]) == (201, "yes")


def test_none_redirects_and_streams_are_sent_unchanged(make_client: MakeClient) -> None:
    client = make_client(Users())
    assert client.get("/optional?found=0").content == b"null"
    found = client.get("/or_redirect?found=0", follow_redirects=False).headers["location"]
    assert found == "/optional"
    assert client.get("/nothing").status_code == 204
    answers = [client.get(path).text for path in ("/streamed", "/streamed_with_status")]
    assert answers == ["ab", "ab"]


def stating(model: Any, result: Any = None) -> App:
    app = App()
    app.get("/")(describe(response_model=model)(lambda: result))
    return app


PAGE = {"items": [ANN]}
USER = User("ann")


BOB = UserOut("bob")
BOBS = {"items": [{"name": "bob", "admin": False}]}


@pytest.mark.parametrize(
    ("annotation", "result", "sent"),
    [
        (Page[UserOut], Page([BOB]), BOBS),
        (Page[UserOut], {"items": [USER], "secret": 1}, PAGE),
        (Page[UserOut], SimpleNamespace(items=[USER], secret=1), PAGE),
        (Page[UserOut] | None, Page([BOB]), BOBS),
        (list[Page[UserOut]], [Page([BOB])], [BOBS]),
        (Page[Page[UserOut] | None], Page([Page([BOB]), None]), {"items": [BOBS, None]}),
        (Shelf[UserOut], Shelf((BOB,)), {"type": "shelf", "allItems": BOBS["items"]}),
        (Shelf[UserOut] | Book, Shelf([BOB]), {"type": "shelf", "allItems": BOBS["items"]}),
        (Shelf[UserOut] | Book, Book({}), {"type": "book", "pages": {}, "first": None}),
        (Shelf[Page[UserOut]], {"type": "shelf", "allItems": [Page([BOB])]}, {"type": "shelf", "allItems": [BOBS]}),
        (Table[UserOut], {"rows": [USER], "secret": 1}, {"rows": [ANN]}),
        (Table[Page[UserOut]], {"rows": [Page([BOB])], "more": Page([USER])}, {"rows": [BOBS]}),
        (Book, Thick({"a": Page([BOB])}, (Page([BOB]), 1)), {"type": "book", "pages": {"a": BOBS}, "first": [BOBS, 1]}),
        (Book, Thick({}, 5), {"type": "book", "pages": {}, "first": 5}),
    ],
)  # fmt: skip
def test_a_generic_result_has_the_fields_of_its_type_arguments(
    make_client: MakeClient, annotation: Any, result: Any, sent: Any
) -> None:
    assert make_client(stating(annotation, result)).get("/").json() == sent


@pytest.mark.parametrize("result", [[USER], 5, SimpleNamespace(items=5)])
def test_a_result_of_another_class_than_the_generic_one_gets_a_500(
    make_client: MakeClient, result: Any
) -> None:
    assert make_client(stating(Page[UserOut], result)).get("/").status_code == 500


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/missing", "Users.missing returned dict, which does not match the annotation UserOut: Object missing required field `name`"),
        ("/wrong", f"Users.wrong returned list, which does not match the annotation list[{__name__}.UserOut]: Expected `str`, got `int` - at `$[0].name`"),
        ("/wrong_model", "Users.wrong_model returned dict, which does not match the annotation Model: name: Input should be a valid string"),
        ("/missing_in_model", "Users.missing_in_model returned dict, which does not match the annotation Model: name: Field required"),
        ("/one", f"Users.one returned Model, which does not match the annotation list[{__name__}.Model]: 0: Input should be a valid dictionary"),
        ("/several", "Users.several returned list, which does not match the annotation UserOut: Expected `object`, got `array`"),
    ],
)  # fmt: skip
def test_an_invalid_result_gets_a_500_and_its_key_is_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, problem: str
) -> None:
    answer = make_client(Users()).get(path)
    assert answer.status_code == 500
    assert problem in caplog.text
    assert "hidden" not in answer.text + caplog.messages[0] + str(caplog.records[0].exc_info)


def test_a_handler_without_a_name_is_logged_as_such(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def made(name: object) -> UserOut:
        return {"name": name}  # type: ignore[return-value]

    app = App()
    app.get("/made")(partial(made, 5))
    assert make_client(app).get("/made").status_code == 500
    assert (
        "a handler returned dict, which does not match the annotation UserOut: Expected `str`"
        in caplog.text
    )


@pytest.mark.parametrize("is_on_loop", [False, True])
def test_a_database_row_is_read_before_its_session_closes(
    make_client: MakeClient, is_on_loop: bool
) -> None:
    sessions: list[Session] = []
    threads: list[int] = []

    def opened() -> Iterator[Session]:
        sessions.append(Session())
        yield sessions[-1]
        sessions[-1].is_open = False

    class Site(App):
        @get
        @run_in("loop" if is_on_loop else "thread")
        @describe(response_model=list[UserOut])
        def users(self, session: Session):  # type: ignore[no-untyped-def]
            threads.append(get_ident())
            return [Row(session)]

        @run_in("loop")
        def loop(self) -> str:
            threads.append(get_ident())
            return ""

    Site.users.__annotations__["session"] = Session
    app = Site()
    app.provides(Session)(opened)
    client = make_client(app)
    assert client.get("/users").json() == [ANN]
    client.get("/loop")
    assert not sessions[0].is_open
    # where the handler ran, or as it
    assert (sessions[0].thread == threads[1]) == (threads[0] == threads[1])


@dataclass
class Refusal:
    reason: str


@dataclass
class MoreRefusal(Refusal):
    password: str = "apple pie"


REFUSALS = {404: (Refusal, "There is none."), 409: "Taken.", 410: dict[str, str], 200: Refusal}


@pytest.mark.parametrize("model", [UserOut, None])
def test_a_response_is_filtered_by_the_type_declared_for_its_status(
    make_client: MakeClient, model: Any
) -> None:
    """Be there a type for all other answers or not."""

    class Site(App):
        @get("/<status:int>")
        @describe(response_model=model, responses=REFUSALS)
        def user(self, status: int) -> Any:
            if status == 410:
                return 410, {"a": "b"}
            if status == 409:
                return 409, UserOut("ann")
            return status, (None if status == 418 else MoreRefusal("none")), {"X-A": "b"}

        @get
        @describe(response_model=model, responses=REFUSALS)
        def plain(self) -> Any:
            return UserOut("ann")

        @get
        @describe(responses=REFUSALS)
        def untyped(self) -> Any:
            return MoreRefusal("none")

    client = make_client(Site())
    found = client.get("/404")
    assert (found.status_code, found.json(), found.headers["x-a"]) == (404, {"reason": "none"}, "b")
    assert client.get("/410").json() == {"a": "b"}
    assert client.get("/409").json() == client.get("/plain").json() == ANN
    assert (client.get("/418").status_code, client.get("/418").content) == (418, b"")
    assert client.get("/untyped").json()["password"] == "apple pie"  # without a status


class Answering(HttpMiddleware):
    def before_request(self, request: Request) -> object:
        return {"body": {"from": "a hook"}} if "hook" in request.query else None


def refuse(request: Request) -> Any:
    return "check" not in request.query or Response({"from": "a check"})


def test_responses_of_hooks_checks_and_error_handlers_are_not_filtered(
    make_client: MakeClient,
) -> None:
    class Site(App):
        @requires(refuse)
        def user(self) -> UserOut:
            raise HTTPError(404)

    app = Site()
    app.middlewares.append(Answering())

    @app.error(404)
    def missing(error: HTTPError) -> object:
        return {"from": "an error handler"}

    client = make_client(app)
    answers = [
        client.get(path).json()["from"] for path in ("/user?hook=1", "/user?check=1", "/user")
    ]
    assert answers == ["a hook", "a check", "an error handler"]


def test_objects_of_exactly_the_annotated_class_are_sent_unchanged() -> None:
    def users() -> list[UserOut] | None: ...

    users.__annotations__["return"] = list[UserOut] | None
    convert = result_filter(users, answers_of(users))
    assert convert is not None
    found = [UserOut("ann")]
    assert convert.has_only(convert.exact, found)
    for other in (None, [User("ann")], UserOut("ann"), [*found, None]):
        assert not convert.has_only(convert.exact, other)
    assert convert.make(None) is None
    assert convert.make([User("ann")]) == found
    with pytest.raises(ResponseError):
        convert.make([None])


def test_a_dict_of_exactly_the_annotated_classes_is_sent_unchanged() -> None:
    found = result_filter(shown, (Mapping[str, UserOut | Bookmark] | None,))
    assert found is not None
    result = {"a": UserOut("ann"), "b": Bookmark(5)}
    assert found.has_only(found.exact, result)
    assert [*found.bodies(dumps, {})] == [*found.classes, dict, EncodedResult]
    others: list[Any] = [[], UserOut("ann"), {5: UserOut("ann")}, {"a": User("ann")}, {"a": 5}]
    for other in (*others, defaultdict(list, result)):
        assert not found.has_only(found.exact, other)
    for annotation in (UserOut, list[UserOut], dict[int, UserOut], dict[str, list[UserOut]]):
        single = result_filter(shown, (annotation,))
        assert single is not None
        assert not single.has_only(single.exact, result)


@pytest.mark.parametrize("annotation", [pydantic.BaseModel, list[pydantic.BaseModel] | None])
def test_a_result_that_is_any_model_is_refused(annotation: Any) -> None:
    words = "shown.<locals>.* returns pydantic's BaseModel, which has no fields: annotate it with"
    with pytest.raises(SetupError, match=words):
        shown(annotation, None).openapi()


Public = NewType("Public", UserOut)
ANNS = [User("ann")]


class Ann(Account):
    def __hash__(self) -> int:
        return hash(self.name)


class Crowd(list[T]):
    pass


class Friends(Crowd[UserOut]):
    pass


class Keyed(dict[str, T]):
    pass


class Turned(Generic[T, U], dict[U, T]):
    pass


class Marked(Generic[T]):
    pass


class Fans(Marked[int], Friends):
    pass


class Hit(enum.Enum):
    ANN = 1


@dataclass
class Hits:
    users: Sequence[UserOut]
    hit: Hit


def unending() -> list[Any]:
    result: list[Any] = []
    result.append(result)
    return result


@pytest.mark.parametrize(
    ("stated", "result"),
    [
        (Public, ANNS[0]),
        (list[Public], ANNS),
        (NewType("Publics", list[Public]), ANNS),
        (Awaitable[Public], ANNS[0]),
        (Coroutine[Any, Any, dict[str, Public]], {"ann": ANNS[0]}),
        (Iterable[UserOut], ANNS),
        (Iterable[Model], deque([Account(name="ann")])),
        (Collection[UserOut] | None, {1: ANNS[0]}.values()),
        (MutableSequence[UserOut], UserList(ANNS)),
        (deque[UserOut], deque(ANNS)),
        (Annotated[Iterable[UserOut], "some"], (ANNS[0],)),
        (MutableMapping[str, Iterable[UserOut]], ChainMap({"ann": deque(ANNS)})),
        (defaultdict[str, list[UserOut]], defaultdict(list, {"ann": ANNS})),
        (OrderedDict[str, UserOut], OrderedDict(ann=ANNS[0])),
        (tuple[Literal[200], ValuesView[UserOut]], {1: ANNS[0]}.values()),
        (KeysView[Model], {Ann(name="ann"): 1}.keys()),
        (ItemsView[str, UserOut], {"a": ANNS[0]}.items()),
        (Set[Model], {Ann(name="ann")}),
        (MutableSet[Model], {Ann(name="ann")}),
        (Container[UserOut], ANNS),
        (Reversible[UserOut], ANNS),
        (ChainMap[str, UserOut], ChainMap({"a": ANNS[0]})),
        (Crowd[UserOut], Crowd(ANNS)),
        (Friends, Friends(ANNS)),
        (Keyed[UserOut], Keyed(a=ANNS[0])),
        (Turned[UserOut, str], Turned({"a": ANNS[0]})),
        (Fans, Fans(ANNS)),
        (Hits, {"users": deque(ANNS), "hit": Hit.ANN}),
    ],
)
def test_only_declared_fields_are_sent_whatever_the_annotation_is_called(
    stated: Any, result: object
) -> None:
    def handler() -> None: ...

    found = result_filter(handler, answers_of(handler, stated))
    assert found is not None
    sent = dumps(found.make(result))
    assert b"ann" in sent
    assert b"secret" not in sent


@pytest.mark.parametrize(
    ("stated", "result", "words"),
    [
        (Iterable[UserOut], ["ann"], "Expected `object`, got `str`"),
        (Iterable[UserOut], [[Hit.ANN]], "Expected `object`, got `array`"),
        (Iterable[Team], [[Rows()]], "Expected `object`, got `array`"),
        (Iterable[Team], deque([UserOut("ann")]), "Expected `object`, got `UserOut`"),
        (Iterable[UserOut], deque([Hit.ANN]), "Expected `object`, got `Hit`"),
        (list[UserOut], unending(), "depth"),
    ],
)
def test_an_invalid_collection_is_not_sent(stated: Any, result: object, words: str) -> None:
    def handler() -> None: ...

    found = result_filter(handler, answers_of(handler, stated))
    assert found is not None
    with pytest.raises(ResponseError, match=words):
        found.make(result)


@dataclass
class Club:
    members: Friends | None


def test_an_object_with_more_fields_in_an_own_collection_is_not_sent() -> None:
    found = result_filter(shown, (Club,))
    assert found is not None
    assert found.make(Club(Friends([UserOut("ann")]))) == Club(Friends([UserOut("ann")]))
    assert not found.has_only(found.exact, Club(Friends(ANNS)))
    with pytest.raises(ResponseError, match="a User where the annotation declares UserOut"):
        found.make(Club(Friends(ANNS)))


def test_an_encoder_of_a_collection_takes_precedence(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> Friends:
            return Friends(ANNS)

    assert make_client(Root(encoders={Crowd: len})).get("/").json() == 1


def test_a_counter_beside_a_structure_is_sent(make_client: MakeClient) -> None:
    client = make_client(shown(Counter[str] | UserOut, Counter(ann=2)))
    assert client.get("/").json() == {"ann": 2}


@pytest.mark.parametrize("stated", [Iterable, typing.Iterable, Iterable[str], NewType("Name", str)])
def test_a_collection_without_fields_is_not_filtered(stated: object) -> None:
    assert result_filter(answers_of, answers_of(answers_of, stated)) is None


def test_without_msgspec_only_objects_of_the_annotated_class_are_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    convert = result_filter(Users.from_object, answers_of(Users.from_object))
    assert convert is not None
    result_filter(shown, (Team,))  # the fields of its classes are read once
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert convert.has_only(convert.exact, UserOut("ann"))
    with pytest.raises(
        ResponseError,
        match=r"returned User, which does not match the annotation UserOut: .*msgspec",
    ):
        convert.make(User("ann"))
    assert result_filter(shown, (Team,)) is not None


@pytest.mark.parametrize("stated", [dict, int | None, Response, list[int]])
def test_a_response_model_without_fields_raises_an_error(stated: object) -> None:
    with pytest.raises(SetupError, match="has no fields: use a dataclass"):
        stating(stated).openapi()


def test_a_status_given_as_text_raises_an_error() -> None:
    words = r"tuple\[.*UserOut\]: '201' is a str, not a status: write Literal\[201\]$"
    with pytest.raises(SetupError, match=words):
        shown(tuple[Literal["201"], UserOut], None).openapi()


def test_a_response_model_is_the_documented_response() -> None:
    document = Users().openapi()
    for path, status, schema in [
        ("/stated", "200", {"$ref": "#/components/schemas/UserOut"}),
        ("/models", "200", {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}),
    ]:
        content = document["paths"][path]["get"]["responses"][status]["content"]
        assert content == {"application/json": {"schema": schema}}


def test_an_object_with_an_html_method_is_sent_as_a_page(make_client: MakeClient) -> None:
    class Root(App):
        async def card(self) -> Card:
            return Card("Ann")

        async def user(self) -> UserOut:
            return UserOut("Ann")

    client = make_client(Root())
    page, document = client.get("/card"), client.get("/user")
    assert (page.text, page.headers["content-type"]) == ("<b>Ann</b>", "text/html; charset=utf-8")
    seen = (document.json(), document.headers["content-type"])
    assert seen == ({"name": "Ann", "admin": False}, "application/json")


@dataclass
class Paged(Generic[T]):
    items: list[T]
    first: T | None = None


class StructPage(msgspec.Struct, Generic[T]):
    by_name: dict[str, T]


Bound = TypeVar("Bound", bound=UserOut)


@dataclass
class Crew(Generic[Bound]):
    users: list[Bound]
    first: Bound | None = None


class OpenCrew(Crew):  # type: ignore[type-arg]  # whose variable is free
    pass


Later = TypeVar("Later", bound="OddlyNamed")
Either = TypeVar("Either", UserOut, Model)


@dataclass
class Party(Generic[Later, Either]):
    late: Later
    either: Either | None = None


class Rank(NamedTuple):
    user: UserOut
    place: int


OddlyNamed = UserOut


class Podium(NamedTuple):
    ranks: list[Rank]
    again: Sequence[Podium] = ()


class Place(NamedTuple):
    name: str
    number: int


@dataclass
class Ranked:
    ranks: list[Rank]


class Squad(msgspec.Struct):
    users: tuple[UserOut, ...]
    note: str | msgspec.UnsetType = msgspec.UNSET


@dataclass
class Mixed:
    user: UserOut
    anything: Any


class Fish(msgspec.Struct, tag=True):
    owner: UserOut


class Bird(msgspec.Struct, tag=True):
    owner: UserOut


@dataclass
class Bookmark:
    page: int


@dataclass
class Heading(Bookmark):
    title: str


@dataclass
class Starred(Heading):
    stars: int


@dataclass(frozen=True)
class Pinned:
    pin: int


@dataclass
class Noted:
    users: list[Annotated[UserOut, {"note": "which has no hash"}]]


@dataclass
class Answered:
    found: Model | None
    last: deque[UserOut]
    either: UserOut | Mixed | str
    made: int = 1

    def __post_init__(self) -> None:
        self.made *= 2


@dataclass(frozen=True)
class Frozen:
    user: UserOut
    made: int = field(init=False, default=0)


class Listed(TypedDict):
    user: UserOut


@dataclass
class Deep:
    listed: Listed
    any_size: Mapping[str, list[UserOut]]


@dataclass
class Dates:
    either: UserOut | date
    some: UserOut | list[Any] | list  # type: ignore[type-arg]
    pair: tuple[UserOut, Any]


class Tree(TypedDict):
    users: list[UserOut]


class Found(pydantic.BaseModel):
    name: str


EVE = {"name": "eve"}
ENVELOPE = Answered(Model(name="eve"), deque([BOB]), BOB)


@pytest.mark.parametrize(
    ("annotation", "result", "sent"),
    [
        (Paged[UserOut], Paged([BOB], BOB), {"items": ["bob"], "first": "bob"}),
        (list[StructPage[UserOut]], [StructPage({"a": BOB})], [{"by_name": {"a": "bob"}}]),
        (Squad, Squad((BOB,)), {"users": ["bob"]}),
        (Optional[Squad], Squad((BOB,), "x"), {"users": ["bob"], "note": "x"}),
        (Fish | Bird, Bird(BOB), {"type": "Bird", "owner": "bob"}),
        (Tree, {"users": [User("ann")], "more": 1}, {"users": ["ann"]}),
        (Crew, Crew([BOB], BOB), {"users": ["bob"], "first": "bob"}),
        (OpenCrew, OpenCrew([BOB]), {"users": ["bob"], "first": None}),
        (Party, Party(BOB, BOB), {"late": "bob", "either": "bob"}),
        (Rank, Rank(BOB, 1), ["bob", 1]),
        (Rank, (User("ann"), 1), ["ann", 1]),
        (list[Rank | UserOut], [User("ann")], ["ann"]),
        (
            list[Place],
            [Place("a", 1), ("b", "which is no number")],
            [["a", 1], ["b", "which is no number"]],
        ),
        (Noted, Noted([BOB]), {"users": ["bob"]}),
        (Answered, ENVELOPE, {"found": EVE, "last": ["bob"], "either": "bob", "made": 2}),
        (
            list[Answered],
            [Answered(Model(name="eve"), deque(), "x"), Answered(None, deque(), BOB, 2)],
            [
                {"found": EVE, "last": [], "either": "x", "made": 2},
                {"found": None, "last": [], "either": "bob", "made": 4},
            ],
        ),
        (Frozen, Frozen(BOB), {"user": "bob", "made": 0}),
        (
            Paged[Model],
            {"items": [EVE], "first": SimpleNamespace(name="eve")},
            {"items": [EVE], "first": EVE},
        ),
        (
            Deep,
            Deep({"user": BOB}, {"a": [BOB]}),
            {"listed": {"user": "bob"}, "any_size": {"a": ["bob"]}},
        ),
        (Mixed, Mixed(BOB, Struct("x")), {"user": "bob", "anything": {"name": "x"}}),
        (Sequence[Squad], (Squad((BOB,)),), [{"users": ["bob"]}]),
        (
            Dates,
            Dates(date(2026, 1, 31), [1, "x"], (BOB, date(2026, 2, 1))),
            {"either": "2026-01-31", "some": [1, "x"], "pair": ["bob", "2026-02-01"]},
        ),
    ],
)
def test_nested_objects_are_sent_unchanged(
    make_client: MakeClient, annotation: Any, result: Any, sent: Any
) -> None:
    answer = make_client(shown(annotation, result)).get("/").text
    expected = json.dumps(sent, separators=(",", ":"))
    for name in ("ann", "bob"):
        expected = re.sub(rf'(?<=[\[:]) ?"{name}"', f'{{"name":"{name}","admin":false}}', expected)
    assert answer == expected


@pytest.mark.parametrize(
    ("annotation", "result", "given", "wanted"),
    [
        (Paged[UserOut], Paged([User("ann")]), "User", "UserOut"),
        (Paged[UserOut], Paged([], User("ann")), "User", "UserOut"),
        (Paged[UserOut], Paged([Found(name="ann")]), "Found", "UserOut"),
        (Paged[UserOut] | None, Paged([User("ann")]), "User", "UserOut"),
        (Page[Page[UserOut]], Page([Page([User("ann")])]), "User", "UserOut"),
        (list[StructPage[UserOut]], [StructPage({"a": User("ann")})], "User", "UserOut"),
        (Squad, Squad((User("ann"),)), "User", "UserOut"),
        (Squad, Squad([User("ann")]), "list", "UserOut"),  # type: ignore[arg-type]
        (Noted, Noted([User("ann")]), "User", "UserOut"),
        (Frozen, Frozen(User("ann")), "User", "UserOut"),
        (Answered, Answered(Account(name="eve"), deque(), "x"), "Account", "Model"),
        (Answered, Answered(None, deque([User("ann")]), "x"), "User", "UserOut"),
        (Answered, Answered(None, deque(), User("ann")), "User", "Mixed | UserOut"),
        (Mixed, Mixed({"name": "ann", "password": "x"}, None), "dict", "UserOut"),  # type: ignore[arg-type]
        (Deep, Deep({"user": BOB, "password": "x"}, {}), "dict", "Listed"),  # type: ignore[typeddict-unknown-key]
        (Deep, Deep({"user": User("ann")}, {}), "User", "UserOut"),
        (Deep, Deep({"user": BOB}, {"a": [User("ann")]}), "User", "UserOut"),
        (Ranked, Ranked([Rank(User("ann"), 1)]), "User", "UserOut"),
        (Ranked, Ranked([(User("ann"), 1)]), "User", "UserOut"),  # type: ignore[list-item]
        (Ranked, Ranked([[BOB, 1]]), "list", "Rank"),  # type: ignore[list-item]
        (Crew, Crew([User("ann")]), "User", "UserOut"),
        (Party, Party(User("ann")), "User", "UserOut"),
        (Party, Party(BOB, User("ann")), "User", "Model | UserOut"),
        (Rank, Rank(User("ann"), 1), "User", "UserOut"),
        (list[Rank] | None, [Rank(User("ann"), 1)], "User", "UserOut"),
        (dict[str, Podium], {"a": Podium([Rank(User("ann"), 1)])}, "User", "UserOut"),
        (Shelf[UserOut], {"type": "shelf", "allItems": [Page([User("ann")])]}, "", ""),
        (Shelf[UserOut] | Book, Thick({"a": Page([User("ann")])}), "User", "UserOut"),
        (Sequence[int] | list[Rank], [Rank(User("ann"), 1)], "User", "UserOut"),
        (tuple[str, Rank] | Rank, Rank(User("ann"), 1), "User", "UserOut"),
        (tuple[str, Rank] | UserOut | Rank, Rank(User("ann"), 1), "User", "UserOut"),
        (Mapping[str, int] | dict[str, Rank], {"a": Rank(User("ann"), 1)}, "User", "UserOut"),
        (tuple[Rank, ...] | tuple[int, int], (Rank(User("ann"), 1),) * 2, "User", "UserOut"),
    ],
)
def test_R78_an_object_nested_in_a_derived_class_gets_a_500(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    annotation: Any,
    result: Any,
    given: str,
    wanted: str,
) -> None:
    answer = make_client(shown(annotation, result)).get("/")
    assert answer.status_code == 500
    assert "password" not in answer.text
    words = (
        f"it has a {given} where the annotation declares {wanted}"
        if given
        else "does not match the annotation"
    )
    assert words in caplog.text


class Pets(pydantic.BaseModel):
    owner: Found


class Secrets(Pets):
    password: str = "secret"


class FoundSecrets(Found):
    password: str = "secret"


class Pin(pydantic.BaseModel, frozen=True):
    pin: int


class PinSecrets(Pin, frozen=True):
    password: str = "secret"


class Nicknamed(Found):
    nick: str


class NickSecrets(Nicknamed):
    password: str = "secret"


class Counted(pydantic.BaseModel):
    first: int = pydantic.Field(alias="second")
    second: int = pydantic.Field(alias="third")
    _hits: int = pydantic.PrivateAttr(default=0)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def hits(self) -> int:
        return self._hits


class OpenCounted(Counted, extra="allow"):
    password: str = "secret"


class OpenModel(pydantic.BaseModel, extra="allow"):
    pass


def counted(kind: type[Counted]) -> Counted:
    made = kind.model_validate({"second": 1, "third": 2, "more": 3})
    made._hits = 4
    return made


HITS = {"second": 1, "third": 2, "hits": 4}


EVES = Secrets(owner=FoundSecrets(name="eve"))
OF_EVE = {"owner": EVE}
UNTAGGED = UserOut | Pets
NICK = {"name": "eve", "nick": "e"}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MARK = {"page": 5}
FOUND_TEXT = pydantic.PlainSerializer(str)


class Placed(NamedTuple):
    what: UNTAGGED
    place: int = 5


class Lineage(NamedTuple):
    user: UserOut
    children: list[Lineage]


BOOK: dict[str, object] = {"type": "book", "pages": {}, "first": None}


@pytest.mark.parametrize("kind", SCALARS)
def test_pydantic_checks_these_types_when_it_writes_a_union(
    make_client: MakeClient, kind: type
) -> None:
    found, around = FoundSecrets(name="eve"), cast("Any", list)
    for annotation in (Found | kind, kind | Found):
        assert make_client(shown(annotation, found)).get("/").json() == EVE
        assert make_client(shown(around[annotation], [found])).get("/").json() == [EVE]


@pytest.mark.parametrize(
    ("annotation", "result", "sent"),
    [
        (UNTAGGED, User("ann"), ANN),
        (UNTAGGED, EVES, OF_EVE),
        (UNTAGGED | None, EVES, OF_EVE),
        (UserOut | Bookmark, User("ann"), ANN),
        (Bookmark | Heading, Heading(5, "pies"), {"page": 5, "title": "pies"}),
        (list[Bookmark | Heading], [Starred(5, "pies", 1)], [{"page": 5, "title": "pies"}]),
        (list[UNTAGGED], [EVES, User("ann")], [OF_EVE, ANN]),
        (Sequence[UserOut | Bookmark] | None, [User("ann")], [ANN]),
        (
            dict[str, UNTAGGED],
            {"a": EVES, "b": User("ann"), "c": UserOut("ann")},
            {"a": OF_EVE, "b": ANN, "c": ANN},
        ),
        (dict[str, UNTAGGED | None], {"a": None}, {"a": None}),
        (Mapping[str, list[UNTAGGED]], {"a": [UserOut("ann")]}, {"a": [ANN]}),
        (tuple[Literal[201], UNTAGGED], (201, User("ann")), ANN),
        (Annotated[UNTAGGED, "noted"], User("ann"), ANN),
        (Annotated[UNTAGGED | None, "noted"], EVES, OF_EVE),
        (
            dict[str, Annotated[UNTAGGED | None, "noted"]],
            {"a": EVES, "b": None},
            {"a": OF_EVE, "b": None},
        ),
        (Annotated[list[UNTAGGED], "noted"], [User("ann")], [ANN]),
        (Counted | UserOut, counted(OpenCounted), HITS),
        (dict[str, Counted | UserOut], {"a": counted(Counted)}, {"a": HITS}),
        (dict[str, OpenModel | UserOut], {"a": OpenModel(more=1)}, {"a": {"more": 1}}),  # type: ignore[call-arg]
        (Found | Nicknamed, NickSecrets(name="eve", nick="e"), NICK),
        (Found | Nicknamed | None, None, None),
        (
            list[Found | Nicknamed | int],
            [NickSecrets(name="eve", nick="e"), EVE, 5],
            [NICK, EVE, 5],
        ),
        (Shelf[UserOut] | Book, Thick({}), BOOK),
        (list[Struct | Book | int], [Thick({}), {"type": "book", "pages": {}}, 5], [BOOK, BOOK, 5]),
        (list[UNTAGGED], (User("ann"),), [ANN]),
        (list[UNTAGGED | int | None], [EVES, User("ann"), 5, None], [OF_EVE, ANN, 5, None]),
        (Sequence[UNTAGGED | int], deque([EVES, 5]), [OF_EVE, 5]),
        (dict[str, UNTAGGED | int], ChainMap({"a": EVES, "b": 5}), {"a": OF_EVE, "b": 5}),
        (tuple[UNTAGGED, ...], (EVES, User("ann"), EVES), [OF_EVE, ANN, OF_EVE]),
        (tuple[UNTAGGED, str], [EVES, "pies"], [OF_EVE, "pies"]),
        (list[Pinned | Bookmark], [Pinned(5), Starred(5, "pies", 1)], [{"pin": 5}, {"page": 5}]),
        (tuple[frozenset[Pinned | Struct], int], [[Pinned(5)], 1], [[{"pin": 5}], 1]),
        (dict[str, list[UNTAGGED] | None], {"a": [EVES], "b": None}, {"a": [OF_EVE], "b": None}),
        (list[UNTAGGED] | UserOut, [EVES], [OF_EVE]),
        (list[UNTAGGED] | UserOut, User("ann"), ANN),
        (list[UNTAGGED] | dict[str, UNTAGGED], {"a": EVES}, {"a": OF_EVE}),
        (list[Bookmark] | list[UserOut], [User("ann")], [ANN]),
        (dict[str, Bookmark] | dict[str, UserOut], {"a": User("ann")}, {"a": ANN}),
        (tuple[Bookmark, ...] | tuple[UserOut, ...], (User("ann"),), [ANN]),
        (Team | UserOut, {"lead": USER, "secret": 1}, {"lead": ANN}),
        (list[tuple[Found, ...] | dict[str, int]], [(FoundSecrets(name="eve"),)], [[EVE]]),
        (list[set[Pin] | dict[str, int]], [{PinSecrets(pin=5)}], [[{"pin": 5}]]),
        (list[frozenset[Pin] | dict[str, int]], [{PinSecrets(pin=5)}], [[{"pin": 5}]]),
        (Placed, Placed(USER, 1), [ANN, 1]),
        (list[Placed | Struct], [Placed(EVES)], [[OF_EVE, 5]]),
        (Placed, [USER, 1], [ANN, 1]),
        (Lineage, Lineage(BOB, [Lineage(BOB, [])]), [BOBS["items"][0], [[BOBS["items"][0], []]]]),
        (list[Team | UserOut], [{"lead": USER}, USER], [{"lead": ANN}, ANN]),
        (Found | Sequence[int], FoundSecrets(name="eve"), EVE),
        (list[Found | Annotated[Sequence[int], "rows"]], [FoundSecrets(name="eve")], [EVE]),
        (list[Found | Callable[[], int]], [FoundSecrets(name="eve")], [EVE]),
        (list[Found | Annotated[int, FOUND_TEXT]], [FoundSecrets(name="eve"), 5], [EVE, "5"]),
        (set[Pin | PinSecrets], {Pin(pin=5)}, [{"pin": 5}]),
        (dict[datetime, Found | Nicknamed], {NOON: EVE}, {"2026-01-01T12:00:00Z": EVE}),
        (Mapping[tuple[int, int], Found | Nicknamed], {(1, 2): EVE}, {"1,2": EVE}),
        (list[frozenset[Pin | int]], [{PinSecrets(pin=5)}], [[{"pin": 5}]]),
        (tuple[UserOut, Bookmark] | tuple[Pets, ...], (USER, Starred(5, "pies", 1)), [ANN, MARK]),
        (tuple[Pets, ...] | tuple[UserOut, Bookmark], (USER, Bookmark(5)), [ANN, MARK]),
        (Sequence[Bookmark] | list[UserOut], [USER], [ANN]),
        (Mapping[str, Bookmark] | dict[str, UserOut], {"a": USER}, {"a": ANN}),
    ],
)
def test_a_member_of_a_union_may_be_of_a_derived_class(
    make_client: MakeClient, annotation: Any, result: Any, sent: Any
) -> None:
    assert make_client(shown(annotation, result)).get("/").json() == sent


def test_objects_of_the_members_of_a_union_are_not_copied() -> None:
    found = result_filter(shown, (dict[str, UNTAGGED],))
    assert found is not None
    owner = Pets(owner=Found(name="eve"))
    made: Any = found.make({"a": owner, "b": EVES})
    assert made["a"] is owner
    assert type(made["b"]) is Pets


@pytest.mark.parametrize(
    ("annotation", "result"),
    [
        (UNTAGGED, {"name": "ann"}),
        (UNTAGGED, User(5)),  # type: ignore[arg-type]
        (list[UNTAGGED], [{"name": "ann"}]),
        (list[UNTAGGED], {"a": User("ann")}),
        (list[UNTAGGED], "ann"),
        (dict[str, UNTAGGED], [User("ann")]),
        (tuple[UNTAGGED, int], (User("ann"), 5, 5)),
    ],
)
def test_nobody_guesses_the_member_of_a_union_without_tags(
    make_client: MakeClient, annotation: Any, result: Any
) -> None:
    assert make_client(shown(annotation, result)).get("/").status_code == 500


@pytest.mark.parametrize(
    ("annotation", "result", "problem"),
    [
        (UNTAGGED, User(5), "Expected `str`, got `int` - at `$.name`"),  # type: ignore[arg-type]
        (UNTAGGED, {"name": "ann"}, "Expected `UserOut | Pets`, or another type that"),
        (list[UNTAGGED], [EVES, User(5)], "Expected `str`, got `int` - at `$[1].name`"),  # type: ignore[arg-type]
        (
            dict[str, list[UNTAGGED | int]],
            {"a": ["ann"]},
            "or another type that the annotation lists - at `$[...][0]`",
        ),
        (list[Shelf[UserOut] | Book], [USER], "Object missing required field `type` - at `$[0]`"),
        (list[Found | Nicknamed], [EVE, 5], ": 1.Found: Input should be a valid dictionary"),
        (list[UNTAGGED], {"a": USER}, f"Expected `list[{__name__}.UserOut | "),
    ],
)
def test_the_error_of_a_union_names_the_place(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    annotation: Any,
    result: Any,
    problem: str,
) -> None:
    make_client(shown(annotation, result)).get("/")
    assert problem in caplog.text


@dataclass
class Numbered:
    ids: set[int]


class NumberedModel(pydantic.BaseModel):
    ids: set[int] = pydantic.Field(alias="numbers")


class Named(msgspec.Struct, rename="camel"):
    by_id: dict[int, str] | None = None


class Paired(msgspec.Struct):
    pairs: set[tuple[int, int]]


NAMES = {str(number): "" for number in range(1001)}
COLLIDING = [number * (2**61 - 1) for number in range(1002)]


@pytest.mark.parametrize(
    ("annotation", "result", "status"),
    [
        (Numbered, {"ids": COLLIDING[:3] + [7] * 2000}, 200),
        (Numbered, {"ids": [*range(5000)]}, 200),
        (Numbered, {"ids": COLLIDING}, 500),
        (list[Numbered], [SimpleNamespace(ids=(*COLLIDING,))], 500),
        (Page[Numbered], {"items": [{"ids": COLLIDING}]}, 500),
        (list[NumberedModel | None], [None, {"numbers": COLLIDING}], 500),
        (NumberedModel, {"ids": COLLIDING}, 500),
        (NumberedModel, {"numbers": {*range(2000)}}, 200),
        (Numbered, {"ids": [*map(str, range(1001))]}, 500),
        (Paired, {"pairs": [[1, 2]] * 1001}, 500),
        (dict[str, Named], {"a": {"byId": NAMES}}, 500),
        (Named, SimpleNamespace(by_id=NAMES), 500),
        (Named, {"byId": {int(number): "" for number in NAMES}}, 200),
        (Numbered, COLLIDING, 500),
        (list[Numbered] | dict, {"ids": COLLIDING}, 200),
        (pydantic.RootModel[set[int]], COLLIDING, 500),
        (list[pydantic.RootModel[dict[int, str] | None]], [None, NAMES], 500),
    ],
)
def test_R28_a_result_with_a_client_s_numbers_is_not_made_a_set(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    annotation: Any,
    result: Any,
    status: int,
) -> None:
    """A parameter that is a list may have any length, and all its numbers one hash."""
    answer = make_client(stating(annotation, result)).get("/")
    assert answer.status_code == status
    is_told = ": return the set or dict" in caplog.text or "Expected `object`" in caplog.text
    assert is_told == (status == 500)


@pytest.mark.parametrize(
    ("result", "body"), [(None, "null"), (BOB, '{"name":"bob","admin":false}')]
)
def test_a_union_of_two_libraries_may_have_none(
    make_client: MakeClient, result: Any, body: str
) -> None:
    assert make_client(stating(UserOut | Model | None, result)).get("/").text == body


def _crowded(bits: int) -> list[int]:
    """Return numbers of different hashes, for which a dict of ``2**bits`` places looks at very many
    places: the first numbers fill those that CPython tries one after the other.
    """
    size, numbers, at = 1 << bits, list[int](), 1
    for _ in range(size * 2 // 5):
        numbers.append(at)
        at = (at * 5 + 1) % size
    full, beginning = {*numbers}, {*numbers[: size // 5]}
    for number in range(size, size << 5):
        at, rest = number % size, number >> 5
        while at in full and rest:
            at = (at * 5 + rest + 1) % size
            rest >>= 5
        if at in beginning and not rest and len(numbers) < size // 2:
            numbers.append(number)
    return numbers


def test_R28_the_search_for_equal_hashes_takes_linear_time() -> None:
    """A client may also choose different hashes."""

    def seconds_for(numbers: Sequence[int]) -> float:
        finder = Finder(Numbered, has_chosen_hashes)
        began = thread_time()
        check_result({"ids": numbers}, finder)
        return thread_time() - began

    numbers = _crowded(12)
    assert len({*numbers}) == len(numbers) == 1 << 11
    harmless = [*range(len(numbers))]
    assert min(seconds_for(numbers) / seconds_for(harmless) for _ in range(5)) < 8


def _made_in_a_function() -> type:
    class Inner(pydantic.BaseModel):
        number: int = 0

    class Outer(pydantic.BaseModel):
        ids: set[int]
        inner: Inner = Inner()

    return Outer


@pydantic.dataclasses.dataclass
class Heard:
    kind: Literal["cat"]
    ids: set[int]


@pydantic.dataclasses.dataclass
class Silent:
    kind: Literal["dog"]


@pydantic.dataclasses.dataclass
class Around:
    pet: Heard | Silent  # msgspec can't read this


@pytest.mark.parametrize(
    ("annotation", "result", "text"),
    [
        (_made_in_a_function(), {"ids": [1]}, '{"ids":[1],"inner":{"number":0}}'),
        (Around, {"pet": {"kind": "cat", "ids": [1]}}, '{"pet":{"kind":"cat","ids":[1]}}'),
    ],
)
def test_a_result_with_slow_sets_is_sent(
    make_client: MakeClient, annotation: Any, result: Any, text: str
) -> None:
    assert make_client(stating(annotation, result)).get("/").text == text


class Detached:
    @property
    def ids(self) -> object:
        raise RuntimeError("detached")


def test_an_attribute_that_raises_makes_the_result_invalid(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert make_client(stating(NumberedModel, Detached())).get("/").status_code == 500
    assert "does not match the annotation NumberedModel" in caplog.text


class Endless:
    """Its next object is a new one each time."""

    ids = (1,)

    @property
    def next(self) -> Endless:
        return Endless()


@dataclass
class Chained:
    ids: set[int]
    next: Chained | None = None


def itself() -> dict[str, Any]:
    result: dict[str, Any] = {"ids": [1]}
    result["next"] = result
    return result


@pytest.mark.parametrize("result", [itself(), Endless(), SimpleNamespace(**itself())])
def test_R28_an_endless_result_gets_a_500(make_client: MakeClient, result: object) -> None:
    assert make_client(stating(Chained, result)).get("/").status_code == 500


@dataclass
class Odd:
    size: Sized


class OddModel(pydantic.BaseModel):
    size: Sized


class AroundOdd(TypedDict):
    odds: dict[str, list[Odd | None]]


class OddPair(NamedTuple):
    size: Sized
    number: int


class AroundPair(TypedDict):
    pair: OddPair


class AroundModel(msgspec.Struct):
    model: OddModel | None = None
    again: AroundModel | None = None


@pytest.mark.parametrize(
    ("annotation", "where"),
    [
        ("Sized", "the result annotation of shown.<locals>.show"),
        ("list[Sized] | None", "the result annotation of shown.<locals>.show"),
        ("no type", "the result annotation of shown.<locals>.show"),
        ("pydantic.Missing", "the result annotation of shown.<locals>.show"),
        (Odd, "an annotation of Odd"),
        (list[AroundOdd], "an annotation of Odd"),
        (UserOut | AroundOdd, "an annotation of Odd"),
        (OddModel, "an annotation of OddModel"),
        (AroundModel, "an annotation of OddModel"),
        (AroundPair, "an annotation of OddPair"),
        (OddPair, "an annotation of OddPair"),
    ],
)
def test_an_unreadable_result_annotation_filters_nothing(annotation: Any, where: str) -> None:
    with pytest.raises(
        SetupError,
        match=re.escape(where) + " can't be evaluated: .*; correct the annotation, or import",
    ):
        shown(annotation, None).openapi()


@pytest.mark.parametrize("stated", [{"response_model": "Sized"}, {"responses": {201: Odd}}])
def test_an_unreadable_declared_result_filters_nothing(stated: Any) -> None:
    class Page(App):
        @describe(**stated)
        def index(self) -> Any: ...

    with pytest.raises(SetupError, match="can't be evaluated: name 'Sized' is not defined"):
        Page().openapi()


class Locked(typing_extensions.TypedDict):
    name: typing_extensions.ReadOnly[str]


class Titled(TypedDict):
    title: Annotated[str, msgspec.Meta(pattern=r"\s+$")]


class Owned(TypedDict, Generic[T]):
    owner: UNTAGGED | T


@pytest.mark.parametrize(
    ("annotation", "what"),
    [
        (Locked, r"Locked: .*ReadOnly\[str\].*; change this type, or make Locked a dataclass"),
        (list[Locked | UserOut], "Locked: "),
        (tuple[Literal[201], Owned[Book]], "Owned: .*Pets.*, or make Owned a dataclass"),
        (Titled | Locked, "Titled | Locked: .*one TypedDict.*, or make Titled | Locked a"),
        (list[Titled | Team | UserOut], "Titled | Team | UserOut: .*one TypedDict"),
    ],
)
def test_a_result_that_is_a_typed_dict_without_objects_is_refused(
    annotation: Any, what: str
) -> None:
    with pytest.raises(SetupError, match="shown.<locals>.show can't return a dict as " + what):
        shown(annotation, None).openapi()


class WithMore(typing_extensions.TypedDict, extra_items=int):  # type: ignore[call-arg]
    name: str


class Closed(typing_extensions.TypedDict, closed=True):
    name: str


@dataclass
class Holder:
    counted: list[WithMore]


@pytest.mark.parametrize("annotation", [WithMore, list[WithMore], Holder])
def test_a_result_whose_extra_items_would_be_left_out_is_refused(annotation: Any) -> None:
    what = "can't return a .*: the extra_items of WithMore would be left out"
    with pytest.raises(SetupError, match=what):
        shown(annotation, None).openapi()


def test_a_closed_typed_dict_has_no_other_names(make_client: MakeClient) -> None:
    client = make_client(shown(Closed, {"name": "eve", "age": 9}))
    assert client.get("/").json() == {"name": "eve"}


class Encoded(TypedDict):
    data: pydantic.Base64Bytes


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes this TypedDict")
def test_a_result_that_pydantic_refuses_is_refused_with_its_reason() -> None:
    what = "can't return a Encoded: Please use `typing_extensions.TypedDict`"
    with pytest.raises(SetupError, match=what):
        shown(Encoded, None).openapi()


class LateEncoded(typing_extensions.TypedDict):
    data: pydantic.Base64Bytes


def test_pydantic_reads_the_values_of_a_dict_that_it_writes(make_client: MakeClient) -> None:
    client = make_client(shown(LateEncoded, {"data": b"aGVsbG8="}))
    assert client.get("/").json() == {"data": "aGVsbG8="}


def test_a_typed_dict_without_objects_may_be_in_another_object(make_client: MakeClient) -> None:
    result = Page([Locked(name="eve")])
    assert make_client(shown(Page[Locked], result)).get("/").json() == {"items": [EVE]}


def test_R28_a_long_text_in_a_result_is_not_matched_against_patterns(
    make_client: MakeClient,
) -> None:
    """Such a pattern takes quadratic time, and the text may be a client's."""
    assert make_client(shown(Titled, {"title": " " * 1000})).get("/").status_code == 200
    refused = make_client(shown(Titled, {"title": " " * 1001})).get("/")
    assert refused.status_code == 500


class TitledOut(pydantic.BaseModel):
    title: str
    hidden: str = pydantic.Field("", exclude=True)


class TitledRow(NamedTuple):
    title: str
    secret: str = "s"


@dataclass
class Board:
    best: Titled
    others: list[Titled]


class ModelShelf(pydantic.BaseModel):
    best: TitledOut
    others: list[TitledOut]


def _row(title: str) -> sqlite3.Row:
    with closing(sqlite3.connect(":memory:")) as db:
        db.row_factory = sqlite3.Row
        row: sqlite3.Row = db.execute("select ? as title, 's' as secret", [title]).fetchone()
        return row


@pytest.mark.parametrize("row", [_row, TitledRow, lambda title: ChainMap({"title": title})])
def test_the_rows_of_a_database_have_the_fields_of_any_annotation(
    make_client: MakeClient, row: Callable[[str], Any]
) -> None:
    title = {"title": "x "}
    kind: Any
    for kind in (Titled, TitledOut):
        assert make_client(shown(kind, row("x "))).get("/").json() == title
        assert make_client(shown(list[kind], [row("x ")])).get("/").json() == [title]
    for shelf in (Board, ModelShelf):
        client = make_client(shown(shelf, {"best": row("x "), "others": (row("x "),)}))
        assert client.get("/").json() == {"best": title, "others": [title]}
    refused = make_client(shown(list[Titled], [row(" " * 1001)])).get("/")
    assert refused.status_code == 500  # as above


class Headed(UserList[Any]):
    keys: Any = None


def test_a_list_with_an_attribute_keys_is_a_list(make_client: MakeClient) -> None:
    client = make_client(shown(list[Titled], Headed([TitledRow("x ")])))
    assert client.get("/").json() == [{"title": "x "}]


@dataclass
class Shown:
    name: str


@dataclass
class Hidden:
    name: str
    password: str


class Missing(msgspec.Struct):
    code: int


class ShownModel(pydantic.BaseModel):
    name: str


class HiddenModel(pydantic.BaseModel):
    name: str
    password: str


HIDDEN = SimpleNamespace(name="ann", password="secret")
HIDDEN_MODEL = HiddenModel(name="ann", password="secret")
SHOWN = {"name": "ann"}


@pytest.mark.parametrize(
    ("hint", "result", "answer"),
    [
        (tuple[Literal[200], Shown] | tuple[Literal[404], Missing], (200, HIDDEN), SHOWN),
        (tuple[Literal[200], Shown] | tuple[Literal[404], Missing], HIDDEN, SHOWN),
        (Shown | tuple[Literal[404], Missing], HIDDEN, SHOWN),
        (Shown | tuple[Literal[404], Missing], {"name": "ann", "password": "secret"}, SHOWN),
        (Shown | tuple[Literal[404, 409], Missing], (409, Missing(4)), {"code": 4}),
        (Shown | tuple[Literal[404], dict[str, str]], (404, {"a": "b"}), {"a": "b"}),
        (Shown | tuple[Literal[403], Hidden], Hidden("ann", "secret"), SHOWN),
        (Shown | tuple[Literal[403], Hidden], (200, Hidden("ann", "secret")), SHOWN),
        (ShownModel | tuple[Literal[403], HiddenModel], HIDDEN_MODEL, SHOWN),
        (tuple[Literal[200], list[Shown]] | tuple[Literal[403], Hidden], (200, [HIDDEN]), [SHOWN]),
        (tuple[Literal[201], Shown] | tuple[int, Missing], (201, Missing(4)), {"code": 4}),
        (tuple[Literal[201], Shown] | None, None, None),
    ],
)
def test_a_status_sends_the_fields_of_its_own_type(
    make_client: MakeClient, hint: Any, result: object, answer: object
) -> None:
    """The document describes each status by its type. A database's object is of none of them."""

    def index() -> Any:
        return result

    index.__annotations__ = {"return": hint}
    app = App()
    app.get("/")(index)
    sent = make_client(app).get("/")
    assert (sent.json() if sent.content else None) == answer
