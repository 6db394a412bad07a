"""Choose where a case of a test runs: under WSGI, asyncio or trio.

A test function with ``world`` (or another of ``NAMES``) among its arguments is collected in each
world. The first case of a function runs in all of them. Every other case runs in one, which a hash
of its name chooses: in the same one at each run, so a failure repeats. In ``ALIKE`` and ``COSTLY``
the first case is no exception.

trio runs the same flow as asyncio does. Where nothing waits it adds nothing, so only the
``WAITING`` folders and files are tested on it. A case that has no other world runs on it
everywhere.

A case that is left out is not even collected: pytest takes as long to make it as one that runs.
``--world=trio`` runs all cases of that world, ``--all-worlds`` every case in every world
(``make test-all``).
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

WORLDS = ("wsgi", "asyncio", "trio")

AnyCase = TypeVar("AnyCase", bound="Case")

# Arguments and fixtures whose parameter is a world; ``side`` is one of them or "original"
# (compat/tests).
NAMES = ("world", "backend", "side", "anyio_backend", "shared_client")

# What waits, and what compares worlds.
WAITING = (
    "tests/asgi/",
    "tests/channels/",
    "tests/execution/",
    "tests/flow/",
    "tests/http/test_websockets.py",
    "tests/mounts/",
    "tests/streams/",
    "tests/testing/",
    "compat/tests/test_root.py",
    "compat/tests/test_slow_bodies.py",
    "compat/tests/test_visitors.py",
)

# What is asked of no driver: which handler a path leads to, with which arguments, and what becomes
# of its result. That this is alike in each world is shown once, by tests/flow/test_same_answer.py, and
# that each line is reached by the measurement of coverage.
ALIKE = (
    "tests/binding/",
    "tests/debug/",
    "tests/openapi/",
    "tests/routing/",
    "tests/templates/",
)

# What starts processes, or waits for a time limit. The functions of a file share
# the protocols.
COSTLY = (
    "tests/execution/pool/",
    "tests/execution/test_redis_",
    "tests/http/test_receiving.py::test_a_process_parses_only_what_its_handler_reads",
    "tests/middleware/test_load_shedding.py::test_clocks_that_differ_refuse_no_request_for_long",
    "tests/middleware/test_metrics.py::test_the_pool_is_measured",
)


class Case(Protocol):
    """What the choice sees of a case of a test function."""

    @property
    def params(self) -> Mapping[str, object]: ...

    @property
    def id(self) -> str: ...


def world_of(case: Case) -> str | None:
    """Return the world of a case, None if it does not run in each."""
    named = (case.params.get(name) for name in NAMES)
    return next((name for name in named if isinstance(name, str) and name in WORLDS), None)


def chosen_cases(function: str, cases: Sequence[AnyCase]) -> list[AnyCase]:
    """Return which of the cases of a function run, in their order."""
    in_worlds: dict[str, dict[str, AnyCase]] = defaultdict(dict)
    for case in cases:
        own = world_of(case)
        if own is not None:
            in_worlds[_without_world(case.id, own)][own] = case
    in_each = not function.startswith(ALIKE + COSTLY)
    chosen = {
        (name, world)
        for index, (name, worlds) in enumerate(in_worlds.items())
        for world in chosen_worlds(
            f"{function}[{name}]", worlds_of(function, [*worlds]), in_each=in_each and index == 0
        )
    }
    return [
        case
        for case in cases
        for own in [world_of(case)]
        if own is None or (_without_world(case.id, own), own) in chosen
    ]


def _without_world(case_id: str, world: str) -> str:
    """Return the id of a case without its world."""
    parts = case_id.split("-")
    parts.remove(world)
    return "-".join(parts)


def worlds_of(function: str, worlds: Sequence[str]) -> Sequence[str]:
    """Return those of ``worlds`` in which cases of a function run: on trio where something waits,
    or if it is the only.
    """
    if function.startswith(WAITING):
        return worlds
    return [world for world in worlds if world != "trio"] or worlds


def chosen_worlds(case: str, worlds: Sequence[str], *, in_each: bool) -> Sequence[str]:
    """Return each world in which a case runs, of those in which cases of its function run."""
    return worlds if in_each else [worlds[zlib.crc32(case.encode()) % len(worlds)]]
