"""What a mounted application is told of where it is: one table for every protocol, depth and prefix
of the server.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servestatic import ServeStaticASGI

from micropie import App, HttpMiddleware
from micropie._core.routing.config import config_of
from tests.asgi.calls import respond
from tests.support.clients import MakeClient
from tests.support.waiting import until


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    names = [
        environ[key].encode("latin-1").decode("utf-8", "replace")
        for key in ("SCRIPT_NAME", "PATH_INFO")
    ]
    return [json.dumps(names).encode()]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise ValueError
    assert scope["path"].startswith(scope["root_path"])
    names = [scope["root_path"], scope["path"].removeprefix(scope["root_path"])]
    await respond(send, json.dumps(names).encode(), b"application/json")


class Child(App):
    def default(self, *path: str) -> Any:
        request = self.request
        request.response.set_cookie(
            "c", "1", path=request.root_path + config_of(request._exchange).prefix or "/"
        )
        return [
            request.root_path,
            request.path,
            self.url_for("there"),
            config_of(self.request._exchange).prefix,
        ]

    def there(self) -> Any:
        return self._redirect(self.url_for("there"))

    def log_in(self) -> str:
        self.request.session["user"] = "ann"
        return "in"


PREFIXES = {0: "/m", 1: "/one/m", 2: "/one/two/m"}


def nested(target: Any, depth: int, **options: Any) -> App:
    """``target`` at ``/m`` of an application that is itself mounted ``depth`` times."""
    app = App()
    app.mount("/m", target, **options)
    for name in ("/two", "/one")[2 - depth :]:
        outer = App()
        outer.mount(name if depth == 2 else "/one", app)
        app = outer
    return app


PATHS = [
    ("", ""),
    ("/", "/"),
    ("/x", "/x"),
    ("/%C3%A9", "/é"),
    ("/a%2Fb", "/a/b"),
    ("//x/", "//x/"),
    ("/%FF", "/\ufffd"),
]


@pytest.mark.parametrize("root_path", ["", "/p"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("target", [wsgi, asgi])
def test_R75_mounted_applications_get_script_name_and_path(
    make_client: MakeClient, target: Any, depth: int, root_path: str
) -> None:
    client = make_client(nested(target, depth), root_path=root_path)
    for path, rest in PATHS:
        assert client.get(PREFIXES[depth] + path).json() == [root_path + PREFIXES[depth], rest], (
            path
        )
    for path in ("x", "%2Fx"):  # the prefix ends where a segment ends
        answer = client.get(PREFIXES[depth] + path)
        assert answer.status_code == 404, path


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("target", [wsgi, asgi])
def test_an_application_may_ignore_its_prefix(
    make_client: MakeClient, target: Any, depth: int
) -> None:
    client = make_client(nested(target, depth, strip=True), root_path="/p")
    for path, rest in PATHS:
        assert client.get(PREFIXES[depth] + path).json() == ["", rest or "/"], path


def test_servestatic_serves_files_below_a_prefix(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "pie.txt").write_text("plum")
    files: Any = ServeStaticASGI(asgi, root=str(tmp_path), prefix="/static/")
    served: list[str] = []

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await files(scope, receive, send)
        served.append(scope["path"])

    app = App()
    app.mount("/assets", mounted, strip=True)
    client = make_client(app)
    assert client.get("/assets/static/pie.txt").text == "plum"
    # it closes its file after the response: the end of its loop would come before that
    until(lambda: "/static/pie.txt" in served)
    assert client.get("/assets/other").json() == ["", "/other"]


@pytest.mark.parametrize("target", [wsgi, asgi])
def test_R75_environment_variables_of_the_process_have_no_effect(
    make_client: MakeClient, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SCRIPT_NAME", "PATH_INFO", "root_path"):
        monkeypatch.setenv(name, "/evil")
    assert make_client(nested(target, 1)).get("/one/m/x").json() == ["/one/m", "/x"]


@pytest.mark.parametrize("root_path", ["", "/p"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_R75_a_mounted_app_that_shares_settings_gets_the_right_paths(
    make_client: MakeClient, depth: int, root_path: str
) -> None:
    client = make_client(nested(Child(), depth), root_path=root_path)
    prefix = PREFIXES[depth]
    for path in ("", "/", "/x", "/é"):
        answer = client.get(prefix + path)
        found = answer.json()
        assert found == [root_path, prefix + path.rstrip("/"), f"{root_path}{prefix}/there", prefix]
        assert f"Path={root_path}{prefix}" in answer.headers["set-cookie"]
    location = client.get(f"{prefix}/there", follow_redirects=False).headers["location"]
    assert location == f"{root_path}{prefix}/there"
    cookie = client.get(f"{prefix}/log_in").headers["set-cookie"]
    assert f"path={root_path or '/'};" in cookie.lower() + ";"  # the outer one's session
    assert client.get(prefix + "x").status_code == 404


@pytest.mark.parametrize("root_path", ["", "/p"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_R75_an_isolated_app_gets_the_right_paths(
    make_client: MakeClient, depth: int, root_path: str
) -> None:
    client = make_client(nested(Child(), depth, isolated=True), root_path=root_path)
    prefix = PREFIXES[depth]
    for path, seen in (("", "/"), ("/", "/"), ("/x", "/x"), ("/é", "/é")):
        answer = client.get(prefix + path)
        assert answer.json() == [root_path + prefix, seen, f"{root_path}{prefix}/there", ""]
    location = client.get(f"{prefix}/there", follow_redirects=False).headers["location"]
    assert location == f"{root_path}{prefix}/there"
    assert f"Path={root_path}{prefix}" in client.get(f"{prefix}/log_in").headers["set-cookie"]


class HandsOver(HttpMiddleware):
    """A hook that hands over what is below a prefix, as sub-applications are written with
    middleware.
    """

    def __init__(self, prefix: str, target: Any) -> None:
        self.prefix, self.target = prefix, target

    def before_request(self, request: Any) -> None:
        if request.path.startswith(self.prefix + "/"):
            request._subapp = self.target
            request._subapp_path = request.path.removeprefix(self.prefix)


@pytest.mark.parametrize("target", [wsgi, asgi])
def test_a_hook_may_hand_over_a_request(make_client: MakeClient, target: Any) -> None:
    app = App()
    app.middlewares.append(HandsOver("/sub", target))
    client = make_client(app)
    assert client.get("/sub/x/é").json() == ["/sub", "/x/é"]
    assert client.get("/other").status_code == 404


def test_a_hook_may_hand_over_a_request_to_an_app(make_client: MakeClient) -> None:
    app = App()
    app.middlewares.append(HandsOver("/sub", Child()))
    client = make_client(app)
    assert client.get("/sub/x").json() == ["/sub", "/x", "/sub/there", ""]


def test_a_hook_may_hand_over_another_path(make_client: MakeClient) -> None:
    class Rewrites(HttpMiddleware):
        def before_request(self, request: Any) -> None:
            request._subapp = wsgi
            request._subapp_path = "/elsewhere" if request.path == "/x" else None

    app = App()
    app.middlewares.append(Rewrites())
    client = make_client(app)
    assert client.get("/x").json() == ["", "/elsewhere"]
    assert client.get("/y").json() == ["", "/y"]


class SubApps(HttpMiddleware):
    """Hands over all that is at a prefix and below, as middleware does that knows ASGI's scope."""

    def __init__(self, prefix: str, target: Any, rest_of: Callable[[str], str]) -> None:
        self.prefix, self.target, self.rest_of = prefix, target, rest_of

    async def before_request(self, request: Any) -> None:
        path = request.scope["path"].lstrip("/")
        if path == self.prefix or path.startswith(self.prefix + "/"):
            request._subapp = self.target
            request._subapp_path = self.rest_of(path[len(self.prefix) :])

    async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("X-Around", str(status)))


