"""openapi-python-client generates clients without a warning, and each of their functions works
against the application, which a real server serves: each answer that is declared comes, and is
read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.openapi.generated import SERVED, generate, provoked
from tests.openapi.plans import TOPICS
from tests.openapi.topics import app
from tests.servers.harness import serving
from tests.support.environment import unmeasured

# (operation, whether optional values are sent) -> the declared error; all else succeeds.
REFUSED = {
    ("conditions_change", True): 412,
    # the document has no type of a body that its handler receives itself, and no password
    **dict.fromkeys(product(["manual_raw_bodies_csv"], [True, False]), 415),
    **dict.fromkeys(product(["manual_sessions_enter"], [True, False]), 403),
    **dict.fromkeys(product(["manual_tokens_token"], [True, False]), 400),
    **dict.fromkeys(product(["statuses_teapot"], [True, False]), 418),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose packages can be imported, and are forgotten at the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [one for one in sys.modules if one.partition(".")[0].startswith("client_of_")]:
        del sys.modules[name]


# httpx warns of cookies of one request, which the generated function has
@pytest.mark.filterwarnings("ignore:Setting per-request cookies")
def test_each_declared_response_is_received_and_decoded_by_generated_clients(folder: Path) -> None:
    """Right values, with and without optional ones, are taken; wrong ones of each kind are refused
    as the document says.
    """
    document = app.openapi()
    package = generate(document, folder, "client_of_topics")
    environ = {**unmeasured(), "SERVED": "tests.openapi.topics:app"}
    with serving(SERVED, environ=environ) as server_of:
        url = f"http://127.0.0.1:{server_of('uvicorn').port}"
        provoker = provoked(package, document, url, TOPICS)
    assert provoker.refused == REFUSED
    assert provoker.missing() == []
