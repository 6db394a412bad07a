"""Requests to the provider: for its addresses, for its keys, and for the exchange of a code.

Only this module knows how httpx2 connects and fails. Its functions block, so they are called in
threads. They raise ``OSError`` if the provider is unavailable, ``HTTPError`` if it refuses a code
or sends an unusable response.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlsplit

import httpx2 as httpx
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from micropie import HTTPError
from micropie.extensions import loads

logger = logging.getLogger("micropie_oidc")

# The size in bytes of the largest document that a provider may send. Discovery documents have a few
# thousand bytes.
_LONGEST = 256 * 1024

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Addresses(NamedTuple):
    """The contents of the discovery document (OpenID Connect Discovery 1.0, section 3)."""

    authorization: str
    token: str
    keys: str
    end_session: str | None
    takes_secret_in_body: bool
    """Whether the token endpoint wants the secret in the body, not in ``Authorization``."""
    states_issuer: bool
    """Whether each of its answers to the browser has ``iss`` (RFC 9207)."""


class Provider:
    """The provider ``issuer``. Requests are sent as the client ``client_id``.

    ``patience``, ``refresh_every``, ``keys_every``: see ``OpenIDConnect``. Thread-safe.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        *,
        patience: float,
        refresh_every: float,
        keys_every: float,
    ) -> None:
        self.issuer, self._client_id, self._secret = issuer, client_id, client_secret
        self._patience = patience
        self._refresh_every, self._keys_every = refresh_every, keys_every
        self.begin()

    def begin(self) -> None:
        """Start without fetched data. Also call this in a forked process."""
        self._fetching = Lock()
        self._addresses: Addresses | None = None
        self._addresses_end = 0.0
        self._keys = KeySet([])
        self._keys_fetched: float | None = None
        self._http: httpx.Client | None = None

    def addresses(self) -> Addresses:
        """Return the provider's addresses."""
        with self._held():
            if self._addresses is None or monotonic() > self._addresses_end:
                self._addresses = self._discovered()
                self._addresses_end = monotonic() + self._refresh_every
            return self._addresses

    def key(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key ``kid`` for signatures of ``algorithm``, or None if there is none.

        An unknown key may be new, so the provider's keys are fetched again, but at most once in
        ``keys_every`` seconds.
        """
        address = self.addresses().keys
        with self._held():
            fetched = self._keys_fetched
            age = None if fetched is None else monotonic() - fetched
            found = (
                None if age is None or age > self._refresh_every else self._known(kid, algorithm)
            )
            if found is None and (age is None or age >= self._keys_every):
                self._keys = self._fetched_keys(address)
                self._keys_fetched = monotonic()
                found = self._known(kid, algorithm)
            return found

    def redeem(self, code: str, verifier: str, redirect_uri: str) -> str:
        """Exchange a code for an ID token. Return the token, which isn't checked yet."""
        addresses = self.addresses()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        auth = None
        if self._secret is not None and not addresses.takes_secret_in_body:
            # RFC 6749, section 2.3.1: the id and the secret are percent-encoded
            auth = quote_plus(self._client_id), quote_plus(self._secret)
        else:
            form["client_id"] = self._client_id
            if self._secret is not None:
                form["client_secret"] = self._secret
        status, answer = self._asked("POST", addresses.token, data=form, auth=auth)
        token = answer.get("id_token")
        if status == 200 and isinstance(token, str):
            return token
        if answer.get("error") == "invalid_grant":
            raise HTTPError(
                400, "The provider does not accept this log-in any more. Please log in again."
            )
        raise unusable(f"its token endpoint answers {status} {answer.get('error', '')!r:.100}")

    def _discovered(self) -> Addresses:
        address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        status, found = self._asked("GET", address)
        if status != 200 or found.get("issuer") != self.issuer:
            # Another issuer's document would make this application send codes and secrets there.
            raise unusable(f"its discovery document is {status}, of {found.get('issuer')!r:.200}")
        names = ["authorization_endpoint", "token_endpoint", "jwks_uri"]
        if found.get("end_session_endpoint") is not None:
            names.append("end_session_endpoint")
        for name in names:
            if not is_safe(found.get(name)):
                raise unusable(f"the {name} of its discovery document is no https URL")
        methods = found.get("token_endpoint_auth_methods_supported")
        return Addresses(
            found["authorization_endpoint"],
            found["token_endpoint"],
            found["jwks_uri"],
            found.get("end_session_endpoint"),
            isinstance(methods, list)
            and "client_secret_basic" not in methods
            and "client_secret_post" in methods,
            found.get("authorization_response_iss_parameter_supported") is True,
        )

    def _fetched_keys(self, address: str) -> KeySet:
        status, document = self._asked("GET", address)
        listed = document.get("keys")
        if status != 200 or not isinstance(listed, list):
            raise unusable(f"its list of keys is {status}, {document!r:.200}")
        keys = []
        for one in listed:
            # Ignore keys that can't be read, such as keys of a future type, and use the others.
            try:
                key = JWKRegistry.import_key(one)
                if key.key_type != "oct" and key.get("use", "sig") == "sig":
                    keys.append(key)
            except (JoseError, ValueError, TypeError, AttributeError, KeyError):
                logger.info("a key of %s can't be read", self.issuer)
        return KeySet(keys)

    def _known(self, kid: str | None, algorithm: str) -> Key | None:
        try:
            return self._keys.get_by_kid(kid, {"alg": algorithm})
        except JoseError:
            return None

    @contextmanager
    def _held(self) -> Iterator[None]:
        # While one thread fetches data, the others wait for it. If it hangs, they fail, and don't
        # try to fetch it one after the other.
        if not self._fetching.acquire(timeout=self._patience):
            raise TimeoutError(f"{self.issuer} does not answer")
        try:
            yield
        finally:
            self._fetching.release()

    def _asked(self, method: str, address: str, **options: Any) -> tuple[int, Mapping[str, Any]]:
        """Return the status and the JSON of a response."""
        deadline = monotonic() + self._patience
        body = bytearray()
        try:
            with self._client().stream(method, address, **options) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _LONGEST:
                        raise unusable(f"{address} sends more than {_LONGEST} bytes")
                    if monotonic() > deadline:
                        raise TimeoutError(f"{address} takes longer than {self._patience:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConnectionError(f"{address} is unavailable: {error!r}") from error
        if response.status_code >= 500 or response.status_code == 429:
            raise ConnectionError(f"{address} answers {response.status_code}")
        try:
            document = loads(bytes(body))
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise unusable(f"{address} answers {response.status_code} without a JSON object")
        return response.status_code, document

    def _client(self) -> httpx.Client:
        # Created on first use, because it reads all certificates. If two threads create a client,
        # the second one is used. Log-ins are rare, so no connection stays open, and the client need
        # not be closed.
        if self._http is None:
            limits = httpx.Limits(max_keepalive_connections=0)
            self._http = httpx.Client(timeout=self._patience, limits=limits)
        return self._http


def is_safe(address: object) -> bool:
    """Return whether an address is an https URL, or an http URL on this machine."""
    if not isinstance(address, str):
        return False
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    )


def unusable(reason: str) -> HTTPError:
    """Log why a provider's response can't be used. Return the error for the visitor."""
    logger.warning("the provider's answer can't be used: %s", reason)
    return HTTPError(502, "The log-in failed: the answer of the provider can't be used.")
