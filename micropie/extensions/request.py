"""What an extension does for one request, beside what ``Request`` offers to everybody."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from micropie.http import Request


def report_failures(request: Request, report: Callable[[BaseException], object]) -> None:
    """Call ``report(failure)`` for each failure of this request: an exception that is answered with
    500, or that ends the answer after its head was sent.

        def before(self, request):
            report_failures(request, self.client.capture_exception)

    ``report`` is called as the setting ``on_error`` is: at the end of the request, once for each
    failure, and must not wait. What it raises is logged.
    """
    request._exchange.report_failures_to(report)


def carry_into_process(request: Request, enter: Callable[[], object]) -> None:
    """Call ``enter()`` before the handler, in the process of the pool that runs it, if one does.

        def before(self, request):
            carry_into_process(request, partial(set_language, request.state.language))

    ``enter`` is pickled: a function at a module's top level, or a ``functools.partial`` of one. It
    may set context variables, which the handler sees. Functions of several calls are called in the
    order of these calls. It is not called for a handler that runs in this process.
    """
    exchange = request._exchange
    earlier = exchange.enter_in_pool
    exchange.enter_in_pool = enter if earlier is None else partial(_enter_both, earlier, enter)


def _enter_both(first: Callable[[], object], second: Callable[[], object]) -> None:
    first()
    second()
