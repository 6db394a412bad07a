"""Cookies as Bottle 0.13 reads and writes them, also signed ones.

A signed value is ``!signature?data``: base64 of an HMAC, then base64 of a pickle of [name, value]. A pickle can run any
code of whoever made it. So the signature is checked before the pickle is looked at, and then only values are loaded
that are made of Python's plain types: whoever learns the secret can forge cookies, but can't run code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import pickle
from collections.abc import Callable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from io import BytesIO
from typing import Any, TypeAlias

from micropie.compat.environs import MOST_ESCAPES
from micropie.http import parse_cookies

Digest: TypeAlias = str | Callable[..., Any]
"""A hash of ``hashlib``, or its name."""

logger = logging.getLogger("micropie")

# What a pickle may name besides the types that the format has itself.
_ALLOWED = {
    "builtins": {"set", "frozenset", "complex", "bytearray"},
    "_codecs": {"encode"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "uuid": {"UUID"},
}


def read_cookies(header: str) -> dict[str, str]:
    """Return the cookies of a header. A broken one does not hide the others."""
    if not header:
        return {}
    values = parse_cookies(header)
    if header.count("\\") > MOST_ESCAPES:
        return values
    with suppress(CookieError):
        values.update({name: morsel.value for name, morsel in SimpleCookie(header).items()})
    return values


def sign(name: str, value: object, secret: str | bytes, digestmod: Digest = hashlib.sha256) -> str:
    """Return the signed value of a cookie."""
    data = base64.b64encode(pickle.dumps([name, value], -1))
    return f"!{_signature(data, secret, digestmod).decode()}?{data.decode()}"


def unsign(
    name: str, signed: str, secret: str | bytes, default: object = None, digestmod: Digest = hashlib.sha256
) -> Any:
    """Return what ``sign`` was given; ``default`` for a wrong signature, another name, or what can't be loaded."""
    signature, separator, data = signed.removeprefix("!").partition("?")
    raw = data.encode("utf-8", "replace")
    if not signed.startswith("!") or not separator:
        return default
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), _signature(raw, secret, digestmod)):
        return default
    try:
        signed_name, value = _Loader(BytesIO(base64.b64decode(raw))).load()
    except Exception as error:
        logger.warning("the signed cookie %r can't be read: %s", name, error)
        return default
    return value if signed_name == name else default


class _Loader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if name not in _ALLOWED.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is no plain value: store text, numbers, lists, dictionaries")
        return super().find_class(module, name)


def _signature(data: bytes, secret: str | bytes, digestmod: Digest) -> bytes:
    key = secret if isinstance(secret, bytes) else secret.encode()
    return base64.b64encode(hmac.new(key, data, digestmod).digest())
