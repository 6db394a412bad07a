"""Detect that an application on a compatibility module still uses the original framework.

A module that still imports the original reads the wrong ``request``: one that is unbound, or bound
to another client's request that the same thread handled earlier. So while a migrated application
handles a request, the original's ``request`` and ``response`` raise an exception, and so does
the creation of its errors and responses, unless the original handles the request too. Applications
in the same process that weren't migrated still work as before.

``watch`` installs these checks: immediately if the original has been imported already, otherwise
when a function or a template imports it. ``enter_pool`` does so in a process of the pool.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from dis import get_instructions
from functools import cache, lru_cache, wraps
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import FrameType, ModuleType
from typing import Any
from weakref import WeakSet

from micropie import Request
from micropie_compat.core import current
from micropie_compat.stand_in import (
    advice_for,
    has_original,
    holders,
    holds_original,
    import_of_original,
    is_below,
    is_installed,
)

# The original frameworks' classes in which the checks are installed.
_guarded: WeakSet[type] = WeakSet()


class OriginalFrameworkError(Exception):
    """Raised if a migrated application uses the original framework.

    It isn't a ``RuntimeError``, because programs that catch Bottle's ``RuntimeError``, raised
    outside of requests, would go on as if there was no request.
    """


def migrated_request(framework: str) -> Request | None:
    """Return the current request if an application written for ``framework`` handles it, whether in
    a migrated handler, a native one or a hook; otherwise None.
    """
    request: Any = current.get(None)
    if request is None:
        return None
    exchange = request._exchange
    moved_from = (
        vars(request).get(_MOVED_FROM)  # set by ``enter_pool``
        if exchange.is_pooled
        else getattr(exchange.config.tree[0].app._micropie, "moved_from", None)
    )
    return request if moved_from == framework else None


_MOVED_FROM = "_moved_from"


def watch(framework: str) -> None:
    """Install the checks in the original framework, immediately or when it is imported. The checks
    raise ``OriginalFrameworkError``. Log the names of modules that have imported it.
    """
    warn_of_originals(framework)
    _install(framework)


def enter_pool(framework: str) -> None:
    """Install the checks in a process of the pool, for the request that it has just received from
    an application written for ``framework``.
    """
    vars(current.get())[_MOVED_FROM] = framework
    _install(framework)


def _install(framework: str) -> None:
    module = sys.modules.get(framework)
    if module is not None and has_original(framework):
        _guard(framework, module)
    if not any(isinstance(one, _Watch) and one.framework == framework for one in sys.meta_path):
        sys.meta_path.insert(0, _Watch(framework))


@cache  # logged once, because searching all modules is slow
def warn_of_originals(framework: str) -> None:
    """Log a warning with the names of modules that have imported the original framework, because
    handlers that they register get no requests.
    """
    names = sorted(holders(framework))
    if names:
        _warn(framework, names)


def _warn(framework: str, names: Iterable[str]) -> None:
    logging.getLogger("micropie").warning(
        (
            "%s: imports the original %s, but micropie handles the requests, so the "
            "original request object raises an error. Put this line before all other "
            'imports of the program: from micropie_compat import install; install("%s")'
        ),
        ", ".join(names),
        framework,
        framework,
    )


class _Watch:
    """An import finder that installs the checks in the original framework after its import. The
    other finders find the module.
    """

    def __init__(self, framework: str) -> None:
        self.framework = framework

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the original's spec with a loader that installs the checks. Return None for other
        modules, and for a framework that ``install`` has replaced.
        """
        if fullname != self.framework or is_installed(fullname):
            return None
        finders = [getattr(one, "find_spec", None) for one in sys.meta_path if one is not self]
        # Python ignores a finder without ``find_spec``, which old packages install.
        found = (find(fullname, path, target) for find in finders if find is not None)
        spec = next((one for one in found if one is not None), None)
        if spec is not None and spec.loader is not None:
            # The loader is None for a directory without ``__init__.py``.
            spec.loader = _Loader(spec.loader, self.framework)
        return spec


class _Loader:
    """Loads a module with its original loader, then installs the checks."""

    def __init__(self, loader: Any, framework: str) -> None:
        self._loader = loader
        self._framework = framework

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module that the original loader creates, see ``importlib.abc.Loader``."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, install the checks, and log a warning with the name of the module that
        imports it, which ``warn_of_originals`` couldn't find. See ``importlib.abc.Loader``.
        """
        self._loader.exec_module(module)
        if not _guard(self._framework, module):
            return
        frame = sys._getframe()
        while frame.f_back is not None and (
            frame.f_globals is globals() or is_below(_place(frame), "importlib")
        ):
            frame = frame.f_back
        _warn(self._framework, [_place(frame)])

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the original loader, such as ``get_source``."""
        return getattr(self._loader, name)


