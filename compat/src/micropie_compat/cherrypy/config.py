"""Configuration: ``cherrypy.config``, configuration files with sections for paths, and namespaces.

A key has the form ``namespace.name``. Applying a configuration calls the namespace's function with
the name and the value of each key; register a function with ``config.namespaces["server"] =
function``. Keys without a namespace or with an unknown one do nothing here: the application may
read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from configparser import ConfigParser
from contextlib import nullcontext
from os import PathLike, fspath
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from micropie_compat.cherrypy.expressions import unrepr
from micropie_compat.cherrypy.types import Namespace, Section, Sections, Target
from micropie_compat.results import StrPath, Values, words

Source: TypeAlias = StrPath | Iterable[str]
"""A source of configuration: a dict, the path of a file, or an open file."""

_QUIET = dict.fromkeys(
    words(
        "engine.autoreload.on checker.on tools.log_headers.on "
        "request.show_tracebacks request.show_mismatched_params"
    ),
    False,
)
environments: Sections = {
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
    """Parses a configuration file. The case of names is preserved, and values are Python
    expressions.
    """

    def optionxform(self, optionstr: str) -> str:
        """Return a name unchanged. (``ConfigParser`` converts names to lower case.)"""
        return optionstr

    def as_dict(
        self,
        raw: bool = False,
        vars: Mapping[str, str] | None = None,  # noqa: A002 - CherryPy's name
    ) -> Sections:
        """Return the sections as dicts. Raises ``ValueError`` for a value that isn't a Python
        expression.
        """
        sections: Sections = {}
        for section in self.sections():
            sections[section] = values = {}
            for option in self.options(section):
                text = self.get(section, option, raw=raw, vars=vars)
                try:
                    values[option] = unrepr(text)
                except Exception as error:
                    raise ValueError(
                        f"Config error in section: {section!r}, option: {option!r}, value: "
                        f"{text!r}. "
                        f"Config values must be valid Python: {type(error).__name__}: {error}"
                    ) from error
        return sections

    def dict_from_file(self, file: Source) -> Sections:
        """Parse a file, given as a path or an open file, and return its sections.

        Raises ``OSError`` if the file can't be opened.
        """
        if isinstance(file, str | PathLike):
            with Path(file).open(encoding="utf-8") as opened:
                self.read_file(opened)
        else:
            self.read_file(file)
        return self.as_dict()

    @classmethod
    def load(cls, input: Source) -> Section:  # noqa: A002 - CherryPy's name
        """Return the configuration from ``input``: a copy of a dict, or the content of a file,
        given as a path or an open file.
        """
        return dict(input) if isinstance(input, Mapping) else cls().dict_from_file(input)


files: set[str] = set()
"""The paths of the files that ``merge`` and ``cherrypy.config`` have read. The autoreloader watches
them."""


def _load_watched(source: Source) -> Section:
    if isinstance(source, str | PathLike):
        files.add(fspath(source))
    return Parser.load(source)


def merge(base: Sections, other: Source) -> None:
    """Add the sections of ``other`` to ``base``, key by key.

    Raises ``ValueError`` for keys outside of a section.
    """
    for section, values in _load_watched(other).items():
        if not isinstance(values, Mapping):
            raise ValueError(
                "Application config must include section headers. Wrap your config in "
                "another dict with paths as "
                f"section headers, for example: {{'/': {{{section!r}: ...}}}}"
            )
        base.setdefault(section, {}).update(values)


class NamespaceSet(dict[str, Namespace]):
    """A dict with a function for each namespace. The function is called with the name and the value
    of each key in the namespace.

    A value may also be a context manager whose ``__enter__`` returns such a function.
    """

    def __call__(self, config: Values) -> None:
        sorted_values: dict[str, dict[str, object]] = {}
        for key, value in config.items():
            namespace, dot, name = key.partition(".")
            if dot:
                sorted_values.setdefault(namespace, {})[name] = value
        for namespace, handler in [*self.items()]:
            entered: Any = handler if hasattr(handler, "__exit__") else nullcontext(handler)
            with entered as function:
                for name, value in sorted_values.get(namespace, {}).items():
                    function(name, value)

    def copy(self) -> NamespaceSet:
        """Return a copy of the same class."""
        return type(self)(self)

    __copy__ = copy


class PlainConfig(dict[str, Any]):
    """``cherrypy.lib.reprconf.Config``: a dict of configuration with defaults, filled from a dict,
    a file's path or an open file.

    Setting a key calls its namespace's function; ``namespaces`` are those of ``cherrypy.config``
    unless a subclass defines others.
    """

    defaults: Section = {}  # noqa: RUF012 - an object may set another dict
    environments: ClassVar[Sections] = {}
    namespaces: ClassVar[NamespaceSet] = NamespaceSet()

    def __init__(self, file: Source | None = None, **values: object) -> None:
        super().__init__()
        self.reset()
        if file is not None:
            self.update(file)
        if values:
            self.update(values)

    def reset(self) -> None:
        """Remove all keys and set the defaults."""
        self.clear()
        dict.update(self, self.defaults)

    def update(self, config: Source) -> None:  # type: ignore[override]
        """Add configuration from a dict, the path of a file, or an open file."""
        self._apply(Parser.load(config))

    def _apply(self, values: Section) -> None:
        if values.get("environment"):
            values = {**self.environments[values["environment"]], **values}
        dict.update(self, values)
        self.namespaces(values)

    def __setitem__(self, key: str, value: object) -> None:
        super().__setitem__(key, value)
        self.namespaces({key: value})


class Config(PlainConfig):
    """``cherrypy.config``: the configuration that applies to all applications.

    Calling it returns a decorator that configures a handler or a class:
    ``@cherrypy.config(**{"tools.gzip.on": True})``.
    """

    environments = environments

    def update(self, config: Source) -> None:  # type: ignore[override]
        """Add a configuration. If it has a section ``global``, add only that section."""
        self._apply(_load_watched(config))

    def _apply(self, values: Section) -> None:
        section = values.get("global")
        if isinstance(section, dict):
            values = section
        if "tools.staticdir.dir" in values:
            values = {**values, "tools.staticdir.section": "global"}
        super()._apply(values)

    def __call__(self, **kwargs: object) -> Callable[[Target], Target]:
        def decorate(target: Any) -> Any:
            if "_cp_config" not in vars(target):
                target._cp_config = {}
            vars(target)["_cp_config"].update(kwargs)
            return target

        return decorate


config = Config()
config.defaults = dict.fromkeys(
    words("tools.log_tracebacks.on tools.log_headers.on tools.trailing_slash.on tools.encode.on"),
    True,
)
config.reset()
