"""The site of the documentation builds without a warning. Every page is in its navigation, every public name in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import micropie
import micropie.channels
import micropie.middleware
import micropie.sessions
import micropie.testing
from tests.support.environment import unmeasured

PUBLIC = (micropie, micropie.channels, micropie.middleware, micropie.sessions, micropie.testing)
ROOT = Path(__file__).parent.parent

# What a page could load while it is read: scripts, styles, pictures, frames.
LOADED = re.compile(
    r'(?:<(?:script|img|iframe|source|video)[^>]* src|<link rel="(?:stylesheet|icon)"[^>]* href)="([^"]*)"'
)


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    environment = unmeasured(NO_MKDOCS_2_WARNING="1")  # the theme's news about its successor
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(240)  # 4 seconds of a processor
def test_the_site_builds_without_a_warning_with_all_public_names_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = build(ROOT / "mkdocs.yml", tmp_path / "site")
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stdout + built.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    loaded = {url for page in pages for url in LOADED.findall(page.read_text())}
    assert any("stylesheets" in url for url in loaded)
    assert not [url for url in loaded if url.startswith(("http:", "https:", "//"))]
    named = {name for page in pages for name in re.findall(r'id="(micropie[.\w]*)"', page.read_text())}
    public = {name for module in PUBLIC for name in module.__all__}
    missing = {name for name in public if named.isdisjoint(f"{module.__name__}.{name}" for module in PUBLIC)}
    # A new name of ``micropie`` needs a line in a page of docs/reference. request is an object, which the page of
    # Request names.
    assert missing == {"__version__", "request"}


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("[a page](nowhere.md)", "nowhere.md"),
        ("# Top\n\n[a part](#bottom)", "#bottom"),
        ('```python\n--8<-- "no_such_file.py"\n```', "no_such_file.py"),
    ],
)
def test_a_link_or_an_included_file_that_is_missing_fails_the_build(tmp_path: Path, page: str, complaint: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(page)
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nsite_dir: site\nnav: [index.md]\nplugins: []\n")
    built = build(config, tmp_path / "site")
    assert built.returncode != 0
    assert complaint in built.stdout + built.stderr


def test_a_page_that_the_navigation_lacks_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Home")
    (tmp_path / "docs" / "forgotten.md").write_text("# Forgotten")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nsite_dir: site\nnav: [index.md]\nplugins: []\n")
    built = build(config, tmp_path / "site")
    assert built.returncode != 0
    assert "forgotten.md" in built.stdout + built.stderr
