"""Read and write cookies as Bottle 0.13 does, signed ones included.

A signed value is ``!signature?data``: an HMAC in base64, then a pickle of [name, value] in base64.
The signature is checked first, and then only plain values are loaded, see ``plain.py``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import pickle
from collections.abc import Callable
from typing import Any, TypeAlias

from micropie_compat import plain
from micropie_compat.results import in_bytes

Digest: TypeAlias = str | Callable[..., Any]
"""A hash function of ``hashlib``, or its name."""


def cookie_encode(data: object, key: str | bytes, digestmod: Digest | None = None) -> bytes:
    """Return a value signed and encoded as ``!signature?data``. For a cookie, the value is the list
    [name, value].
    """
    message = base64.b64encode(pickle.dumps(data, -1))
    return b"!" + _signature(message, key, digestmod) + b"?" + message


def cookie_decode(data: str | bytes, key: str | bytes, digestmod: Digest | None = None) -> Any:
    """Return the value encoded by ``cookie_encode``, or None if the signature is wrong or the data
    can't be loaded.
    """
    signed = data.encode("utf-8", "replace") if isinstance(data, str) else data
    signature, separator, message = signed.removeprefix(b"!").partition(b"?")
    if not signed.startswith(b"!") or not separator:
        return None
    if not hmac.compare_digest(signature, _signature(message, key, digestmod)):
        return None
    try:
        return plain.loads(base64.b64decode(message))
    except Exception as error:
        logging.getLogger("micropie").warning("a signed cookie can't be read: %s", error)
        return None


def cookie_is_encoded(data: bytes) -> bool:
    """Return whether the value of a cookie looks like a signed value."""
    return data.startswith(b"!") and b"?" in data


def _signature(data: bytes, secret: str | bytes, digestmod: Digest | None) -> bytes:
    made = hmac.new(in_bytes(secret), data, digestmod or hashlib.sha256)
    return base64.b64encode(made.digest())
