"""The scheme and the host with which links of migrated applications begin."""

from __future__ import annotations

from typing import Any

import pytest

from micropie.middleware import ProxyHeaders
from micropie_compat import bottle, cherrypy
from tests.http.test_bases import Headers, Readers, check_bases, check_links, x_forwarded
from tests.support.clients import MakeClient
from tests.support.selection import WORLDS


class Links:
    _cp_config = {"tools.proxy.on": True}

    @cherrypy.expose
    def index(self) -> str:
        return str(cherrypy.url("/x"))


def moved_from_bottle() -> Any:
    app = bottle.Bottle()
    app.native.middlewares.append(ProxyHeaders(trusted=["127.0.0.1"], host=True))

    @app.get("/")
    def index() -> str:
        return bottle.request.url + "x"

    return app


def in_the_host(scheme: str, host: str) -> Headers:
    return [(b"X-Forwarded-Host", f"{scheme}://{host}".encode("latin-1"))]


READERS: Readers = {
    "ProxyHeaders": (moved_from_bottle, x_forwarded),
    "tools.proxy": (lambda: cherrypy.Application(Links(), ""), x_forwarded),
    "tools.proxy, in the host": (lambda: cherrypy.Application(Links(), ""), in_the_host),
}


@pytest.mark.parametrize("to", WORLDS)
@pytest.mark.parametrize("reader", READERS)
def test_R14_R15_a_scheme_and_host_from_headers_are_well_formed_or_get_a_400(
    connect: MakeClient, reader: str, to: str
) -> None:
    make_app, headers = READERS[reader]
    check_bases(connect(make_app(), to), headers)


@pytest.mark.parametrize("reader", READERS)
def test_R14_R15_a_scheme_or_host_from_a_header_never_becomes_another_part_of_a_link(
    connect: MakeClient, reader: str
) -> None:
    make_app, headers = READERS[reader]
    check_links(connect(make_app(), "wsgi", validate=False), headers)
