"""Short ways to write requests down."""

from __future__ import annotations

import base64
import hashlib
import json as json_module
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compat.tests.exchange import Answer, Ask, Conversation

FORM = "application/x-www-form-urlencoded"
BOUNDARY = "a-boundary-of-these-tests"

HeadersOf = Callable[[Sequence[Answer]], Mapping[str, str]]


def gets(targets: str, **headers: str) -> list[Ask]:
    """Return a GET of each target, which are separated by spaces; ``X_Name`` is the header
    X-Name.
    """
    return asks("GET", targets, **headers)


def gets_with(target: str, header: str, *values: str) -> list[Ask]:
    """Return a GET of one target with each value of a header."""
    return [Ask("GET", target, {header: value}) for value in values]


def asks(methods: str, targets: str, **headers: str) -> list[Ask]:
    """Return requests without a body: each target by each method."""
    return [
        Ask(method, target, _named(headers))
        for method in methods.split()
        for target in targets.split()
    ]


def forms(target: str, *bodies: str) -> list[Ask]:
    """Return a POST of each form."""
    return [form(target, body) for body in bodies]


def form(target: str, body: str | bytes, method: str = "POST", **headers: str) -> Ask:
    """Return a request with a form that is written as it is sent."""
    data = body.encode() if isinstance(body, str) else body
    return Ask(method, target, {"Content-Type": FORM, **_named(headers)}, data)


def sent(target: str, body: bytes, kind: str, method: str = "POST") -> Ask:
    """Return a request with any body; ``kind`` is its media type, "" for none."""
    return Ask(method, target, {"Content-Type": kind} if kind else {}, body)


def json(target: str, value: Any, method: str = "POST") -> Ask:
    """Return a request with a JSON body."""
    return sent(target, json_module.dumps(value).encode(), "application/json", method)


def upload(target: str, *parts: tuple[str, str | None, str, bytes]) -> Ask:
    """Return a multipart form; each part is a name, a file name or None, a media type or "", and
    its bytes.
    """
    body = b""
    for name, filename, kind, data in parts:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        if filename is not None:
            head += f'; filename="{filename}"'
        if kind:
            head += f"\r\nContent-Type: {kind}"
        body += head.encode() + b"\r\n\r\n" + data + b"\r\n"
    body += f"--{BOUNDARY}--\r\n".encode()
    return Ask("POST", target, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, body)


def with_header(name: str, source: str, made: str = "{}") -> HeadersOf:
    """Return headers that send back what the last answer said in the header ``source``."""
    return lambda answers: {name: made.format(answers[-1].header(source))}


def basic(user: str, password: str, encoding: str = "utf-8") -> str:
    """Return the value of Authorization for a name and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()


def digest(user: str, password: str, uri: str, realm: str, *, spoil: bool = False) -> HeadersOf:
    """Return headers that answer the challenge of the last answer."""

    def headers(answers: Sequence[Answer]) -> Mapping[str, str]:
        found = re.search(r'nonce="([^"]*)"', answers[-1].header("www-authenticate"))
        nonce = found[1] if found else ""
        first = _md5(f"{user}:{realm}:{password}")
        response = _md5(f"{first}:{nonce}:00000001:abcdef:auth:{_md5(f'GET:{uri}')}")
        value = (
            f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", algorithm="MD5", '
            f'response="{"0" * 32 if spoil else response}", qop=auth, nc=00000001, cnonce="abcdef"'
        )
        return {"Authorization": value}

    return headers


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def talk(name: str, app: str, *steps: Ask | Sequence[Ask]) -> Conversation:
    """Return a conversation of these requests, in their order."""
    listed: list[Ask] = []
    for step in steps:
        listed.extend([step] if isinstance(step, Ask) else step)
    return Conversation(name, app, tuple(listed))


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
