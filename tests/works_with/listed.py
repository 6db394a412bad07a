"""The combinations: small programs with other projects' packages, each run in every world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from micropie.testing import TestClient

World = Literal["asyncio", "trio", "wsgi"]
WORLDS: tuple[World, ...] = ("asyncio", "trio", "wsgi")
Program = Callable[[World], None]


@dataclass(frozen=True)
class Combination:
    """What of a distribution is tried, and in which worlds."""

    distribution: str
    what: str
    worlds: tuple[World, ...]
    program: Program


ALL: dict[str, Combination] = {}  # by the name of the program


def works(distribution: str, *worlds: World, what: str = "") -> Callable[[Program], Program]:
    """List a program that needs a distribution, whose version is shown."""

    def keep(program: Program) -> Program:
        assert program.__name__ not in ALL
        ALL[program.__name__] = Combination(distribution, what, worlds or WORLDS, program)
        return program

    return keep


def client_of(app: Any, world: World, **options: Any) -> TestClient:
    if world == "wsgi":
        return TestClient(app, protocol="wsgi", **options)
    return TestClient(app, backend=world, **options)
