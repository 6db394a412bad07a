"""An application's own settings, read from the environment and ``.env``: ``config.read(Settings,
prefix="SHOP_")``.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from micropie import SetupError
from micropie._core.http.settings import Settings
from micropie.extensions import TypeInfo

logger = logging.getLogger("micropie")

__all__ = [
    "Settings",
    "read",
    "read_env_file",
]

Made = TypeVar("Made")


def read(kind: type[Made], prefix: str = "", environment: Mapping[str, str] | None = None) -> Made:
    """Return the settings as an object of ``kind``, a dataclass or msgspec.Struct. Each field is
    read from an environment variable and converted.

        @dataclass(frozen=True)
        class Settings:
            database: str                                     # SHOP_DATABASE, which has to be set
            debug: bool = False                               # SHOP_DEBUG=1
            hosts: list[str] = field(default_factory=list)    # SHOP_HOSTS=a.example,b.example

        settings = config.read(Settings, prefix="SHOP_")

    A field may have any type that a handler's parameter may have in a query. ``environment`` is by
    default ``os.environ``, completed by the variables in ``.env``. Raises ``SetupError`` with the
    name of each variable that is missing or invalid, but never its value, which may be a secret.
    """
    if not (isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "__struct_fields__"))):
        raise SetupError(
            f"config.read takes a dataclass or msgspec.Struct, not {kind!r}; for a subclass of "
            "pydantic's BaseSettings, create an object of it instead"
        )
    hints = TypeInfo(kind).hints
    variables = _environment(prefix, hints) if environment is None else environment
    values: dict[str, object] = {}
    wrong: list[str] = []
    for name, parameter in inspect.signature(kind).parameters.items():
        try:
            converter = TypeInfo(hints[name]).converter()
        except SetupError as error:
            raise SetupError(f"{kind.__name__}.{name}: {error}") from None
        variable = f"{prefix}{name.upper()}"
        text = variables.get(variable)
        if text is None:
            wrong += [f"{variable} is not set"] if parameter.default is parameter.empty else []
            continue
        texts = [text]
        if converter.many is not None:
            texts = [one.strip() for one in text.split(",") if one.strip()]
        try:
            values[name] = converter.from_texts(texts)
        except (ValueError, ArithmeticError, LookupError):  # the last two from a custom validator
            wrong.append(
                f"{variable} must be {converter.expected}"
                if converter.takes_text
                else f"{variable} can't set {name!r}: a variable is text, not {converter.expected}"
            )
    for name in map(str.upper, () if prefix.endswith("_") or not prefix else hints):
        if f"{prefix}_{name}" in variables and f"{prefix}{name}" not in variables:
            wrong.append(f'{prefix}_{name} is not read: write prefix="{prefix}_"')
            break
    if wrong:
        raise SetupError(
            f"{'; '.join(wrong)} (config.read reads the environment, and a .env file in the "
            "current folder)"
        )
    return kind(**values)


_read: dict[str, set[str]] = {}  # by prefix, the variables that ``read`` has looked up


def unread() -> Iterator[tuple[str, str]]:
    """Yield each environment variable that begins with a prefix passed to ``read`` but belongs to
    no setting. Yield it together with the variable of the setting whose name is most similar, or
    with "".
    """
    known = set[str]().union(*_read.values())
    variables = _environment()
    for name in sorted(variables.keys() - known):
        if name.startswith((*_read,)):
            near = get_close_matches(name, known - variables.keys(), n=1, cutoff=0.8)
            yield name, near[0] if near else ""


def _environment(prefix: str = "", names: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables of the environment and of ``.env``, and record for ``unread`` that
    ``names`` are read.
    """
    if prefix:
        _read.setdefault(prefix, set()).update(f"{prefix}{name.upper()}" for name in names)
    return {**read_env_file(), **os.environ}


def read_env_file(file: str = ".env") -> dict[str, str]:
    """Return the variables in a file with lines such as ``SHOP_DEBUG=1``, or {} if the file or
    python-dotenv is missing.

    Raises ``SetupError`` for a file that can't be read.
    """
    if not Path(file).is_file():
        return {}
    try:
        dotenv = import_module("dotenv")
    except ModuleNotFoundError:
        logger.warning(
            "%s is ignored, because python-dotenv is not installed: pip install python-dotenv", file
        )
        return {}
    try:
        return {
            name: value for name, value in dotenv.dotenv_values(file).items() if value is not None
        }
    except (OSError, ValueError) as error:  # the file can't be read, or isn't UTF-8
        raise SetupError(f"{file} can't be read: {error}") from None
