"""Origins as browsers name them: a scheme, a host, and a port unless it is the scheme's own (RFC 6454, section 6.2).

``null`` stands for an origin that is nobody's, such as a sandboxed frame, and is never one that somebody trusts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from micropie.errors import SetupError

# Of any scheme: applications on phones come from "capacitor://localhost".
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*)://(?:[a-z0-9._~\-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_OWN_PORT = {"http": ":80", "https": ":443"}


def normal_origin(origin: str) -> str:
    """``origin`` in the one spelling that can be compared; "" if it is none."""
    spelled = origin.lower()
    found = _ORIGIN.fullmatch(spelled)
    return spelled.removesuffix(_OWN_PORT.get(found["scheme"], "/")) if found else ""


def checked_origins(origins: Iterable[str], argument: str) -> frozenset[str]:
    """The author's list of origins, each in its normal spelling. Raises ``SetupError`` for what is none."""
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
