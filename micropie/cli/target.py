"""Find the application named on the command line: ``app:app``, ``shop.site``, ``app.py``,
``shop:make_app``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from itertools import dropwhile, takewhile
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from micropie import App, SetupError
from micropie.cli.migrated import PACKAGE, import_compat
from micropie.cli.serving import made
from micropie.cli.serving.options import Target
from micropie.cli.serving.reloading import files_under, is_own
from micropie.extensions import Inspector

DEFAULT_ATTRIBUTES = ("app", "application", "root")
DEFAULT_FACTORIES = ("make_app", "create_app")  # called if the module has no application


class CommandError(Exception):
    """Raised if a command can't run. The message is one sentence that gives the reason."""


class CodeError(CommandError):
    """Raised if the application's code raises an exception while it is imported."""


def find_target(name: str, factory: bool = False) -> Target:
    """Import the application ``name``: ``module:attribute``, a module, or a file.

    If the attribute is a function without parameters, it is called to create the application; with
    ``factory``, a class is called too. Without an attribute, the application is the module's
    ``app``, ``application`` or ``root``, or else its only ``App``, or else the result of
    ``make_app`` or ``create_app``.

    Raises ``CommandError`` if there is no application, and ``CodeError`` if importing the module
    fails. The error then contains the module's own lines of the traceback.
    """
    place, _, attribute = name.partition(":")
    attribute = attribute.removesuffix("()")  # "shop:make_app()" is gunicorn's notation
    folder, module_name, file = _located(place)
    if module_name == "micropie":
        raise CommandError("a file of an application can't be named micropie: rename it")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    module = _imported(module_name, folder)
    if (
        (place.endswith(".py") or module_name in sys.stdlib_module_names)
        and file.is_file()
        and Path(getattr(module, "__file__", None) or "").resolve() != file.resolve()
    ):
        raise CommandError(
            f"{file.name} can't be imported, because {module_name} is another module: rename it"
        )
    attribute = attribute or _only_app(module)
    name = f"{module_name}:{attribute}"
    found = app = _attribute(module, attribute)
    is_function = isinstance(inspect.unwrap(found), FunctionType | MethodType)  # type: ignore[arg-type]
    if is_function and not _parameters_of(found):
        factory = True
    if factory and not isinstance(found, App):
        app = _made(found, name)
    elif isinstance(app, type) and issubclass(app, App):
        made = next((name for name, value in vars(module).items() if isinstance(value, app)), None)
        advice = f"do you mean {module_name}:{made}?" if made else f"write app = {app.__name__}()"
        raise CommandError(f"{name} is a class: {advice}")
    made_as = app if app is not found else None
    # A migrated application has its ``App`` in the attribute ``native``.
    native = app if isinstance(app, App) else getattr(app, "native", None)
    if not isinstance(native, App):
        called = f"the result of {name}" if app is not found else name
        raise CommandError(
            f"{called} is not an App but {type(app).__name__}: {app!r:.60}{_advice(attribute, app)}"
        )
    return Target(native, name, made_as=made_as)


def find_program(framework: str, name: str, factory: bool = False) -> tuple[Target, Any]:
    """Return the application that a program for another framework defines or starts, and the
    program's host and port.

    A file that defines no application is run until it would start its server. See ``find_target``.
    """
    place, _, attribute = name.partition(":")
    folder, _, file = _located(place)
    is_module = attribute or factory or not file.is_file() or _has_application(framework, file)
    advice = ""
    if not is_module and "argv" in file.read_text(errors="replace"):
        advice = f"; with arguments, write python -m micropie_compat {framework} {place} ARGUMENT"
    with _explained(f"{name} can't be run{advice}"):
        if is_module:
            load = partial(find_target, factory=factory)
            started = import_compat().started_by(framework, name, load)
        else:
            sys.path.insert(0, str(folder))
            started = import_compat().started_by(framework, str(file))
    if started is None:
        raise CommandError(
            f"{name} neither has an application nor starts a server: give a file that does either"
        )
    if isinstance(started.app, Target):
        return started.app, started
    return Target(started.native, name if attribute else str(file)), started


