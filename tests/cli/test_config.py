"""Settings from the environment and a file ``.env``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Generic, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from micropie import SetupError, config

T = TypeVar("T")


class Mode(Enum):
    slow = "slow"
    fast = "fast"


@dataclass(frozen=True)
class Settings:
    database: str
    debug: bool = False
    workers: Annotated[int, msgspec.Meta(ge=1)] = 4
    hosts: list[str] = field(default_factory=list)
    mode: Mode | None = None
    made: int = field(default=5, init=False)


class Struct(msgspec.Struct, kw_only=True):
    name: str = "shop"
    ports: tuple[int, ...]


def test_each_field_is_read_from_a_variable_and_converted() -> None:
    environment = {
        "SHOP_DATABASE": "shop.db",
        "SHOP_DEBUG": "yes",
        "SHOP_HOSTS": "a.example, b.example,",
        "SHOP_MODE": "fast",
        "SHOP_MADE": "7",
        "DATABASE": "of another",
    }
    found = config.read(Settings, prefix="SHOP_", environment=environment)
    assert found == Settings("shop.db", True, 4, ["a.example", "b.example"], Mode.fast)
    assert config.read(Settings, environment={"DATABASE": "x"}) == Settings("x")
    assert config.read(Struct, environment={"PORTS": "80,443"}) == Struct(ports=(80, 443))


@dataclass
class Computed:
    port: int = field(init=False)
    place: InitVar[str]
    offset: InitVar[int] = 0

    def __post_init__(self, place: str, offset: int) -> None:
        self.port = int(place.partition(":")[2]) + offset


def test_a_variable_may_set_an_argument_that_is_not_stored() -> None:
    found = [
        config.read(Computed, environment={"PLACE": "localhost:80", **more}).port
        for more in ({}, {"OFFSET": "5"})
    ]
    assert found == [80, 85]
    with pytest.raises(SetupError, match="PLACE is not set; OFFSET must be a whole number"):
        config.read(Computed, environment={"OFFSET": "x"})


def test_all_invalid_variables_are_reported_without_their_values() -> None:
    with pytest.raises(SetupError) as caught:
        config.read(
            Settings,
            "SHOP_",
            {"SHOP_WORKERS": "0", "SHOP_DEBUG": "hunter2", "SHOP_MODE": "hunter3"},
        )
    assert str(caught.value) == (
        "SHOP_DATABASE is not set; SHOP_DEBUG must be true or false; SHOP_WORKERS must be a whole number, at least 1; "
        "SHOP_MODE must be one of slow, fast (config.read reads the environment, and a .env file in the current folder)"
    )


TOPPINGS = {"cream": 2}


@dataclass
class Topped:
    topping: Annotated[str, pydantic.AfterValidator(TOPPINGS.__getitem__)] = "none"


def test_a_value_that_a_validator_does_not_find_is_invalid() -> None:
    assert config.read(Topped, environment={"TOPPING": "cream"}) == Topped(2)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="TOPPING must be") as raised:
        config.read(Topped, environment={"TOPPING": "sesame"})
    assert "sesame" not in str(raised.value)


@dataclass
class Nested:
    options: dict[str, int] = field(default_factory=dict)


def test_a_variable_cannot_set_a_dict() -> None:
    assert config.read(Nested, environment={}) == Nested()
    words = r"^OPTIONS can't set 'options': a variable is text, not a JSON object \("
    with pytest.raises(SetupError, match=words):
        config.read(Nested, environment={"OPTIONS": '{"cream": 2}'})


class Model(pydantic.BaseModel):
    name: str


class Listed(msgspec.Struct, Generic[T]):
    values: list[T]


class Typed(TypedDict):
    name: str


@dataclass
class Unfit:
    place: Callable[[], int]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Model, "for a subclass of pydantic's BaseSettings, create an object of it"),
        (Typed, "config.read takes a dataclass or msgspec.Struct, not"),
        (Listed[int], "config.read takes a dataclass or msgspec.Struct, not"),
        (dict, "config.read takes a dataclass or msgspec.Struct, not <class 'dict'>"),
        (
            Unfit,
            "Unfit.place: it is annotated with .*, and micropie can't convert text to that: change "
            r"the annotation to str, .*, an Enum, Literal, Optional or list\[...\]\.",
        ),
    ],
)
def test_an_unsuitable_settings_class_is_refused(kind: Any, sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        config.read(kind)


def test_environment_variables_take_precedence_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_DATABASE", "environment.db")
    assert config.read(Settings, "SHOP_") == Settings("environment.db")
    (tmp_path / ".env").write_text("SHOP_DATABASE=file.db\nSHOP_DEBUG=1\nSHOP_WORKERS\n")
    assert config.read(Settings, "SHOP_") == Settings("environment.db", True)
    assert config.read_env_file() == {"SHOP_DATABASE": "file.db", "SHOP_DEBUG": "1"}
    assert config.read_env_file("other.env") == {}
    (tmp_path / ".env").write_bytes(b"A=\xff")
    with pytest.raises(SetupError, match=r"^\.env can't be read: "):
        config.read(Settings, "SHOP_")


@pytest.mark.parametrize(
    ("prefix", "variable", "told"),
    [
        ("SHOP", "SHOP_NAME", 'SHOP_NAME is not read: write prefix="SHOP_"'),
        ("SHOP_", "SHOP__NAME", ""),
        ("SHOP", "SHOPNAME", ""),
        ("", "_NAME", ""),
        ("SHOP", "SHOP_ENV", ""),
    ],
)
def test_a_prefix_without_its_underscore_is_reported(prefix: str, variable: str, told: str) -> None:
    environment = {variable: "plum", f"{prefix}PORTS": "1"}
    try:
        config.read(Struct, prefix=prefix, environment=environment)
        found = ""
    except SetupError as error:
        found = str(error).partition(" (config.read")[0]
    assert found == told
