"""A small OpenID provider for tests, on a real server in a thread. It logs everybody in without a
password.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OctKey, RSAKey

from micropie import App, HTTPError, Redirect, Request, get, post

CLIENT, SECRET = "shop & co", "sesame:öffne %dich"
REDIRECT_URI = "https://shop.example/login/callback"

_KEYS: list[Key] = [
    RSAKey.generate_key(2048, {"kid": f"rsa-{number}", "use": "sig"}) for number in range(3)
]


class Provider(App):
    """The provider. By default its responses are valid. A test changes the attributes to make them
    invalid.
    """

    def __init__(self) -> None:
        super().__init__(security=False)
        self.issuer = ""
        self.client_secret: str | None = SECRET
        self.redirect_uri = REDIRECT_URI
        self.subject = "ann"
        self.algorithm = "RS256"
        self.keys: list[Key] = _KEYS[:1]
        self.published: list[Any] | None = None  # the published keys; None means ``keys``
        self.document: dict[str, Any] = {}  # changes to the discovery document
        self.claims: dict[str, Any] = {}  # changes to the ID token's claims; None removes a claim
        self.header: dict[str, Any] = {}  # changes to the ID token's header
        self.altered: Callable[[str], object] = lambda token: token
        self.answers: dict[str, Any] = {}  # by path, responses to send instead of the usual ones
        self.asked: list[str] = []  # the paths of all requests
        self.ended: list[dict[str, str]] = []  # the queries of log-outs
        self.go_on = Event()  # cleared by ``hanging``
        self.go_on.set()
        self._codes: dict[str, dict[str, str]] = {}
        self.middlewares.append(self._noted)
        self.get("/held")(lambda: len(self.asked))
        self.post("/go")(self.go_on.set)
        self.get("/.well-known/openid-configuration")(self.discovered)

    def _noted(self, request: Request) -> Iterator[Any]:
        if request.path not in ("/held", "/go"):
            self.asked.append(request.path)
            self.go_on.wait()
        yield

    def rotate(self) -> None:
        """Sign with another key from now on, and publish only that key."""
        self.keys = [_KEYS[(_KEYS.index(self.keys[0]) + 1) % len(_KEYS)]]

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let all requests hang during the ``with`` block."""
        self.go_on.clear()
        try:
            yield
        finally:
            self.go_on.set()

    def discovered(self) -> dict[str, Any]:
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/end",
            "authorization_response_iss_parameter_supported": True,
        }
        return {key: value for key, value in {**found, **self.document}.items() if value}

    @get
    def jwks(self) -> Any:
        if "/jwks" in self.answers:
            return self.answers["/jwks"]
        if self.published is not None:
            return {"keys": self.published}
        return dict(KeySet(self.keys).as_dict(private=False))

    @get
    def authorize(self) -> Redirect:
        query = dict(self.request.query)
        wanted = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": self.redirect_uri,
            "code_challenge_method": "S256",
        }
        if not wanted.items() <= query.items() or "openid" not in query["scope"].split():
            raise HTTPError(400, f"not {query}")
        code = secrets.token_urlsafe(8)
        self._codes[code] = query
        answer = urlencode({"code": code, "state": query["state"], "iss": self.issuer})
        return Redirect(f"{self.redirect_uri}?{answer}", allow_external=True, allow_http=True)

    @post
    def token(self) -> Any:
        form = {key: str(value) for key, value in self.request.form.items()}
        if "/token" in self.answers:
            return self.answers["/token"]
        if not self._is_client(form):
            return 401, {"error": "invalid_client"}
        begun = self._codes.pop(form["code"], None)
        if begun is None or form["grant_type"] != "authorization_code":
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (begun["code_challenge"], begun["redirect_uri"]) != (challenge, form["redirect_uri"]):
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "-", "id_token": self.altered(self.signed(begun["nonce"]))}

    def signed(self, nonce: str) -> str:
        """Return an ID token."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": CLIENT,
            "exp": now + 300,
            "iat": now,
            "nonce": nonce,
            "name": f"{self.subject.title()} <b>",
            "phone_number": "+1 555 0100",
            **self.claims,
        }
        key: Key = self.keys[0]
        header = {"alg": self.algorithm, "kid": key.kid}
        if self.algorithm.startswith("HS"):
            key = OctKey.import_key(SECRET)
        header = {name: value for name, value in {**header, **self.header}.items() if value}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(header, claims, key, algorithms=[self.algorithm])

    @get
    def end(self) -> str:
        self.ended.append(dict(self.request.query))
        return "bye"

    def _is_client(self, form: dict[str, str]) -> bool:
        if self.client_secret is None:
            return form.get("client_id") == CLIENT
        stated = self.request.headers.get("Authorization", "")
        if "client_secret_post" in self.document.get("token_endpoint_auth_methods_supported", ()):
            pair = form.get("client_id", ""), form.get("client_secret", "")
        else:
            name, _, secret = base64.b64decode(stated.removeprefix("Basic ")).partition(b":")
            pair = unquote_plus(name.decode()), unquote_plus(secret.decode())
        return pair == (CLIENT, self.client_secret)


def elliptic_key() -> Key:
    """Return a key for ES256."""
    return ECKey.generate_key("P-256", {"kid": "ec"})


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Served:
    """A provider at ``url``, on a port that stays the same when it is stopped and started again."""

    def __init__(self) -> None:
        self.app = Provider()
        self._port = 0
        self.start()

    def start(self) -> None:
        self._server = make_server(
            "127.0.0.1", self._port, self.app, server_class=_Server, handler_class=_Quiet
        )
        self._port = self._server.server_port
        self.app.issuer = f"http://127.0.0.1:{self._port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def provider_at_work() -> Iterator[Served]:
    """Yield a provider, and stop it at the end."""
    served = Served()
    try:
        yield served
    finally:
        served.app.go_on.set()
        served.stop()


def query_of(location: str) -> dict[str, str]:
    """Return the query of a URL."""
    return dict(parse_qsl(location.partition("?")[2]))