def _has_application(framework: str, file: Path) -> bool:
    """Return whether a module assigns or imports an application. Bottle's own ``app`` is a
    function, so importing it doesn't count.
    """
    bound: set[str] = set()
    with suppress(SyntaxError, ValueError):  # importing the module will report the problem
        for node in ast.parse(file.read_bytes()).body:
            if isinstance(node, ast.Assign):
                bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.ImportFrom) and node.module != framework:
                bound |= {alias.asname or alias.name for alias in node.names}
    return not bound.isdisjoint(DEFAULT_ATTRIBUTES)


def _located(place: str) -> tuple[Path, str, Path]:
    """Return the folder to import a module from, the module's name and its file, which may not
    exist. The module is given by name or by file.
    """
    if not place.endswith(".py") and "/" not in place:
        return Path.cwd(), place, Path.cwd() / f"{place.replace('.', '/')}.py"
    file, inside = Path(f"{place.removesuffix('.py')}.py"), Path(place, "app.py")
    if not file.is_file():
        hint = f"; do you mean {str(inside)!r}?" if inside.is_file() else ""
        raise CommandError(f"there is no file {place!r}{hint}")
    file = file.resolve()  # as Python does, so that a link finds the modules beside its target
    folder, module_name = file.parent, file.stem
    # use the module's full name, so that its relative imports work
    while (folder / "__init__.py").is_file():
        folder, module_name = folder.parent, f"{folder.name}.{module_name}"
    return folder, module_name, file


def _parameters_of(function: object) -> list[str]:
    """Return the names of a function's required parameters."""
    if not callable(function):
        return []
    parameters = Inspector.signature_of(function).parameters.values()
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in optional]


def _made(factory: object, name: str) -> object:
    """Return the application that a factory creates."""
    needed = _parameters_of(factory)
    if not callable(factory) or needed or inspect.iscoroutinefunction(factory):
        needs = (
            f"has the parameter {needed[0]!r}, but a factory is called without arguments: give the "
            "parameter a default"
            if needed
            else "is not a function (def) that returns an application"
        )
        raise CommandError(f"{name} {needs}")
    with _explained(f"{name} can't create its application"):
        return factory()


def _advice(attribute: str, app: object) -> str:
    if inspect.isfunction(app) and len(parameters := _parameters_of(app)) == 1:
        return (
            "; if this function creates the application, give its parameter "
            f"{parameters[0]!r} a default"
        )
    return (
        f"; if it is another WSGI or ASGI application, write {attribute} = micropie.dual(...)"
        if callable(app)
        else ""
    )


# Folders that linters skip by default, in addition to hidden ones and virtual environments.
_SKIPPED = {
    "__pypackages__", "_build", "buck-out", "build", "dist", "node_modules", "site-packages",
    "venv",
}  # fmt: skip


def files_of_project(folder: Path) -> Iterator[Path]:
    """Yield the files of a project, in order."""
    return filter(Path.is_file, files_under(folder, _SKIPPED))


def _imported(name: str, folder: Path) -> ModuleType:
    # A module may call ``app.run()`` without ``if __name__ == "__main__"``.
    with _explained(f"{name} can't be imported"), made.without_serving():
        if _exists(name):
            return importlib.import_module(name)
    files = [
        path.relative_to(folder).with_suffix("")
        for path in (*folder.glob("*.py"), *folder.glob("*/*.py"))
        if path.parent == folder or is_own(path.parent, _SKIPPED)
    ]
    modules = [".".join(path.parts).removesuffix(".__init__") for path in files]
    hint, in_src = _near(name, modules), Path("src", *name.split("."))
    for file in (in_src.with_suffix(".py"), in_src / "__init__.py"):
        if (folder / file).is_file():
            hint = f"; do you mean {str(file)!r}?"
    raise CommandError(f"there is no module {name!r} in {folder}{hint}")


