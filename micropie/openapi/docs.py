"""The settings for the OpenAPI document of an application."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Docs:
    """The general information in an application's OpenAPI document, and who may see it:
    ``App(docs=Docs(title="Pies", requires=[members]))``.

    - ``path``: the path of the page.
    - ``title``: by default the name of the application's class.
    - ``version``: the version of the API.
    - ``description``: by default the docstring of the application's class.
    - ``servers``: the URLs of the application, by default the URL from which the document is
      requested.
    - ``requires``: access checks like those of ``@requires``, for the page and the document only.
    - ``contact``: a dict with "name", "url" and "email".
    - ``license``: a dict with "name", and "identifier" or "url".
    - ``terms_of_service``: a URL.
    - ``tags``: a dict that maps each tag to a sentence about it, in the order in which tools show
      them.
    - ``responses``: the responses that every handler may send, by status: ``{422: Errors}``. See
      ``@describe(responses=...)``.
    - ``assets``: a directory with ``swagger-ui.css`` and ``swagger-ui-bundle.js``, such as the npm
      package swagger-ui-dist, to use instead of the package micropie-swagger-ui.
    - ``asyncapi``: the path of a page about WebSockets and event streams, such as "/channels". The
      AsyncAPI document is then at ``/asyncapi.json``.
    - ``openapi``: the version of OpenAPI. Only "3.2" describes routes with the method QUERY; "3.1"
      describes a stream of items as text.
    """

    path: str = "/docs"
    title: str | None = None
    version: str = "1.0.0"
    description: str | None = None
    servers: Sequence[str] = ()
    requires: Sequence[Callable[..., Any]] = ()
    contact: Mapping[str, str] | None = None
    license: Mapping[str, str] | None = None
    terms_of_service: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    responses: Mapping[int, object] = field(default_factory=dict)
    assets: str | PathLike[str] | None = None
    asyncapi: str | None = None
    openapi: Literal["3.1", "3.2"] = "3.1"
