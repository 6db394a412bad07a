"""What these tests say of errors is exact: the sentences for programmers, ``error.sentence``, are
the answers' text.

The text that clients get, ``field: words for a visitor``, is tested in
``tests/http/test_problems.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from micropie import App, route
from micropie._core.errors import BadRequest
from micropie._core.http import BindingError, ParameterError


def taking(
    annotation: Any, shown: Callable[[Any], Any] = lambda item: "made", **settings: Any
) -> App:
    """An application whose ``/page`` takes one parameter, ``item``, and answers with what is shown
    of it.
    """

    def handler(item: Any) -> Any:
        return shown(item)

    handler.__annotations__ = {"item": annotation}
    app = App(**settings)
    app.page = route()(handler)
    return app


@pytest.fixture(autouse=True)
def sentences_for_programmers(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_sentences(self: BindingError, errors: Sequence[ParameterError]) -> None:
        BadRequest.__init__(self, " ".join(error.sentence for error in errors))
        self.errors = list(errors)

    monkeypatch.setattr(BindingError, "__init__", with_sentences)
