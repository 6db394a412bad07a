"""Exceptions of calls in other processes: what arrives is what was raised."""

from __future__ import annotations

import copyreg
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from micropie import HTTPError
from micropie._core.execution.pool.remote import FAILED, open_message, pickled_error


class OneText(Exception):
    def __init__(self, pie: str) -> None:
        super().__init__(f"no {pie} pie")


class ByKeyword(Exception):
    def __init__(self, *, pie: str) -> None:
        super().__init__(f"no {pie} pie")
        self.pie = pie


class WithoutSuper(Exception):
    def __init__(self, pie: str, left: int = 3) -> None:
        self.pie, self.left = pie, left

    def __str__(self) -> str:
        return f"{self.left} {self.pie} pies"


@dataclass
class OfFields(Exception):
    pie: str


class Mixin:
    """A base class that is no exception."""


class Missing(Mixin, OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "missing", path)


class Undecodable(UnicodeDecodeError):
    def __init__(self, data: bytes) -> None:
        super().__init__("utf-8", data, 0, 1, "bad")


class Slotted(Exception):
    __slots__ = ("pie",)

    def __init__(self, pie: str) -> None:
        super().__init__(pie)
        self.pie = pie


class Reduced(Exception):
    def __init__(self, pie: str) -> None:
        super().__init__(f"no {pie} pie")
        self.pie = pie

    def __reduce__(self) -> Any:
        return type(self), (self.pie,)


OPEN_LOG = threading.Lock()  # it can't be pickled


class ReducedByProtocol(Exception):
    def __init__(self, pie: str) -> None:
        super().__init__(f"no {pie} pie")
        self.pie, self.log = pie, OPEN_LOG

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.pie,)


class Registered(Exception):
    def __init__(self, pie: str) -> None:
        super().__init__(f"no {pie} pie")
        self.pie, self.log = pie, OPEN_LOG


copyreg.pickle(Registered, lambda error: (Registered, (error.pie,)))


class Refused(HTTPError):
    def __init__(self, pie: str) -> None:
        super().__init__(409, f"no {pie} pie", [("X-Pie", pie)])


def arrived(error: Exception) -> Any:
    with pytest.raises(type(error)) as caught:
        open_message((FAILED, pickled_error(error)))
    assert type(caught.value) is type(error)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        OneText("plum"),
        ByKeyword(pie="plum"),
        WithoutSuper("plum", 2),
        OfFields(pie="plum"),
        Missing("/plum"),
        Undecodable(b"\xff"),
        Slotted("plum"),
        Reduced("plum"),
        ReducedByProtocol("plum"),
        Registered("plum"),
        Refused("plum"),
        KeyError("plum"),
        OSError(2, "missing", "/plum"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_arrives_as_it_was_raised_whatever_its_constructor_takes(
    error: Exception,
) -> None:
    found = arrived(error)
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
    assert getattr(found, "pie", None) == getattr(error, "pie", None)


def test_the_exceptions_of_a_group_and_its_notes_arrive() -> None:
    group = ExceptionGroup("failed", [OneText("plum"), ByKeyword(pie="fig")])
    group.add_note("noted")
    found = arrived(group)
    assert [str(one) for one in found.exceptions] == ["no plum pie", "no fig pie"]
    assert found.__notes__ == ["noted"]
