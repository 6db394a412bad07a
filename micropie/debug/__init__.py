"""Help for developers: debug pages, hints, advice and source checks.

A new hint is one function and one test case. The function returns or yields the sentence to log:
the file and line, what is wrong, what to write. The function belongs to one of these modules,
depending on what it inspects:

- ``application.py``: attributes and hooks, at startup. Let ``foreign_attributes`` yield the hint.
- ``source.py``: the source of a method, at startup. Write a method of ``FunctionSource``, and let
  ``notes_of`` yield what it yields.
- ``requests.py``: a request and its result. Let ``_advice_for`` return the hint, or call it in
  another ``review_...``.
- ``failures.py``: an exception. Call it in ``hint_for``, or add a row to ``_HINTS``. For an
  attribute of requests, add a row to ``_OF_REQUESTS``.
- ``missing_names.py``: a name that ``micropie`` lacks. A row of ``_ADVICE`` is enough.

The test case is a row of ``MODULES`` in ``tests/debug/test_idioms.py``: the framework that has the
idiom, the code, the first request, and words of the hint. If an error is certain, raise
``SetupError`` instead of giving a hint.

Open ``advisor.py`` to add a function that the core calls for advice, ``page.py`` to change the
pages of ``debug=True``, and ``access.py`` to change who may see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie.debug.access import add_key_page
    from micropie.debug.advisor import (
        application_errors,
        session_change,
        source_notes,
    )
    from micropie.debug.source import paths_of_hooks

__all__ = [
    "add_key_page",
    "application_errors",
    "paths_of_hooks",
    "session_change",
    "source_notes",
]

# Imported on first use, because the core imports the advisor from this package even if no debug
# pages are needed.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "advisor": "application_errors session_change source_notes",
        "access": "add_key_page",
        "source": "paths_of_hooks",
    },
)
