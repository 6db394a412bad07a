"""Routing by host in a migrated application: ``old.native.api = App(host="api.example.org")``."""

from __future__ import annotations

from micropie_compat import bottle
from tests.routing.test_hosts import Api, ask
from tests.support.clients import MakeClient


def test_a_migrated_application_may_have_hosts(make_client: MakeClient) -> None:
    old = bottle.Bottle()
    old.route("/old")(lambda: "old")
    old.native.api = Api(host="api.test")
    client = make_client(old)
    assert ask(client, "//api.test/show/1") == "Api 1"
    assert ask(client, "//test/old") == "old"
    assert ask(client, "//api.test/old") == "404"
