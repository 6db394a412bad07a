"""Programs for MicroPie that depend on what differs: what they get here, and what ``micropie check
--from micropie`` reports of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micropie.cli.check import changes
from tests.support.clients import MakeClient

HOOKS = """
from micropie import App, HttpMiddleware

class LogIn(HttpMiddleware):
    async def before_request(self, request):
        if "user" not in request.query_params:
            return {"status_code": 401, "body": "Log in."}

    async def after_request(self, request, status_code, response_body, extra_headers):
        pass

class First(HttpMiddleware):
    async def before_request(self, request):
        request.began = 1
        request.scope["path"] = "/other"

    async def after_request(self, request, status_code, response_body, extra_headers):
        return {"body": f"{response_body}{request.began}{request.method}"}

class Second(HttpMiddleware):
    async def after_request(self, request, status_code, response_body, extra_headers):
        return {"body": f"{response_body}2"}

class Third(HttpMiddleware):
    async def before_request(self, *arguments):
        arguments[0].path_params = []

class Root(App):
    async def index(self):
        return "x"

app = Root()
app.middlewares.extend([LogIn(), First(), Second()])
"""

HANDLERS = """
from micropie import App, Server, current_request, escape
from MicroPie import Server as Old

class Root(App):
    async def index(self, username="Anonymous", *, age="7", city="", size=3):
        return f"by {username}"

    async def required(self, name):
        return f"<{name}>"

    async def default(self):
        return "default"

    async def upload(self, file, *more):
        return file.get("filename") or self.request.path_params or {}.get("name")

    async def segments(self):
        return self.request.path_params

    async def away(self):
        return self._redirect("https://other.example/")

    async def _hidden(self, a="b"):
        return await self._send_response(self, 200, "x")

class Inner(Root):
    def run(self):
        return self._redirect("/run")

async def page():
    return "page"

app = Inner()
other = object()
app.page = page
app.text = "page"
other.page = page
"""


def reported(folder: Path, source: str) -> dict[str, str]:
    """Return what ``check`` reports of a program, each by its line and name."""
    (folder / "program.py").write_text(source.lstrip())
    return {
        f"{one.line} {one.name}": one.advice.partition(":")[0]
        for one in changes("micropie", folder)
    }


OTHERS = """
from micropie import App, HttpMiddleware, WebSocket

class Visits(HttpMiddleware):
    async def before_request(self, request):
        request.session = {"a": 1}
        request.state.began = 1

    async def after_request(self, request, status_code, response_body, extra_headers):
        return {"headers": [("X-A", str(request.session["a"]))]}

class Root(App):
    async def short(self, code):
        url = self.urls[code]
        if code == "a":
            return self._redirect(self.urls[code])
        if code == "b":
            return self._redirect(f"https://{code}.example/")
        if code == "c":
            return self._redirect(f"/page/{code}")
        if code == "d":
            return self._redirect("/page")
        return self._redirect(url)

    async def again(self):
        return self._redirect(location=self.urls["again"], extra_headers=[])

async def talk(scope, receive, send):
    ws = WebSocket(receive, send)
