"""What differs between the answers of the original and of ours:
``python -m compat.tests.differences cherrypy|bottle``.

The command prints every difference that is not meant, and ends with 1 if there is one.
``--world asyncio`` asks ours by ASGI (``wsgi`` without it), ``--only routes`` shows the
conversations whose names have that word in them, ``--all`` shows the differences that are meant as
well.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple

from compat.tests.exchange import Answer
from compat.tests.meant import MEANT, NORMALISED, Meant
from compat.tests.play import conversations_of
from tests.support.commands import environment

ROOT = Path(__file__).parent.parent.parent

# Headers that belong to the connection or to the server.
OF_THE_SERVER = {"connection", "date", "keep-alive", "server", "transfer-encoding"}

Parts = dict[str, Any]
Played = list[list[Answer]]


class Difference(NamedTuple):
    """A part of an answer in which ours is not the original's."""

    conversation: str
    number: int
    request: str
    part: str
    original: object
    ours: object

    def __str__(self) -> str:
        where = f"{self.conversation} #{self.number}: {self.request}"
        return f"{where}\n    {self.part}\n      original: {_short(self.original)}\n      ours:     {_short(self.ours)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 1500 else f"{text[:700]} ... {text[-700:]}"


def play(framework: str, whose: str, world: str) -> Played:
    """Play the conversations in a process of its own and return the answers."""
    done = subprocess.run(
        [sys.executable, "-m", "compat.tests.play", framework, whose, world],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode or not done.stdout:
        raise RuntimeError(
            f"the process ended with {done.returncode}:\n{done.stderr.decode(errors='replace')}"
        )
    return [
        [
            Answer(status, [(name, value) for name, value in headers], base64.b64decode(body))
            for status, headers, body in answers
        ]
        for answers in json.loads(done.stdout)
    ]


@cache
def original(framework: str) -> Played:
    """Return what the original framework answers; it is asked once by each process of the tests."""
    return play(framework, "original", "wsgi")


def parts_of(framework: str, method: str, answer: Answer) -> Parts:
    """Return an answer in parts that are compared one by one, with what is drawn at random made the
    same.
    """
    parts: Parts = {"status": answer.status, "body": answer.body}
    for name, value in sorted(answer.headers):
        if name == "set-cookie":
            for key, morsel in SimpleCookie(value).items():
                parts[f"cookie {key}"] = value.partition(";")[0].partition("=")[2]
                for attribute, set_to in morsel.items():
                    if set_to:
                        parts[f"cookie {key} {attribute}"] = str(set_to)
        elif name not in OF_THE_SERVER:
            parts[name] = f"{parts[name]}, {value}" if name in parts else value
    _say_whether_the_length_is_right(parts, method)
    if parts.get("content-encoding") == "gzip" and answer.body:
        parts["body"] = gzip.decompress(answer.body)  # its head has the time
    for rule in NORMALISED:
        for name, found in parts.items():
            if rule.framework == framework and re.fullmatch(rule.part, name):
                parts[name] = rule.applied(found)
    return parts


def _say_whether_the_length_is_right(parts: Parts, method: str) -> None:
    """Replace Content-Length by a word: bodies are compared themselves, and pages of errors have
    looks of their own.

    A missing one is right, because servers frame such a body, as is that of an error's page without
    the page.
    """
    length = parts.pop("content-length", None)
    if method == "HEAD":
        if length is not None and parts["status"] < 400 and "content-encoding" not in parts:
            parts["content-length"] = length
    elif length is not None and int(length) != len(parts["body"]):
        parts["content-length"] = f"{length} for {len(parts['body'])} bytes"


def differences(framework: str, original: Played, ours: Played) -> Iterator[Difference]:
    """Yield all differences, those that are meant included."""
    for conversation, theirs, own in zip(conversations_of(framework), original, ours, strict=True):
        for number, (ask, expected, given) in enumerate(
            zip(conversation.asks, theirs, own, strict=True), 1
        ):
            first, second = (
                parts_of(framework, ask.method, answer) for answer in (expected, given)
            )
            for part in sorted(first.keys() | second.keys()):
                if first.get(part) != second.get(part):
                    request = f"{ask.method} {ask.target}"
                    yield Difference(
                        conversation.name, number, request, part, first.get(part), second.get(part)
                    )


def reason_for(framework: str, difference: Difference) -> Meant | None:
    """Return the row of the table that a difference belongs to, or None."""
    return next((row for row in MEANT[framework] if row.covers(difference)), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("framework", choices=["cherrypy", "bottle"])
    parser.add_argument("--world", choices=["wsgi", "asyncio", "trio"], default="wsgi")
    parser.add_argument("--only", default="")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args(arguments)
    found = list(
        differences(
            options.framework,
            original(options.framework),
            play(options.framework, "ours", options.world),
        )
    )
    shown = 0
    for difference in found:
        meant = reason_for(options.framework, difference)
        if options.only in difference.conversation and (options.all or not meant):
            print(difference)
            if meant:
                print(f"      meant:    {meant.why}")
            shown += not meant
    count = sum(len(conversation.asks) for conversation in conversations_of(options.framework))
    print(f"{count} requests, {len(found)} differences, {shown} of them shown and not meant")
    return 1 if shown else 0


if __name__ == "__main__":
    sys.exit(main())
