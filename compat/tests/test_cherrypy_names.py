"""Names of CherryPy's private modules that programs use, and the media types of files."""

from __future__ import annotations

import logging
import mimetypes
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import cherrypy as original
import pytest

from micropie_compat import cherrypy as ours
from micropie_compat.missing import advice_for
from tests.support.clients import MakeClient

FRAMEWORKS = pytest.mark.parametrize("cherrypy", [original, ours], ids=["original", "ours"])


@FRAMEWORKS
def test_the_recipe_for_rotating_logs_works(
    connect: MakeClient, tmp_path: Path, cherrypy: Any
) -> None:
    """It is in CherryPy's documentation."""

    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return "text"

    app = cherrypy.Application(Root(), "")
    handler = RotatingFileHandler(tmp_path / "access.log", "a", 10_000, 5)
    handler.setLevel(logging.DEBUG)
    handler.setFormatter(cherrypy._cplogging.logfmt)
    app.log.access_log.addHandler(handler)
    connect(app, "wsgi").get("/")
    handler.close()
    assert '"GET / HTTP/1.1" 200 4' in (tmp_path / "access.log").read_text()


class Pages:
    def __init__(self, cherrypy: Any) -> None:
        self.count = 0
        self._cp_config = {"tools.caching.on": True}

        @cherrypy.expose
        def index() -> str:
            self.count += 1
            return str(self.count)

        self.index = index


@FRAMEWORKS
def test_the_cache_is_shared_with_the_original_s_name(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch, cherrypy: Any
) -> None:
    for framework in (original, ours):
        monkeypatch.setattr(framework, "_cache", None, raising=False)
    if cherrypy is original:
        monkeypatch.delattr(original, "_cache")
    client = connect(cherrypy.Application(Pages(cherrypy), ""), "wsgi")
    assert [client.get("/").text for _ in range(2)] == ["1", "1"]
    cherrypy._cache.clear()
    assert client.get("/").text == "2"
    mine = cherrypy.lib.caching.MemoryCache()
    monkeypatch.setattr(cherrypy, "_cache", mine)
    assert [client.get("/").text for _ in range(2)] == ["3", "3"]
    assert cherrypy._cache is mine


def test_check_does_not_report_an_existing_name_as_missing() -> None:
    assert advice_for("cherrypy", "cherrypy._cache.clear") is None
    assert advice_for("cherrypy", "cherrypy._cplogging.logfmt") is None


def site(cherrypy: Any, folder: Path) -> Any:
    """Serve a folder in each way that CherryPy has."""

    class Root:
        @cherrypy.expose
        def file(self, name: str) -> Any:
            return cherrypy.lib.static.serve_file(str(folder / name))

        @cherrypy.expose
        def inline(self, name: str) -> Any:
            return cherrypy.lib.static.serve_file(str(folder / name), disposition="inline")

    files = {
        f"/one/{path.name}": {
            "tools.staticfile.on": True,
            "tools.staticfile.filename": str(path),
        }
        for path in folder.iterdir()
    }
    static = {"tools.staticdir.on": True, "tools.staticdir.dir": str(folder)}
    return cherrypy.Application(Root(), "", {"/all": static, **files})


WAYS = ["/all/", "/one/", "/file?name=", "/inline?name="]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.webp", "image/webp"),
        ("a.woff", "font/woff"),
        ("a.woff2", "font/woff2"),
        ("a.ttf", "font/ttf"),
        ("a.otf", "font/otf"),
        ("a.eot", "application/vnd.ms-fontobject"),
        ("a.glb", "model/gltf-binary"),
        ("a.oga", "audio/ogg"),
        ("a.mpd", "application/dash+xml"),
        ("a.flac", "audio/flac"),
        ("a.ogg", "audio/ogg"),
        ("a.md", "text/markdown"),
        ("a.yaml", "application/yaml"),
        ("a.epub", "application/epub+zip"),
        ("a.mkv", "video/x-matroska"),
        ("a.rtf", "application/rtf"),
        ("a.7z", "application/x-7z-compressed"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.JS", "text/javascript"),
        ("a.mjs", "text/javascript"),
        ("a.ico", "image/x-icon"),
        ("a.dwg", "image/x-dwg"),
        ("a.xml", "text/xml"),
        ("a.html", "text/html"),
        ("a.tar.gz", "application/gzip"),
        ("a.unknown", "application/octet-stream"),
        ("none", "application/octet-stream"),
    ],
)
def test_static_files_have_the_original_s_media_types(
    connect: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    way: str,
    name: str,
    kind: str,
) -> None:
    # The original has changed the list of this process.
    fresh = dict(mimetypes.MimeTypes().types_map[True])
    monkeypatch.setattr(mimetypes, "types_map", fresh)
    (tmp_path / name).write_bytes(b"x")
    client = connect(site(ours, tmp_path), "wsgi")
    assert client.get(f"{way}{name}").headers["Content-Type"].partition(";")[0] == kind


@FRAMEWORKS
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "kind"), [("a.cjs", "text/javascript"), ("a.js", "text/x-mine"), ("a.PIE", "text/pie")]
)
def test_a_program_may_add_media_types_while_it_runs(
    connect: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cherrypy: Any,
    way: str,
    name: str,
    kind: str,
) -> None:
    """They may be added while the site serves."""
    mimetypes.init()
    types = mimetypes.types_map
    monkeypatch.setattr(mimetypes._db, "types_map", ({}, dict(types)))  # type: ignore[attr-defined]
    monkeypatch.setattr(mimetypes._db, "types_map_inv", ({}, {}))  # type: ignore[attr-defined]
    monkeypatch.setattr(mimetypes, "types_map", mimetypes._db.types_map[True])  # type: ignore[attr-defined]
    (tmp_path / name).write_bytes(b"x")
    client = connect(site(cherrypy, tmp_path), "wsgi")
    before = client.get(f"{way}{name}").headers.get("Content-Type")
    assert before != kind
    mimetypes.add_type(kind, Path(name).suffix.lower())
    assert client.get(f"{way}{name}").headers["Content-Type"].partition(";")[0] == kind


def test_the_machine_s_own_media_types_are_ignored(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The site sends the same on every machine."""
    listed = tmp_path / "mime.types"
    listed.write_text("text/html unknown\ntext/x-mine pie\n")
    monkeypatch.setattr(mimetypes, "knownfiles", [str(listed), str(tmp_path / "none")])
    changed = {**mimetypes.types_map, ".unknown": "text/html", ".pie": "text/pie"}
    monkeypatch.setattr(mimetypes, "types_map", changed)
    ours.lib.static._types.cache_clear()
    try:
        (tmp_path / "a.unknown").write_bytes(b"x")
        (tmp_path / "a.pie").write_bytes(b"x")
        client = connect(site(ours, tmp_path), "wsgi")
        kinds = [client.get(f"/all/a.{end}").headers["Content-Type"] for end in ("unknown", "pie")]
        assert kinds == ["application/octet-stream", "text/pie"]
    finally:
        ours.lib.static._types.cache_clear()
