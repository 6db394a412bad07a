"""``static_url``: the fingerprint in a file's address, and how long browsers keep what they find
there.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from micropie import App, template
from micropie._core.files import fingerprints, lookup, recent, static
from micropie._core.files.lookup import open_resolved
from tests.support.clients import MakeClient

STYLE = b"body {color: brown}"
FOR_EVER = "public, max-age=31536000, immutable"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    (tmp_path / "css").mkdir()
    (tmp_path / "css/site.css").write_bytes(STYLE)
    (tmp_path / "css/site.css.gz").write_bytes(gzip.compress(STYLE))
    (tmp_path / "\xe9 \xfc.js").write_bytes(b"1")
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known from another test, and what is found out stays fresh until
    ``a_second_passes``.
    """
    fingerprints.KNOWN.clear()
    monkeypatch.setattr(recent, "FRESH_FOR", 3600.0)
    monkeypatch.setattr(lookup, "_STEP", -(1 << 62))  # files do not have to settle


def a_second_passes() -> None:
    known = fingerprints.KNOWN._entries
    for place, (digits, size, _) in [*known.items()]:
        known[place] = digits, size, 0.0


class Root(App):
    def links(self) -> Any:
        return [self.static_url("css/site.css"), self.request.static_url("css/site.css")]

    def index(self) -> str:
        return template(source="{{ static_url('css/site.css') }}")


def site(assets: Path, **options: Any) -> Root:
    app = Root()
    app.static("/static", assets, **options)
    return app


@pytest.mark.parametrize("root_path", ["", "/a b"])
def test_a_file_s_url_has_its_fingerprint(
    make_client: MakeClient, assets: Path, root_path: str
) -> None:
    client = make_client(site(assets), root_path=root_path)
    url = f"{root_path.replace(' ', '%20')}/static/css/site.css?v={digest(STYLE)}"
    assert client.get("/links").json() == [url, url]
    assert client.get("/").text == url
    target, headers = {"target": url.encode()}, {"Accept-Encoding": "identity"}
    answer = client.get("/", headers=headers, extensions=target)
    assert (answer.content, answer.headers["cache-control"]) == (STYLE, FOR_EVER)
    again = client.get(
        "/", headers={"If-None-Match": answer.headers["etag"], **headers}, extensions=target
    )
    assert (again.status_code, again.headers["cache-control"]) == (304, FOR_EVER)


@pytest.mark.parametrize("options", [{}, {"max_age": 60}, {"cached": True}])
def test_only_the_file_s_own_fingerprint_is_cached_forever(
    make_client: MakeClient, assets: Path, options: dict[str, Any]
) -> None:
    """A page of the next release may ask a server of this one: what that has must not be kept as
    the new file.
    """
    client = make_client(site(assets, **options))
    plain = "public, max-age=60" if "max_age" in options else "no-cache"
    found = {
        query: client.get(f"/static/css/site.css{query}").headers["cache-control"]
        for query in (
            "",
            "?x=1",
            f"?v={digest(STYLE)}",
            "?v=",
            f"?v={digest(b'new')}",
            f"?v={digest(STYLE)}&x",
            "?v=%ff",
        )
    }
    assert found.pop("") == found.pop("?x=1") == plain
    assert found.pop(f"?v={digest(STYLE)}") == FOR_EVER
    assert {*found.values()} == {"no-cache"}


def test_a_personal_file_is_not_stored_by_shared_caches(
    make_client: MakeClient, assets: Path
) -> None:
    app = site(assets)
    answer = make_client(app).get(
        app.static_url("css/site.css"), headers={"Authorization": "Basic eA=="}
    )
    assert answer.headers["cache-control"] == FOR_EVER.replace("public", "private")


def test_the_author_s_cache_control_takes_precedence(make_client: MakeClient, assets: Path) -> None:
    app = site(assets, headers={"Cache-Control": "no-store"})
    found = make_client(app).get(app.static_url("css/site.css")).headers["cache-control"]
    assert found == "no-store"


