"""Parameters that one text or several may fill, and numbers of any precision: what was sent is
never lost silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest

from micropie import App, BindingErrors, Body, Header, Query, SetupError, UploadFile, config, post
from tests.support.clients import MakeClient

Few = Annotated[int | list[int], msgspec.Meta(ge=0)]


class Account:
    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers


def account(numbers: int | list[int]) -> Account:
    return Account(numbers)


class Lists(App):
    @post
    def add(self, ids: int | list[int]) -> Any:
        return [ids]

    @post
    def words(self, ids: list[int] | str | list[str] = "none") -> Any:
        return [ids]

    @post
    def maybe(self, ids: int | set[int] | None) -> Any:
        return [sorted(ids) if isinstance(ids, set) else ids]

    @post
    def many(self, ids: list[int] | list[str] = ["x"]) -> Any:  # noqa: B006
        return [ids]

    @post
    def few(self, ids: Annotated[list[int], msgspec.Meta(max_length=2)] | bool) -> Any:
        return [ids]

    @post
    def whole(self, ids: Few) -> Any:
        return [ids]

    @post
    def inside(self, ids: list[Annotated[int | list[int], "of numbers"]]) -> Any:
        return [ids]

    @post
    def nested(self, ids: list[list[int]]) -> Any:
        return [ids]

    @post
    def keyed(self, ids: dict[tuple[int, ...], int]) -> Any:
        return [list(ids)]

    @post
    def others(self, **ids: int | list[int]) -> Any:
        return [ids["ids"]]

    @post
    def sets(self, **ids: set[int]) -> Any:
        return [sorted(ids["ids"])]

    @post
    def own(self, ids: Account) -> Any:
        return [ids.numbers]

    def header(self, *, ids: Annotated[int | list[int], Header("X-Ids")]) -> Any:
        return [ids]


@pytest.mark.parametrize(
    ("path", "texts", "expected"),
    [
        ("/add", ["1", "1797"], [1, 1797]),
        ("/add", ["1"], 1),
        ("/add", ["x", "1"], None),
        ("/add", [""], None),
        ("/words", ["1"], "1"),
        ("/words", ["1", "2"], [1, 2]),
        ("/words", ["1", "b"], ["1", "b"]),
        ("/words", [""], ""),
        ("/maybe", ["1", "2", "1"], [1, 2]),
        ("/maybe", ["1"], 1),
        ("/maybe", [""], "null"),
        ("/many", ["1"], [1]),
        ("/many", ["1", "b"], ["1", "b"]),
        ("/many", [], []),
        ("/few", ["3"], [3]),
        ("/few", ["yes"], True),
        ("/few", ["1", "2"], [1, 2]),
        ("/few", ["1", "2", "3"], None),
        ("/whole", ["1"], 1),
        ("/whole", ["-1"], None),
        ("/inside", ["1", "2"], [1, 2]),
        ("/nested", ["1"], None),
        ("/others", ["1", "2"], [1, 2]),
        ("/others", ["1"], 1),
        ("/sets", ["2", "1", "2"], [1, 2]),
        ("/sets", ["1"], [1]),
        ("/own", ["1"], 1),
    ],
)
def test_a_list_takes_one_text_or_several(
    make_client: MakeClient, path: str, texts: list[str], expected: Any
) -> None:
    client = make_client(Lists(decoders={Account: account}))
    answers = [client.post(path, data={"ids": texts, "x": 1} if texts == [] else {"ids": texts})]
    if texts:
        answers.append(client.post(path, params={"ids": texts}))
    for answer in answers:
        if expected is None:
            assert answer.status_code == 400
        else:
            assert answer.json() == [None if expected == "null" else expected]


def test_each_entry_of_a_header_is_a_list_element(make_client: MakeClient) -> None:
    client = make_client(Lists(decoders={Account: account}))
    assert client.get("/header", headers={"X-Ids": "1, 2"}).json() == [[1, 2]]
    assert client.get("/header", headers={"X-Ids": "1"}).json() == [1]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("/add", [1, 1797], [1, 1797]),
        ("/add", 1, 1),
        ("/nested", [[1], [2, 3]], [[1], [2, 3]]),
        ("/nested", [1], None),
        ("/keyed", {"1": 2}, None),
        ("/own", [1, 2], [1, 2]),
    ],
)
def test_a_json_list_is_taken_as_written(
    make_client: MakeClient, path: str, value: Any, expected: Any
) -> None:
    answer = make_client(Lists(decoders={Account: account})).post(path, json={"ids": value})
    assert answer.status_code == (400 if expected is None else 200)
    assert expected is None or answer.json() == [expected]


def test_a_form_shown_again_has_the_submitted_values(make_client: MakeClient) -> None:
    class Again(App):
        @post
        def form(self, errors: BindingErrors, *, ids: int | list[int] = 0, n: int = 0) -> Any:
            return dict(errors.given)

    client = make_client(Again())
    assert client.post("/form", data={"ids": "1", "n": "x"}).json() == {"ids": "1", "n": "x"}
    assert client.post("/form", data={"ids": ["1", "2"]}).json() == {"ids": ["1", "2"]}
    assert client.post("/form", data={"ids": ""}).json() == {"ids": ""}


def test_text_never_becomes_a_list_of_lists() -> None:
    def page(ids: Annotated[list[list[int]], Query()]) -> None: ...

    app = App()
    app.get("/page")(page)
    with pytest.raises(SetupError, match="the query contains only text, which can't be converted"):
        app.openapi()


def test_settings_have_one_value_or_several() -> None:
    @dataclass
    class Ports:
        ports: int | list[int]

    assert config.read(Ports, environment={"PORTS": "1"}).ports == 1
    assert config.read(Ports, environment={"PORTS": "1, 2"}).ports == [1, 2]


# -- files -----------------------------------------------------------------------------------------


class Files(App):
    @post
    def several(self, photos: list[UploadFile]) -> Any:
        return [photo.filename for photo in photos]

    @post
    def chosen(self, photos: list[UploadFile] = [UploadFile]) -> Any:  # type: ignore[list-item]  # noqa: B006
        return photos

    @post
    def perhaps(self, photos: list[UploadFile] | None = None) -> Any:
        return {"photos": photos}

    @post
    def some(self, photos: Annotated[list[UploadFile], msgspec.Meta(min_length=1)]) -> Any:
        return [photo.filename for photo in photos]


def test_an_empty_file_input_becomes_an_empty_list(make_client: MakeClient) -> None:
    client = make_client(Files())
    nothing: Any = {"files": {"photos": ("", b"")}}
    other: Any = {"files": {"other": ("a.txt", b"")}}
    for sent in (nothing, other, {"data": {"name": "x"}}, {"data": {"photos": ""}}):
        assert client.post("/several", **sent).json() == []
        assert client.post("/chosen", **sent).json() == []
        assert client.post("/perhaps", **sent).json() == {"photos": None}
        assert client.post("/some", **sent).status_code == 400
    told = "Parameter 'photos' is missing; expected a file, of length 1 or more."
    assert client.post("/some", **other).text == told
    assert client.post("/several", json={}).status_code == 400  # it may have no files at all
    assert client.post("/several").status_code == 400
    # without enctype="multipart/form-data" the name comes, and no file
    assert client.post("/several", data={"photos": "a.txt"}).status_code == 400
    assert client.post("/some", files={"photos": ("a", b"")}).json() == ["a"]


# -- decimals --------------------------------------------------------------------------------------


class Money:
    def __init__(self, amount: Decimal) -> None:
        self.amount = amount


def money(amount: Decimal) -> Money:
    return Money(amount)


@dataclass
class Payment:
    amount: Decimal
    ratio: float = 0.0
    note: Any = None


class Strict(pydantic.BaseModel):
    model_config = {"strict": True}
    amount: Decimal
    ratio: float = 0.0


class Loose(TypedDict):
    amount: Decimal | None


class Till(App):
    @post
    def pay(self, amount: Decimal) -> str:
        return str(amount)

    @post
    def all(self, amounts: Annotated[list[Decimal], Body()]) -> str:
        return " ".join(map(str, amounts))

    @post
    def either(self, amount: float | Decimal) -> str:
        return str(amount)

    @post
    def own(self, amount: Money) -> str:
        return str(amount.amount)

    @post
    def payment(self, payment: Payment) -> str:
        return f"{payment.amount} {payment.ratio} {payment.note}"

    @post
    def payments(self, payments: list[Strict]) -> str:
        return " ".join(f"{one.amount} {one.ratio}" for one in payments)

    @post
    def loose(self, loose: Loose) -> str:
        return str(loose["amount"])

    @post
    def both(self, amount: Decimal, other: float) -> str:
        return f"{amount} {other} {self.request.json()['amount']}"


LONG = "123456789012345678.91"


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/pay", f'{{"amount": {LONG}}}', LONG),
        ("/pay", f'\ufeff{{"amount": {LONG}}}', LONG),
        ("/pay", '{"amount": 0.1}', "0.1"),
        ("/pay", '{"amount": 9007199254740993e0}', "9007199254740993"),
        ("/pay", '{"amount": 1e-400}', None),
        ("/pay", '{"amount": 1e-99999999999999999999}', None),
        ("/pay", f'{{"amount": 0.{"1" * 400}}}', None),
        ("/pay", '{"amount": true}', None),
        ("/pay", "null", None),
        ("/all", f"[{LONG}, 1, 0.30000000000000004]", f"{LONG} 1 0.30000000000000004"),
        ("/either", f'{{"amount": {LONG}}}', LONG),
        ("/either", '{"amount": 0.5}', "0.5"),
        ("/own", f'{{"amount": {LONG}}}', LONG),
        ("/payment", f'{{"amount": {LONG}, "ratio": {LONG}}}', f"{LONG} {float(LONG)} None"),
        ("/payment", '{"amount": 1, "note": 0.30000000000000004}', "1 0.0 0.30000000000000004"),
        ("/payment", '{"amount": 1e-400}', None),
        ("/payments", f'[{{"amount": {LONG}}}]', f"{LONG} 0.0"),
        ("/payments", f'[{{"amount": 1, "ratio": {LONG}}}]', f"1 {float(LONG)}"),
        ("/payments", f'[{{"amount": {LONG}, "ratio": "x"}}]', None),
        ("/loose", f'{{"amount": {LONG}}}', LONG),
        ("/both", f'{{"amount": {LONG}, "other": {LONG}}}', f"{LONG} {float(LONG)} {float(LONG)}"),
    ],
)
def test_a_decimal_keeps_all_digits_of_json(
    make_client: MakeClient, path: str, body: str, text: str | None
) -> None:
    answer = make_client(Till(decoders={Money: money})).post(
        path, content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.text) == (200, text) if text else answer.status_code == 400


def test_json_that_only_orjson_accepts_is_refused(make_client: MakeClient) -> None:
    nested = '{"amount": 1.00000000000000001, "x": ' + "[" * 1000 + "]" * 1000 + "}"
    answer = make_client(Till(decoders={Money: money})).post(
        "/pay", content=nested, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (200, 400)  # Python 3.12 and later go as deep
