"""Values signed by itsdangerous, an optional dependency that only this module imports.

Clients can read signed values, but can't change them.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, TypeAlias

from micropie._core.errors import HTTPError, SetupError, check, is_duration
from micropie._core.http.headers.cookies import seconds_of
from micropie._core.on_demand import pattern

try:
    import itsdangerous
except ImportError:  # pragma: no cover - the tests set it to None
    itsdangerous = None  # type: ignore[assignment]

Secret: TypeAlias = str | bytes | Sequence[str | bytes]
"""One key of 32 bytes or more, or a sequence of keys. The first key signs, and signatures with any
of the keys are accepted.
"""

# The one spelling of a signature that is accepted: base64 has several for the same 32 bytes, and
# Python's decoder skips unknown characters.
_SIGNATURE = pattern("[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")

SHORTEST_SECRET = 32  # bytes: the size of an HMAC-SHA256, RFC 2104, section 3


class Signer:
    """Converts values to signed text for cookies and URLs. Nobody can forge such text without the
    secret.

    - ``salt``: keeps text that was signed for one purpose from being accepted for another.
    - ``user``: the name of the feature that needs the signer; error messages begin with this name.
    - ``serializer``: an object with ``dumps`` and ``loads``; by default JSON.

    Raises ``SetupError`` if itsdangerous is not installed, and for a secret that could be guessed.
    """

    def __init__(self, secret: Secret, salt: str, user: str, serializer: object = None) -> None:
        if itsdangerous is None:
            raise SetupError(
                f'{user} needs itsdangerous: pip install "micropie-dual[itsdangerous]"'
            )
        keys = [secret] if isinstance(secret, str | bytes) else secret
        if (
            not isinstance(keys, list | tuple)
            or not keys
            or not all(isinstance(key, str | bytes) for key in keys)
        ):
            raise SetupError(f"{user} takes a secret (str or bytes) or a list of secrets")
        if any(len(itsdangerous.want_bytes(key)) < SHORTEST_SECRET for key in keys):
            raise SetupError(
                f"{user} needs a secret of {SHORTEST_SECRET} bytes or more that nobody can guess: "
                "create one with python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        of_salt = lru_cache(maxsize=64)(partial(_signer, keys[::-1]))
        signer: Any = lambda _, salt: of_salt(salt)  # noqa: E731 - called as the class ``Signer``
        self._serializer = itsdangerous.URLSafeSerializer(keys, salt, serializer, signer=signer)

    def dump(self, value: object, salt: str | None = None) -> str:
        """Return ``value`` as signed text. ``salt`` replaces the signer's own salt."""
        return str(self._serializer.dumps(value, salt))

    def load(self, text: str, salt: str | None = None) -> Any:
        """Return the value of ``text``, which ``dump`` returned with the same ``salt``.

        Raises ``ValueError`` if the text is forged or damaged.
        """
        try:
            value = self._serializer.loads(text, salt)
        except itsdangerous.BadData as error:
            raise ValueError(str(error)) from None
        if not _SIGNATURE.fullmatch(text.rpartition(".")[2]):
            raise ValueError("the base64 text of the signature was altered")
        return value


def _signer(keys: Sequence[str | bytes], salt: bytes) -> itsdangerous.Signer:
    """Return the signer for ``salt``. It signs with the last of ``keys``, and derives nothing from
    them again for each value.
    """
    sign_with, sha256 = itsdangerous.Signer, hashlib.sha256
    derived = [sign_with(key, salt, ".", "hmac", sha256).derive_key() for key in keys]
    return sign_with(derived, salt, ".", "none", sha256)


class AppSigner:
    """The signer of an application's cookies and links: ``App(secret_key=...)``."""

    def __init__(self, secret: Secret) -> None:
        self._signer = Signer(secret, "micropie.cookie", "App(secret_key=...)")

    def dump(self, name: str, value: object) -> str:
        """Return the text for the cookie ``name``.

        Raises ``TypeError`` for a value that JSON can't hold.
        """
        return self._signer.dump([name, int(time.time()), value])

    def load(
        self, name: str, text: str, default: object, max_age: float | timedelta | None
    ) -> object:
        """Return the value of the cookie ``name``. Return ``default`` if ``text`` is forged, was
        signed for another cookie, or is older than ``max_age``.
        """
        try:
            signed_for, made, value = self._signer.load(text)
        except ValueError:
            return default
        is_late = max_age is not None and time.time() - made > seconds_of(max_age)
        return default if is_late or signed_for != name else value

    def sign(self, value: object, purpose: str, expires: float | timedelta) -> str:
        """See ``request.sign``."""
        seconds = seconds_of(expires)
        check("request.sign(expires=...)", is_duration(seconds), expires, "seconds above 0")
        return self._signer.dump(
            [math.ceil(time.time() + seconds), value], f"micropie.link.{purpose}"
        )

    def unsign(self, text: str, purpose: str) -> object:
        """See ``request.unsign``."""
        try:
            until, value = self._signer.load(text, f"micropie.link.{purpose}")
        except ValueError:
            raise HTTPError(403, "This link is not valid.") from None
        if time.time() >= until:
            raise HTTPError(410, "This link has expired.")
        return value