@pytest.mark.parametrize("accepts", ["identity", "gzip"])
def test_a_compressed_file_has_the_original_file_s_fingerprint(
    make_client: MakeClient, assets: Path, accepts: str
) -> None:
    app = site(assets)
    headers = {"Accept-Encoding": accepts}
    with make_client(app).stream("GET", app.static_url("css/site.css"), headers=headers) as answer:
        assert answer.headers["cache-control"] == FOR_EVER
        assert answer.headers.get("content-encoding", "identity") == accepts


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_changed_file_is_noticed_a_second_later(
    make_client: MakeClient, assets: Path, is_packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_packed:
        (assets / "css/site.css.gz").unlink()
    read = []

    def counted(*arguments: Any) -> int:
        read.append(arguments)
        return open_resolved(*arguments)

    monkeypatch.setattr(fingerprints, "open_resolved", counted)
    app = site(assets)
    client, old = make_client(app), app.static_url("css/site.css")
    a_second_passes()
    assert app.static_url("css/site.css") == old
    assert len(read) == 1  # it was looked at, and has not changed
    (assets / "css/site.css").write_bytes(b"new")
    os.utime(assets / "css/site.css", ns=(1, 1))
    assert app.static_url("css/site.css") == old
    a_second_passes()
    assert app.static_url("css/site.css").endswith(digest(b"new"))
    assert client.get(old).headers["cache-control"] == "no-cache"
    assert len(read) == 2


def test_the_disk_is_accessed_in_a_step(assets: Path, make_client: MakeClient) -> None:
    app = site(assets)
    client, url = make_client(app), app.static_url("css/site.css")
    for _ in range(2):
        a_second_passes()  # nothing is known for certain when the request comes
        assert client.get(url).headers["cache-control"] == FOR_EVER
    (assets / "css/site.css").unlink()
    a_second_passes()
    assert client.get(url).status_code == 404


def test_inner_applications_have_their_own_files(make_client: MakeClient, assets: Path) -> None:
    root, inner, other = site(assets), site(assets / "css"), Root()
    root.inner, root.other = inner, other
    root.static("/media", assets, name="media")
    assert make_client(root).get("/other/links").json()[0].startswith("/static/css/site.css?v=")
    assert inner.static_url("site.css") == f"/inner/static/site.css?v={digest(STYLE)}"
    found = inner.static_url("\xe9 \xfc.js", name="/media")
    assert found == f"/media/%C3%A9%20%C3%BC.js?v={digest(b'1')}"
    assert root.static_url("site.css", name="inner.static") == inner.static_url("site.css")


def test_an_external_link_has_its_target_s_fingerprint_if_links_are_followed(
    make_client: MakeClient, assets: Path
) -> None:
    (assets / "css/linked.js").symlink_to("../\xe9 \xfc.js")
    app = site(assets / "css", follow_symlinks=True)
    url = app.static_url("linked.js")
    assert url.endswith(digest(b"1"))
    answer = make_client(app).get(url)
    assert (answer.content, answer.headers["cache-control"]) == (b"1", FOR_EVER)
    with pytest.raises(LookupError, match="there is no file"):
        site(assets / "css").static_url("linked.js")


@pytest.mark.parametrize("path", ["nowhere.css", "css", "../secret", "/etc/passwd", ""])
def test_a_missing_file_raises_an_error(assets: Path, path: str) -> None:
    with pytest.raises((LookupError, ValueError), match=r"there is no file|does not match"):
        site(assets).static_url(path)


def test_a_route_without_files_raises_an_error(assets: Path) -> None:
    with pytest.raises(
        LookupError, match=r"name='links'\) matches no app.static\(prefix, directory"
    ):
        site(assets).static_url("css/site.css", name="links")
    with pytest.raises(LookupError, match="there is no route named 'static'"):
        Root().static_url("css/site.css")


def test_static_url_in_a_template_needs_an_application() -> None:
    for name in ("url_for", "absolute_url_for", "static_url"):
        with pytest.raises(LookupError, match="links need an App"):
            template(source="{{ " + name + "('x') }}")


def test_fingerprints_are_bounded(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "KNOWN", recent.Recent(2))
    for number in range(5):
        (assets / str(number)).write_bytes(b"x")
        assert fingerprints.fingerprint((str(assets), str(number), False))[0] == digest(b"x")
    assert len(fingerprints.KNOWN._entries) == 2


def test_a_file_replaced_during_reading_has_no_fingerprint(
    assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not be taken for that of the old file, which a link may bring back."""

    def replace_and_open(*arguments: Any) -> int:
        (assets / "new").write_bytes(b"new")
        (assets / "new").replace(assets / "css/site.css")
        return open_resolved(*arguments)

    app = site(assets)
    with monkeypatch.context() as patch:
        patch.setattr(fingerprints, "open_resolved", replace_and_open)
        assert app.static_url("css/site.css").endswith("?v=")
    assert app.static_url("css/site.css").endswith(digest(b"new"))


@pytest.mark.parametrize("accepts", ["identity", "gzip"])
@pytest.mark.parametrize("cached", [False, True])
def test_only_bytes_of_the_fingerprinted_version_are_cached(
    make_client: MakeClient, assets: Path, cached: bool, accepts: str
) -> None:
    """The bytes in memory and the fingerprint are each of a moment ago: one of them may have seen a
    release.
    """
    app = site(assets, cached=cached)
    client = make_client(app, headers={"Accept-Encoding": accepts})
    old = app.static_url("css/site.css")
    assert client.get("/static/css/site.css").content == STYLE  # now in memory, if ``cached``
    (assets / "css/site.css").write_bytes(b"new")
    (assets / "css/site.css.gz").write_bytes(gzip.compress(b"new"))
    answer = client.get(old)
    assert (answer.headers["cache-control"] == FOR_EVER) == (answer.content == STYLE)
    a_second_passes()
    answer = client.get(app.static_url("css/site.css"))
    assert (answer.headers["cache-control"] == FOR_EVER) == (answer.content == b"new")


@pytest.mark.parametrize("max_age", [None, 60])
def test_a_client_cannot_cause_a_large_file_to_be_read(
    make_client: MakeClient, assets: Path, monkeypatch: pytest.MonkeyPatch, max_age: int | None
) -> None:
    monkeypatch.setattr(static, "LARGEST_REQUESTED", len(STYLE) - 1)
    app = site(assets, max_age=max_age)
    client, url = make_client(app), f"/static/css/site.css?v={digest(STYLE)}"
    for asked in (url, "/static/css/site.css?v="):
        assert client.get(asked).headers["cache-control"] == "no-cache"
    assert app.static_url("css/site.css") == url  # the author may
    assert client.get(url).headers["cache-control"] == FOR_EVER


def test_a_constantly_changing_file_is_not_read_for_each_request(
    make_client: MakeClient, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request would read it, because its fingerprint isn't stored."""
    monkeypatch.setattr(lookup, "_STEP", 1 << 62)
    monkeypatch.setattr(fingerprints, "LARGEST_NEW", len(STYLE) - 1)
    monkeypatch.setattr(fingerprints, "_digest", pytest.fail)
    client = make_client(site(assets))
    answer = client.head(f"/static/css/site.css?v={digest(STYLE)}")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
