"""The sentence of an error's answer, in whatever form the client gets it."""

from __future__ import annotations

import httpx2 as httpx


def said(answer: httpx.Response) -> str:
    """Return the text, or the ``detail`` of a problem document."""
    if answer.headers.get("content-type") == "application/problem+json":
        return str(answer.json()["detail"])
    return answer.text
