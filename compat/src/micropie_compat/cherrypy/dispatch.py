"""``cherrypy.dispatch``: the dispatchers, which find the handler for a path.

``Dispatcher`` follows a path's segments from attribute to attribute, beginning at the application's
root. The configurations of all objects on the way are merged, from the root to the handler. Names
that begin with two underscores are not looked up, since every Python object has such attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from traceback import walk_tb
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

from micropie import BadRequest, SetupError
from micropie_compat.addresses import first_value
from micropie_compat.carrier import refuse_marks, refused_method
from micropie_compat.cherrypy.config import config as global_config
from micropie_compat.cherrypy.errors import CherryPyException, HTTPError, NotFound
from micropie_compat.cherrypy.exposing import punctuation_to_underscores
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Parameters, Section, Sections
from micropie_compat.core import checked_base, current
from micropie_compat.missing import tell
from micropie_compat.results import AnyFunction, Values


def refusal(error: HTTPError, allowed: Sequence[str] = ()) -> Callable[[], NoReturn]:
    """Return a handler that rejects a request to a path without a handler. It raises a 405 if the
    path has native routes for other methods, otherwise ``error``.

    ``allowed``: the methods of the CherryPy handlers for the path.
    """
    native = current.get()
    if refused_method(native) is None:
        return error

    def refuse() -> NoReturn:
        raise refused_method(native, allowed) or error

    return refuse


class PageHandler:
    """A handler together with the arguments for one request.

    Calling it with wrong arguments raises ``HTTPError`` 404 or 400 instead of ``TypeError``.

    The arguments are attributes of the current request, so tools may change them there, too.
    """

    def __init__(self, callable: AnyFunction, *args: object, **kwargs: object) -> None:  # noqa: A002
        self.callable = callable
        serving.request.args = args
        if kwargs:
            self.kwargs = kwargs

    @property
    def args(self) -> Sequence[object]:
        """The positional arguments."""
        values: Sequence[object] = serving.request.args
        return values

    @args.setter
    def args(self, values: Sequence[object]) -> None:
        serving.request.args = values

    @property
    def kwargs(self) -> Parameters:
        """The keyword arguments."""
        values: Parameters = serving.request.kwargs
        return values

    @kwargs.setter
    def kwargs(self, values: Parameters) -> None:
        serving.request.kwargs = values

    def __call__(self) -> object:
        refuse_marks(self.callable)
        args, kwargs = self.args, self.kwargs
        try:
            return self.callable(*args, **kwargs)
        except TypeError as error:
            refusal = (
                None
                if _has_begun(self.callable, error)
                else refusal_of(self.callable, args, kwargs)
            )
            if refusal is None:
                raise
            raise refusal from error


class LateParamPageHandler(PageHandler):
    """A handler whose keyword arguments are read from the request's parameters when it is called,
    after the tools have run.
    """

    _kwargs: Values = MappingProxyType({})

    @property
    def kwargs(self) -> Parameters:
        """The request's parameters, updated with the arguments that were set for this handler."""
        return {**serving.request.params, **self._kwargs}

    @kwargs.setter
    def kwargs(self, values: Parameters) -> None:
        serving.request.kwargs = self._kwargs = values


