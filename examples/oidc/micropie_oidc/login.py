"""The log-in: its three pages, and the access check for handlers. Both store data in the session.

When a log-in begins, it is stored in the session under a random ``state``, with the secrets that
the provider's response must match. So a response is accepted once, and only from the browser that
began the log-in.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from math import inf
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlencode, urlsplit

from joserfc.jwk import Key, OctKey

from micropie import App, HTTPError, Redirect, Request, SetupError, WebSocketRequest, run_in
from micropie.extensions import Outage, notify_after_fork
from micropie.middleware import (
    Call,
    FlowMiddleware,
    ServiceThreads,
    TookTooLong,
    call_within,
    kind_of,
)

from .provider import Provider, is_safe, unusable
from .tokens import ASYMMETRIC, SYMMETRIC, Expected, claims_of

Result = TypeVar("Result")
# A flow: a generator that yields the steps for which it waits, and returns a result.
Flow: TypeAlias = Generator[Any, Any, Result]

# A browser may begin several log-ins, in different tabs. Only this many are stored.
_MOST_BEGUN = 5
# How many seconds a log-in may take.
_BEGUN_FOR = 900
_NO_STORE = {"Cache-Control": "no-store"}
# Browsers drop tabs and line ends, and read a backslash as a slash: "/\evil.com" is another host.
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]{0,2000}")
# The characters of an error's code (RFC 6749, section 4.1.2.1).
_ERROR_CODE = re.compile(r"[ !#-\[\]-~]{1,100}")


class OpenIDConnect:
    """Log-in at the provider ``issuer``, which knows this application as ``client_id``.

    - ``client_secret``: the client's secret, or None for a public client.
    - ``redirect_uri``: the whole URL of the page ``callback``, as it is registered at the provider.
    - ``scope``: the requested scopes, which must include ``openid``.
    - ``keep``: the claims that ``user_of`` returns in addition to ``sub``.
    - ``after_log_out``: the URL to which the provider sends the browser after a log-out, also
      registered at the provider. With None, the browser stays at the provider.
    - ``algorithms``: the algorithms with which a token may be signed. ``HS256``, which uses the
      client's secret, is accepted only if it is listed.
    - ``patience``: after how many seconds without a response the provider counts as unavailable.
    - ``refresh_every``: how many seconds the provider's addresses and keys are used before they are
      fetched again. If the provider has withdrawn a key, it is accepted no longer than that.
    - ``keys_every``: if a token has an unknown key, the keys are fetched again, but not more often
      than once in this many seconds.
    - ``leeway``: the number of seconds by which the provider's clock may differ.

    Raises ``SetupError`` for invalid values.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        *,
        redirect_uri: str,
        client_secret: str | None = None,
        after_log_out: str | None = None,
        scope: str = "openid profile email",
        keep: Sequence[str] = ("name", "email"),
        algorithms: Sequence[str] = ("RS256", "PS256", "ES256"),
        patience: float = 5,
        refresh_every: float = 3600,
        keys_every: float = 60,
        leeway: float = 60,
    ) -> None:
        for name, url in (("issuer", issuer), ("redirect_uri", redirect_uri)):
            _check(name, is_safe(url) and "#" not in url, url, "an https URL")
        _check("client_id", _is_text(client_id), client_id, "the client's name at the provider")
        # Don't show the value, because it may contain a part of the secret.
        if client_secret is not None and not _is_text(client_secret):
            raise SetupError("OpenIDConnect(client_secret=...) takes the client's secret, or None")
        fine = after_log_out is None or is_safe(after_log_out)
        _check("after_log_out", fine, after_log_out, "an https URL or None")
        fine = _is_text(scope) and "openid" in scope.split()
        _check("scope", fine, scope, "words, one of them openid")
        fine = not isinstance(keep, str) and all(map(_is_text, keep))
        _check("keep", fine, keep, "a list of the names of claims")
        known = ASYMMETRIC | SYMMETRIC if client_secret else ASYMMETRIC
        fine = not isinstance(algorithms, str) and bool(algorithms) and known.issuperset(algorithms)
        _check("algorithms", fine, algorithms, f"some of {', '.join(sorted(known))}")
        times = {"patience": patience, "refresh_every": refresh_every, "keys_every": keys_every}
        for name, seconds in times.items():
            _check(name, _is_time(seconds) and seconds > 0, seconds, "seconds above 0")
        _check("leeway", _is_time(leeway), leeway, "seconds, 0 or more")
        self._issuer, self._client_id, self._secret = issuer, client_id, client_secret
        self._redirect_uri, self._after_log_out = redirect_uri, after_log_out
        self._scope, self._keep, self._algorithms = scope, tuple(keep), tuple(algorithms)
        self._patience, self._leeway = patience, leeway
        self._provider = Provider(issuer, client_id, client_secret, **times)
        self._pages = App()
        self._user_key = self._begun_key = ""
        self.after_fork()
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Create new locks in a forked process, because a thread of the parent may have held the
        old ones. Only the parent could release them.
        """
        self._provider.begin()
        self._outage = Outage(f"the OpenID provider {self._issuer}", ", nobody can log in")
        self._kind = kind_of(self._ask, Call(ServiceThreads()))

    def install(self, app: App, path: str = "/login") -> None:
        """Add the pages to ``app``:

        - GET ``path`` begins a log-in. Its parameter ``next`` is the path on this site to which the
          user is redirected after the log-in.
        - POST ``path/out`` logs out.

        Raises ``SetupError`` unless ``redirect_uri`` ends with ``path/callback``.
        """
        fine = urlsplit(self._redirect_uri).path.endswith(f"{path}/callback")
        _check("redirect_uri", fine, self._redirect_uri, f"a URL that ends with {path}/callback")
        if self._user_key:
            raise SetupError("a log-in is installed once: make an OpenIDConnect for each path")
        # The keys contain the path. So if an application has two providers, it never accepts a
        # response of one as the other's.
        self._user_key, self._begun_key = f"oidc{path}", f"oidc{path} begun"
        self._pages.get("/", name="log_in")(_Page(self._log_in)(lambda: None))
        self._pages.get("/callback", name="callback")(_Page(self._callback)(lambda: None))
        self._pages.post("/out", name="log_out")(_Page(self._log_out)(lambda: None))
        app.mount(path, self._pages)

    @run_in("loop")
    def users(self, request: Request) -> bool | Redirect:
        """An access check for ``@requires(login.users)``. A browser that opens a page is redirected
        to the log-in; other requests get 401.
        """
        if self.user_of(request) is not None or request.app is self._pages:
            return True
        if (
            isinstance(request, WebSocketRequest)
            or request.method not in ("GET", "HEAD")
            or request.accepts("html", "json", "problem") in ("json", "problem")
        ):
            raise HTTPError(401, "Please log in.", {"WWW-Authenticate": "OpenIDConnect"})
        parts = urlsplit(request.url)
        here = f"{parts.path}?{parts.query}" if parts.query else parts.path
        target = {"next": here} if _LOCAL_PATH.fullmatch(here) else {}
        return Redirect(self._pages.url_for("log_in", **target))

    def user_of(self, request: Request) -> dict[str, Any] | None:
        """Return the claims of the user who is logged in (``sub`` and those in ``keep``), or None
        if nobody is.
        """
        found = request.session.get(self._user_key)
        return found["claims"] if isinstance(found, dict) else None

    # -- the pages -----------------------------------------------------------------------------

    def _log_in(self, request: Request) -> Flow[Redirect]:
        target = request.query.get("next") or self._home()
        if not _LOCAL_PATH.fullmatch(target):
            raise HTTPError(400, "The value of next is no path of this site.")
        addresses = yield from self._reached(self._provider.addresses)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        begun = {"nonce": nonce, "verifier": verifier, "next": target, "at": int(time.time())}

        def added(older: dict[str, Any] | None) -> dict[str, Any]:
            kept = sorted((older or {}).items(), key=lambda item: item[1]["at"])
            return {**dict(kept[-(_MOST_BEGUN - 1) :]), state: begun}

        request.session.update_atomic(self._begun_key, added)
        digest = hashlib.sha256(verifier.encode()).digest()
        question = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self._scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return _away(addresses.authorization, question)

    def _callback(self, request: Request) -> Flow[Redirect]:
        query = request.query
        begun = self._taken(request, query.get("state"))
        addresses = yield from self._reached(self._provider.addresses)
        # Reject the response of another provider, because a malicious one could make this
        # application send it the first provider's code (RFC 9207).
        if query.get("iss", None if addresses.states_issuer else self._issuer) != self._issuer:
            raise HTTPError(400, "This answer comes from another provider. Please log in again.")
        if "error" in query:
            raise _refusal(query["error"])
        code = query.get("code")
        if not code:
            raise HTTPError(400, "The answer of the provider has no code. Please log in again.")
        token, claims = yield from self._reached(self._redeemed, code, begun)
        session = request.session
        old = self.user_of(request)
        if old is not None and old["sub"] != claims["sub"]:
            session.clear()  # removes another user's data
        # If an attacker has set the session's cookie in this browser, its id is useless now.
        session.regenerate()
        kept = {name: claims[name] for name in ("sub", *self._keep) if name in claims}
        session[self._user_key] = {"claims": kept, "id_token": token}
        return Redirect(begun["next"], headers=_NO_STORE)

    def _log_out(self, request: Request) -> Flow[Redirect]:
        user = request.session.get(self._user_key)
        request.session.clear()
        home = Redirect(self._home(), headers=_NO_STORE)
        if user is None:
            return home
        try:
            addresses = yield from self._reached(self._provider.addresses)
        except HTTPError:
            return home  # a log-out works even while the provider is unavailable
        if addresses.end_session is None:
            return home
        question = {"id_token_hint": user["id_token"], "client_id": self._client_id}
        if self._after_log_out is not None:
            question["post_logout_redirect_uri"] = self._after_log_out
        return _away(addresses.end_session, question)

    # -- parts of the pages --------------------------------------------------------------------

    def _home(self) -> str:
        """Return the path of the application's first page, wherever it is mounted."""
        path = self._user_key.removeprefix("oidc")
        return self._pages.url_for("log_in").removesuffix(f"{path}/") + "/"

    def _taken(self, request: Request, state: str | None) -> dict[str, Any]:
        """Return what was stored when this log-in began, and remove it."""
        begun = (request.session.get(self._begun_key) or {}).get(state)
        if begun is None or time.time() - begun["at"] > _BEGUN_FOR:
            raise HTTPError(
                400, "This log-in has expired, or began in another browser. Please log in again."
            )

        def without(stored: dict[str, Any] | None) -> dict[str, Any]:
            return {key: value for key, value in (stored or {}).items() if key != state}

        request.session.update_atomic(self._begun_key, without)
        found: dict[str, Any] = begun
        return found

    def _reached(self, question: Callable[..., Result], *arguments: object) -> Flow[Result]:
        """Call a function that sends a request to the provider and may block. Raises 503 if the
        provider is unavailable.
        """
        try:
            answer: Result = yield from self._outage.watch(self._limited(question, *arguments))
        except OSError as error:
            raise Outage.Unavailable(
                "The log-in is unavailable. Please try again in a moment.", str(error)
            ) from None
        return answer

    def _limited(self, question: Callable[..., Result], *arguments: object) -> Flow[Result]:
        try:
            answer: Result = yield from call_within(
                self._patience, self._kind, self._ask, question, *arguments
            )
        except TookTooLong:
            raise TimeoutError(f"no answer within {self._patience:g} seconds") from None
        return answer

    @staticmethod
    def _ask(question: Callable[..., Result], *arguments: object) -> Result:
        return question(*arguments)

    def _redeemed(self, code: str, begun: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        token = self._provider.redeem(code, begun["verifier"], self._redirect_uri)
        expected = Expected(
            self._issuer, self._client_id, begun["nonce"], begun["at"], self._leeway
        )
        return token, claims_of(token, self._algorithms, self._key_for, expected)

    def _key_for(self, kid: str | None, algorithm: str) -> Key | None:
        if algorithm in SYMMETRIC:
            return OctKey.import_key(self._secret or "")
        return self._provider.key(kid, algorithm)


class _Page(FlowMiddleware):
    """Middleware in which a flow sends the response. The handler never runs. Unlike a handler, a
    flow can wait in the threads for a service, which other handlers don't use.
    """

    needs_session = True

    def __init__(self, answer: Callable[[Request], Flow[Redirect]]) -> None:
        self._answer = answer

    def before(self, request: Request) -> Flow[Redirect]:
        """Send the response."""
        return (yield from self._answer(request))


def _check(name: str, is_fine: bool, value: object, wanted: str) -> None:
    if not is_fine:
        raise SetupError(f"OpenIDConnect({name}=...) takes {wanted}, not {value!r}")


def _is_time(seconds: float) -> bool:
    return type(seconds) in (int, float) and 0 <= seconds < inf


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _away(address: str, question: dict[str, str]) -> Redirect:
    joint = "&" if urlsplit(address).query else "?"
    return Redirect(
        f"{address}{joint}{urlencode(question)}", headers=_NO_STORE, allow_external=True
    )


def _refusal(error: str) -> HTTPError:
    """Return the error for the visitor if the provider has sent an error instead of a code."""
    if not _ERROR_CODE.fullmatch(error):
        return HTTPError(400, "The answer of the provider has an error that can't be read.")
    if error == "access_denied":
        return HTTPError(403, "The provider has not let you in, or you have cancelled the log-in.")
    if error in ("server_error", "temporarily_unavailable"):
        return Outage.Unavailable("The provider can't log you in at the moment.", error)
    if error.endswith("_required"):
        return HTTPError(403, f"The provider wants more than this log-in has asked for: {error}.")
    return unusable(f"it refuses the log-in with {error}")
