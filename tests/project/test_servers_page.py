"""Each sentence of docs/servers.md names the tests that show it, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

from tests.servers.harness import BOTH_VERSIONS
from tests.servers.test_ends import TABLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "servers.md").read_text()
NAMED = re.compile(r"^ *<!--(test_\w+)-->$", re.MULTILINE)


def test_each_item_names_a_test() -> None:
    items = re.split(r"\n(?=- |\n)", PAGE)
    nameless = [item for item in items if item.startswith("- ") and not NAMED.search(item)]
    assert not nameless, "write <!--test_...--> below it"


def test_the_named_tests_exist() -> None:
    modules = (ROOT / "tests").rglob("test_*.py")
    defined = set(
        re.findall(r"^def (test_\w+)", "".join(map(Path.read_text, modules)), re.MULTILINE)
    )
    assert set(NAMED.findall(PAGE)) <= defined


def test_each_server_of_the_tests_has_its_rows() -> None:
    servers = {name.partition("-")[0] for name in BOTH_VERSIONS}
    each = (ROOT / "docs" / "deploy" / "each-server.md").read_text()
    tls = (ROOT / "docs" / "deploy" / "tls.md").read_text()
    for server in servers:
        assert f"\n## {server}\n" in each
        assert re.search(rf"^\|[^|]*\b{server}\b", tls, re.MULTILINE), server
    assert {name.partition("-")[0] for name in TABLE} <= servers
