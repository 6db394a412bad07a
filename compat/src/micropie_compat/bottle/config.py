"""``ConfigDict``: the configuration of an application, with dotted names as keys. Each route has an
overlay of it, ``Route.config``.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Iterable, KeysView
from typing import Any, TypeAlias
from weakref import WeakSet

from micropie_compat.bottle.server import load
from micropie_compat.results import StrPath, Values

Listener: TypeAlias = Callable[["ConfigDict", str, Any], object]

Meta: TypeAlias = dict[str, Any]
"""The metadata of one key, by name: ``filter``, ``help``, or other names that a program uses."""


class ConfigDict(dict[str, Any]):
    """A dictionary whose keys are strings.

    An overlay (``Route.config``) also has the keys of its source, the ``ConfigDict`` that it was
    made from. Assigning to one of these keys changes the overlay only; deleting one raises an
    error.
    """

    def __init__(self) -> None:
        super().__init__()
        self._meta: dict[str, Meta] = {}
        self._listeners: list[Listener] = []
        self._source: ConfigDict | None = None
        self._inherited: set[str] = set()
        self._overlays: WeakSet[ConfigDict] = WeakSet()

    __hash__ = object.__hash__  # type: ignore[assignment]  # ``_overlays`` is a set of overlays

    def load_config(self, filename: StrPath | Iterable[str], **options: Any) -> ConfigDict:
        """Load one or several ini files.

        Keys are prefixed with their section's name and a dot, except in the sections ``[bottle]``
        and ``[ROOT]``.
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
        """Load the values of the upper-case names of a module or of a class, see ``load``. With
        ``squash``, nested dictionaries become dotted names, see ``load_dict``.
        """
        found = load(name)
        values = {key: getattr(found, key) for key in dir(found) if key.isupper()}
        if squash:
            return self.load_dict(values)
        self.update(values)
        return self

    def load_dict(self, source: Values, namespace: str = "") -> ConfigDict:
        """Load a dictionary. Keys of nested dictionaries are joined by dots: ``{"a": {"b": 1}}``
        sets ``a.b``.
        """
        for key, value in source.items():
            _check_key(key)
            name = f"{namespace}.{key}".strip(".")
            if isinstance(value, dict):
                self.load_dict(value, name)
            else:
                self[name] = value
        return self

    def update(self, *args: object, **values: object) -> None:
        """Set several keys. If the first argument is a string, prepend it and a dot to each key."""
        prefix = ""
        if args and isinstance(args[0], str):
            prefix, args = args[0].strip(".") + ".", args[1:]
        for key, value in dict(*args, **values).items():
            self[prefix + key] = value

    def setdefault(self, key: str, value: object = None) -> Any:
        """Return the value of ``key``. If the key is missing, set it to ``value`` first."""
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
            raise KeyError(
                f"{key} is in the application's configuration, so a route can't delete it"
            )
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
        """Return the metadata ``metafield`` of a key, or ``default``."""
        return self._meta.get(key, {}).get(metafield, default)

    def meta_set(self, key: str, metafield: str, value: object) -> None:
        """Store a metadata value for a key. If ``metafield`` is "filter", the value is a function
        that converts each value set for the key.
        """
        self._meta.setdefault(key, {})[metafield] = value

    def meta_list(self, key: str) -> KeysView[str]:
        """Return the names of the metadata stored for a key."""
        return self._meta.get(key, {}).keys()

    def overlay(self) -> ConfigDict:
        """Return an overlay: a configuration with the same values. Changing the overlay doesn't
        change this configuration.
        """
        overlay = ConfigDict()
        overlay._meta, overlay._source = self._meta, self
        overlay._inherited = set(self)
        dict.update(overlay, self)
        self._overlays.add(overlay)
        return overlay


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise TypeError(f"a configuration key must be a str, not {type(key).__name__}")