def _exists(name: str) -> bool:
    """Return whether there is a module of this name. Raises what the packages that contain the
    module raise when they are imported.
    """
    try:
        return all(name.split(".")) and find_spec(name) is not None
    except ModuleNotFoundError as error:
        # Another module is missing, which one of the packages needs.
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        return False


@contextmanager
def _explained(failed: str) -> Iterator[None]:
    """Turn an exception in the application's code into a ``CodeError``. The error's message
    contains the lines of the traceback that are in the application's code.
    """
    try:
        yield
    except CommandError:  # it is explained already
        raise
    except Exception as error:
        frames = traceback.walk_tb(error.__traceback__)
        packages = [str(one.f_globals.get("__name__")).partition(".")[0] for one, _ in frames]
        # ``sys.tracebacklimit`` may have left out the last calls.
        found = [*zip(traceback.extract_tb(error.__traceback__), packages, strict=False)]
        shown = [*dropwhile(lambda one: one[1] in _MACHINERY, found)]
        # Leave out the lines in micropie itself, because the message explains the error.
        if isinstance(error, SetupError):
            own = takewhile(lambda one: one[1] not in _FRAMEWORK, shown)
            shown = [one for one in own if one[1] not in _MACHINERY]
            raise CodeError(f"{error}\n{_formatted(shown).rstrip()}") from None
        if isinstance(error, ModuleNotFoundError):
            # Python 3.15 would import the package around the module again, which may fail again.
            text = f"{type(error).__name__}: {error}"
        else:
            text = "".join(traceback.format_exception_only(error))
        if not isinstance(error, SyntaxError):  # its own text has the file and the line
            text = _formatted(shown or found) + text
        if isinstance(error, KeyError) and packages[-1] == "os":
            text += (
                f"The variable {error.args[0]} isn't set: set it in the environment, or in a "
                ".env file in the current folder."
            )
        raise CodeError(f"{failed}:\n{text.rstrip()}") from None


_FRAMEWORK = ("micropie", PACKAGE)
_MACHINERY = (*_FRAMEWORK, "importlib", "runpy")  # what imports and runs an application's modules


def _formatted(calls: Iterable[tuple[traceback.FrameSummary, str]]) -> str:
    return "".join(traceback.format_list([one for one, _ in calls]))


def _only_app(module: ModuleType) -> str:
    """Return the name of a module's application or, if there is none, of its factory."""
    # A package may have a module of this name, and a module a path.
    names = [name for name in DEFAULT_ATTRIBUTES if callable(getattr(module, name, None))]
    names = names or [name for name, value in vars(module).items() if isinstance(value, App)]
    names = names or [
        name for name in DEFAULT_FACTORIES if inspect.isfunction(getattr(module, name, None))
    ]
    if not names:
        raise CommandError(f"{module.__name__} has no application: {_how_to_make_one(module)}")
    if len(names) > 1 and names[0] not in (*DEFAULT_ATTRIBUTES, *DEFAULT_FACTORIES):
        raise CommandError(
            f"{module.__name__} has several applications: choose one, such as "
            f"{module.__name__}:{names[0]}"
        )
    return names[0]


def _how_to_make_one(module: ModuleType) -> str:
    if _exists(inner := f"{module.__name__}.app"):
        return f"do you mean {inner}?"
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, App)
    ]
    return f"write app = {classes[-1].__name__ if classes else 'App'}() in the module"


def _attribute(module: ModuleType, attribute: str) -> object:
    value: object = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            names = [name for name, value in vars(module).items() if isinstance(value, App)]
            names += [name for name in DEFAULT_FACTORIES if hasattr(module, name)]
            hint = _near(attribute, names) if names else f": {_how_to_make_one(module)}"
            raise CommandError(f"{module.__name__} has no {attribute!r}{hint}")
        value = getattr(value, part)
    return value


def _near(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=1)
    return f"; do you mean {near[0]!r}?" if near else ""
