"""The same conversations with ours over real servers, against the original's answers in process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.differences import Played, differences, original, reason_for
from tests.compat.exchange import Answer, Client
from tests.compat.play import conversations_of
from tests.servers.harness import Server, serving

SERVERS = {"uvicorn": "asgi", "gunicorn-gthread": "wsgi"}
MOVED = ["bottle", "cherrypy"]


@pytest.fixture(scope="module", params=MOVED)
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, framework: str) -> Iterator[Server]:
    entry = f"tests.compat.serve:{SERVERS[request.param]}"
    with serving(
        entry, environ={"COMPAT_FRAMEWORK": framework, "FORWARDED_ALLOW_IPS": ""}
    ) as server_of:
        yield server_of(request.param)


def played_over(server: Server, framework: str) -> Played:
    """Play the conversations over the wire."""
    played = []
    for conversation in conversations_of(framework):
        client = Client()
        answers = []
        for ask in conversation.asks:
            method, target, headers, body = client.request(ask)
            given = server.request(
                method, target, {**headers, "X-Application": conversation.app}, body
            )
            answer = Answer(
                given.status, [(name.lower(), value) for name, value in given.headers], given.body
            )
            client.heard(answer)
            answers.append(answer)
        played.append(answers)
    return played


def test_a_moved_application_answers_as_the_original(server: Server, framework: str) -> None:
    found = differences(framework, original(framework), played_over(server, framework))
    assert not [
        str(difference) for difference in found if reason_for(framework, difference) is None
    ]
