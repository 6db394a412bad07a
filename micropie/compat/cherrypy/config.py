"""Configuration: ``cherrypy.config``, files, sections for paths, and the namespaces that act on
keys.

A key is ``namespace.name``. Where configuration is applied, the namespace's function is called with
the name and the value: ``config.namespaces["server"] = function``. Keys without a namespace, or
with an unknown one, are an application's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from configparser import ConfigParser
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from micropie.compat.cherrypy.expressions import unrepr
from micropie.compat.cherrypy.types import Namespace, Section

Target = TypeVar("Target")

Source: TypeAlias = str | PathLike[str] | Iterable[str]
"""Where configuration comes from: a dict, a file's path, or an open file."""

_QUIET = {
    "engine.autoreload.on": False,
    "checker.on": False,
    "tools.log_headers.on": False,
    "request.show_tracebacks": False,
    "request.show_mismatched_params": False,
}
ENVIRONMENTS: dict[str, Section] = {
    "staging": _QUIET,
    "production": {**_QUIET, "log.screen": False},
    "embedded": {**_QUIET, "log.screen": False, "engine.SIGHUP": None, "engine.SIGTERM": None},
    "test_suite": {
        **_QUIET,
        "request.show_tracebacks": True,
        "request.show_mismatched_params": True,
        "log.screen": False,
    },
}


class Parser(ConfigParser):
    """A configuration file: names keep their case, values are Python expressions."""

    def optionxform(self, optionstr: str) -> str:
        """Return a name as it is."""
        return optionstr

    def as_dict(self) -> dict[str, Section]:
        """Return the sections. Raises ``ValueError`` for a value that is no expression."""
        sections: dict[str, Section] = {}
        for section in self.sections():
            sections[section] = values = {}
            for option in self.options(section):
                text = self.get(section, option)
                try:
                    values[option] = unrepr(text)
                except Exception as error:
                    raise ValueError(
                        f"Config error in section: {section!r}, option: {option!r}, value: "
                        f"{text!r}. "
                        f"Config values must be valid Python: {type(error).__name__}: {error}"
                    ) from error
        return sections

    def dict_from_file(self, file: Source) -> dict[str, Section]:
        """Read a file, by its path or open, and return its sections.

        Raises ``OSError`` if there is none.
        """
        if isinstance(file, str | PathLike):
            with Path(file).open(encoding="utf-8") as opened:
                self.read_file(opened)
        else:
            self.read_file(file)
        return self.as_dict()


def load(source: Source) -> Section:
    """Return configuration as a dict: it is given as one, as a file's path, or as an open file."""
    return dict(source) if isinstance(source, Mapping) else Parser().dict_from_file(source)


def merge(base: dict[str, Section], other: Source) -> None:
    """Add the sections of ``other`` to those of ``base``.

    Raises ``ValueError`` for keys outside of a section.
    """
    for section, values in load(other).items():
        if not isinstance(values, Mapping):
            raise ValueError(
                "Application config must include section headers. Wrap your config in "
                "another dict with paths as "
                f"section headers, for example: {{'/': {{{section!r}: ...}}}}"
            )
        base.setdefault(section, {}).update(values)


class NamespaceSet(dict[str, Namespace]):
    """Functions by the namespace of whose keys they are called with a name and a value."""

    def __call__(self, config: Mapping[str, object]) -> None:
        for key, value in list(config.items()):
            namespace, dot, name = key.partition(".")
            if dot and namespace in self:
                self[namespace](name, value)


class Config(dict[str, Any]):
    """``cherrypy.config``: what holds for all applications.

    ``namespaces`` act on its keys when they are set.

    As a decorator it states the configuration of a handler or a class:
    ``@cherrypy.config(**{"tools.gzip.on": True})``.
    """

    environments = ENVIRONMENTS

    def __init__(self, defaults: Mapping[str, object]) -> None:
        super().__init__(defaults)
        self.defaults = dict(defaults)
        self.namespaces = NamespaceSet()

    def reset(self) -> None:
        """Go back to the defaults."""
        self.clear()
        dict.update(self, self.defaults)

    def update(self, config: Source = (), **values: object) -> None:  # type: ignore[override]
        """Add configuration: a dict, a file's path, or an open file.

        Its section ``global`` counts, if there is one.
        """
        loaded = load(config) if config else {}
        loaded.update(values)
        section = loaded.get("global")
        if isinstance(section, dict):
            loaded = dict(section)
        if "tools.staticdir.dir" in loaded:
            loaded["tools.staticdir.section"] = "global"
        loaded = (
            {**self.environments[loaded["environment"]], **loaded}
            if loaded.get("environment")
            else loaded
        )
        dict.update(self, loaded)
        self.namespaces(loaded)

    def __setitem__(self, key: str, value: object) -> None:
        super().__setitem__(key, value)
        self.namespaces({key: value})

    def __call__(self, **kwargs: object) -> Callable[[Target], Target]:
        def decorate(target: Any) -> Any:
            if "_cp_config" not in vars(target):
                target._cp_config = {}
            vars(target)["_cp_config"].update(kwargs)
            return target

        return decorate


config = Config(
    {
        "tools.log_tracebacks.on": True,
        "tools.log_headers.on": True,
        "tools.trailing_slash.on": True,
        "tools.encode.on": True,
    }
)
