"""micropie's goals, checked against measured numbers.

`best` is table -> contender -> case -> microseconds. A goal without numbers is reported as not
measured, never as met. "Every column" means every column that was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Best = Mapping[str, Mapping[str, Mapping[str, float]]]
OURS = "micropie"
WSGI_AGAINST_FALCON = ("plain", "json", "path")
SESSION_GOAL = 2.0  # times a plain request, as it was measured in the same table


@dataclass(frozen=True)
class Verdict:
    """The result for one goal. `met` is None if it wasn't measured."""

    goal: str
    met: bool | None
    detail: str

    @property
    def word(self) -> str:
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]


def judge(best: Best) -> list[Verdict]:
    bridge = "async under WSGI at most 0.6x a2wsgi in every column"
    return [
        _ratio(
            best,
            "asgi",
            "hand-written",
            3.0,
            "ASGI plain text at most 3.0x hand-written",
            ["plain"],
        ),
        _ahead(best, "asgi", "BlackSheep"),
        _ahead(best, "asgi", "Falcon"),
        _ratio(
            best,
            "wsgi",
            "hand-written",
            4.5,
            "WSGI plain text at most 4.5x hand-written",
            ["plain"],
        ),
        _ahead(best, "wsgi", "Falcon", WSGI_AGAINST_FALCON),
        *(_ahead(best, "wsgi", peer) for peer in ("Bottle", "Flask", "CherryPy")),
        _ratio(best, "bridge", "a2wsgi + hand-written", 0.6, bridge),
        *(_session(best, protocol) for protocol in ("asgi", "wsgi")),
    ]


def judge_bridges(best: Best) -> list[Verdict]:
    """Judge the goals of `bridges`, for answers in one piece: a stream waits for each chunk."""
    pieces = ("plain", "form")
    return [
        *(
            _ratio(
                best,
                f"{inner}-under-asgi",
                "a2wsgi",
                0.5,
                f"{name} under ASGI at most 0.5x a2wsgi",
                pieces,
            )
            for inner, name in (("bottle", "Bottle"), ("wsgi", "hand-written WSGI"))
        ),
        *(
            _ratio(
                best,
                f"{inner}-under-wsgi",
                "a2wsgi",
                0.65,
                f"{name} under WSGI at most 0.65x a2wsgi",
                pieces,
            )
            for inner, name in (("starlette", "Starlette"), ("asgi", "hand-written ASGI"))
        ),
    ]


def judge_moving(best: Best) -> list[Verdict]:
    """Judge the goals of `moving`, for answers in one piece: a stream's time is that of its own
    chunks.
    """
    pieces = ("plain", "json", "path", "query", "form", "submit")
    return [
        _ratio(
            best, "bottle", "Bottle", 1 / 2, "in Bottle's place at least 2x its requests", pieces
        ),
        _ratio(
            best,
            "cherrypy",
            "CherryPy",
            1 / 8,
            "in CherryPy's place at least 8x its requests",
            pieces,
        ),
    ]


def _session(best: Best, protocol: str) -> Verdict:
    goal = f"{protocol.upper()}: a session read from memory at most {SESSION_GOAL}x a plain request"
    ours = best.get(f"{protocol}-sessions", {}).get(OURS, {})
    ratios = (
        {"session": ours["session"] / ours["plain"]} if {"session", "plain"} <= ours.keys() else {}
    )
    return _verdict(goal, ratios, [case for case, ratio in ratios.items() if ratio > SESSION_GOAL])


def _ratio(
    best: Best, table: str, base: str, limit: float, goal: str, cases: Sequence[str] | None = None
) -> Verdict:
    ratios = _ratios(best.get(table, {}), base, cases)
    return _verdict(goal, ratios, [case for case, ratio in ratios.items() if ratio > limit])


def _ahead(best: Best, table: str, peer: str, cases: Sequence[str] | None = None) -> Verdict:
    ratios = _ratios(best.get(table, {}), peer, cases)
    columns = f"in {', '.join(cases)}" if cases else "in every column"
    goal = f"{table.upper()}: ahead of {peer} {columns}"
    return _verdict(goal, ratios, [case for case, ratio in ratios.items() if ratio >= 1])


