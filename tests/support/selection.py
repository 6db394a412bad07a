"""Choose where a case of a test runs: under WSGI, asyncio or trio.

A test function with ``world`` (or another of ``NAMES``) among its arguments is collected in each
world. The first case of a function runs in all of them. Every other case runs in one, which a hash
of its name chooses: in the same one at each run, so a failure repeats. In ``ALIKE`` and ``COSTLY``
the first case is no exception.

trio runs the same flow as asyncio does. Where nothing waits it adds nothing, so only the
``WAITING`` folders and files are tested on it. A case that has no other world runs on it
everywhere.

A test that is left out for its folder is not even collected. ``--world=trio`` runs all cases of
that world, ``--all-worlds`` every case in every world (``make test-all``).
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import pytest

WORLDS = ("wsgi", "asyncio", "trio")

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
    "tests/http/test_receiving.py::test_a_process_parses_what_its_handler_asks_for",
    "tests/middleware/test_load_shedding.py::test_clocks_that_differ_refuse_nobody_for_long",
    "tests/middleware/test_metrics.py::test_the_pool",
)


def world_of(item: pytest.Item) -> str | None:
    """Return the world of a test, None if it does not run in each."""
    callspec = getattr(item, "callspec", None)
    named = (callspec.params.get(name) for name in NAMES) if callspec else ()
    return next((name for name in named if name in WORLDS), None)


def left_out(items: Iterable[pytest.Item], world: str | None) -> set[pytest.Item]:
    """Return the tests that don't run, of ``items`` in the order of their files.

    With ``world`` these are the tests of the other worlds.
    """
    if world is not None:
        return {item for item in items if world_of(item) not in (None, world)}
    functions: dict[str, dict[str, dict[str, pytest.Item]]] = defaultdict(lambda: defaultdict(dict))
    for item in items:
        own = world_of(item)
        if own is not None:
            functions[item.nodeid.partition("[")[0]][case_of(item.nodeid, own)][own] = item
    return {
        item
        for function, cases in functions.items()
        for index, (case, in_world) in enumerate(cases.items())
        for chosen in [
            chosen_worlds(
                case,
                worlds_of(function, list(in_world)),
                in_each=index == 0 and not function.startswith(ALIKE + COSTLY),
            )
        ]
        for own, item in in_world.items()
        if own not in chosen
    }


def case_of(node_id: str, world: str) -> str:
    """Return the id of a test without its world."""
    function, _, parameters = node_id.removesuffix("]").partition("[")
    parts = parameters.split("-")
    parts.remove(world)
    return f"{function}[{'-'.join(parts)}]"


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
