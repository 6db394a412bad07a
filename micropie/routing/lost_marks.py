"""Decorators that make no handler: mistakes of the author that would be a 404, or a guard of
nothing, without a word.

A decorator of a route or a guard leaves a mark on its function. A mark that no handler of the
compiled application has is refused here, with a sentence that says what to write.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeAlias

from micropie.discovery import (
    MARKS,
    REQUIRES,
    AnyFunction,
    Handler,
    attributes_of,
    is_bare,
    is_hidden,
    is_method,
    marks_of,
    own_attributes,
    wrapped_by,
)
from micropie.errors import SetupError, logger
from micropie.on_demand import by_name
from micropie.placement import layers
from micropie.routing.config import AppBase, Registrations
from micropie.routing.routes import place_of
from micropie.routing.settings import SETTINGS

_NO_EFFECT = "the decorator of a route or a guard has no effect"
_IsLost: TypeAlias = Callable[[object], bool]


def refuse_lost_marks(registered: Registrations, handlers: Sequence[Handler]) -> None:
    """Raise ``SetupError`` for a decorator of a route or a guard that is above no handler of this
    application, and for a method that is registered as a function.
    """
    is_lost = _lost_marks(handlers, registered)
    _refuse_lost_attributes(registered.app, registered.framework, is_lost)
    for function in filter(inspect.isfunction, (function for function, _ in registered.functions)):
        if function.__code__.co_varnames[:1] == ("self",):
            advice = (
                "is a method: write micropie.get above it, and not app.get"
                if "." in function.__qualname__.rpartition("<locals>.")[2]
                else "is no method: leave the parameter self out"
            )
            raise SetupError(f"{function.__qualname__} {advice}")
        above = getattr(sys.modules.get(function.__module__), function.__name__, function)
        if above is not function and any(one is function for one in wrapped_by(above)):
            raise SetupError(
                f"{function.__qualname__} has a decorator that does not run for its route: write "
                "@app.get above all others"
            )
    no_routes = chain(
        registered.commands, registered.providers.values(), registered.error_handlers.values()
    )
    for function in filter(inspect.isfunction, no_routes):
        if is_lost(function):
            raise SetupError(
                f"{function.__qualname__}: {_NO_EFFECT}; write @app.get "
                "or @app.route above a function"
            )


def lost_routes(app: object) -> Mapping[str, str]:
    """Return the methods of an application that override one below a route's decorator and have
    none themselves, so that nothing leads to them: each by its name with a sentence that says what
    to write.
    """
    routed: dict[str, type] = {}  # the class whose method of this name has a route
    lost: dict[str, str] = {}
    for cls in reversed(type(app).__mro__):
        for name, value in vars(cls).items():
            if marks_of(value) and "_micropie_is_framework" not in vars(cls):
                routed[name] = cls
                lost.pop(name, None)
            elif name in routed and is_method(value) and not is_hidden(value):
                lost[name] = (
                    f"{cls.__name__}.{name} overrides {routed[name].__name__}.{name} without its "
                    "route: write the decorator above it as well, or @hidden if it is to have none"
                )
    return lost


def lost_habits(
    registered: Registrations,
    handlers: Sequence[Handler],
    providers: Mapping[object, AnyFunction],
) -> Iterator[str]:
    """Yield sentences about attributes of an application that are settings or views elsewhere, and
    not here.
    """
    app, name = registered.app, type(registered.app).__name__
    own, cls = own_attributes(app), type(app)
    for setting in ("debug", *(one for one in SETTINGS if "_" in one)):
        value = own.get(setting, inspect.getattr_static(cls, setting, None))
        if isinstance(value, str | bytes | int | float) and setting not in registered.settings:
            yield f"{name}.{setting} is no setting: write {name}({setting}=...)"
    for setting in _ONE_WORD:  # in an object they may be its author's own
        value = inspect.getattr_static(cls, setting, None)
        is_plain = type(value) in (str, list, tuple, dict) and setting not in registered.settings
        if is_plain and SETTINGS[setting].rule.is_right(value):
            yield f"{name}.{setting} is no setting: write {name}({setting}=...)"
    for attribute, advice in _ELSEWHERE.items():
        value = inspect.getattr_static(cls, attribute, None)
        if value is None and attribute.startswith("on_"):
            value = own.get(attribute)
        is_path = isinstance(value, str) and value.startswith("/")
        if is_path or isinstance(value, dict | list | tuple):
            yield f"{name}.{attribute} means nothing here: write {advice}"
    yield from _refused_preflights(registered)
    provided: dict[str, str] = {}
    for key, provider in providers.items():
        kind = getattr(key, "__name__", "")
        provided |= {kind.lower(): kind, getattr(provider, "__name__", kind): kind}
    for handler in handlers:
        yield from _strange_parameters(f"{name}.{handler.name}", handler, provided)
    yield from _strange_handlers(name, handlers)


def _refused_preflights(registered: Registrations) -> Iterator[str]:
    """Yield a sentence for a log-in in front of the permissions for other sites."""
    name = type(registered.app).__name__
    refusing = ""
    for hook in registered.app.middlewares:
        if getattr(hook, "refuses_preflights", False):
            refusing = type(hook).__name__
        elif refusing and getattr(hook, "answers_preflights", False):
            yield (
                f"{name}: {refusing} refuses the preflights of {type(hook).__name__}, which have "
                f"no token: put {type(hook).__name__} before it"
            )


def without_effect(registered: Registrations) -> Iterator[str]:
    """Yield sentences about error handlers that nothing may call, methods below an attribute, and
    objects with pages that are no applications. Some may be meant so.
    """
    app, name = registered.app, type(registered.app).__name__
    for key in registered.error_handlers:
        origin = str(getattr(key, "__module__", "")).partition(".")[0].removesuffix("_core")
        if origin in ("msgspec", "pydantic"):
            kind = getattr(key, "__name__", "")
            advice = "no value of a client raises it; write @app.error(BindingError)"
            yield f"{name}: @app.error({kind}) is for what you convert yourself: {advice}"
    package = type(app).__module__.partition(".")[0]
    mounted = [mount.target for mount in registered.mounts]
    for attribute, own in {**vars(type(app)), **own_attributes(app)}.items():
        if attribute.startswith("_") or own is None:
            continue
        method = inspect.getattr_static(type(app), attribute, None)
        place = place_of(method) if inspect.isfunction(method) and method is not own else ""
        if place and not is_hidden(method) and not marks_of(own):
            yield f"{place}: {name}.{attribute} is hidden by the attribute self.{attribute}"
        if isinstance(own, AppBase) or any(own is one for one in mounted):
            continue
        index = inspect.getattr_static(type(own), "index", None)
        is_ours = type(own).__module__.partition(".")[0] == package
        if is_ours and inspect.isfunction(index) and index.__code__.co_argcount == 1:
            advice = f"nothing answers /{attribute}: write class {type(own).__name__}(App)"
            yield f"{name}.{attribute} is a {type(own).__name__} and no App, so {advice}"


def told(sentences: Iterator[str]) -> list[str]:
    """Return sentences about an author's code, which may be of any kind: what can't be looked at
    must not be in an application's way.
    """
    found: list[str] = []
    try:
        found.extend(sentences)
    except Exception:
        logger.debug("what may be a mistake could not be looked for", exc_info=True)
    return found


def _strange_parameters(name: str, handler: Handler, provided: Mapping[str, str]) -> Iterator[str]:
    """Yield sentences about parameters that come as text, though a resource has their name, and
    about those that a decorator hides.
    """
    *_, inner = layers(handler.function)
    codes = [code] if (code := getattr(inner, "__code__", None)) else []
    for code in codes:
        wild = {name for mark in handler.marks if mark.path for name in mark.path.names}
        own = {*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]} - wild
        for parameter in _PARTS.keys() & own - inner.__annotations__.keys():
            yield (
                f"{name} takes {parameter} from the query, as it has no annotation: write "
                f"{_PARTS[parameter]}"
            )
        for parameter in provided.keys() & own - inner.__annotations__.keys():
            yield (
                f"{name} takes {parameter} from the query, as it has no annotation: write "
                f"{parameter}: {provided[parameter]} for the resource"
            )
        both = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
        if code.co_flags & both == both and inner.__name__ != handler.name:
            yield (
                f"{name} is below a decorator that hides its parameters, so none is converted: "
                f"write @functools.wraps(function) above {inner.__name__}"
            )


def _strange_handlers(name: str, handlers: Sequence[Handler]) -> Iterator[str]:
    """Yield sentences about methods that are hooks or views elsewhere, and about lost results."""
    named = [one for one in handlers if not any(mark.path or mark.methods for mark in one.marks)]
    if {handler.name for handler in handlers} <= _VERBS:
        for handler in named:
            yield (
                f"{name}.{handler.name} answers /{handler.name}, for its name is its URL: "
                f'write @{handler.name}("/") above a method of another name'
            )
    for handler in named:
        if handler.name in _HOOKS:
            yield f"{name}.{handler.name} is a page: write {_HOOKS[handler.name]}"
    for handler in filter(_loses_a_result, handlers):
        yield (
            f"{name}.{handler.name} yields, so what it returns is not sent: yield it, or raise "
            "HTTPError(400)"
        )


def _loses_a_result(handler: Handler) -> bool:
    """Return whether a generator function returns a value, which its stream does not send."""
    *_, inner = layers(handler.function)
    before = ""
    for one in dis.get_instructions(inner) if inspect.isgeneratorfunction(inner) else ():
        if one.opname in ("RETURN_VALUE", "RETURN_CONST") and "None" not in (before, one.argrepr):
            return True
        before = one.argrepr
    return False


_PARTS = {
    "errors": "errors: BindingErrors",
    **{one: f"self.request.{one} in the handler" for one in ("session", "headers", "cookies")},
}
_ONE_WORD = ("methods", "templates", "errors", "expose", "encoders", "decoders")
_VERBS = {"get", "post", "put", "patch", "delete"}
_HOOKS = by_name(
    {
        "a class with this method, in middlewares": "before_request after_request",
        "what is to run then in a method lifespan": "on_startup on_shutdown",
    }
)
_ELSEWHERE = by_name(
    {
        "keywords of App(...) and middlewares": "_cp_config",
        'app.mount("/path", Users()), or users = Users() in the outer application': "path prefix",
        "@requires(check) above the class": (
            "guards permission_classes authentication_classes decorators"
        ),
        "@app.provides(Db), for parameters db: Db": "dependencies",
        "middlewares = [...], of objects": "MIDDLEWARE middleware",
        "self.state.name = ... in __init__, or in the lifespan": "state",
        "public methods, whose names are URLs, or @get above them": "urlpatterns",
        "what is to run then in a method lifespan": "on_startup on_shutdown",
        'security=SecurityDefaults("example.com")': "ALLOWED_HOSTS",
    }
)


def _refuse_lost_attributes(app: object, framework: tuple[type, ...], is_lost: _IsLost) -> None:
    """Raise ``SetupError`` for a route or a guard that is lost in the body of a class or in an
    object.

    A method that a subclass replaces, or that is None in the object, is taken away on purpose.
    """
    own = vars(app)
    classes = [cls for cls in reversed(type(app).__mro__) if cls not in framework]
    attributes = attributes_of(classes)
    for name, (cls, value) in attributes.items():
        if is_bare(value):
            continue
        instead = own.get(name, value)
        if instead is not value and (instead is None or marks_of(instead)):
            continue  # replaced on purpose
        # what a decorator may be above: also functions that a property or another object keeps
        inside = *wrapped_by(value), *filter(inspect.isfunction, own_attributes(value).values())
        if any(is_lost(one) and _is_written_in(cls, one) for one in inside):
            advice = (
                _advice(name, value)
                if instead is value
                else f"give the attribute self.{name} another name"
            )
            raise SetupError(f"{cls.__name__}.{name}: {_NO_EFFECT}; {advice}")
    for name, value in own.items():
        if is_lost(value) and not inspect.ismethod(value):
            raise SetupError(
                f"self.{name} of {type(app).__name__}: {_NO_EFFECT}; {_advice(name, value)}"
            )
    everything = {name: value for name, (_, value) in attributes.items()} | own
    kinds = {type(value): name for name, value in everything.items() if not name.startswith("_")}
    for kind, name in kinds.items():
        has_routes = any(
            not is_bare(one) and MARKS in own_attributes(one) and is_method(one)
            for one in vars(kind).values()
        )
        if has_routes and not issubclass(kind, framework):
            raise SetupError(
                f"{name} is no App, and its routes answer nothing: write class {kind.__name__}(App)"
            )


def _lost_marks(found: Sequence[Handler], registered: Registrations) -> _IsLost:
    """Return a function that tells whether a route or a guard above an object is above no handler.

    Without a word a path would be 404, and a guard would guard nothing.
    """
    handlers = [
        *(handler.function for handler in found),
        *(function for function, _ in registered.functions),
    ]
    routes = {id(mark) for handler in found for mark in handler.marks}
    guards = {
        id(own_attributes(layer).get(REQUIRES))
        for handler in handlers
        for layer in wrapped_by(handler)
    }

    def is_lost(value: object) -> bool:
        marks = own_attributes(value)
        is_idle = REQUIRES in marks and id(marks[REQUIRES]) not in guards
        # and no application, which may be mounted
        if is_idle and (is_method(value) or not callable(value)):
            return True
        return any(id(mark) not in routes for mark in marks.get(MARKS, ()))

    return is_lost


def _is_written_in(cls: type, value: object) -> bool:
    """Return whether a function is from the body of a class; True for an object that has no
    name.
    """
    name = getattr(value, "__qualname__", None)
    return name is None or (value.__module__, name.rpartition(".")[0]) == (
        cls.__module__,
        cls.__qualname__,
    )


def _advice(name: str, value: object) -> str:
    if name.startswith("_"):
        return "give it a name without _ at the beginning"
    if is_hidden(value):
        return "leave @hidden or @command out"
    if not is_method(value):
        return f"a {type(value).__name__} is no function"
    return "write @get, @post or @route above all its other decorators"
