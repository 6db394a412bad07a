"""The checks of an ID token (OpenID Connect Core 1.0, section 3.1.3.7)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key

from micropie import HTTPError

from .provider import unusable

# Algorithms with a public key. "none" is excluded, and so is EdDSA, whose name doesn't determine
# the curve.
ASYMMETRIC = frozenset({f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)})
# Algorithms whose key is the client's secret.
SYMMETRIC = frozenset({"HS256", "HS384", "HS512"})


class Expected(NamedTuple):
    """The values that the token of one log-in must have."""

    issuer: str
    client_id: str
    nonce: str
    begun: float
    """When the log-in began, in seconds of Unix time."""
    leeway: float
    """Seconds by which the clocks may differ."""


def claims_of(
    token: str,
    algorithms: Collection[str],
    key_for: Callable[[str | None, str], Key | None],
    expected: Expected,
) -> dict[str, Any]:
    """Return the claims of a token after checking its signature and the ``expected`` values.

    ``key_for(kid, algorithm)`` returns the key with which it must be signed. Raises ``HTTPError``:
    400 for a wrong nonce, which may be an attack, and 502 for any other error, because then the
    provider itself has sent a wrong token.
    """
    try:
        header = jws.extract_compact(token.encode()).headers()
        algorithm, kid = header.get("alg"), header.get("kid")
        # Check the algorithm before a key is used. "none" would need no key, and with "HS256", an
        # attacker could sign with the provider's public key.
        if not isinstance(algorithm, str) or algorithm not in algorithms:
            raise unusable(f"a token's algorithm is {algorithm!r:.100}")
        key = key_for(kid if isinstance(kid, str) else None, algorithm)
        if key is None:
            raise unusable(f"a token is signed with the unknown key {kid!r:.100}")
        claims = jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise unusable(f"a token is not genuine: {error!r:.200}") from None
    for problem in _problems(claims, expected, time.time()):
        raise unusable(f"a token {problem}")
    if claims.get("nonce") != expected.nonce:
        raise HTTPError(400, "This log-in belongs to another browser. Please log in again.")
    return claims


def _problems(claims: Mapping[str, Any], expected: Expected, now: float) -> list[str]:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    subject, leeway = claims.get("sub"), expected.leeway
    expires, issued = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
    checks = {
        "is of another issuer": claims.get("iss") == expected.issuer,
        "is for another client": expected.client_id in audiences,
        # A token for several clients must name the one that has requested it.
        "was asked for by another client": claims.get(
            "azp", expected.client_id if len(audiences) == 1 else None
        )
        == expected.client_id,
        "has no subject": isinstance(subject, str) and 0 < len(subject) <= 255,
        # Each of these conditions is False for NaN, so NaN is rejected.
        "has expired": now < expires + leeway,
        "is issued in the future": issued <= now + leeway,
        "is older than its log-in": issued >= expected.begun - leeway,
        "is not valid yet": "nbf" not in claims or _seconds(claims["nbf"]) <= now + leeway,
    }
    return [problem for problem, is_fine in checks.items() if not is_fine]


def _seconds(claim: object) -> float:
    is_number = isinstance(claim, int | float) and not isinstance(claim, bool)
    try:
        return float(claim) if is_number else math.nan  # type: ignore[arg-type]
    except OverflowError:
        return math.nan
