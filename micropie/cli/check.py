"""``micropie check app:app``: print the errors of an application that can be found without a
request.

The exit status is 1 if there are any errors.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from micropie import App, SetupError
from micropie.cli.command import commands_of, parser_of
from micropie.cli.lost_names import Names
from micropie.cli.main import COMMANDS
from micropie.cli.migrated import import_compat
from micropie.cli.routes import open_by_name
from micropie.cli.serving.unshared import in_memory
from micropie.cli.target import CommandError, files_of_project, find_target
from micropie.cli.thread_locals import kept_in_threads
from micropie.config import read_env_file, unread
from micropie.debug import application_errors, paths_of_hooks, session_change, source_notes
from micropie.extensions import Application, Inspector, Outside, RouteEntry
from micropie.middleware import SecurityDefaults

log = logging.getLogger("micropie")


def execute(arguments: Namespace) -> int:
    """Check the application or, with ``--from``, the source files given on the command line. Print
    each finding as ``file:line: sentence``, and return the exit status.
    """
    if arguments.origin is not None:
        found = []
        for one in changes(arguments.origin, Path(arguments.target)):
            sentence = f"{one.file}:{one.line}: {one.name}: {one.advice}"
            if one.is_note:
                print(f"note: {sentence}")
            else:
                found.append(sentence)
    else:
        target = find_target(arguments.target, arguments.factory)
        log.disabled = True  # its warnings are printed as findings instead
        try:
            names = Names(target.app)
            module = target.named("micropie check").partition(":")[0]
            found = list(mistakes(target.app, module, names))
            with suppress(SetupError):  # ``mistakes`` has reported the error already
                for note in chain(_notes(target.app), names.lost_in_templates()):
                    print(f"note: {note}")
                if arguments.stub is not None:
                    _write(arguments.stub, names.stub())
        finally:
            log.disabled = False
    for line in found:
        print(line)
    print(f"{len(found)} finding{'' if len(found) == 1 else 's'}")
    return 1 if found else 0


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"the stub can't be written: {error}") from None


def changes(framework: str, path: Path) -> Iterable[Any]:
    """Return the findings of ``micropie_compat.moving`` in the files at ``path``."""
    files = [*files_of_project(path)]
    modules = [file for file in files if file.suffix == ".py"] if path.is_dir() else [path]
    if not modules or not all(file.is_file() for file in modules):
        raise CommandError(f"there are no Python files at {path}")
    found: Iterable[Any] = import_compat("moving").findings(framework, modules, files)
    return found


def _notes(app: App) -> Iterator[str]:
    """Yield a note for each setting and each piece of code that may be a mistake but may also be
    intentional.
    """
    if sentence := open_by_name(app):
        yield sentence
    inspector = Inspector(app)
    applications, entries = inspector.applications(), inspector.routes()
    for application in applications:
        own = [one for one in entries if one.application.app is application.app]
        yield from source_notes(application)
        yield from _compared_paths(application, entries)
        yield from kept_in_threads(application, own)
        yield from _replaced_methods(application)
        yield from _lost_settings(application)
    yield from _same_functions(entries)
    yield from _taken_from_paths(entries)
    for name, near in unread():
        if not near:
            yield f"{name} is set, but no setting reads it"
    if applications[0].settings.debug and _is_debug_of_this_machine():
        yield "debug is on because of .env: don't copy this file to a server"
    yield from _uses_of_httptools()


def _compared_paths(application: Application, entries: Sequence[RouteEntry]) -> Iterator[str]:
    """Yield a finding for each hook that compares ``request.path`` with a handler's path, if the
    handler also accepts longer paths. For a longer path, the comparison is false.
    """
    for path, place in paths_of_hooks(application):
        for entry in entries:
            if entry.route.pattern == path and entry.route.most_segments:
                yield (
                    f"{place}: comparing request.path with {path!r} misses {path}/..., which "
                    f"{entry.route.name} also handles: compare request.route.name instead"
                )


def _replaced_methods(application: Application) -> Iterator[str]:
    """Yield a finding for each handler that replaces a method of ``App`` and is called by another
    method of the same class. The caller probably expects the method of ``App``.
    """
    owner, sources = type(application.app), dict[str, str]()
    for name, value in vars(owner).items():
        if inspect.isfunction(value):
            with suppress(OSError):  # raised if the source isn't available
                sources[name] = inspect.getsource(value)
    names = {one.name for one in application.handlers} & sources.keys() & {*dir(App)}
    for name in sorted(names):
        callers = [one for one, text in sources.items() if f"self.{name}(" in text]
        if callers and f"super().{name}(" not in sources[name]:
            method = f"{owner.__name__}.{name} replaces App.{name}"
            place = Inspector.place_of(getattr(owner, name))
            yield (
                f"{place}: {method}, but {callers[0]} calls self.{name}(...): rename the handler "
                f"{name}"
            )


def _lost_settings(application: Application) -> Iterator[str]:
    """Yield a finding for a class whose ``__init__`` takes ``**settings`` but doesn't use
    them.
    """
    start = vars(type(application.app)).get("__init__")
    if inspect.isfunction(start):
        for name, one in Inspector.signature_of(start).parameters.items():
            with suppress(OSError):  # raised if the source isn't available
                is_rest = one.kind is one.VAR_KEYWORD
                if is_rest and len(re.findall(rf"\b{name}\b", inspect.getsource(start))) == 1:
                    yield (
                        f"{Inspector.place_of(start)}: {start.__qualname__} drops the settings "
                        f"that it takes: write super().__init__(**{name})"
                    )


def _same_functions(entries: Sequence[RouteEntry]) -> Iterator[str]:
    """Yield a finding for each function that a loop has registered several times. All of them read
    the same variables, which have their last values.
    """
    seen: dict[object, RouteEntry] = {}
    for entry in entries:
        function = entry.route.function
        if not inspect.isfunction(function):
            continue
        cells = tuple(map(id, function.__closure__ or ()))
        first = seen.setdefault((function.__code__, cells), entry).route
        if first.function is not function:
            yield (
                f"{entry.place}: {first.pattern} and {entry.route.pattern} share the variables of "
                f"{entry.route.name}, which have their last values: define it in a function that "
                "takes the variables"
            )


def _taken_from_paths(entries: Sequence[RouteEntry]) -> Iterator[str]:
    """Yield a finding for each ``index`` without a decorator whose first parameter, by its name,
    belongs to the query. The parameter also gets the segment of a path that no other route has.
    """
    for entry in entries:
        function, path = entry.route.function, entry.route.pattern.rstrip("/")
        if entry.route.most_segments and getattr(function, "__name__", "") == "index":
            first = next(iter(Inspector.signature_of(function).parameters.values()))
            is_text = first.annotation is first.empty or "str" in str(first.annotation)
            if first.name in _OF_QUERIES and is_text:
                yield (
                    f"{entry.place}: {entry.route.name} also handles {path}/anything, with "
                    f'{first.name}="anything": write *, before {first.name} to read it from the '
                    "query only"
                )


_OF_QUERIES = {"q", "query", "search", "term", "keyword", "sort", "order", "filter"}


def _is_debug_of_this_machine() -> bool:
    """Return whether the file ``.env`` turns debug mode on, for example by ``SHOP_DEBUG=1``. Only a
    developer's machine has this file, so debug mode is intended there.
    """
    return any(
        name.upper().endswith("DEBUG") and value.lower() not in ("", "0", "false", "no", "off")
        for name, value in read_env_file().items()
    )


def mistakes(app: App, module: str = "", names: Names | None = None) -> Iterator[str]:
    """Yield a finding for each error and each unsafe setting in an application and in the module
    named ``module``. ``names``: the names of the application, if they were read already.
    """
    inspector = Inspector(app)
    try:
        entries, sockets = inspector.routes(), inspector.routes(websockets=True)
    except SetupError as error:
        yield f"set-up: {error} (there may be more errors: correct this one, then check again)"
        return
    yield from _changes_by_get(entries)
    inner = inspector.applications()
    for function in Inspector.lost_functions(app, module):
        advice = "belongs to no application: write @app.get or @app.route above a function"
        yield f"{Inspector.place_of(function)}: {function.__name__} {advice}"
    yield from _wrong_commands(app)
    yield from filter(None, (entry.hidden for entry in (*entries, *sockets)))
    for application in inner:
        for name, sentence in application.lost_routes.items():
            yield f"{Inspector.place_of(getattr(application.app, name))}: {sentence}"
        yield from application_errors(application)
    names = names or Names(app)
    yield from chain(_second_names(inner), names.lost_packages(), names.lost_in_code())
    yield from _unsafe_settings(app, inner[0])
    yield from _missing_extras(inner[0], sockets)
    for name, near in unread():
        if near:
            yield f"{name} is set, but no setting reads it: write {near}"
    if place := _several_workers():
        for kind, advice in in_memory(app).items():
            yield f"{place}, and each keeps its own {kind} in memory: to share them, {advice}"


def _changes_by_get(entries: Sequence[RouteEntry]) -> Iterator[str]:
    """Yield a finding for each handler that handles GET and changes the session, unless it gets a
    form that only a POST has.
    """
    for entry in entries:
        also = " as well as POST," if "POST" in entry.methods else ""
        is_form = also and entry.route.body_parameter is not None
        is_get = "GET" in entry.methods and not is_form
        if is_get and (change := session_change(entry.route.function)):
            risk = ", so a link on any page can cause this change" if also else ""
            yield (
                f"{entry.place}: {entry.route.name} handles GET{also} and {change}{risk}: "
                f"write @post {'above the handler' if also else 'instead of @get'}"
            )


def _wrong_commands(app: App) -> Iterator[str]:
    try:
        for name, (function, entry) in commands_of(Outside(app)).items():
            if name in COMMANDS:
                place = Inspector.place_of(function)
                yield f"{place}: `micropie {name}` is micropie's own command: rename the function"
            try:
                parser_of(entry())
            except (CommandError, SetupError) as error:
                yield f"{Inspector.place_of(function)}: {error}"
    except CommandError as error:
        yield str(error)


def _second_names(all_inside: Sequence[Application]) -> Iterator[str]:
    """Yield a finding for each attribute that refers to the same inner application as an earlier
    attribute. Such an attribute has no effect: the application is mounted once, under the name of
    the earlier attribute.
    """
    for inner in (one.app for one in all_inside):
        # An attribute of an inner application may refer to the outermost application: this is no
        # error.
        first: dict[object, str] = {all_inside[0].app: ""}
        for name, value in {**vars(type(inner)), **vars(inner)}.items():
            if isinstance(value, App) and not name.startswith("_"):
                known = first.setdefault(value, name)
                if known not in ("", name):
                    yield (
                        f"{type(inner).__name__}.{name} is the same object as {known}, so only "
                        f"/{known} routes to it: create another object, {name} = "
                        f"{type(value).__name__}()"
                    )


def _unsafe_settings(app: App, outermost: Application) -> Iterator[str]:
    name, settings = type(app).__name__, outermost.settings
    if settings.debug and not _is_debug_of_this_machine():
        yield (
            f"{name}: debug is on, but must be off in production. Read the setting from an "
            'environment variable, for example with debug=os.environ.get("DEBUG") == "1"'
        )
    if "*" in settings.websocket_origins:
        yield (
            f"{name}: websocket_origins has '*', so any page can open "
            "WebSockets with its visitor's cookies: list the origins to allow"
        )
    for missing in SecurityDefaults.missing(app):
        yield f"{name} has sessions and {missing}"


_WORKERS = re.compile(
    r"^(?:.*\b(?:gunicorn|GUNICORN_CMD_ARGS|uvicorn|hypercorn|granian|micropie)\b[^\n&;|]*(?:--workers|-w)|workers|"
    r".*(?:WEB_CONCURRENCY|MICROPIE_WORKERS))[\"', =:]*(\d+|.*cpu_count)",
    re.MULTILINE,
)
_FILES = ("gunicorn.conf.py", "Procfile", "Dockerfile", "*compose.y*ml", "*.service")

_COMMENTS = re.compile(r"(?:^|\s)#.*", re.MULTILINE)
# What separates words of one command: quotes, lists in JSON and YAML, and continued lines.
_SEPARATORS = re.compile(r"[\[,]\s*|\\\s*\n|\n\s*(?:-\s|\]|(?=-))|[\"'\]]")
_UVICORN_WITHOUT_H11 = re.compile(
    r"\buvicorn (?![^\n&;|]*http[ =]+h11\b)(?:[^\n&;|]* )?[a-z_][\w.]*:[a-z_]", re.IGNORECASE
)
_ENTRYPOINT = re.compile(r"^(ENTRYPOINT .*)\nCMD\b", re.MULTILINE)  # CMD has its arguments
_OTHER_WORKER = re.compile(r"\buvicorn(?:\.workers|_worker)\.(?!UvicornH11Worker\b)\w")


def _texts(*patterns: str) -> dict[str, str]:
    """Return the texts of the files in this folder that match one of the patterns, by name. They
    have no comments and, except in Python files, one line for each command.
    """
    return {
        file.name: _commands_in(file)
        for pattern in patterns
        for file in sorted(Path().glob(pattern))
        if file.is_file()  # no folder, and no link to a missing file, as Emacs creates
    }


def _commands_in(file: Path) -> str:
    text = _COMMENTS.sub("", file.read_text(errors="replace"))
    return text if file.suffix == ".py" else _SEPARATORS.sub(" ", _ENTRYPOINT.sub(r"\1", text))


def _uses_of_httptools() -> Iterator[str]:
    """Yield a note for each file in this folder that starts uvicorn with httptools."""
    if find_spec("httptools") is None:
        return
    for name, text in _texts(*_FILES, "*.py").items():
        if advice := _advice_for_h11(name, text):
            yield (
                f"{name} starts uvicorn with httptools. Unless the proxy is nginx, a client can "
                f"set X-Forwarded-For in a trailer: {advice}"
            )


def _advice_for_h11(name: str, text: str) -> str:
    """Return how to select the parser h11 in a file that starts uvicorn without it. Return "" for
    other files.
    """
    if _OTHER_WORKER.search(text):
        return "use the worker class UvicornH11Worker"
    if name.endswith(".py"):  # no commands, which a docstring may contain
        is_default = re.search(r"\buvicorn\.(?:run|Config)\(", text) and not re.search(
            r"http\W+h11\b", text
        )
        return 'pass http="h11"' if is_default else ""
    if re.search(r"UVICORN_HTTP\W+h11\b", text):
        return ""
    return "add --http h11" if _UVICORN_WITHOUT_H11.search(text) else ""


def _several_workers() -> str:
    """Return the name of an environment variable, or of a file in this folder, that makes a server
    start several workers. Return "" if there is none.
    """
    stated = {
        name: f"{name}={os.environ.get(name, '')}"
        for name in ("WEB_CONCURRENCY", "MICROPIE_WORKERS", "GUNICORN_CMD_ARGS")
    }
    for place, text in (stated | _texts(*_FILES)).items():
        for number in _WORKERS.findall(text):
            if number != "1":
                return f"{place} starts {number if number.isdecimal() else 'several'} workers"
    return ""


def _missing_extras(outermost: Application, sockets: Sequence[RouteEntry]) -> Iterator[str]:
    if sockets and find_spec("uvicorn") and not (find_spec("websockets") or find_spec("wsproto")):
        yield (
            "WebSockets need a library that uvicorn does not install: pip "
            'install "micropie-dual[standard]"'
        )
    directories = map(str, outermost.settings.template_directories)
    if find_spec("jinja2") is None and any(
        ":" not in one and Path(one).is_dir() for one in directories
    ):
        yield 'templates need Jinja2: pip install "micropie-dual[standard]"'
