"""``install("bottle")``: from there on ``import bottle`` gives the stand-in, in plugins and
submodules as well.

It is the first statement of the module that servers load, before anything that imports the
framework::

    from micropie.compat import install

    install("bottle")
    import bottle_session  # whose "import bottle" is the stand-in, too

``micropie run --stand-in bottle shop:app`` and ``python -m micropie.compat bottle -m shop`` do it
for a program in which no line changes.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType

from micropie.compat.missing import listed_advice

FRAMEWORKS = ("bottle", "cherrypy", "pixie_web")


class _StandIn:
    """Finds the modules of a framework below this package. ``name``: what programs import.

    It is a ``MetaPathFinder`` and a ``Loader`` by its methods: to import ``importlib.abc`` takes
    long.
    """

    def __init__(self, framework: str, name: str) -> None:
        self.framework = framework
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Claim the framework and its submodules; leave all other names to the other finders."""
        is_below = f"{fullname}.".startswith(f"{self.name}.")
        return ModuleSpec(fullname, self) if is_below else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the stand-in's own module: both names are one module."""
        below = spec.name.removeprefix(self.name)
        is_plugin = self.framework == "bottle" and below.startswith(".ext.")
        name = f"bottle_{below[5:]}" if is_plugin else f"{__package__}.{self.framework}{below}"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith(f"{__package__}."):
                raise
            advice = listed_advice(f"{self.framework}{below}") or "leave it out, or write it anew"
            raise ModuleNotFoundError(
                f"{spec.name} has no stand-in: {advice}", name=spec.name
            ) from None
        self._identity = (module.__spec__, module.__loader__)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back, which the import system has just replaced.

        It has run already.
        """
        module.__spec__, module.__loader__ = self._identity


def install(framework: str, name: str | None = None) -> None:
    """Let the stand-in of ``framework`` ("bottle", "cherrypy" or "pixie_web") be what
    ``import framework`` gives.

    It holds for the whole process and for submodules. ``name``: the name of a copy that a program
    carries, such as "shop.vendored.bottle"; by default the framework's own. A second call does
    nothing. Raises ``ValueError`` for another framework, and ``RuntimeError`` if the original is
    imported already: that can't be replaced.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"there are stand-ins for {', '.join(FRAMEWORKS)}, not for {framework!r}")
    name = name or framework
    if any(isinstance(finder, _StandIn) and finder.name == name for finder in sys.meta_path):
        return
    if name in sys.modules:
        holder = next(_holders(framework, name), None)
        raise RuntimeError(
            f"the original {name} is imported "
            f"already{f', by {holder}' if holder else ''}: "
            f"{_advice(framework)}"
        )
    sys.meta_path.insert(0, _StandIn(framework, name))


def _advice(framework: str) -> str:
    return (
        "write from micropie.compat import install and "
        f'install("{framework}") before all other imports'
    )


def _has_original(framework: str, name: str) -> bool:
    """Return whether the process has imported the original framework under this name."""
    module = sys.modules.get(name)
    return module is not None and not module.__name__.startswith(f"{__package__}.{framework}")


def _holders(framework: str, name: str) -> Iterator[str]:
    """Yield the names of the modules, outside of the original framework, that hold it and not its
    stand-in.
    """
    if not _has_original(framework, name):
        return
    # CherryPy puts a function of its own into pydoc
    others = {name, *sys.stdlib_module_names}
    for module_name, module in [*sys.modules.items()]:
        if (
            module_name.partition(".")[0] not in others
            and module is not None
            and _holds(vars(module), name, framework)
        ):
            yield module_name


def _holds(names: dict[str, object], name: str, framework: str) -> bool:
    """Return whether a module has the original or something of it, and nothing of the stand-in."""
    origins = {_origin(value) for value in [*names.values()]}
    if any(origin.startswith(f"{__package__}.{framework}") for origin in origins):
        return False
    return any(f"{origin}.".startswith(f"{name}.") for origin in origins)


def _origin(value: object) -> str:
    """Return the name of a module, of that of a function or a class, or of an object's class.

    Not by ``isinstance``, which asks for ``__class__``: an object that stands for another one, as
    Django's settings, is made by that. Some classes make an attribute of ``__module__``.
    """
    kind = type(value)
    if issubclass(kind, ModuleType):
        return str(vars(value).get("__name__", ""))
    origin: object = (value if issubclass(kind, type | FunctionType) else kind).__module__
    return origin if isinstance(origin, str) else ""


def refuse_original(framework: str, thing: object) -> None:
    """Raise ``RuntimeError`` if a plugin, tool or handler is of a module that knows the original
    framework alone.

    It would work on the original's requests, which are nobody's here, and say nothing.
    """
    module = sys.modules.get(_origin(thing))
    if (
        module is not None
        and _has_original(framework, framework)
        and _holds(vars(module), framework, framework)
    ):
        raise RuntimeError(
            f"{module.__name__} imports the original {framework}, whose requests "
            f"are none here: {_advice(framework)}"
        )


@cache  # all modules are looked through, and one warning does
def warn_of_originals(framework: str) -> None:
    """Log the modules that hold the original framework, once: what they add to it reaches no
    request here.
    """
    holders = sorted(_holders(framework, framework))
    if holders:
        logging.getLogger("micropie").warning(
            (
                "%s: imports the original %s, which answers nothing here; "
                'install("%s") of micropie.compat changes that'
            ),
            ", ".join(holders),
            framework,
            framework,
        )
