"""Health endpoints (``App.health``), which report whether this process should get requests and
whether its backends respond.

The endpoint is a route whose only hook is a ``HealthCheck``, which sends the response. So no other
hook can reject the request or log it.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from itertools import chain
from math import inf
from time import monotonic

from micropie import App, Request, Response, SetupError
from micropie.extensions import Inspector, add_route, current_shutdown
from micropie.middleware.base import (
    Call,
    Flow,
    FlowMiddleware,
    TookTooLong,
    call_within,
    is_generator,
    kind_of,
    takes,
)

logger = logging.getLogger("micropie")

Check = Callable[[], object]

# How many calls of one check may hang in threads at the same time. Probes come every few seconds,
# so without a limit hanging calls would pile up.
MOST_HANGING = 10


class HealthCheck(FlowMiddleware):
    """Respond with 200 if all checks succeed. Respond with 503 if a check fails, and while the
    server shuts down. The body has the results of the checks as JSON.

    ``HealthCheck`` takes the arguments of ``App.health``. It logs when a check begins to fail and
    when the check succeeds again.
    """

    def __init__(self, app: App, checks: Mapping[str, Check], timeout: float, live: bool) -> None:
        if not isinstance(checks, Mapping) or not all(
            takes(check, 0) and not is_generator(check) for check in checks.values()
        ):
            raise SetupError(
                "App.health(checks=...) takes a dict of functions without parameters, and without "
                f'yield, such as {{"db": ping}}, not {checks!r}'
            )
        if type(timeout) not in (int, float) or not 0 < timeout < inf:
            raise SetupError(f"App.health(timeout=...) takes seconds above 0, not {timeout!r}")
        if not isinstance(live, bool):
            raise SetupError(f"App.health(live=...) takes True or False, not {live!r}")
        self._app = app
        self._checks = checks
        self._timeout = timeout
        self._is_live = live
        self._failing: set[str] = set()
        # The calls that are running in threads, by the name of their check.
        self._running: defaultdict[str, set[object]] = defaultdict(set)

    def before(self, request: Request) -> Flow[Response]:
        """Run the checks and send the response. The remaining time is shared equally between the
        remaining checks.
        """
        pings = {} if self._is_live else pings_of(self._app, self._of_routes, self._checks)
        checks = {**pings, **self._checks}
        deadline, results = monotonic() + self._timeout, {}
        for done, (name, function) in enumerate(checks.items()):
            seconds = max(deadline - monotonic(), 0.001) / (len(checks) - done)
            problem = yield from _problem_of(function, seconds, self._running[name])
            results[name] = "failed" if problem else "ok"
            self._log(name, problem)
        status = "unavailable" if "failed" in results.values() else "ok"
        shutdown = current_shutdown()
        if shutdown is not None and shutdown.is_over and not self._is_live:
            status = "shutting down"
        document = {"status": status, "checks": results} if results else {"status": status}
        return Response(document, 200 if status == "ok" else 503, [("Cache-Control", "no-store")])

    @cached_property
    def _of_routes(self) -> Collection[object]:
        """The middleware of all routes, which includes that above handlers. It is kept, because
        reading all routes takes long. Backends may be replaced and middleware added at any time.
        """
        entries = Inspector(self._app).all_routes()
        return {id(one): one for entry in entries for one in entry.application.middlewares}.values()

    def _log(self, name: str, problem: str) -> None:
        if (problem != "") == (name in self._failing):  # the result hasn't changed
            return
        if problem:
            self._failing.add(name)
            logger.error("health: %s fails: %s", name, problem)
        else:
            self._failing.discard(name)
            logger.warning("health: %s has recovered", name)


def _problem_of(function: Check, seconds: float, running: set[object]) -> Flow[str]:
    """Call a check, and return a description of its failure, or "".

    The description is only logged, because it may contain names of hosts or users.

    ``running``: a set with an object for each call of the check that is running in a thread.
    """

    def call() -> object:
        running.add(this := object())
        try:
            return function()
        finally:
            running.discard(this)

    kind, called = kind_of(function, Call(is_queued=True)), function
    if isinstance(kind, Call):
        called = call
        if len(running) >= MOST_HANGING:
            return (
                f"{MOST_HANGING} calls of this check have not returned yet: use a timeout "
                "inside the check"
            )
    try:
        result = yield from call_within(seconds, kind, called)
    except TookTooLong:
        return f"no response within {seconds:.3g} s"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "the check returned False" if result is False else ""


def pings_of(app: App, of_routes: Iterable[object], taken: Iterable[str]) -> dict[str, Check]:
    """Return the ``ping`` methods of all session backends, channels and middleware in a tree of
    applications, by name.

    If two have the same name, or one has a name in ``taken``, the second gets a number: "sessions
    2". ``of_routes``: the middleware of all routes.
    """
    found: dict[str, Check] = {}
    applications = Inspector(app).applications()
    settings = applications[0].settings
    parts: list[tuple[str, object]] = [("pool", app.pool)] if settings.pool_startup else []
    for one in applications:
        parts += [("sessions", one.session_backend), ("channels", one.channels)]
    for hook in chain(*(one.middlewares for one in applications), of_routes):
        if getattr(hook, "needs_rates", False) is True:  # on the store of ``App(rates=...)``
            parts.append(("rates", settings.rates))
        parts.append((type(hook).__name__, hook))
    seen: set[int] = set()
    names = Counter([*taken])
    for name, part in parts:
        ping = getattr(part, "ping", None)
        if callable(ping) and id(part) not in seen:
            seen.add(id(part))
            names[name] += 1
            found[name if names[name] == 1 else f"{name} {names[name]}"] = ping
    return found


def add_health(
    app: App, path: str, checks: Mapping[str, Check], *, timeout: float, live: bool
) -> None:
    """Add a health endpoint; see ``App.health``."""
    add_route(app, path, health_endpoint, hooks=[HealthCheck(app, checks, timeout, live)])


def health_endpoint() -> None:
    """The route's handler. It is never called, because the hook sends the response."""
