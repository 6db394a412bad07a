"""``Tool`` and its subclasses, and ``Toolbox``, a collection of tools by name.

In configuration ``tools.NAME.on`` switches a tool on for a path; ``tools.NAME.OPTION`` sets a
keyword argument of its function. The decorator ``@cherrypy.tools.NAME(option=...)`` does both for a
handler or a class of handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from micropie_compat.cherrypy.errors import NotFound
from micropie_compat.cherrypy.hooks import HookMap
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Section, Target
from micropie_compat.missing import ADVICE
from micropie_compat.originals import advice_on_tool
from micropie_compat.overrides import Overridable
from micropie_compat.results import AnyFunction, Values
from micropie_compat.stand_in import refuse_original


class Tool:
    """A function to call at a hook point of requests: ``Tool(point, callable, name=None,
    priority=50)``.
    """

    namespace = "tools"
    changes: ClassVar[int] = 0
    """How often tools have been defined or changed. Plans made before are invalid, see
    ``plans.py``.
    """
    micropie_called = "callable"
    """The name of the method that the hook calls."""

    def __init__(
        self,
        point: str,
        callable: AnyFunction | None,  # noqa: A002 - CherryPy's name
        name: str | None = None,
        priority: int = 50,
    ) -> None:
        refuse_original("cherrypy", callable)
        self._point = point
        self.callable: Any = callable
        self._name = name
        self._priority = priority
        self.__doc__ = getattr(callable, "__doc__", None)
        self._setargs()

    def _setargs(self) -> None:
        """Set an attribute for each parameter of the tool's function. Programs override this."""
        call = getattr(self.callable, "__call__", None)  # noqa: B004 - its code is needed
        code = getattr(self.callable, "__code__", None) or getattr(call, "__code__", None)
        for name in code.co_varnames[: code.co_argcount] if code else ():
            setattr(self, name, None)

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("callable", "_point", "_priority"):
            Tool.changes += 1
        super().__setattr__(name, value)

    def _refuse_switch(self, *value: object) -> NoReturn:
        """Raise ``AttributeError``, because ``on`` can't be set on a tool."""
        raise AttributeError(
            f"{self._path}.on can't be read or set in Python: write @{self._path}() above the "
            f"handler, or {self._path}.on = True in the configuration"
        )

    on = property(_refuse_switch, _refuse_switch)

    @property
    def _path(self) -> str:
        return f"{self.namespace}.{self._name}"

    def _merged_args(self, d: Values | None = None) -> Section:
        """Return the tool's options for the current request, except ``on``. These options override
        those in ``d``.
        """
        toolmap = serving.request.toolmaps.get(self.namespace, {})
        merged = {**(d or {}), **toolmap.get(self._name, {})}
        merged.pop("on", None)
        return merged

    def __call__(self, *args: object, **kwargs: object) -> Callable[[Target], Target]:
        """Return a decorator that switches the tool on for a handler or a class of handlers."""
        if args:
            raise TypeError(f"the tool {self._name!r} takes keyword arguments only")

        def decorate(target: Any) -> Any:
            config = getattr(target, "_cp_config", None)
            # A class gets its own dict, so that changes don't affect its base class.
            if config is None or (isinstance(target, type) and "_cp_config" not in vars(target)):
                target._cp_config = config = dict(config or {})
            config[f"{self._path}.on"] = True
            config.update({f"{self._path}.{name}": value for name, value in kwargs.items()})
            return target

        return decorate

    def _setup(self) -> None:
        """Attach the tool to the current request. Called if the tool is switched on for the
        request's path.
        """
        self._attach(serving.request.hooks, self._merged_args())

    def _attach(self, hooks: HookMap, options: Section) -> None:
        """Add the tool's function to ``hooks``. Its keyword arguments are ``options``, except
        ``priority``.
        """
        priority = options.pop("priority", None)
        if priority is None:
            priority = getattr(self.callable, "priority", self._priority)
        function = getattr(self, self.micropie_called)
        hooks.attach(self._point, function, priority=priority, **options)


class HandlerTool(Tool):
    """A tool that may replace the handler. Its function returns True if it has set the response's
    body.
    """

    micropie_called = "_wrapper"

    def __init__(self, callable: AnyFunction, name: str | None = None) -> None:  # noqa: A002 - CherryPy's name
        super().__init__("before_handler", callable, name)

    def handler(self, *args: object, **kwargs: object) -> AnyFunction:
        """Return an exposed handler that calls this tool with these arguments. It raises
        ``NotFound`` if the tool hasn't set the response's body.
        """

        def handle(*others: object, **values: object) -> object:
            if not self.callable(*args, **self._merged_args(kwargs)):
                raise NotFound
            return serving.response.body

        handle.exposed = True  # type: ignore[attr-defined]
        return handle

    def _wrapper(self, **kwargs: object) -> None:
        if self.callable(**kwargs):
            serving.request.handler = None


class HandlerWrapperTool(Tool):
    """A tool that wraps the handler: ``newhandler(next_handler, *args, **kwargs)`` is called
    instead of the handler, and may call it.
    """

    def __init__(
        self,
        newhandler: AnyFunction,
        point: str = "before_handler",
        name: str | None = None,
        priority: int = 50,
    ) -> None:
        # Like CherryPy's, this doesn't call ``_setargs``.
        self._point, self._name, self._priority = point, name, priority
        self.newhandler = newhandler

    def callable(self, *args: object, **kwargs: object) -> None:
        """Replace the current request's handler with the wrapper."""
        inner = serving.request.handler

        def wrap(*others: object, **values: object) -> object:
            return self.newhandler(inner, *others, **values)

        serving.request.handler = wrap


class ErrorTool(Tool):
    """A tool that sets the response for an unexpected exception. Switching it on sets
    ``request.error_response``.
    """

    def __init__(self, callable: AnyFunction, name: str | None = None) -> None:  # noqa: A002 - CherryPy's name
        super().__init__("", callable, name)

    def _wrapper(self) -> None:
        self.callable(**self._merged_args())

    def _setup(self) -> None:
        serving.request.error_response = self._wrapper


class Toolbox(metaclass=Overridable):
    """A set of tools, stored as attributes. Setting an attribute also sets the tool's name and
    namespace.
    """

    uncalled = "__enter__", "__exit__"

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, Tool):
            if value._name is None:
                value._name = name
            value.namespace = self.namespace
            Tool.changes += 1
        object.__setattr__(self, name, value)

    # Type checkers accept any tool because of this method. At run time, it is called only for a
    # missing tool.
    def __getattr__(self, name: str) -> Any:
        namespace = self.__dict__.get("namespace", "")
        tool = f"{namespace}.{name}"
        advice = ADVICE.get(f"cherrypy.{tool}") or advice_on_tool(namespace, name)
        raise AttributeError(f"there is no tool {tool}{f' here: {advice}' if advice else ''}")

    def register(self, point: str, **kwargs: Any) -> Callable[[Target], Target]:
        """Decorate a function to add it as a tool, under its own name or ``name``. ``priority``:
        see ``Tool``.
        """

        def decorate(function: Any) -> Any:
            attribute = kwargs.get("name", function.__name__)
            setattr(self, attribute, Tool(point, function, **kwargs))
            return function

        return decorate
