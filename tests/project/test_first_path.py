"""The path of a newcomer, in a fresh clone and fresh environments: ``scripts/first-path``."""

from __future__ import annotations

import re
import sys

import pytest

from tests.project import first_path
from tests.project.first_path import (
    INSTEAD,
    NOT_RUN,
    PAGES,
    ROOT,
    Command,
    Listing,
    items_of,
    plain,
)
from tests.support.commands import ended
from tests.support.environment import unmeasured


@pytest.mark.processes
@pytest.mark.timeout(3600)
def test_a_newcomer_can_follow_the_first_pages() -> None:
    done = ended(sys.executable, "-m", first_path.__name__, environ=unmeasured())
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^first-path: {len(PAGES)} pages in \d+ s$", done.stdout, re.MULTILINE)


def test_every_page_of_start_and_the_tutorials_is_read() -> None:
    folders = [ROOT / "docs" / name for name in ("start", "tutorial", "tutorial/api")]
    pages = [str(page.relative_to(ROOT)) for one in folders for page in one.glob("*.md")]
    assert sorted(PAGES) == sorted(["README.md", *pages])


def test_each_exception_is_a_command_of_its_page() -> None:
    items = [(page, item) for page in PAGES for item in items_of(page, (ROOT / page).read_text())]
    commands = {(page, plain(item.text)) for page, item in items if isinstance(item, Command)}
    assert (NOT_RUN.keys() | INSTEAD.keys()) - commands == set()
    assert len(commands) > 50, "the reading of the pages misses commands: correct it"
    assert sum(len(item.requests) for _, item in items if isinstance(item, Listing)) > 60


TEXT = """
Type `micropie run
pies.py`, and not `pies.py`:

    pip install pies  # all of them
    micropie \\
        run

```python
one
```

Then:

```http
GET / -> 200
GET /a -> 404
```

    $ micropie routes
    GET /

```python
--8<-- "examples/app.py"
```
"""


def test_commands_listings_and_requests_are_found_in_their_order() -> None:
    assert list(items_of("a.md", TEXT)) == [
        Command("micropie run pies.py", []),
        Command("pip install pies  # all of them", []),
        Command("micropie run", []),
        Listing("one\n", "", [("a.md:16", "GET / -> 200"), ("a.md:17", "GET /a -> 404")]),
        Command("micropie routes", ["GET /"]),
        Listing('--8<-- "examples/app.py"\n', "examples/app.py", []),
    ]
    assert plain("pip install pies  # all of them") == "pip install pies"
