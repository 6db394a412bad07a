"""The advisor: what the core calls to help authors find errors.

The core knows only this module, through ``config.advisor``. It calls a function of it where an
author may have made an error: at startup, for a request in development, for an exception. The
function returns or logs the advice, which comes from these modules:

- ``application.py`` inspects the attributes of an application at startup,
- ``source.py`` inspects the source of its methods,
- ``requests.py`` inspects a request and its result,
- ``failures.py`` finds the hint for an exception.

An error that is certain raises ``SetupError`` in the core, where it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from micropie._core.errors import logger
from micropie._core.execution.placement import layers
from micropie._core.on_demand import module, names_on_demand
from micropie._core.routing import Config, Registrations
from micropie._core.routing.discovery import Handler
from micropie.debug.application import (
    collect_safely,
    foreign_attributes,
    lost_routes,
    without_effect,
)

if TYPE_CHECKING:
    from micropie.debug.failures import hint_for
    from micropie.debug.requests import (
        debug_page,
        review_check,
        review_error_handler,
        review_missing_file,
        review_provided,
        review_redirect,
        review_response,
        review_result,
        review_session,
        review_websocket_result,
    )

source: Any = module("micropie.debug.source")

# fmt: off
__all__ = [
    "debug_page", "hint_for", "lost_routes", "mistakes_in", "notes_on", "review_application",
    "review_check", "review_error_handler", "review_missing_file", "review_provided",
    "review_redirect", "review_response", "review_result", "review_session",
    "review_websocket_result", "session_change",
]
# fmt: on

# Imported when the core first calls one of these functions.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        ".failures": "hint_for",
        ".requests": (
            "debug_page review_check review_error_handler review_missing_file review_provided "
            "review_redirect review_response review_result review_session review_websocket_result"
        ),
    },
)


def review_application(
    registered: Registrations, handlers: Sequence[Handler], config: Config
) -> None:
    """Log at startup what the author of an application should check."""
    sentences = [*lost_routes(registered.app).values()]
    sentences += collect_safely(
        foreign_attributes(registered, handlers, config.providers.functions)
    )
    if config.settings.debug:
        sentences += collect_safely(without_effect(registered))
        sentences += collect_safely(source.defined_twice(registered))
        sentences += notes_on(registered, handlers)
        package = type(registered.app).__module__.partition(".")[0]
        for handler in handlers:
            *_, inner = layers(handler.function)
            origin = getattr(inner, "__module__", package)
            if origin.partition(".")[0] != package:
                logger.info(
                    "%s/%s is a URL: its function is from %s", config.prefix, handler.name, origin
                )
    for sentence in sentences:
        logger.warning("%s", sentence)


def notes_on(registered: Registrations, handlers: Sequence[Handler]) -> list[str]:
    """Return what an author should check in the source of an application."""
    return collect_safely(source.source_notes(registered, handlers))


def mistakes_in(registered: Registrations, handlers: Sequence[Handler]) -> list[str]:
    """Return a sentence for each attribute, method and hook that has no effect."""
    foreign = foreign_attributes(registered, handlers, registered.providers)
    return [
        *collect_safely(source.defined_twice(registered)),
        *collect_safely(foreign),
        *collect_safely(without_effect(registered)),
    ]


def session_change(function: Callable[..., object] | None) -> str:
    """Return how the source of a function changes the session, or "" if it does not."""
    found = source.FunctionSource.of(function)
    change: str = "" if found is None else found.session_change()
    return change
