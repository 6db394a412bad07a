"""A migrated application that handles "/" has no place for another application at the root."""

from __future__ import annotations

import pytest

from micropie import SetupError
from micropie_compat import bottle
from tests.mounts.test_root import wsgi


def test_mounting_over_a_migrated_root_raises_an_error() -> None:
    old = bottle.Bottle()
    old.native.mount("/", wsgi)
    with pytest.raises(SetupError, match='the migrated application already handles "/"'):
        old.native._micropie.compiled()
