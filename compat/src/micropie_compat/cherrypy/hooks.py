"""Hooks: functions called at named points of a request, in order of priority."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from micropie_compat.cherrypy.log import log
from micropie_compat.results import AnyFunction, words

hookpoints = words(
    "on_start_resource before_request_body before_handler "
    "before_finalize on_end_resource on_end_request "
    "before_error_response after_error_response"
)


class Hook:
    """A function to call at a point of each request, with its keyword arguments.

    ``priority``: the hook with the lowest number is called first.
    ``failsafe``: whether to call the function even after another hook has failed.

    The defaults are the function's attributes ``priority`` and ``failsafe``, or else 50 and False.
    """

    def __init__(
        self,
        callback: AnyFunction,
        failsafe: bool | None = None,
        priority: int | None = None,
        **kwargs: object,
    ) -> None:
        self.callback = callback
        self.failsafe = getattr(callback, "failsafe", False) if failsafe is None else failsafe
        self.priority = getattr(callback, "priority", 50) if priority is None else priority
        self.kwargs = kwargs

    def __lt__(self, other: Hook) -> bool:
        return self.priority < other.priority

    def __call__(self) -> object:
        return self.callback(**self.kwargs)

    def __repr__(self) -> str:
        return (
            f"Hook({self.callback!r}, failsafe={self.failsafe!r}, priority={self.priority!r}, "
            f"{', '.join(f'{name}={value!r}' for name, value in self.kwargs.items())})"
        )


class HookMap(defaultdict[str, list[Hook]]):
    """A dict with the list of hooks for each point. A list is created when it is first read."""

    def __init__(self, points: Iterable[str] = ()) -> None:
        super().__init__(list, {point: [] for point in points})

    def attach(
        self,
        point: str,
        callback: AnyFunction,
        failsafe: bool | None = None,
        priority: int | None = None,
        **kwargs: object,
    ) -> None:
        """Register ``callback``, to be called with ``kwargs`` at ``point``."""
        self[point].append(Hook(callback, failsafe, priority, **kwargs))

    def run(self, point: str) -> None:
        """Call the hooks of a point, by priority.

        After a hook has failed, only failsafe hooks are called, and at the end the exception is
        raised.

        If several hooks fail, the last exception is raised and the earlier exceptions are logged.
        """
        hooks = self.get(point)
        if not hooks:
            return
        failure: BaseException | None = None
        try:
            for hook in sorted(hooks):
                if failure is None or hook.failsafe:
                    try:
                        hook()
                    # ``SystemExit`` and cancellations, too: failsafe hooks release locks.
                    except BaseException as error:
                        if failure is not None:
                            log(f"a hook of {point} failed", severity=40, traceback=failure)
                        failure = error
            if failure is not None:
                raise failure
        finally:
            del failure

    def copy(self) -> HookMap:
        """Return a copy whose lists can be changed independently."""
        copied = HookMap()
        copied.update((point, hooks[:]) for point, hooks in self.items())
        return copied


of_all_requests = HookMap()
"""Hooks that apply to all requests, because they were attached outside of a request: for example by
``cherrypy.request.hooks.attach(...)`` in a plugin's ``start``.
"""
