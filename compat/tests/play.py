"""Play the conversations to the original or to ours, in a process of its own, and print the answers
as JSON.

    python -m compat.tests.play bottle original wsgi
    python -m compat.tests.play bottle ours trio

A module of ``apps`` that fails to import, and an application that raises, are answers too: they
give status 0 and the exception as the body, so that one failure hides no other difference.
"""

from __future__ import annotations

import base64
import importlib
import json
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from compat.tests.exchange import Answer, Client, Conversation, Request, ask_asgi, ask_wsgi
from micropie_compat import install


def conversations_of(framework: str) -> Sequence[Conversation]:
    """Return the conversations of a framework, which are in a module beside this one."""
    found: Sequence[Conversation] = importlib.import_module(
        f"compat.tests.{framework}_requests"
    ).CONVERSATIONS
    return found


def application(framework: str, name: str) -> Any:
    """Import a module of ``apps`` and return its application."""
    return importlib.import_module(f"compat.tests.apps.{framework}_{name}").app


def failure() -> Answer:
    return Answer(0, [], traceback.format_exc(limit=-3).encode())


def play(framework: str, ask_app: Callable[[str, Request], Answer]) -> list[list[Answer]]:
    """Play all conversations; ``ask_app`` asks the application of this name."""
    played = []
    for conversation in conversations_of(framework):
        client = Client()
        answers = []
        for ask in conversation.asks:
            try:
                answer = ask_app(conversation.app, client.request(ask))
            except Exception:
                answer = failure()
            client.heard(answer)
            answers.append(answer)
        played.append(answers)
    return played


async def play_asgi(framework: str) -> list[list[Answer]]:
    """Play all conversations by ASGI."""
    played = []
    for conversation in conversations_of(framework):
        client = Client()
        answers = []
        for ask in conversation.asks:
            try:
                with anyio.fail_after(20):
                    answer = await ask_asgi(
                        application(framework, conversation.app), client.request(ask)
                    )
            except Exception:
                answer = failure()
            client.heard(answer)
            answers.append(answer)
        played.append(answers)
    return played


def main() -> None:
    """Print one JSON document: a list of answers for each conversation."""
    framework, whose, world = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    # Bottle would write JSON by it, without spaces.
    sys.modules["ujson"] = None  # type: ignore[assignment]
    if whose == "ours":
        install(framework)
    if world == "wsgi":
        played = play(framework, lambda name, ask: ask_wsgi(application(framework, name), ask))
    else:
        played = anyio.run(play_asgi, framework, backend=world)
    encoded = [
        [
            (answer.status, answer.headers, base64.b64encode(answer.body).decode())
            for answer in answers
        ]
        for answers in played
    ]
    sys.__stdout__.write(json.dumps(encoded))  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