def _has_begun(function: AnyFunction, error: TypeError) -> bool:
    """Return whether the function inside the decorators of ``function`` was called before
    ``error`` was raised. If so, its arguments were valid, even if a decorator has added some.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    return any(frame.f_code is code for frame, _ in walk_tb(error.__traceback__))


def refusal_of(function: AnyFunction, args: Sequence[object], kwargs: Values) -> HTTPError | None:
    """Return the error for a call with invalid arguments, or None if the arguments are valid.

    The status is 404 if an argument is missing. For an unexpected argument it is 400 if the
    argument comes from a form, otherwise 404.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    named = [
        each
        for each in parameters
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    kinds = {each.kind for each in parameters}
    takes_more_args = inspect.Parameter.VAR_POSITIONAL in kinds
    takes_more_kwargs = inspect.Parameter.VAR_KEYWORD in kinds
    keywords = {each.name for each in parameters if each.kind is not each.VAR_POSITIONAL}
    given = [each.name for each in named[: len(args)]]
    missing = [
        each.name
        for each in named[len(args) :]
        if each.default is each.empty and each.name not in kwargs
    ]
    in_body = set(serving.request.body.params or ()) if serving.request.has_body else set()
    if missing:
        return _refusal(404, "Missing parameters", missing)
    if len(args) > len(named) and not takes_more_args:
        return HTTPError(404)
    twice = [name for name in given if name in kwargs]
    if twice:
        return _refusal(
            400 if in_body.issuperset(twice) else 404, "Multiple values for parameters", twice
        )
    unexpected = [] if takes_more_kwargs else [name for name in kwargs if name not in keywords]
    in_query = [name for name in unexpected if name not in in_body]
    if in_query:
        return _refusal(404, "Unexpected query string parameters", in_query)
    if unexpected:
        return _refusal(400, "Unexpected body parameters", unexpected)
    return None


def _refusal(status: int, problem: str, names: Sequence[str]) -> HTTPError:
    shown = getattr(serving.request, "show_mismatched_params", False)
    return HTTPError(status, f"{problem}: {','.join(names)}" if shown else None)


class _Application(Protocol):
    """The attributes and methods of an application that dispatchers use."""

    root: Any
    config: Sections

    def _directory_section(self, path: str) -> dict[str, str]:
        """Return ``{"tools.staticdir.section": path}``. Equal paths get the same dict object,
        because ``Plans`` caches plans by the identity of configurations.
        """

    def _spellings(self, translate: Mapping[int, str]) -> Mapping[str, Sequence[str]]:
        """Return the paths that have a section in the configuration, grouped by the string that
        ``translate`` turns them into.
        """


# A path with more segments gets a 404, because the time for each segment may be proportional to the
# length of the path.
MOST_SEGMENTS = 255


class Dispatcher:
    """CherryPy's default dispatcher.

    ``dispatch_method_name``: the name of the method by which an object can handle the remaining
    segments itself.

    ``translate``: a table for ``str.translate`` that turns a segment into an attribute's name. By
    default punctuation becomes ``_``.
    """

    dispatch_method_name = "_cp_dispatch"

    def __init__(
        self,
        dispatch_method_name: str | None = None,
        translate: object = punctuation_to_underscores,
    ) -> None:
        if not isinstance(translate, dict):
            raise ValueError("The translate argument must be a dict.")
        self.translate = translate
        if dispatch_method_name:
            self.dispatch_method_name = dispatch_method_name

    def __call__(self, path_info: str) -> None:
        """Find the handler for a path, and set it and its configuration on the current request."""
        request = serving.request
        function, vpath = self.find_handler(path_info)
        if "%2F" in path_info:
            vpath = _with_slashes(vpath)
        request.handler = (
            refusal(NotFound()) if function is None else LateParamPageHandler(function, *vpath)
        )

    def find_handler(self, path: str) -> tuple[Any, list[str]]:
        """Return the handler for a path and the segments that remain for its arguments, or (None,
        []).
        """
        request = serving.request
        app = request.app
        full = [segment for segment in path.split("/") if segment]
        if len(full) > MOST_SEGMENTS:
            request.micropie_configs = [global_config]
            return None, []
        full.append("index")
        configs: list[Section] = [global_config]
        request.micropie_configs = configs
        trail = self._walk(app, full, configs)
        last = len(trail) - 1
        for number in range(last, -1, -1):
            node, left, end = trail[number]
            if node is None:
                continue
            cut = len(full) - left
            default = getattr(node, "default", None)
            if default is not None and getattr(default, "exposed", False):
                own = getattr(default, "_cp_config", None)
                # The configurations of objects deeper in the path come later, so they override the
                # configuration of ``default``, as in CherryPy.
                if own:
                    configs[end:end] = with_directory(app, [own], full[:cut])
                request.is_index = path.endswith("/")
                return default, full[cut:-1]
            if getattr(node, "exposed", False):
                request.is_index = number == last
                return node, full[cut:-1]
        return None, []

    def _walk(
        self, app: _Application, full: list[str], configs: list[Section]
    ) -> list[tuple[object, int, int]]:
        """Follow the segments from attribute to attribute, and append each object's configurations
        to ``configs``.

        Return for each step the object (None if there is no attribute with the segment's name), the
        number of remaining segments, and the number of configurations so far.
        """
        node, sections = app.root, app.config
        own = getattr(node, "_cp_config", None)
        if own or "/" in sections:
            configs += with_directory(app, [each for each in (own, sections.get("/")) if each], [])
        size = len(full)
        trail = [(node, size, len(configs))]
        left = full[:]
        names = [""]  # the names of the attributes followed so far
        while left:
            start = size - len(left)
            segment = left[0]
            name = segment if segment.isidentifier() else segment.translate(self.translate)
            found = None if name[:2] == "__" and name != "__call__" else getattr(node, name, None)
            others: Sequence[str] = ()
            if found is not None:
                del left[0]
                if sections:
                    names.append(name)
                    others = app._spellings(self.translate).get("/".join(names), ())
            else:
                found = self._hand_over(node, left, full)
                names += full[start : size - len(left)]
            node, end = found, size - len(left)
            own = None if node is None else getattr(node, "_cp_config", None)
            if own or sections:
                added = [own] if own else []
                added += [sections[path] for path in others if path != "/" + "/".join(full[:end])]
                for length in range(start + 1, end + 1) if sections else ():
                    section = sections.get("/" + "/".join(full[:length]))
                    if section:
                        added.append(section)
                if added:
                    configs += with_directory(app, added, full[:end])
            trail.append((node, len(left), len(configs)))
        return trail

    def _hand_over(self, node: object, left: list[str], full: list[str]) -> object:
        """Call the node's ``_cp_dispatch`` method and return its result, or return None if the node
        has no such method. Used when the node has no attribute for the next segment.

        At least one segment is removed from ``left``, even if ``_cp_dispatch`` removes none.
        """
        dispatch = getattr(node, self.dispatch_method_name, None) if len(left) > 1 else None
        if dispatch is None or not callable(dispatch) or getattr(dispatch, "exposed", False):
            del left[0]
            return None
        before = len(left)
        index = left.pop()
        found = dispatch(vpath=left)
        left.append(index)
        if len(left) > before:
            raise CherryPyException(
                "A segment was added to the path by "
                f"{self.dispatch_method_name}: {full} became {left}"
            )
        if len(left) == before:  # the method has read the segment but not removed it
            del left[0]
        return found


def _with_slashes(vpath: list[str]) -> list[str]:
    """Return the segments with "%2F" replaced by "/", because cheroot and some other servers leave
    "%2F" escaped.
    """
    return [segment.replace("%2F", "/") for segment in vpath]


def with_directory(app: _Application, configs: list[Section], path: list[str]) -> list[Section]:
    """Return an object's configurations. If one of them sets ``tools.staticdir.dir``, add a
    configuration that sets ``tools.staticdir.section`` to the object's URL path.
    """
    for config in configs:
        if "tools.staticdir.dir" in config:
            return [*configs, app._directory_section("/" + "/".join(path))]
    return configs


class MethodDispatcher(Dispatcher):
    """Finds an exposed object for the path and calls its method ``GET``, ``POST`` and so on,
    according to the request's HTTP method.
    """

    def __call__(self, path_info: str) -> None:
        """Find the object for a path, and set the current request's ``handler`` to its method. If
        there is no such object or method, the handler raises 404 or 405.

        The method's configuration is added to the request's configuration.
        """
        request = serving.request
        resource, vpath = self.find_handler(path_info)
        if resource is None:
            request.handler = refusal(NotFound())
            return
        methods = [name for name in dir(resource) if name.isupper()]
        allowed = sorted({*methods, "HEAD"} if "GET" in methods else methods)
        serving.response.headers["Allow"] = ", ".join(allowed)
        method = request.method.upper()
        if method == "HEAD" and method not in methods:
            method = "GET"
        if method not in methods:
            request.handler = refusal(HTTPError(405), allowed)
            return
        function = getattr(resource, method)
        own = getattr(function, "_cp_config", None)
        if own:
            request.micropie_configs.append(own)
        request.handler = LateParamPageHandler(function, *_with_slashes(vpath))


def VirtualHost(  # noqa: N802
    next_dispatcher: Callable[[str], object] | None = None,
    use_x_forwarded_host: bool = True,
    **domains: str,
) -> Callable[[str], object]:
    """Return a dispatcher that adds the prefix for the request's host to the path:
    ``VirtualHost(**{"a.example": "/a"})``.

    ``use_x_forwarded_host``: whether to use the first host in X-Forwarded-Host, if sent, instead of
        Host.

    The dispatcher raises ``HTTPError`` 400 for a malformed host.
    """
    inner = next_dispatcher or Dispatcher()

    def dispatch(path_info: str) -> object:
        request = serving.request
        host = request.headers.get("Host", "")
        if use_x_forwarded_host:
            host = first_value(request.headers.get("X-Forwarded-Host")) or host
        with HTTPError.handle(BadRequest, 400):
            prefix = domains.get(checked_base("", host)[1], "")
        result = inner(f"{prefix.rstrip('/')}/{path_info.lstrip('/')}" if prefix else path_info)
        # Remove the prefix from ``tools.staticdir.section``, because the tool compares the section
        # with the request's own path, which doesn't have the prefix.
        section = request.config.get("tools.staticdir.section")
        if section is not None and prefix:
            request.config["tools.staticdir.section"] = section[len(prefix) :]
        return result

    return dispatch


def XMLRPCDispatcher(  # noqa: N802
    next_dispatcher: Callable[[str], object] | None = None,
) -> Callable[[str], object]:
    """Return a dispatcher that ignores ``/RPC2`` at the beginning of a path."""
    inner = next_dispatcher or Dispatcher()
    path = import_module("micropie_compat.cherrypy.lib.xmlrpcutil").patched_path
    return lambda path_info: inner(path(path_info))


def __getattr__(name: str) -> Any:
    if name != "RoutesDispatcher":
        tell("cherrypy.dispatch", name)
    if not find_spec("routes"):
        raise SetupError("RoutesDispatcher needs the package Routes: pip install routes")
    return import_module("micropie_compat.cherrypy.routing").RoutesDispatcher
