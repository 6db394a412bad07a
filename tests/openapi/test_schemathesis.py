"""schemathesis asks the tour and the examples for what their documents describe, and finds no 500
and no mismatch.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis import checks
from schemathesis.specs.openapi import checks as response_checks

from examples.album import app as album
from examples.api.app import Tasks
from examples.blog import app as blog
from examples.chat.app import Chat
from examples.events.app import Bakery
from examples.forms.app import Booking
from examples.hello.app import Hello
from examples.live.app import Live
from examples.login.app import Members
from examples.paste import app as paste
from examples.primes.app import Primes
from examples.shortener import app as shortener
from examples.streaming.app import Streaming
from examples.subapps.app import Site
from examples.tour.app import Tour
from examples.upload.app import Uploads
from micropie import App
from micropie.testing import TestClient
from tests.openapi.kitchen import Kitchen
from tests.servers.basics import Basics
from tests.servers.harness import serving
from tests.support.environment import unmeasured

CHECKS = [
    checks.not_a_server_error,
    response_checks.status_code_conformance,
    response_checks.content_type_conformance,
    response_checks.response_headers_conformance,
    response_checks.response_schema_conformance,
]
HERE = Path(album.__file__).parent.parent
EXAMPLES = 8  # for each operation and protocol
# One fails on purpose; some never end; one takes its time; one computes for long; and one has
# prefixItems, which schemathesis 4.32 writes as a list in "items" and then refuses.
LEFT_OUT = {"/crash", "/clock", "/countdown", "/messages/{room}", "/nested", "/progress"}


@pytest.fixture
def nothing_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(album, "PICTURES", tmp_path)
    monkeypatch.setattr(blog, "DATABASE", tmp_path / "blog.db")
    monkeypatch.setattr(paste, "DIRECTORY", tmp_path / "paste")
    monkeypatch.setattr(shortener, "DATABASE", tmp_path / "shortener.db")


def live() -> App:
    return Live(templates=HERE / "live")


def pictures() -> App:
    app = album.Album(templates=HERE / "album" / "templates")
    app.static("/static", HERE / "album" / "static")
    return app


def bakery() -> App:
    return Bakery(seconds=0)


def streaming() -> App:
    return Streaming(pause=0)


MAKERS = [
    *(Tour, Basics, live, pictures, Kitchen),
    *(
        Hello,
        Tasks,
        Booking,
        Uploads,
        Members,
        blog.Blog,
        paste.PasteBin,
        shortener.Shortener,
        Site,
    ),
    *(bakery, streaming, Chat, Primes),
]


@pytest.mark.usefixtures("nothing_stored")
# Each in one world: that all answer alike is shown by tests/test_same_answer.py.
@pytest.mark.parametrize(
    ("make", "world"),
    [
        pytest.param(make, world, id=f"{make.__name__}-{world}")
        for make, world in zip(MAKERS, cycle(["wsgi", "asyncio"]), strict=False)
    ],
)
def test_answers_are_as_described(make: Callable[[], App], world: str) -> None:
    app = make()
    options: dict[str, Any] = {"protocol": "wsgi"} if world == "wsgi" else {"backend": world}
    with TestClient(
        app, base_url="http://localhost", raise_app_exceptions=False, **options
    ) as client:
        schema = schemathesis.openapi.from_dict(app.openapi())
        for found in schema.get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]
            if operation.path not in LEFT_OUT:
                check_operation(client, operation)


def check_operation(client: TestClient, operation: Any) -> None:
    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        sent: Any = requests.Request(
            **case.as_transport_kwargs(base_url="http://localhost")
        ).prepare()
        answer = client.request(
            sent.method, sent.url, headers=dict(sent.headers), content=sent.body
        )
        case.validate_response(answer, checks=CHECKS)

    ask()


def test_the_strictest_checks_find_nothing_in_the_api(tmp_path: Path) -> None:
    """All checks, valid and invalid data, and scenarios of several requests, as its command makes
    them.
    """
    with serving("examples.api.app:app") as server_of:
        command = [
            str(Path(sys.executable).parent / "schemathesis"),
            "run",
            "--checks",
            "all",
            "--mode",
            "all",
        ]
        options = ["--max-examples", "5", "--seed", "1", "--no-color"]
        url = f"http://127.0.0.1:{server_of('uvicorn').port}/openapi.json"
        done = subprocess.run(
            [*command, *options, url],
            cwd=tmp_path,
            env=unmeasured(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
