"""Who may do what: tokens, passwords, logging in at another site."""

from collections.abc import Callable, Mapping
from typing import Any

from micropie import App, Redirect, Request
from micropie.middleware import BearerAuth
from tests.works_with.listed import World, client_of, works


def with_token(world: World, token: str, user_of: Callable[[str], object]) -> None:
    app = App()
    app.middlewares.append(BearerAuth(user_of))
    app.get("/")(lambda: "hello")
    with client_of(app, world) as client:
        assert client.get("/").status_code == 401
        assert client.get("/", headers={"Authorization": f"Bearer {token}"}).text == "hello"


@works("pyjwt")
def pyjwt(world: World) -> None:
    import jwt

    key = "k" * 32
    token = jwt.encode({"sub": "ann"}, key, "HS256")

    def user_of(token: str) -> object:
        try:
            return jwt.decode(token, key, ["HS256"])["sub"]
        except jwt.InvalidTokenError:
            return None

    with_token(world, token, user_of)


@works("joserfc")
def joserfc(world: World) -> None:
    from joserfc import jwt
    from joserfc.jwk import OctKey

    key = OctKey.import_key("k" * 32)
    token = jwt.encode({"alg": "HS256"}, {"sub": "ann"}, key)
    with_token(world, token, lambda token: jwt.decode(token, key).claims["sub"])


@works("argon2-cffi")
def argon2(world: World) -> None:
    from argon2 import PasswordHasher

    hasher = PasswordHasher(time_cost=1, memory_cost=1024)
    kept = hasher.hash("sesame")
    app = App()
    app.get("/")(lambda: hasher.verify(kept, "sesame"))
    with client_of(app, world) as client:
        assert client.get("/").json() is True


@works("pwdlib")
def pwdlib(world: World) -> None:
    from pwdlib import PasswordHash

    hasher = PasswordHash.recommended()
    app = App()
    app.get("/")(lambda: hasher.verify("sesame", hasher.hash("sesame")))
    with client_of(app, world) as client:
        assert client.get("/").json() is True


@works("itsdangerous", what="cookies")
def itsdangerous(world: World) -> None:
    app = App(secret_key="k" * 32)

    @app.get("/set")
    def put(request: Request) -> str:
        request.set_signed_cookie("name", "ann")
        return "set"

    @app.get("/")
    def index(request: Request) -> str:
        return request.signed_cookie("name") or "nobody"

    with client_of(app, world) as client:
        assert (client.get("/").text, client.get("/set").text) == ("nobody", "set")
        assert client.get("/").text == "ann"


@works("itsdangerous", what="links that expire")
def itsdangerous_links(world: World) -> None:
    from itsdangerous import BadData, URLSafeTimedSerializer

    links = URLSafeTimedSerializer("k" * 32)
    app = App()
    app.error(BadData)(lambda: (403, "forged"))
    app.get("/confirm")(lambda token: links.loads(token, max_age=60))
    with client_of(app, world) as client:
        token = links.dumps("ann")
        assert client.get("/confirm", params={"token": token}).text == "ann"
        assert client.get("/confirm", params={"token": token + "x"}).status_code == 403


PROVIDER = {
    "client_id": "pies",
    "client_secret": "sesame",
    "authorize_url": "https://id.example/authorize",
    "access_token_url": "https://id.example/token",
    "client_kwargs": {"scope": "openid", "code_challenge_method": "S256"},
}


def parameters_of(location: str) -> Mapping[str, str]:
    import httpx2

    url = httpx2.URL(location)
    assert (url.host, url.params["code_challenge_method"]) == ("id.example", "S256")
    return dict(url.params)


@works("authlib", "asyncio", what="its Starlette client")
def authlib_starlette(world: World) -> None:
    from authlib.integrations.starlette_client import OAuth

    oauth = OAuth()
    oauth.register("id", **PROVIDER)
    app = App()

    @app.get("/login")
    async def login(request: Request) -> Any:
        answer = await oauth.id.authorize_redirect(request, "http://testserver/back")
        raise Redirect(answer.headers["location"], allow_external=True)

    with client_of(app, world, follow_redirects=False) as client:
        assert parameters_of(client.get("/login").headers["location"])["state"]


@works("authlib", what="code flow, PKCE")
def authlib(world: World) -> None:
    import httpx2
    from authlib.common.security import generate_token
    from authlib.integrations.httpx_client import OAuth2Client

    def provider(request: httpx2.Request) -> httpx2.Response:
        assert b"code_verifier=" in request.content
        return httpx2.Response(200, json={"access_token": "t", "token_type": "Bearer"})

    def client() -> Any:
        return OAuth2Client(
            "pies",
            code_challenge_method="S256",
            redirect_uri="http://testserver/back",
            transport=httpx2.MockTransport(provider),
        )

    app = App()

    @app.get("/login")
    def login(request: Request) -> None:
        verifier = generate_token(48)
        url, state = client().create_authorization_url(
            PROVIDER["authorize_url"], code_verifier=verifier
        )
        request.session.update(verifier=verifier, state=state)
        raise Redirect(url, allow_external=True)

    @app.get("/back")
    def back(code: str, state: str, request: Request) -> str:
        assert request.session.pop("state") == state
        token = client().fetch_token(
            PROVIDER["access_token_url"], code=code, code_verifier=request.session.pop("verifier")
        )
        return str(token["access_token"])

    with client_of(app, world, follow_redirects=False) as browser:
        state = parameters_of(browser.get("/login").headers["location"])["state"]
        assert browser.get("/back", params={"code": "c", "state": state}).text == "t"
