"""openapi-python-client generates clients without a warning, and each of their functions works
against the application, which a real server serves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.openapi.generated import calls_of, generate
from tests.openapi.topics import app
from tests.servers.harness import serving

SERVED = "tests.openapi.topics:app"
# (operation, whether optional values are sent, scheme) -> the declared error; all else succeeds.
REFUSED = {
    ("basics_whole", False, ""): 401,
    ("bearers_whole", False, ""): 401,
    ("conditions_change", True, ""): 412,
    ("statuses_teapot", False, ""): 418,
    ("statuses_teapot", True, ""): 418,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose packages can be imported, and are forgotten at the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [one for one in sys.modules if one.partition(".")[0].startswith("client_of_")]:
        del sys.modules[name]


@pytest.mark.timeout(180)
# httpx warns of cookies of one request, which the generated function has
@pytest.mark.filterwarnings("ignore:Setting per-request cookies")
def test_each_function_of_a_client_works(folder: Path) -> None:
    """Each gets an answer that is declared, and reads it, with and without optional values; those
    that need a log-in also without one.
    """
    document = app.openapi()
    package = generate(document, folder, "client_of_topics")
    with serving(SERVED) as server_of:
        url = f"http://127.0.0.1:{server_of('uvicorn').port}"
        refused = {
            (name, is_full, own): status
            for name, is_full, own, status in calls_of(package, document, url)
            if status >= 400
        }
    assert refused == REFUSED
