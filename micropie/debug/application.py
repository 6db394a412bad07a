"""Checks for attributes, methods and hooks that have a meaning in other frameworks only.

The checks run at startup. ``micropie check`` prints the same sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import (
    get_annotations,
    getattr_static,
    isclass,
    iscoroutinefunction,
    isfunction,
)
from typing import TypeAlias

from micropie._core.errors import logger
from micropie._core.execution.placement import innermost
from micropie._core.http.settings import SETTINGS
from micropie._core.on_demand import by_name
from micropie._core.routing import AppBase, place_of
from micropie._core.routing.discovery import (
    SOCKET_PREFIX,
    Handler,
    is_hidden,
    is_method,
    marks_of,
    own_attributes,
    public_name,
)
from micropie.extensions import Application, Inspector, TypeInfo

# What a check yields: sentences for the log and for ``micropie check``.
Sentences: TypeAlias = Iterator[str]


def foreign_attributes(application: Application) -> Sentences:
    """Yield a sentence for each attribute of an application that would be a setting, a hook or a
    view in another framework.
    """
    app, handlers, cls = application.app, application.handlers, type(application.app)
    name = cls.__name__
    for setting, (_, rule) in SETTINGS.items():
        # an object's own attribute with such a short name may be unrelated
        is_short = setting in _ONE_WORD
        value = getattr_static(cls if is_short else app, setting, None)
        if is_short:
            is_lost = type(value) in (str, list, tuple, dict) and rule.is_right(value)
        else:
            is_lost = ("_" in setting or setting == "debug") and type(value) in _PLAIN
        if is_lost and setting not in app._micropie.settings:
            yield f"{name}.{setting} has no effect as an attribute: write {name}({setting}=...)"
    for attribute, advice in _ELSEWHERE.items():
        value = getattr_static(app if attribute.startswith("on_") else cls, attribute, None)
        is_path = isinstance(value, str) and value.startswith("/")
        if is_path or isinstance(value, dict | list | tuple):
            yield f"{name}.{attribute} has no effect here: write {advice}"
    yield from _refused_preflights(app)
    advice_by_name = _PARTS | {
        one: f'"{one}: {getattr(key, "__name__", key)}"'
        for key, provider in application.providers.items()
        for one in (getattr(key, "__name__", "").lower(), getattr(provider, "__name__", ""))
    }
    for handler in handlers:
        yield from _strange_parameters(f"{name}.{handler.name}", handler, advice_by_name)
    yield from _strange_handlers(name, handlers)


def _refused_preflights(app: AppBase) -> Sentences:
    """Yield a sentence for each ``CORSMiddleware`` that comes after an authentication hook, because
    that hook rejects the preflights.
    """
    refusing = ""
    for hook in app.middlewares:
        if getattr(hook, "refuses_preflights", False):
            refusing = type(hook).__name__
        elif refusing and getattr(hook, "answers_preflights", False):
            yield (
                f"{type(app).__name__}: {refusing} refuses preflight requests, because "
                f"they have no credentials. Put {type(hook).__name__}, which answers them, before "
                f"{refusing}"
            )


def without_effect(application: Application) -> Sentences:
    """Yield sentences about methods hidden by an attribute, about classes and objects that have
    handlers but aren't applications, and about methods that have no URL, because
    ``App(expose="explicit")`` requires a decorator, or because theirs returns no function.
    """
    app, name = application.app, type(application.app).__name__
    inside, is_explicit = [*app._micropie.walk()], application.settings.expose == "explicit"
    package = type(app).__module__.partition(".")[0]
    mounted = [mount.target for mount in application.mounts]
    handled = {handler.name for handler in application.handlers}
    for attribute, own in {**vars(type(app)), **own_attributes(app)}.items():
        if attribute.startswith("_") or own is None:
            continue
        is_socket = attribute.startswith(SOCKET_PREFIX) and iscoroutinefunction(own)
        if is_explicit and is_socket and not (marks_of(own) or is_hidden(own)):
            yield (
                f'{name}.{attribute} has no URL, because with App(expose="explicit") a handler '
                "needs a decorator: write @websocket above it, or @hidden if it should have no URL"
            )
        method = getattr_static(type(app), attribute, None)
        if callable(method) and hasattr(type(method), "__get__") and not is_method(method):
            yield (
                f"{name}.{attribute} has no URL, because its decorator returns no function, but a "
                f"{type(method).__name__}: rename it, and call it in a def {attribute}"
            )
        is_page = isfunction(method) and not is_hidden(method)
        if is_page and method is not own and public_name(attribute) not in handled:
            yield (
                f"{place_of(method)}: {name}.{attribute} is hidden by the attribute "
                f"self.{attribute}: rename one of them"
            )
        is_class = isinstance(own, type) and issubclass(own, AppBase)
        if is_class and not any(isinstance(one, own) for one in inside):
            written = f"{attribute} = {own.__name__}()"
            yield f"{name}.{attribute} is a class, so it has no routes: write {written}"
        is_app = isinstance(own, AppBase) or any(own is one for one in mounted)
        is_ours = type(own).__module__.partition(".")[0] == package
        index = getattr_static(type(own), "index", None)
        if is_ours and not is_app and isfunction(index) and index.__code__.co_argcount == 1:
            advice = f"nothing handles /{attribute}: write class {type(own).__name__}(App)"
            yield f"{name}.{attribute} is a {type(own).__name__} but not an App, so {advice}"


def never_created(application: Application) -> Sentences:
    """Yield sentences about inner applications that are annotated but were never created."""
    app, name = application.app, type(application.app).__name__
    for attribute, kind in get_annotations(type(app), eval_str=True).items():
        if isclass(kind) and issubclass(kind, AppBase) and not hasattr(app, attribute):
            yield (
                f"{name}.{attribute} has no value, so nothing handles /{attribute}: write "
                f"{attribute} = {kind.__name__}()"
            )


def collect_safely(*checks: Sentences) -> list[str]:
    """Return the sentences that checks yield. If a check raises an exception, ignore it, so that
    unusual code in an application doesn't prevent its startup.
    """
    found = list[str]()
    for sentences in checks:
        try:
            found.extend(sentences)
        except Exception:
            logger.debug("the search for likely errors in the application failed", exc_info=True)
    return found


def _strange_parameters(name: str, handler: Handler, advice: Mapping[str, str]) -> Sentences:
    """Yield sentences about parameters that are named like a resource but have no annotation, and
    about parameters that a decorator hides. ``advice``: what to write, by the parameter's name.
    """
    inner = innermost(handler.function)
    if not hasattr(inner, "__code__"):
        return
    parameters = Inspector.signature_of(inner).parameters.values()
    rest = [one for one in parameters if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    plain = {one.name for one in parameters if one.annotation is one.empty and one not in rest}
    for parameter in advice.keys() & plain - handler.wildcards:
        yield (
            f"{name} takes {parameter} from the query, because the parameter has no "
            f"annotation: write {advice[parameter]}"
        )
    if len(rest) == 2 and inner.__name__ != handler.name:
        yield (
            f"a decorator hides the parameters of {name}, so they aren't converted: in the "
            f"decorator, write @functools.wraps(function) above def {inner.__name__}"
        )
    for taken in parameters:
        # Callable objects of libraries are constraints, and a class may be a mark.
        info = TypeInfo(taken.annotation)
        for one in info.metadata if info.source is None else ():
            if callable(one) and type(one).__module__ == inner.__module__:
                called = type(one).__name__
                yield (
                    f"{name} takes {taken.name} from the client, because an object of {called} in "
                    f"Annotated provides nothing: write {called}(...).__call__ in its place"
                )


def _strange_handlers(name: str, handlers: Sequence[Handler]) -> Sentences:
    """Yield sentences about methods that would be hooks or views in other frameworks."""
    are_methods = {handler.name for handler in handlers} <= _VERBS
    for handler in handlers:
        if any(mark.path or mark.methods for mark in handler.marks):
            continue
        if are_methods:
            yield (
                f"{name}.{handler.name} handles the URL /{handler.name}, because a method's name "
                f"is its URL: to handle {handler.name.upper()} requests, write "
                f'@{handler.name}("/") above a method with another name'
            )
        if handler.name in _HOOKS:
            yield (
                f"{name}.{handler.name} is served as a page, not run as a hook: "
                f"write {_HOOKS[handler.name]}"
            )


_PARTS = {
    "errors": '"errors: BindingErrors"',
    **{one: f"self.request.{one} in the handler" for one in ("session", "headers", "cookies")},
}
_PLAIN = (str, bytes, bool, int, float)
_ONE_WORD = ("methods", "templates", "errors", "expose", "encoders", "decoders")
_VERBS = {"get", "post", "put", "patch", "delete"}
_HOOKS = by_name(
    {
        "a class with this method, and add an object of this class to middlewares": (
            "before_request after_request"
        ),
        "this method's code in a method named lifespan": "on_startup on_shutdown startup shutdown",
    }
)
_ELSEWHERE = by_name(
    {
        "middlewares for tools, and keywords of App(...) for other settings": "_cp_config",
        'app.mount("/path", Users()), or users = Users() in the outer App class': "path prefix",
        "@requires(check) above the class": (
            "guards permission_classes authentication_classes decorators"
        ),
        "@app.provides(Db), for parameters such as db: Db": "dependencies",
        "middlewares = [...], a list of objects": "MIDDLEWARE middleware",
        "self.state.name = ... in __init__, or in the lifespan": "state",
        'public methods, with their names as URLs or with @get("/path") above each': "urlpatterns",
        "a method named lifespan that calls these functions": "on_startup on_shutdown",
        'security=SecurityDefaults("example.com")': "ALLOWED_HOSTS",
    }
)
