"""``App(docs=True)``: the document and the page for it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any, cast

import pytest

from micropie import App, Request, SetupError, describe, get
from micropie.middleware import SecurityHeaders
from micropie.openapi import Docs
from micropie.openapi.document import build_document
from tests.openapi.kitchen import Kitchen
from tests.support.clients import MakeClient


def test_the_openapi_document_is_served(make_client: MakeClient) -> None:
    app = Kitchen(docs=True)
    answer = make_client(app).get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == app.openapi()
    assert not {"/openapi.json", "/docs"} & app.openapi()["paths"].keys()


@pytest.mark.parametrize(
    ("docs", "path"), [(True, "/docs"), ("/api/help", "/api/help"), ("/api/", "/api")]
)
def test_the_docs_page_loads_its_assets_from_the_same_site(
    make_client: MakeClient, docs: Any, path: str
) -> None:
    client = make_client(Kitchen(docs=docs))
    page = client.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links == [
        f"{path}/{name}"
        for name in ("favicon-32x32.png", "swagger-ui.css", "start.js", "swagger-ui-bundle.js")
    ]
    assert "<title>Kitchen</title>" in page.text
    assert 'data-document="/openapi.json"' in page.text
    kinds = [client.get(link).headers["content-type"].partition(";")[0] for link in links]
    assert kinds == ["image/png", "text/css", "text/javascript", "text/javascript"]
    assert client.get(f"{path}/index.html").status_code == 404


def test_the_docs_page_needs_no_inline_script_or_style(make_client: MakeClient) -> None:
    app = Kitchen(docs=True)
    app.middlewares.append(SecurityHeaders(csp="default-src 'self'; img-src 'self' data:"))
    page = make_client(app).get("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert not re.search(r"<script>|<style|style=|onload=", page.text)


def test_the_title_of_the_docs_page_is_escaped(make_client: MakeClient) -> None:
    app = type("<b>", (App,), {})(docs=True)
    assert "<title>&lt;b&gt;</title>" in make_client(app).get("/docs").text


@pytest.mark.parametrize("prefix", ["/kitchen", "/@ann"])  # as the path of a session's cookie
def test_below_a_prefix_the_docs_page_s_urls_include_it(
    make_client: MakeClient, prefix: str
) -> None:
    root = App()
    root.mount(prefix, Kitchen(docs=True))
    client = make_client(root)
    assert f'data-document="{prefix}/openapi.json"' in client.get(f"{prefix}/docs").text
    assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": prefix}]
    assert client.get(f"{prefix}/docs/start.js").status_code == 200


def test_the_document_is_built_once_and_again_after_a_change(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[App] = []

    def counted(app: App, docs: Docs) -> dict[str, Any]:
        built.append(app)
        return build_document(app, docs)

    monkeypatch.setattr("micropie.openapi.pages.build_document", counted)
    app = Kitchen(docs=True)
    client = make_client(app)
    first = client.get("/openapi.json").json()
    assert client.get("/openapi.json").json() == first
    assert len(built) == 1
    app.get("/added")(lambda: "late")
    assert client.get("/openapi.json").json()["paths"].keys() - first["paths"].keys() == {"/added"}
    assert len(built) == 2


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json"])
def test_a_caller_may_change_its_copy_of_the_document(make_client: MakeClient, path: str) -> None:
    app = Kitchen(docs=Docs(asyncapi="/channels"))
    client = make_client(app)
    served = client.get(path).json()
    read = app.openapi if path == "/openapi.json" else app.asyncapi
    document = read()
    document["info"]["title"] = "changed"
    for part in document.values():
        if isinstance(part, dict | list):
            part.clear()
    assert client.get(path).json() == served
    assert read()["info"] == served["info"]


def test_an_application_mounted_twice_has_a_document_for_each_place(
    make_client: MakeClient,
) -> None:
    class Blog(App):
        def index(self) -> str:
            return self.url_for("index")

    blog, root = Blog(docs=True), App()
    root.mount("/one", blog)
    root.mount("/two/three", blog)
    client = make_client(root)
    for path in ("/one", "/two/three", "/one"):
        document = client.get(f"{path}/openapi.json").json()
        assert (document["servers"], [*document["paths"]]) == ([{"url": path}], ["/"])
        assert f'data-document="{path}/openapi.json"' in client.get(f"{path}/docs").text


def test_the_document_itself_can_be_described_and_protected(make_client: MakeClient) -> None:
    def members(request: Request) -> bool:
        return request.query.get("key") == "sesame"

    servers = ["https://api.example.org"]
    docs = Docs(
        path="/help",
        title="Pies & more",
        version="2.1",
        description="Hot.",
        servers=servers,
        requires=[members],
    )
    app = Kitchen(docs=docs)
    client = make_client(app)
    document = client.get("/openapi.json?key=sesame").json()
    assert document["info"] == {"title": "Pies & more", "version": "2.1", "description": "Hot."}
    assert document["servers"] == [{"url": "https://api.example.org"}]
    assert document == app.openapi()
    found = app.openapi("Other", "3")["info"]
    assert found == {"title": "Other", "version": "3", "description": "Hot."}
    assert "<title>Pies &amp; more</title>" in client.get("/help?key=sesame").text
    assert [
        client.get(path).status_code for path in ("/help", "/openapi.json", "/help/start.js")
    ] == [403] * 3
    assert client.get("/pies/1").status_code != 403
    root = App()
    root.mount("/kitchen", Kitchen(docs=Docs(servers=servers)))
    assert make_client(root).get("/kitchen/openapi.json").json()["servers"] == document["servers"]


def test_without_the_setting_there_are_no_docs(make_client: MakeClient) -> None:
    client = make_client(App())
    assert [client.get(path).status_code for path in ("/docs", "/openapi.json")] == [404, 404]


@pytest.mark.parametrize("wrong", [1, None, "docs", "/", "", "/<x>", ["/docs"]])
def test_an_invalid_path_raises_an_error(wrong: Any) -> None:
    with pytest.raises(SetupError, match="docs"):
        App(docs=wrong)


def test_without_swagger_ui_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micropie.openapi.pages.find_spec", lambda name: None)
    with pytest.raises(
        SetupError, match=r"pip install path/to/micropie/swagger-ui, .*Docs\(assets="
    ):
        App(docs=True)
    assert importlib.util.find_spec("micropie_swagger_ui") is not None


def test_a_handler_serves_the_document_without_swagger_ui(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micropie.openapi.pages.find_spec", lambda name: None)

    class Pies(App):
        @get("/pies")
        def pies(self) -> list[str]:
            return ["apple"]

        @get("/openapi.json")
        @describe(include_in_schema=False)
        def document(self) -> dict[str, Any]:
            return self.openapi()

    document = make_client(Pies()).get("/openapi.json").json()
    assert document == Pies().openapi()
    assert document["paths"].keys() == {"/pies"}


def test_docs_may_use_another_directory_of_swagger_ui(
    make_client: MakeClient, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match=r"Docs\(assets=\.\.\.\) takes a directory, not 1"):
        App(docs=Docs(assets=cast("Any", 1)))
    with pytest.raises(SetupError, match=r"no swagger-ui\.css and no swagger-ui-bundle\.js in /"):
        App(docs=Docs(assets=tmp_path))
    (tmp_path / "swagger-ui.css").write_text("main {}")
    (tmp_path / "other.js").write_text("")
    with pytest.raises(SetupError, match=r"there is no swagger-ui-bundle\.js in /"):
        App(docs=Docs(assets=str(tmp_path)))
    (tmp_path / "swagger-ui-bundle.js").write_text("")
    client = make_client(App(docs=Docs(assets=str(tmp_path))))
    assert client.get("/docs/swagger-ui.css").text == "main {}"
    assert client.get("/docs/other.js").status_code == 404
