"""What several parts of the shop ask of a request."""

from __future__ import annotations

from typing import Annotated

from micropie import Header, HTTPError, Request

TOKEN = "pie-token"


class Staff:
    """A check: whether the header has the token of the staff."""

    security_scheme = {"type": "apiKey", "in": "header", "name": "X-Staff"}  # noqa: RUF012

    def __call__(self, request: Request) -> bool:
        return request.headers.get("x-staff") == TOKEN


def tenant(x_tenant: Annotated[str, Header()]) -> str:
    if not x_tenant.isalpha():
        raise HTTPError(400, "A tenant has letters only.")
    return x_tenant
