"""Constraints in annotations, of msgspec, pydantic and annotated_types, are kept."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, NotRequired, TypedDict

import annotated_types as at
import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from micropie import App, Message, Query, SetupError, UploadFile
from micropie._core.binding.values.constraints import MOST_MATCHED, constraints_of
from tests.binding.conftest import taking
from tests.support.clients import MakeClient

Positive = Annotated[int, msgspec.Meta(ge=1, description="how many")]


class Shop(App):
    def meta(self, n: Positive) -> Any:
        return [n]

    def field(self, n: Annotated[int, pydantic.Field(gt=0, le=10, title="n")]) -> Any:
        return [n]

    def typed(
        self, n: Annotated[int, at.Interval(gt=0, lt=10), at.MultipleOf(3), "how many"]
    ) -> Any:
        return [n]

    def maybe(self, n: Annotated[int | None, at.Ge(1)] = None) -> Any:
        return [n]

    def name(self, n: Annotated[str, at.Len(2, 4), msgspec.Meta(pattern="^[a-z]+$")]) -> Any:
        return [n]

    def title(self, n: Annotated[str, msgspec.Meta(max_length=3, min_length=1)]) -> Any:
        return [n]

    def several(self, n: Annotated[list[Positive], at.MinLen(2)]) -> Any:
        return n

    def lower(self, n: Annotated[str, at.Predicate(str.islower)]) -> Any:
        return [n]

    def capital(self, n: Annotated[str, at.Predicate(lambda text: text[0].isupper())]) -> Any:
        return [n]

    def half(self, n: Annotated[float, at.Lt(0.5)]) -> Any:
        return [n]


FITS = [
    ("meta", "1", [1]),
    ("field", "10", [10]),
    ("typed", "9", [9]),
    ("maybe", "", [None]),
    ("maybe", "3", [3]),
    ("name", "abcd", ["abcd"]),
    ("several", "1&n=2", [1, 2]),
    ("lower", "a", ["a"]),
    ("capital", "A", ["A"]),
    ("half", "0.25", [0.25]),
]
MISFITS = [
    ("meta", "0", "a whole number, at least 1"),
    ("meta", "x", "a whole number, at least 1"),
    ("field", "0", "a whole number, above 0, at most 10"),
    ("field", "11", "a whole number, above 0, at most 10"),
    ("typed", "10", "a whole number, above 0, below 10, a multiple of 3"),
    ("typed", "4", "a whole number, above 0, below 10, a multiple of 3"),
    ("maybe", "0", "a whole number, at least 1"),
    ("name", "a", "text, of length 2 or more, of length 4 or less, matching ^[a-z]+$"),
    ("name", "abcde", "text, of length 2 or more, of length 4 or less, matching ^[a-z]+$"),
    ("name", "AB", "text, of length 2 or more, of length 4 or less, matching ^[a-z]+$"),
    ("title", "", "text, of length 1 or more, of length 3 or less"),
    ("several", "1", "a list, each a whole number, at least 1, of length 2 or more"),
    ("several", "1&n=0", "a list, each a whole number, at least 1, of length 2 or more"),
    ("lower", "A", "text, such that islower"),
    ("half", "0.5", "a number, below 0.5"),
]


@pytest.mark.parametrize(("name", "value", "result"), FITS)
def test_a_value_within_its_constraints_is_valid(
    make_client: MakeClient, name: str, value: str, result: list[Any]
) -> None:
    client = make_client(Shop())
    assert client.get(f"/{name}?n={value}").json() == result
    document = result if name == "several" else result[0]
    assert client.post(f"/{name}", json={"n": document}).json() == result


@pytest.mark.parametrize(("name", "value", "expected"), MISFITS)
def test_a_value_outside_its_constraints_gets_a_400(
    make_client: MakeClient, name: str, value: str, expected: str
) -> None:
    answer = make_client(Shop()).get(f"/{name}?n={value}")
    assert (answer.status_code, answer.text) == (400, f"Parameter 'n' must be {expected}.")


def test_constraints_apply_to_json_and_path_segments_too(make_client: MakeClient) -> None:
    client = make_client(Shop())
    assert client.post("/meta", json={"n": 0}).status_code == 400
    assert client.post("/several", json={"n": [1]}).status_code == 400
    assert (client.get("/meta/0").status_code, client.get("/meta/1").json()) == (400, [1])
    assert client.get("/several/5").status_code == 400  # a segment is a list of one


class Column:  # of a library that micropie doesn't know
    validation_alias = "m"
    min_length = 2


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[int, pydantic.Field(strict=False), pydantic.PlainSerializer(str)],
        Annotated[int, Column()],
    ],
)
def test_metadata_without_a_restriction_is_accepted(
    make_client: MakeClient, annotation: Any
) -> None:
    client = make_client(taking(annotation))
    assert client.get("/page/1").text == "made"


@pytest.mark.parametrize(
    "constraint",
    [
        at.Timezone("UTC"),
        msgspec.Meta(tz=True),
        msgspec.Meta(tz=False),
        pydantic.Field(alias="m"),
        pydantic.Field(alias="m", strict=True),
    ],
)
def test_a_constraint_that_cannot_be_enforced_fails_at_setup(constraint: Any) -> None:
    with pytest.raises(
        SetupError,
        match=r"parameter 'item': (.* can't be enforced here|.* has no effect on a parameter|no int is with)",
    ):
        taking(Annotated[int, constraint])._micropie.compiled()


@pytest.mark.parametrize(
    ("timezone", "accepted", "refused"),
    [
        (at.Timezone(None), "2026-01-31T13:45:00", "2026-01-31T13:45:00Z"),
        (at.Timezone(...), "2026-01-31T13:45:00Z", "2026-01-31T13:45:00"),
    ],
)
def test_a_time_zone_may_be_required_or_forbidden(
    make_client: MakeClient, timezone: Any, accepted: str, refused: str
) -> None:
    client = make_client(taking(Annotated[datetime, timezone]))
    assert client.get("/page", params={"item": accepted}).text == "made"
    assert client.get("/page", params={"item": refused}).status_code == 400


def test_a_time_zone_that_pydantic_would_ignore_fails_at_setup() -> None:
    model = pydantic.create_model("Model", at=(Annotated[datetime, at.Timezone(None)], ...))
    with pytest.raises(SetupError, match=r"check the constraint Timezone of .*Aware"):
        taking(model)._micropie.compiled()


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        (Annotated[str, msgspec.Meta(ge=1)], "no str is at least 1"),
        (Annotated[int, at.Len(2)], "no int is of length 2 or more"),
        (Annotated[int, msgspec.Meta(pattern="a")], "no int is matching a"),
        (Annotated[list[int], at.Lt(5)], "no list is below 5"),
        (Annotated[int, at.MultipleOf(0)], "no int is a multiple of 0"),
        (list[Annotated[date, at.Gt(5)]], "no date is above 5"),
    ],
)
def test_an_impossible_constraint_fails_at_setup(annotation: Any, sentence: str) -> None:
    with pytest.raises(SetupError, match=f"parameter 'item': {sentence}"):
        taking(annotation)._micropie.compiled()


class Slice(msgspec.Struct):
    size: int = 1


class Part(pydantic.BaseModel):
    size: int = 1


@pytest.mark.parametrize("kind", [Slice, Part])
@pytest.mark.parametrize(
    "metadata",
    [msgspec.Meta(min_length=1, max_length=2), pydantic.Field(min_length=1, max_length=2)],
)
def test_the_length_of_a_list_of_structures_is_limited(
    make_client: MakeClient, kind: Any, metadata: Any
) -> None:
    client = make_client(taking(Annotated[list[kind], metadata], len))
    answers = [client.post("/page", json=[{}] * count) for count in range(4)]
    assert [one.status_code for one in answers] == [400, 200, 200, 400]
    told = "Parameter 'item' must be a JSON array of objects, of length 1 or more, of length 2 or less."
    assert answers[0].json()["detail"] == told


def test_the_length_of_a_list_of_files_is_limited(make_client: MakeClient) -> None:
    class Site(App):
        def files(
            self,
            n: Annotated[list[UploadFile], at.Len(2, 2), Message("Two files.", required="Files!")],
        ) -> int:
            return len(n)

    client = make_client(Site())
    answers = [client.post("/files", files=[("n", ("a", b"1"))] * count) for count in (1, 2, 3)]
    found = [one.text for one in answers]
    assert found == ["Parameter 'n': Two files.", "2", "Parameter 'n': Two files."]
    assert client.post("/files", data={"m": "1"}).text == "Parameter 'n': Files!"


@pytest.mark.parametrize("kind", [UploadFile, Slice, Part | None])
def test_a_length_of_a_value_without_length_fails_at_setup(kind: Any) -> None:
    with pytest.raises(
        SetupError,
        match=r"parameter 'item': its annotation requires .* of length 1 or more",
    ):
        taking(Annotated[kind, at.Len(1, 2)])._micropie.compiled()


@dataclass
class Positional:
    n: Annotated[int, pydantic.Field(gt=0)] = 1


@dataclass
class Inner:
    n: list[Annotated[str, at.Len(1)] | None]


class Outer(msgspec.Struct):
    inner: list[Inner]


class Dict(TypedDict):
    n: NotRequired[pydantic.PositiveInt]


class Validated(msgspec.Struct):
    n: Annotated[int, pydantic.AfterValidator(abs)]


@dataclass
class Defaulted:
    n: int = pydantic.Field(gt=0)


class Priced(msgspec.Struct):
    n: Annotated[float, msgspec.Meta(multiple_of=0.01)]


class Model(pydantic.BaseModel):
    n: Annotated[int, msgspec.Meta(ge=1)]


@dataclass
class Deep:
    n: dict[str, Annotated[int, msgspec.Meta(ge=1)]]


class InModel(pydantic.BaseModel):
    inner: Deep


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (
            Positional,
            "msgspec doesn't check the constraint Field of Positional.n: write msgspec.Meta",
        ),
        (
            list[Positional],
            "msgspec doesn't check the constraint Field of Positional.n: write msgspec.Meta",
        ),
        (
            Annotated[Positional, Query()],
            "msgspec doesn't check the constraint Field of Positional.n: write msgspec.Meta",
        ),
        (Inner, "msgspec doesn't check the constraint Len of Inner.n: write msgspec.Meta"),
        (Outer, "msgspec doesn't check the constraint Len of Inner.n: write msgspec.Meta"),
        (Dict, "msgspec doesn't check the constraint Gt of Dict.n: write msgspec.Meta"),
        (
            Validated,
            "msgspec doesn't check the constraint AfterValidator of Validated.n: write msgspec.Meta",
        ),
        (
            Defaulted,
            "msgspec doesn't check the constraint Field of Defaulted.n: write msgspec.Meta",
        ),
        (Priced, r"msgspec refuses most multiples of 0\.01 for Priced\.n, because it computes"),
        (Model, r"pydantic doesn't check the constraint Meta of Model.n: write pydantic.Field"),
        (InModel, r"pydantic doesn't check the constraint Meta of Deep.n: write pydantic.Field"),
    ],
)
def test_a_field_s_constraint_unknown_to_its_library_fails_at_setup(
    kind: Any, sentence: str
) -> None:
    with pytest.raises(SetupError, match=sentence):
        taking(kind)._micropie.compiled()


class Halves(msgspec.Struct):
    n: Annotated[float, msgspec.Meta(multiple_of=0.5)]


def test_msgspec_checks_multiples_of_binary_fractions(make_client: MakeClient) -> None:
    client = make_client(taking(Halves))
    statuses = [client.post("/page", json={"n": n}).status_code for n in (1.5, 1e10, 0.25)]
    assert statuses == [200, 200, 400]


@dataclass
class Addressed:
    mail: pydantic.EmailStr


def test_a_package_that_a_type_of_pydantic_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "email_validator", None)
    with pytest.raises(SetupError, match=r"Addressed, but .*: email-validator is not installed"):
        taking(Addressed)._micropie.compiled()


@dataclass
class Described:
    a: Annotated[int, pydantic.Field(title="a", description="one", examples=[1]), Message("So?")]
    b: Annotated[int, msgspec.Meta(ge=1), at.DocInfo("b"), pydantic.PlainSerializer(str)] = 1
    c: Annotated[int, pydantic.Field(description="c")] = 5


class DescribedModel(pydantic.BaseModel):
    a: Annotated[
        int, msgspec.Meta(title="a", description="one", examples=[1], extra={"a": 1}), at.Ge(0)
    ]
    b: Annotated[int, "b", pydantic.AfterValidator(abs)] = 1
    c: int = 5


@pytest.mark.parametrize("kind", [Described, DescribedModel])
def test_descriptive_metadata_may_come_from_any_library(make_client: MakeClient, kind: Any) -> None:
    client = make_client(taking(kind, lambda item: item))
    assert client.post("/page", json={"a": 1}).json() == {"a": 1, "b": 1, "c": 5}


def test_a_pattern_is_matched_against_short_texts_only() -> None:
    (constraint,) = constraints_of([msgspec.Meta(pattern="^a+b?$")])
    assert constraint.fits("a" * MOST_MATCHED, constraint.bound)
    assert constraint.fits("a" * (MOST_MATCHED - 1) + "b", constraint.bound)
    assert not constraint.fits("a" * MOST_MATCHED + "b", constraint.bound)


def test_a_value_that_cannot_be_compared_is_invalid(make_client: MakeClient) -> None:
    class Anything(App):
        def page(self, n: Annotated[Any, at.Ge(1)]) -> Any:
            return [n]

    client = make_client(Anything())
    assert client.post("/page", json={"n": "text"}).status_code == 400
    assert client.post("/page", json={"n": 2}).json() == [2]


def test_a_wildcard_s_number_is_checked_like_text(make_client: MakeClient) -> None:
    app = App()
    kinds = {
        "int": Positive,
        "float": Annotated[float, at.Lt(0.5)],
        "decimal": Decimal,
        "many": list[Positive],
        "any": int,
    }
    for name, annotation in kinds.items():

        def handler(n: Any) -> Any:
            return [str(n), type(n).__name__]

        handler.__annotations__ = {"n": annotation}
        app.get(f"/{name}/<n:{'float' if name == 'float' else 'int'}>", name=name)(handler)
    client = make_client(app)
    answers = {path: client.get(path) for path in ("/int/0", "/float/0.5", "/many/0")}
    seen = {path: found.status_code for path, found in answers.items()}
    assert seen == dict.fromkeys(answers, 400)
    fitting = {
        path: client.get(path).json()
        for path in ("/int/1", "/float/0.25", "/decimal/7", "/many/7", "/any/0")
    }
    assert fitting == {
        "/int/1": ["1", "int"],
        "/float/0.25": ["0.25", "float"],
        "/decimal/7": ["7", "Decimal"],
        "/many/7": ["[7]", "list"],
        "/any/0": ["0", "int"],
    }


def test_a_validator_that_changes_the_value_is_refused_as_a_constraint() -> None:
    with pytest.raises(SetupError, match="AfterValidator can't be enforced here"):
        [*constraints_of([pydantic.AfterValidator(str.upper)])]


class Payment(pydantic.BaseModel):
    amount: Annotated[Decimal, pydantic.Field(multiple_of=Decimal("0.01"))]


@pytest.mark.parametrize("amount", ["1e26", "1e300"])
def test_a_number_too_large_for_multiple_of_is_refused(
    make_client: MakeClient, amount: str
) -> None:
    """Python's decimal raises an ArithmeticError if a quotient has more than 28 digits."""
    parameter = make_client(taking(Annotated[Decimal, msgspec.Meta(multiple_of=1)]))
    assert parameter.get("/page", params={"item": "12"}).status_code == 200
    assert parameter.get("/page", params={"item": "1e300"}).status_code == 400
    model = make_client(taking(Payment))
    assert model.post("/page", json={"amount": "0.25"}).status_code == 200
    assert model.post("/page", json={"amount": amount}).status_code == 400


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[float, msgspec.Meta(multiple_of=0.01)],
        Annotated[float, pydantic.Field(multiple_of=0.01)],
        Annotated[float | None, at.MultipleOf(0.01)],
        Annotated[Decimal, at.MultipleOf(0.01)],
    ],
)
def test_a_multiple_of_a_fraction_is_one_in_decimal_digits(
    make_client: MakeClient, annotation: Any
) -> None:
    client = make_client(taking(annotation, str))
    for text in ("0.07", "0.3", "19.99", "5", "-0.29", "0", "1e10"):
        assert client.get("/page", params={"item": text}).status_code == 200, text
    for text in ("0.075", "19.999", "1e-3", "1e300"):
        assert client.get("/page", params={"item": text}).status_code == 400, text