def _ratios(
    rows: Mapping[str, Mapping[str, float]], base: str, cases: Iterable[str] | None
) -> dict[str, float]:
    """Return our time as a multiple of the base's, for the cases that both have."""
    if OURS not in rows or base not in rows:
        return {}
    ours, theirs = rows[OURS], rows[base]
    return {
        case: ours[case] / theirs[case]
        for case in (cases or ours)
        if case in ours and case in theirs
    }


def _verdict(goal: str, ratios: Mapping[str, float], missed: Sequence[str]) -> Verdict:
    if not ratios:
        return Verdict(goal, None, "no numbers")
    detail = ", ".join(
        f"{case} {ratio:.2f}x{' !' * (case in missed)}" for case, ratio in ratios.items()
    )
    return Verdict(goal, not missed, detail)


PEERS = ("Starlette", "Falcon", "BlackSheep", "Bottle", "Flask")
SITE_GOAL = 0.4  # of Starlette's time
SPREAD = 1.5  # of the slowest shape to the fastest


def judge_features(best: Best) -> list[Verdict]:
    verdicts = [_ahead(best, table, peer) for table in ("asgi", "streams", "wsgi") for peer in PEERS
                if peer in best.get(table, {})]  # fmt: skip
    site = ("site", "site-form")
    return [
        *verdicts,
        _ratio(
            best,
            "asgi",
            "Starlette",
            SITE_GOAL,
            f"the real site at most {SITE_GOAL}x Starlette",
            site,
        ),
        _ratio(
            best,
            "streams",
            "hand-written",
            1.5,
            "a stream that never waits: 1.5x hand-written",
            ["stream-text"],
        ),
        _ratio(
            best,
            "streams",
            "hand-written",
            1.4,
            "a stream that waits: 1.4x",
            ["stream-wait", "stream-send"],
        ),
        _ratio(
            best, "wsgi", "Falcon", 1.0, "WSGI: a stream at most Falcon's time", ["stream-sync"]
        ),
        _ratio(
            best,
            "wsgi",
            "hand-written",
            1.3,
            "WSGI: a file of 10 KiB at most 1.3x hand-written",
            ["file"],
        ),
        *(_spread(best.get("shapes", {}), prefix) for prefix in ("returned", "yielded")),
    ]


def _spread(rows: Mapping[str, Mapping[str, float]], kind: str) -> Verdict:
    """Judge the spread of the shapes whose values are returned, or yielded, of each way to run a
    handler.
    """
    goal = f"shapes of handlers, {kind} values: the slowest at most {SPREAD}x the fastest"
    ratios = {}
    for way, row in rows.items():
        values = [
            value
            for case, value in row.items()
            if case.startswith("yielded") == (kind == "yielded")
        ]
        if values:
            ratios[way] = max(values) / min(values)
    return _verdict(goal, ratios, [way for way, ratio in ratios.items() if ratio > SPREAD])


SPEED_UP = 1.8  # of two processes on two processors
LATENESS = 3.0  # times the idle 99th percentile


def judge_execution(work: Mapping[str, float], late: Mapping[str, float]) -> list[Verdict]:
    """Judge the goals of `execution`: seconds for the same work in one process and in two; 99th
    percentiles.
    """
    speed_up = work["one process"] / work["two processes"]
    times = late["in_process"] / late["idle"]
    return [
        Verdict(
            (
                "eight requests that compute, in two processes: at least "
                f"{SPEED_UP}x as fast as in one"
            ),
            speed_up >= SPEED_UP,
            f"{speed_up:.2f}x",
        ),
        Verdict(
            (
                "a plain async handler beside two that compute in processes: 99th "
                f"percentile under {LATENESS}x of idle"
            ),
            times < LATENESS,
            f"{times:.2f}x",
        ),
    ]
