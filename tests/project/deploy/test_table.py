"""DEPLOY.md has a row for each block of docs/deploy, as it stands there now."""

from tests.project.deploy.blocks import TABLE, blocks
from tests.project.deploy.pages import decided


def test_each_code_block_is_run_or_has_a_reason() -> None:
    decisions = [done for _, done in decided()]
    assert len(decisions) == len(blocks())
    reasons = [done for done in decisions if isinstance(done, str)]
    assert all(reason.startswith("not run: ") for reason in reasons)


def test_the_table_matches_the_pages() -> None:
    """``scripts/deploy-pages`` runs them and writes the table."""
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    beginnings = [block.row for block in blocks()]
    assert [row[: len(one)] for row, one in zip(rows, beginnings, strict=True)] == beginnings
    assert not [row for row in rows if "FAILED" in row]