"""


def test_check_recognises_redirects_by_a_variable(tmp_path: Path) -> None:
    """And nothing about what a request has in any case, such as its session."""
    assert reported(tmp_path, OTHERS) == {
        "15 _redirect(self.urls[code])": "if it may lead to another host, "
        "write Redirect(location, allow_external=True)",
        "17 _redirect(f'https://{code}.example/')": "write Redirect(location, allow_external=True)",
        "22 _redirect(url)": "if it may lead to another host, "
        "write Redirect(location, allow_external=True)",
        "25 _redirect(self.urls['again'])": "if it may lead to another host, "
        "write Redirect(location, allow_external=True)",
        "28 WebSocket": "write async def ws_name(self, ws)",
    }


@pytest.mark.parametrize(
    ("address", "may_leave"),
    [
        ("query.get('next')", True),
        ("base + '/page'", True),
        ("f'{base}/page'", True),
        ("'{}/page'.format(base)", True),
        ("'//' + host", True),
        ("'/page?id=' + name", False),
        ("'/page/{}'.format(name)", False),
        ("'/page/%s' % name", False),
        ("f'page/{name}'", False),
        ("'login'", False),
        ("'?page=2'", False),
    ],
)
def test_check_recognises_redirects_that_may_leave_the_site(
    tmp_path: Path, address: str, may_leave: bool
) -> None:
    assert len(reported(tmp_path, f"self._redirect({address})")) == may_leave


def test_check_reports_differences_of_hooks(make_client: MakeClient, tmp_path: Path) -> None:
    later = "if another hook responds early, after_request runs without before_request"
    order = "micropie runs after_request hooks in the reverse order of app.middlewares"
    assert reported(tmp_path, HOOKS) == {
        '14 scope["path"]': "setting the path in a hook doesn't change which handler runs",
        "17 request.began": later,
        "16 after_request": order,
        "20 after_request": order,
        "25 path_params": "it is read-only",
    }
    names: dict[str, Any] = {"__name__": "program"}
    exec(HOOKS.replace('request.scope["path"] = "/other"', ""), names)
    client = make_client(names["app"])
    assert client.get("/?user=ann").text == "x21GET"
    assert client.get("/none?user=ann").text.endswith("21GET")
    assert client.get("/").status_code == 500
    exec(HOOKS.replace("request.began}", "getattr(request, 'began', '?')}"), names)
    answer = make_client(names["app"]).get("/")
    assert (answer.status_code, answer.text) == (401, "Log in.2?GET")


def test_check_reports_differences_of_handlers(make_client: MakeClient, tmp_path: Path) -> None:
    field = 'for an empty field, the parameter gets "", not its default'
    assert reported(tmp_path, HANDLERS) == {
        "1 current_request": "it is internal to MicroPie",
        "2 MicroPie": 'write "from micropie import Server"',
        "5 index(age)": field,
        "5 index(username)": field,
        "11 default": "micropie reserves this name for the handler of unknown paths",
        "15 get('filename')": "for an upload, write upload.filename",
        "18 path_params": "if the path has a segment that no parameter takes, the response is a 404",
        "24 _send_response": "return the response",
        "27 run": "App uses that name",
        "35 app.page": 'write @app.route("/page") above the function',
        "21 _redirect('https://other.example/')": "write Redirect(location, allow_external=True)",
    }


def test_check_follows_classes_into_other_modules(tmp_path: Path) -> None:
    files = {
        "base": "import micropie as m\nclass Site(m.App): pass\nclass Hook(m.HttpMiddleware): pass\n",
        "pages": "from base import Site as Base\nclass Pages(Base[int]):\n def default(self): ...\n",
        "relative": "from .pages import Pages\nclass Shop(Pages):\n def run(self): ...\n",
        "program": "import pages\ndef page(): ...\napp = pages.Pages()\napp.page = page\n",
        "other": "from none import Site2\nclass Unknown(Site2, Other[int]):\n def run(self): ...\n",
        "hooks": (
            "import base\nclass Timer(base.Hook):\n"
            " def before_request(self, request): request.began = 1\n"
            " def after_request(self, request, *_): print(request.began)\n"
        ),
    }
    for name, source in files.items():
        (tmp_path / f"{name}.py").write_text(source)
    assert [(one.file.stem, one.line, one.name) for one in changes("micropie", tmp_path)] == [
        ("hooks", 4, "request.began"),
        ("pages", 3, "default"),
        ("program", 4, "app.page"),
        ("relative", 3, "run"),
    ]


UPLOADS = """
from micropie import App

class Root(App):
    async def save(self, picture):
        note = self.request.get_json
        for part in self.request.files.values():
            pass
        sent = self.request.files["a"]
        form, profile = self.request.body_params, self.request.session
        profile.get("content")
        picture.get("filename")
        sent.get("content_type")
        self.request.files["a"].get("filename", "")
        form.get("content", [""])[0]
        note.get("content")
        self.request.query_params.get("filename")

    def _store(self, upload):
        return upload.get("content")
"""


def test_check_takes_no_form_for_an_upload(tmp_path: Path) -> None:
    """Nor JSON: "content" is the name of many fields."""
    assert [*reported(tmp_path, UPLOADS)] == [
        "11 get('filename')",
        "12 get('content_type')",
        "13 get('filename')",
        "19 get('content')",
    ]


@pytest.mark.parametrize("text", ["class", "def f(:", "a" + "+a" * 20_000])
def test_check_reports_an_unreadable_file(tmp_path: Path, text: str) -> None:
    assert [*reported(tmp_path, text)] == ["1 syntax"]


PROGRAM = """
from micropie import App

class Root(App):
    async def form(self, username="Anonymous"):
        return f"by {username}"

    async def required(self, name):
        return f"<{name}>"

    async def default(self, *segments):
        return "default"

    async def upload(self, file):
        return f"{file['filename']} {file.filename}"

    async def segments(self):
        return self.request.path_params

app = Root()
"""


def test_migrated_handlers_get_the_documented_values(make_client: MakeClient) -> None:
    names: dict[str, Any] = {"__name__": "program"}
    exec(PROGRAM, names)
    client = make_client(names["app"])
    assert client.post("/form", data={"username": ""}).text == "by "
    assert client.post("/required", data={"name": ""}).text == "<>"
    assert client.get("/none").text == "default"
    assert client.post("/upload", files={"file": ("a.txt", b"a")}).text == "a.txt a.txt"
    assert client.get("/segments/a").status_code == 404
