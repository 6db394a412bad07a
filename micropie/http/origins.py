"""Origins as browsers write them: a scheme, a host, and a port unless it is the scheme's own (RFC 6454, section 6.2).

``null`` is the origin of a sandboxed frame, for example. It is never valid here, so it can't be trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from micropie.errors import SetupError

# Any scheme: the origin of applications on phones is "capacitor://localhost".
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*)://(?:[a-z0-9._~\-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def normal_origin(origin: str) -> str:
    """Return ``origin`` in the spelling that can be compared, "" if it is malformed."""
    lower = origin.lower()
    match = _ORIGIN.fullmatch(lower)
    return lower.removesuffix(_DEFAULT_PORT.get(match["scheme"], "/")) if match else ""


def checked_origins(origins: Iterable[str], argument: str) -> frozenset[str]:
    """Return the origins in their normal spelling. Raises ``SetupError`` for one that is malformed."""
    if isinstance(origins, str):
        raise SetupError(f'{argument} is a list: write {argument}=["{origins}"]')
    return frozenset(_checked(origin, argument) for origin in origins)


def _checked(origin: object, argument: str) -> str:
    normal = normal_origin(origin) if isinstance(origin, str) else ""
    if not normal:
        raise SetupError(
            f"{argument} takes origins, a scheme and a host without a path or an end slash, such as "
            f'"https://app.example.com": not {origin!r}'
        )
    return normal
