"""Each threat in docs/explanation/threat-model.md has tests, and these exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
MODEL = (TESTS.parent / "docs" / "explanation" / "threat-model.md").read_text()
KINDS = (
    "Spoofing",
    "Tampering",
    "Repudiation",
    "Information disclosure",
    "Denial of service",
    "Elevation of privilege",
)

_ROWS = re.findall(r"^\|[^|]+\|[^|]+\|(?P<tests>[^|]+)\|$", MODEL, re.MULTILINE)
THREATS = [
    row.strip()
    for row in _ROWS
    if row.strip() not in ("tests", "---", "it leaves") and "`" in row and "::" in row
]


def test_every_kind_of_threat_is_there() -> None:
    for kind, following in zip(KINDS, [*KINDS[1:], None], strict=True):
        section = MODEL[
            MODEL.index(f"## {kind}") : MODEL.index(f"## {following}") if following else None
        ]
        rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
        assert len(rows) >= 3, kind
        for row in rows:
            assert "::test_" in row, row


def test_the_tests_that_are_named_exist() -> None:
    named = {name for row in THREATS for name in re.findall(r"`([^`]+)`", row)}
    assert len(named) > 60
    missing = set()
    for name in named:
        file, _, test = name.partition("::")
        path = TESTS / file
        if (
            not path.is_file()
            or re.search(rf"^(?:async )?def {test}\(", path.read_text(), re.MULTILINE) is None
        ):
            missing.add(name)
    assert missing == set()
