"""The advisor: functions that the core calls in development to help authors find errors.

With ``debug=True`` and under ``micropie run --reload``, ``App`` passes the advisor to the core. In
production ``config.advisor`` is None, and nothing in this package is imported. The core calls the
advisor where an error of the author may show: at startup, for a request, or for an exception. The
advisor logs advice, which comes from these modules:

- ``application.py`` inspects the attributes of an application at startup,
- ``source.py`` inspects the source of its methods,
- ``requests.py`` inspects a request and its result,
- ``failures.py`` finds the hint for an exception.

``micropie check`` prints the advice of the first two modules.
"""

from __future__ import annotations

from contextlib import suppress

from micropie._core.errors import logger
from micropie._core.http import Exchange
from micropie._core.on_demand import names_on_demand
from micropie._core.routing import Config, Site, describe_application
from micropie._core.routing.discovery import AnyFunction
from micropie.debug.application import (
    collect_safely,
    foreign_attributes,
    never_created,
    without_effect,
)
from micropie.debug.source import (
    FunctionSource,
    defined_twice,
    notes_of,
    source_errors,
)
from micropie.extensions import Application

# Imported when the core first calls one of these functions.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        ".requests": (
            "debug_page review_check review_error_handler review_missing_file review_provided "
            "review_redirect review_response review_result review_session review_websocket_result"
        ),
    },
)


def review_application(config: Config) -> None:
    """Log, at startup, advice about an application."""
    application = describe_application(config)
    for sentence in (
        *application.lost_routes.values(),
        *application_errors(application),
        *source_notes(application),
    ):
        logger.warning("%s", sentence)


def review_site(site: Site) -> None:
    """Log, at startup, warnings about routes that a mount hides."""
    for entry in (*site.entries(), *site.entries(takes_socket=True)):
        if entry.hidden:
            logger.warning("%s", entry.hidden)


def add_hint(exchange: Exchange, failure: BaseException) -> None:
    """Add a hint to an exception that is about to be logged, if its cause is a common error."""
    with suppress(Exception):  # the import may fail, for example if no file descriptors are left
        from micropie.debug.failures import hint_for

        hint = hint_for(exchange, failure)
        if hint and hint not in getattr(failure, "__notes__", ()):
            failure.add_note(hint)


# -- for ``micropie check`` ------------------------------------------------------------------------


def source_notes(application: Application) -> list[str]:
    """Return sentences about code in an application's source that its author should check."""
    return collect_safely(notes_of(application))


def application_errors(application: Application) -> list[str]:
    """Return a sentence for each attribute, method and hook that has no effect."""
    return collect_safely(
        defined_twice(application.app),
        source_errors(application),
        foreign_attributes(application),
        without_effect(application),
        never_created(application),
    )


def session_change(function: AnyFunction | None) -> str:
    """Return a phrase that says how a function changes the session, or "" if it doesn't, or tests
    the request's method.
    """
    found = FunctionSource.of(function)
    return "" if found is None else found.session_change()