@pytest.mark.parametrize("rest_of", [str, lambda rest: rest or "/", lambda rest: rest.lstrip("/")])
@pytest.mark.parametrize("target", [wsgi, asgi, Child()], ids=["wsgi", "asgi", "app"])
def test_middleware_may_mount_sub_applications(
    make_client: MakeClient, target: Any, rest_of: Any
) -> None:
    app = App()
    app.get("/")(lambda: "root")
    app.middlewares.append(SubApps("sub/app", target, rest_of))
    client = make_client(app)
    for path in ("", "/", "/x", "/x/é"):
        answer = client.get("/sub/app" + path)
        rest = path if path == "/" or rest_of(path)[:1] in ("", "/") else "/" + rest_of(path)
        rest = rest or rest_of(path)
        child = ["/sub/app", rest or "/", "/sub/app/there", ""]
        assert answer.json() == (child if isinstance(target, App) else ["/sub/app", rest]), path
        assert answer.headers["x-around"] == "200"
    assert client.get("/").text == "root"
    assert client.get("/sub/apple").status_code == 404


# -- servers that give a path decoded, and not as it came ------------------------------------------


def decoded_only(app: App) -> Any:
    """``app`` as a server calls it that has no raw path: wsgiref, granian's WSGI interface, ASGI
    without raw_path.
    """

    async def as_asgi(scope: Any, receive: Any, send: Any) -> None:
        await app({key: value for key, value in scope.items() if key != "raw_path"}, receive, send)

    def call(*arguments: Any) -> Any:
        if len(arguments) == 3:
            return as_asgi(*arguments)
        environ, start_response = arguments
        return app(
            {key: value for key, value in environ.items() if key != "RAW_URI"}, start_response
        )

    return call


@pytest.mark.parametrize(
    ("sent", "rest"),
    [
        ("/%252e%252e/secret", "/%2e%2e/secret"),
        ("/100%25", "/100%"),
        ("/a%3Fb%23c", "/a?b#c"),
        ("/%25C3%25A9/é", "/%C3%A9/é"),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/p"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("target", [wsgi, asgi])
def test_R75_a_path_is_decoded_once(
    make_client: MakeClient, target: Any, depth: int, root_path: str, sent: str, rest: str
) -> None:
    expected = [root_path + PREFIXES[depth], rest]
    for app in (nested(target, depth), decoded_only(nested(target, depth))):
        assert make_client(app, root_path=root_path).get(PREFIXES[depth] + sent).json() == expected


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_R75_an_isolated_application_decodes_a_path_once(
    make_client: MakeClient, depth: int
) -> None:
    prefix = PREFIXES[depth]
    for app in (
        nested(Child(), depth, isolated=True),
        decoded_only(nested(Child(), depth, isolated=True)),
    ):
        client = make_client(app)
        assert client.get(prefix + "/%252e%252e/secret").json()[:2] == [prefix, "/%2e%2e/secret"]


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("target", [wsgi, asgi, Child()], ids=["wsgi", "asgi", "app"])
def test_R75_a_doubly_escaped_path_is_not_routed_to_a_mount(
    make_client: MakeClient, target: Any, isolated: bool
) -> None:
    """A proxy that guards /m lets /%256D pass."""
    options = {"isolated": isolated} if isinstance(target, App) else {}
    for app in (nested(target, 0, **options), decoded_only(nested(target, 0, **options))):
        client = make_client(app)
        assert client.get("/%256D/x").status_code == 404
        assert client.get("/%6D/x").status_code == 200
