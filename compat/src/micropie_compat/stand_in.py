"""``install("bottle")`` makes every ``import bottle`` import the compatibility module, even in a
plugin. The same is true for the framework's submodules.

Call ``install`` at the top of the module that servers load, before anything imports the framework::

    from micropie_compat import install

    install("bottle")
    import bottle_session  # its "import bottle" imports the compatibility module, too

``micropie run --stand-in bottle shop:app`` and ``python -m micropie_compat bottle -m shop`` call
``install`` for a program whose source stays unchanged.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import BuiltinImporter, ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

from micropie_compat.missing import listed_advice
from micropie_compat.results import words

FRAMEWORKS = ("bottle", "cherrypy", "pixie_web")


class _StandIn:
    """An import finder that replaces a framework's modules with the modules of this package.

    ``name``: the name by which programs import the framework.

    This class has the methods of ``MetaPathFinder`` and ``Loader``, but isn't derived from them,
    because importing ``importlib.abc`` is slow.
    """

    def __init__(self, framework: str, name: str) -> None:
        self.framework = framework
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for the framework and its submodules, or None for other names."""
        return ModuleSpec(fullname, self) if is_below(fullname, self.name) else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the compatibility module itself, so that its own name and the framework's refer to
        the same module.
        """
        below = spec.name.removeprefix(self.name)
        is_plugin = self.framework == "bottle" and below.startswith(".ext.")
        name = f"bottle_{below[5:]}" if is_plugin else f"{__package__}.{self.framework}{below}"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith(f"{__package__}."):
                raise
            advice = listed_advice(f"{self.framework}{below}") or (
                "leave it out, or rewrite the code that uses it"
            )
            raise ModuleNotFoundError(
                f"{spec.name} has no counterpart in micropie_compat: {advice}", name=spec.name
            ) from None
        name = module.__name__ if is_plugin else spec.name
        spec.loader_state = module.__spec__, module.__loader__, name
        return module

    def exec_module(self, module: Any) -> None:
        """Restore the module's own spec, which the import system has just replaced. The module's
        code has run already.

        Monitors wrap methods of modules whose ``__name__`` is that of the framework. The original
        imports the modules that contain these methods itself.
        """
        module.__spec__, module.__loader__, module.__name__ = module.__spec__.loader_state
        if self.framework == "cherrypy" and module.__name__ == self.name:
            for part in words("_cpdispatch _cpreqbody _cprequest _cptree _cpwsgi"):
                importlib.import_module(f"{self.name}.{part}")


def install(framework: str, name: str | None = None) -> None:
    """Replace a framework with its compatibility module for all later imports in this process,
    including imports of submodules. A second call does nothing.

    ``framework``: "bottle", "cherrypy" or "pixie_web".
    ``name``: if the program contains a copy of the framework, the name by which it imports the
        copy, such as "shop.vendored.bottle".

    Raises ``ValueError`` for any other framework. Raises ``RuntimeError`` if the original has been
    imported already, because then it can't be replaced.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(
            f"there are compatibility modules for {', '.join(FRAMEWORKS)}, not for {framework!r}"
        )
    name = name or framework
    if is_installed(name):
        return
    if name in sys.modules:
        holder = next(holders(framework, name), None)
        raise RuntimeError(
            f"the original {name} is imported "
            f"already{f', by {holder}' if holder else ''}: "
            f"{_advice(framework)}"
        )
    # Import typing_extensions now: a program may put a folder first in sys.path that has a copy
    # which is too old for anyio.
    from anyio.abc import ByteStream  # noqa: F401

    # Not at the beginning, where monitors look for the modules to wrap.
    place = sys.meta_path.index(BuiltinImporter) if BuiltinImporter in sys.meta_path else 0
    sys.meta_path.insert(place, _StandIn(framework, name))


def started_by(framework: str, name: str, load: Callable[[str], object] | None = None) -> Any:
    """Return the ``Started`` object with the application that a program starts, see
    ``programs.find``.
    """
    return importlib.import_module(f"{__package__}.programs").find(framework, name, load)


def is_installed(name: str) -> bool:
    """Return whether ``install`` has replaced the framework that is imported as ``name``."""
    return any(isinstance(finder, _StandIn) and finder.name == name for finder in sys.meta_path)


def is_below(name: str, package: str) -> bool:
    """Return whether a dotted name is ``package`` or begins with ``package`` and a dot."""
    return f"{name}.".startswith(f"{package}.")


# -- the original framework ------------------------------------------------------------------------


def _advice(framework: str) -> str:
    return (
        "put this line before all other imports of the program: "
        f'from micropie_compat import install; install("{framework}")'
    )


def advice_for(framework: str) -> str:
    """Return advice on what to change in a module that imports the original framework."""
    return f"import {framework} from micropie_compat instead, or {_advice(framework)}"


def import_of_original(place: str, framework: str) -> str:
    """Return the error message for a module or a template (``place``) that imports the original
    framework.
    """
    return (
        f"{place} imports the original {framework}, "
        f"but micropie handles this application's requests: {advice_for(framework)}"
    )


def has_original(framework: str, name: str | None = None) -> bool:
    """Return whether the original framework is imported in this process.

    ``name``: the name by which it is imported, by default ``framework``.
    """
    module = sys.modules.get(name or framework)
    return module is not None and not _origin(module).startswith(f"{__package__}.{framework}")


def holders(framework: str, name: str | None = None) -> Iterator[str]:
    """Yield the names of modules that have imported the original framework instead of the
    compatibility module, except the framework's own modules.
    """
    name = name or framework
    if not has_original(framework, name):
        return
    # Skip the standard library, because CherryPy adds one of its functions to ``pydoc``.
    others = {name, *sys.stdlib_module_names}
    for module_name, module in [*sys.modules.items()]:
        if (
            module_name.partition(".")[0] not in others
            and module is not None
            and holds_original(vars(module), framework, name)
        ):
            yield module_name


def holds_original(
    names: dict[str, object], framework: str, name: str | None = None, may_hold_both: bool = False
) -> bool:
    """Return whether some of a module's values come from the original framework, and none from the
    compatibility module.

    ``name``: the name by which the original is imported, by default ``framework``.
    ``may_hold_both``: True to allow values from the compatibility module.
    """
    origins = {_origin(value) for value in [*names.values()]}
    new = f"{__package__}.{framework}"
    if not may_hold_both and any(origin.startswith(new) for origin in origins):
        return False
    return any(is_below(origin, name or framework) for origin in origins)


def _origin(value: object) -> str:
    """Return the name of the module that an object comes from. A function or a class comes from the
    module that defines it, a module from itself, and any other object from its class's module.

    ``isinstance`` isn't used, since it reads ``__class__``, which makes lazy objects such as
    Django's settings load. In some classes, ``__module__`` isn't a string.
    """
    kind = type(value)
    if issubclass(kind, ModuleType):
        # A compatibility module may have the name of the framework.
        return str(getattr(vars(value).get("__spec__"), "name", vars(value).get("__name__", "")))
    origin: object = (value if issubclass(kind, type | FunctionType) else kind).__module__
    return origin if isinstance(origin, str) else ""


def refuse_original(framework: str, thing: object) -> None:
    """Raise ``RuntimeError`` if a plugin, tool or handler comes from a module that has imported the
    original framework instead of the compatibility module.

    Such code would read the original's ``request``, which isn't bound to the current request.
    """
    name = _origin(thing)
    module = sys.modules.get(name)
    if module is None or not has_original(framework):
        return
    if holds_original(vars(module), framework):
        raise RuntimeError(import_of_original(name, framework))
