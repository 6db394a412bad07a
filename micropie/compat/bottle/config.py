"""``ConfigDict``: an application's configuration, by dotted names, and the part of it that a route
sees.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Iterable, KeysView, Mapping
from importlib import import_module
from os import PathLike
from typing import Any, TypeAlias
from weakref import WeakSet

Listener: TypeAlias = Callable[["ConfigDict", str, Any], object]

Meta: TypeAlias = dict[str, Any]
"""What is stored about a key by the name of a field: ``filter``, ``help``, or one of a program's
own."""


class ConfigDict(dict[str, Any]):
    """A dictionary with text as keys.

    An overlay (``Route.config``) also has what its source has and it does not.

    Keys that came from the source can be assigned, and then belong to the overlay; they can't be
    deleted there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._meta: dict[str, Meta] = {}
        self._listeners: list[Listener] = []
        self._source: ConfigDict | None = None
        self._inherited: set[str] = set()
        self._overlays: WeakSet[ConfigDict] = WeakSet()

    __hash__ = object.__hash__  # type: ignore[assignment]  # by identity: overlays are kept in a set

    def load_config(
        self, filename: str | PathLike[str] | Iterable[str], **options: Any
    ) -> ConfigDict:
        """Load an ini file.

        A section's name comes before its keys; ``[bottle]`` and ``[ROOT]`` add nothing.
        """
        options.setdefault("allow_no_value", True)
        options.setdefault("interpolation", configparser.ExtendedInterpolation())
        parser = configparser.ConfigParser(**options)
        parser.read(filename)
        for section in parser.sections():
            prefix = "" if section in ("bottle", "ROOT") else f"{section}."
            for key in parser.options(section):
                self[f"{prefix}{key}".lower()] = parser.get(section, key)
        return self

    def load_module(self, name: str, squash: bool = True) -> ConfigDict:
        """Load the names in capitals of a module; with ``squash`` their dictionaries become dotted
        names.
        """
        values = {key: value for key, value in vars(import_module(name)).items() if key.isupper()}
        if squash:
            return self.load_dict(values)
        self.update(values)
        return self

    def load_dict(self, source: Mapping[str, object], namespace: str = "") -> ConfigDict:
        """Load a dictionary; those in it become dotted names: ``{"a": {"b": 1}}`` is ``a.b``."""
        for key, value in source.items():
            _check_key(key)
            name = f"{namespace}.{key}".strip(".")
            if isinstance(value, dict):
                self.load_dict(value, name)
            else:
                self[name] = value
        return self

    def update(self, *args: object, **values: object) -> None:
        """Set several keys, below a namespace if the first argument is text."""
        prefix = ""
        if args and isinstance(args[0], str):
            prefix, args = args[0].strip(".") + ".", args[1:]
        for key, value in dict(*args, **values).items():
            self[prefix + key] = value

    def setdefault(self, key: str, value: object = None) -> Any:
        """Return the value of ``key``, which is set first if there is none."""
        if key not in self:
            self[key] = value
        return self[key]

    def __setitem__(self, key: str, value: object) -> None:
        _check_key(key)
        self._inherited.discard(key)
        check = self.meta_get(key, "filter")
        value = value if check is None else check(value)
        if key not in self or self[key] is not value:
            self._store(key, value)

    def __delitem__(self, key: str) -> None:
        if key in self._inherited:
            raise KeyError(f"{key} belongs to the application's configuration")
        if self._source is not None and key in self._source:
            self._inherited.add(key)
            self._store(key, self._source[key])
        else:
            self._remove(key)

    def _store(self, key: str, value: object) -> None:
        self._tell(key, value)
        super().__setitem__(key, value)
        for overlay in self._overlays:
            if key not in overlay or key in overlay._inherited:
                overlay._inherited.add(key)
                overlay._store(key, value)

    def _remove(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._tell(key, None)
        super().__delitem__(key)
        self._inherited.discard(key)
        for overlay in self._overlays:
            if key in overlay._inherited:
                overlay._remove(key)

    def _tell(self, key: str, value: object) -> None:
        for listener in self._listeners:
            listener(self, key, value)

    def meta_get(self, key: str, metafield: str, default: object = None) -> Any:
        """Return what is stored about a key."""
        return self._meta.get(key, {}).get(metafield, default)

    def meta_set(self, key: str, metafield: str, value: object) -> None:
        """Store something about a key. ``filter`` is a function that every value of it passes."""
        self._meta.setdefault(key, {})[metafield] = value

    def meta_list(self, key: str) -> KeysView[str]:
        """Return the names of what is stored about a key."""
        return self._meta.get(key, {}).keys()

    def overlay(self) -> ConfigDict:
        """Return a configuration that has this one's values until it sets its own."""
        overlay = ConfigDict()
        overlay._meta, overlay._source = self._meta, self
        overlay._inherited = set(self)
        dict.update(overlay, self)
        self._overlays.add(overlay)
        return overlay


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise TypeError(f"a key must be text, not {type(key).__name__}")