# -- the checks ------------------------------------------------------------------------------------


def _guard(framework: str, module: Any) -> bool:
    """Install the checks, and return whether they weren't installed before. They aren't needed in
    another module with the framework's name.
    """
    name, guard = _GUARDS[framework]
    kind = type(vars(module).get(name))
    is_new = is_below(kind.__module__, framework) and kind not in _guarded
    if is_new:
        _guarded.add(kind)
        guard(module)
    return is_new


def _guard_cherrypy(module: Any) -> None:
    """Replace the class attributes ``request`` and ``response`` of ``cherrypy.serving`` with
    ``_PerThread`` descriptors. The class attributes are the defaults for code outside of requests.
    """
    kind = type(module.serving)
    for name in ("request", "response"):
        setattr(kind, name, _PerThread(name, vars(kind)[name], module.log))
    kind.session = _Session("session", None, module.log)
    initialize = module.HTTPError.__init__
    module.HTTPError.__init__ = _checked(initialize, lambda: module.serving.request)


class _PerThread:
    """An attribute of ``cherrypy.serving``, which has another value in each thread.

    The original sets it before it handles a request, and removes it when the server closes the
    response, which may happen late or never. So ``__set__`` records the value on the current
    request, and ``__get__`` raises an error for any other value while a migrated application
    handles a request. It is recorded for each thread, because a handler may call an application of
    the original in several threads.

    ``log``: the original's ``cherrypy.log``. The log may read the attribute at any time, because it
        has to find the current application's log.
    """

    def __init__(self, name: str, default: object, log: object) -> None:
        self._name = name
        self._default = default
        self._log = log

    def _recorded(self) -> str:
        return f"_original_cherrypy_{self._name}_{get_ident()}"

    def __get__(self, serving: object, owner: type) -> object:
        own = {} if serving is None else vars(serving)
        value = own.get(self._name, self._default)
        request = migrated_request("cherrypy")
        if request is None or (self._name in own and vars(request).get(self._recorded()) is value):
            return value
        _refuse("cherrypy", self._log)
        return self._default

    def __set__(self, serving: object, value: object) -> None:
        vars(serving)[self._name] = value
        request = migrated_request("cherrypy")
        if request is not None:
            vars(request)[self._recorded()] = value

    def __delete__(self, serving: object) -> None:
        if self._name not in vars(serving):
            raise AttributeError(self._name)
        del vars(serving)[self._name]


class _Session(_PerThread):
    """The attribute ``session``, which has no default. It may be another client's session if the
    server hasn't closed that client's response.
    """

    def __get__(self, serving: Any, owner: type) -> object:
        if serving is None or self._name not in vars(serving):
            raise AttributeError(self._name)
        _ = serving.request  # raises an error unless the original handles the current request
        return vars(serving)[self._name]


def _guard_bottle(module: Any) -> None:
    """Add ``check`` to the properties of ``bottle.request`` and ``bottle.response``.

    The original binds both to the thread before it handles a request, and doesn't unbind them
    afterwards. So ``bind`` records on the current request which environ the original has bound, and
    ``check`` raises an error if the thread's environ is another one.
    """
    requests, responses = type(module.request), type(module.response)
    environ: Any = vars(requests)["environ"]

    def check() -> None:
        request = migrated_request("bottle")
        if request is None:
            return
        try:
            is_active = vars(request).get(_bound()) is environ.fget(module.request)
        except RuntimeError:  # no request is bound to this thread
            is_active = False
        if not is_active:
            _refuse("bottle")

    def bind(local: object, value: object) -> None:
        request = migrated_request("bottle")
        if request is not None:
            vars(request)[_bound()] = value
        environ.fset(local, value)

    for kind in (requests, responses):
        for name, value in [*vars(kind).items()]:
            if isinstance(value, property):
                get, put, delete = (
                    one and _checked(one, check) for one in (value.fget, value.fset, value.fdel)
                )
                setattr(kind, name, property(get, put, delete, value.__doc__))
    requests.environ = requests.environ.setter(bind)
    module.HTTPResponse.__init__ = _checked(module.HTTPResponse.__init__, check)


def _bound() -> str:
    return f"_original_bottle_{get_ident()}"


