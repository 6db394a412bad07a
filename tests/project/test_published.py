"""The metadata of a release: an index shows the README alone, and lists the repository's addresses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from trove_classifiers import classifiers

from micropie.debug import missing_names
from scripts.published_metadata import readme_of

ROOT = Path(__file__).parents[2]
TARGET = re.compile(r"\]\(([^)]+)\)")


def test_with_a_repository_url_all_links_are_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://git.example/ann/pies"
    monkeypatch.setenv("REPOSITORY", f"{address}/")
    core = ProjectMetadata(str(ROOT), PluginManager()).core
    targets = TARGET.findall(core.readme)
    assert len(targets) > 80, "TARGET finds too few links: correct it"
    assert [one for one in targets if not one.startswith("https://")] == []
    assert f"{address}/raw/HEAD/docs/images/tour-light.png" in targets
    for target in targets:
        path = target.partition("/HEAD/")[2].partition("#")[0]
        assert (ROOT / path).exists()
    assert core.urls["Issues"] == f"{address}/issues"
    assert {*core.urls} == {"Homepage", "Documentation", "Changelog", "Issues", "Source"}
    assert {*core.classifiers} <= classifiers


def test_without_a_repository_url_links_to_files_become_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REPOSITORY", raising=False)
    core = ProjectMetadata(str(ROOT), PluginManager()).core
    assert core.urls == {}
    targets = TARGET.findall(core.readme)
    assert targets
    assert all(one.startswith("https://") for one in targets)
    assert "```http\n" not in core.readme


def test_absolute_links_stay_unchanged() -> None:
    text = "[a](https://a.example/b) [b](#part) ![c](d.png) [e\nf](docs/g.md#h)"
    assert readme_of(text, "") == "[a](https://a.example/b) [b](#part)  e\nf"
    assert readme_of(text, "https://r").endswith(
        "![c](https://r/raw/HEAD/d.png) [e\nf](https://r/blob/HEAD/docs/g.md#h)"
    )


def test_the_assistants_skill_has_idioms_of_other_frameworks() -> None:
    skill = (ROOT / "micropie" / "cli" / ".agents" / "skills" / "micropie" / "SKILL.md").read_text()
    assert skill.startswith("---\nname: micropie\ndescription: ")
    names = set(missing_names._ADVICE)
    assert [name for name in names if name not in skill] == []
    assert len(skill) < 8000, "an assistant reads it as a whole: shorten another part"
