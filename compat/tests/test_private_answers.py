"""An access check makes the responses of a migrated application ``private``, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micropie.middleware import Compress
from micropie_compat import bottle
from tests.http.test_private_answers import ALL_GUARDS, check_private, everything
from tests.support.clients import MakeClient


@pytest.mark.parametrize("compresses", [False, True])
@pytest.mark.parametrize(("guard", "headers", "vary"), ALL_GUARDS)
def test_R48_an_access_check_makes_all_responses_behind_it_private(
    make_client: MakeClient,
    tmp_path: Path,
    guard: Any,
    headers: dict[str, str],
    vary: str,
    compresses: bool,
) -> None:
    old = bottle.Bottle()
    old.route("/page", callback=lambda: "page of alice")
    app = everything(tmp_path, *([Compress()] if compresses else []), guard)
    app.mount("/old", old)
    client = make_client(app, raise_app_exceptions=False)
    check_private(client, ["/old/page", "/old/nowhere"], headers, vary)