def _checked(function: Any, check: Callable[[], object]) -> Any:
    """Return a function that calls ``check`` and then ``function``: a property's, or the
    ``__init__`` of responses or errors, which micropie can't send.
    """

    @wraps(function)
    def call(*args: object, **options: object) -> object:
        check()
        return function(*args, **options)

    return call


_GUARDS = {"bottle": ("request", _guard_bottle), "cherrypy": ("serving", _guard_cherrypy)}


# -- error messages --------------------------------------------------------------------------------


def _refuse(framework: str, log: object = None) -> None:
    """Raise ``OriginalFrameworkError`` with the name of the module that imports the original.

    ``log``: the original's ``cherrypy.log``. If ``log`` is the caller, return without an error.
    """
    frame: FrameType | None = sys._getframe()
    used = ""
    while frame is not None and _is_inside(frame, framework):
        if log is not None and frame.f_locals.get("self") is log:
            return
        used = frame.f_code.co_qualname
        frame = frame.f_back
    assert frame is not None  # noqa: S101 - code outside of the original has called it
    user = frame
    while frame is not None:
        if _imports(frame, framework, may_hold_both=frame is user):
            raise OriginalFrameworkError(import_of_original(_place(frame), framework))
        frame = frame.f_back
    # The caller got the original's object from another module, or micropie has called a function of
    # the original.
    by_micropie = any(is_below(_place(user), name) for name in ("micropie", str(__package__)))
    subject = f"{used} is from" if by_micropie else f"{_place(user)} uses"
    raise OriginalFrameworkError(_of_original(subject, framework, _importers(framework)))


def _is_inside(frame: FrameType, framework: str) -> bool:
    name = _place(frame)
    return name == __name__ or is_below(name, framework)


def _place(frame: FrameType) -> str:
    """Return the name of a frame's module. A template's code belongs to no module, so return its
    file.
    """
    return frame.f_globals.get("__name__") or frame.f_code.co_filename


def _imports(frame: FrameType, framework: str, may_hold_both: bool = False) -> bool:
    """Return whether a frame's module imports the original, or the frame's own code does.

    ``may_hold_both``: see ``holds_original``.
    """
    if _is_inside(frame, framework):
        return False
    values = frame.f_globals
    # The globals of a template's code are the values that were passed to the template.
    if "__name__" in values and holds_original(values, framework, may_hold_both=may_hold_both):
        return True
    code = frame.f_code
    return any(is_below(name, framework) for name in code.co_names) and any(
        one.opname == "IMPORT_NAME" and is_below(one.argval, framework)
        for one in get_instructions(code)
    )


def _importers(framework: str) -> Sequence[str]:
    """Return the names of all modules that have imported the original framework."""
    return _found_importers(framework, len(sys.modules))


@lru_cache(len(_GUARDS))  # each search takes several milliseconds, and clients can cause it
def _found_importers(framework: str, modules: int) -> Sequence[str]:
    """See ``_importers``. ``modules``: the number of modules, which grows with each import."""
    return [*holders(framework)]


def _of_original(subject: str, framework: str, importers: Iterable[str]) -> str:
    names = ", ".join(sorted(importers))
    return (
        f"{subject} the original {framework}{names and f', imported by {names}'}, "
        f"but micropie handles this application's requests: {advice_for(framework)}"
    )


def refuse_instance(framework: str, value: object) -> None:
    """Raise ``OriginalFrameworkError`` if ``value`` is an instance of one of the original
    framework's classes: a route, a plugin, or a handler's response, whose status micropie would
    ignore.
    """
    kinds = type(value).__mro__
    if has_original(framework) and any(is_below(str(one.__module__), framework) for one in kinds):
        subject = f"{type(value).__qualname__} is from"
        raise OriginalFrameworkError(_of_original(subject, framework, _importers(framework)))


def advice_on_tool(namespace: str, name: str) -> str:
    """Return advice on a missing tool if a module has added it to a toolbox of the original
    CherryPy; otherwise "".
    """
    if not has_original("cherrypy"):
        return ""
    original: Any = sys.modules["cherrypy"]
    importers = [one for one in _importers("cherrypy") if one in sys.modules]
    values = [value for one in importers for value in [*vars(sys.modules[one]).values()]]
    for box in (*original.Application.toolboxes.values(), *values):
        is_toolbox = type(box) is type(original.tools) and box.namespace == namespace
        if is_toolbox and name in vars(box):
            return _of_original(f"{namespace}.{name} is from", "cherrypy", importers)
    return ""
