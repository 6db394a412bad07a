"""Answers of handlers that the client has already: ETag and Last-Modified, RFC 9110, section 13."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from micropie import App, HTTPError, Redirect, post, put
from tests.support.clients import MakeClient


class Versioned(App):
    async def tag(self) -> str | None:
        return None if self.request.not_modified(etag='pie "ä" 7%') else "pie"

    def date(self, aware: bool = True) -> str | None:
        modified = datetime(2026, 5, 1, 12, 30, 15, 999, UTC if aware else None)
        return None if self.request.not_modified(modified=modified) else "pie"

    def breaks(self, status: int) -> str | None:
        headers = self.response.headers
        headers["X-Kept"] = "yes"
        headers["content-security-policy"] = "default-src 'self'"
        headers["Content-Language"] = "de"
        headers["accept-ranges"] = "bytes"
        if self.request.not_modified(etag="1", modified=datetime(2026, 5, 1)):
            return None
        raise Redirect("/") if status == 303 else HTTPError(status)

    @post
    def change(self) -> str:
        return str(self.request.not_modified(etag="1"))


TAG = '"pie %22%C3%A4%22 7%25"'


def test_a_handler_may_send_a_304_by_its_etag(make_client: MakeClient) -> None:
    client = make_client(Versioned())
    first = client.get("/tag")
    seen = (first.status_code, first.text, first.headers["ETag"])
    assert seen == (200, "pie", TAG.replace(" ", "%20"))
    for known in (first.headers["ETag"], f'"other", W/{first.headers["ETag"]}', "*"):
        again = client.get("/tag", headers={"If-None-Match": known})
        found = (again.status_code, again.text, again.headers["ETag"])
        assert found == (304, "", first.headers["ETag"])
    assert client.head("/tag", headers={"If-None-Match": "*"}).status_code == 304
    assert client.get("/tag", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/date", "/date?aware=false"])
def test_a_handler_may_send_a_304_by_its_date(make_client: MakeClient, path: str) -> None:
    client = make_client(Versioned())
    first = client.get(path)
    assert (first.text, first.headers["Last-Modified"]) == ("pie", "Fri, 01 May 2026 12:30:15 GMT")
    assert (
        client.get(path, headers={"If-Modified-Since": first.headers["Last-Modified"]}).status_code
        == 304
    )
    assert (
        client.get(path, headers={"If-Modified-Since": "Fri, 01 May 2026 12:30:14 GMT"}).status_code
        == 200
    )
    for other in ('"x"', ""):
        assert client.get(path, headers={"If-None-Match": other}).status_code == 200


@pytest.mark.parametrize("status", [503, 404, 303])
def test_an_error_has_no_validators_of_the_page(make_client: MakeClient, status: int) -> None:
    client = make_client(Versioned())
    answer = client.get(f"/breaks/{status}", follow_redirects=False)
    assert (answer.status_code, answer.headers["x-kept"]) == (status, "yes")
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    names = {"etag", "last-modified", "accept-ranges", "content-language"}
    assert names.isdisjoint(answer.headers)
    assert client.get(f"/breaks/{status}", headers={"If-None-Match": '"1"'}).status_code == 304


def test_only_get_and_head_get_a_304(make_client: MakeClient) -> None:
    answer = make_client(Versioned()).post("/change", headers={"If-None-Match": '"1"'})
    assert (answer.status_code, answer.text, answer.headers["ETag"]) == (200, "False", '"1"')


class Wrong(App):
    def date(self) -> str:
        return str(self.request.not_modified(modified=1.5))  # type: ignore[arg-type]

    def tag(self) -> str:
        return str(self.request.not_modified(etag=7))  # type: ignore[arg-type]

    def change(self) -> None:
        self.request.check_precondition(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            "/date",
            "modified=...) takes a datetime, not 1.5: for seconds, write datetime.fromtimestamp(seconds",
        ),
        ("/tag", "an etag must be a str, not 7: write etag=str(...)"),
        ("/change", "an etag must be a str, not 7: write etag=str(...)"),
    ],
)
def test_an_etag_or_date_of_the_wrong_type_raises_an_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, words: str
) -> None:
    client = make_client(Wrong(), raise_app_exceptions=False)
    assert client.get(path).status_code == 500
    assert words in caplog.text


class Stored(App):
    """A resource of one version, and a place where there is none yet."""

    @put
    def one(self) -> str:
        self.request.check_precondition("7 ä")
        return "changed"

    @put
    def careful(self) -> str:
        self.request.check_precondition("7 ä", required=True)
        return "changed"

    @put
    def absent(self) -> str:
        self.request.check_precondition(None, required=True)
        return "made"


MINE, OTHER = '"7%20%C3%A4"', '"8"'


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/one", {}, 200),
        ("/one", {"If-Match": MINE}, 200),
        ("/one", {"If-Match": f"{OTHER}, W/{MINE}"}, 200),
        ("/one", {"If-Match": "*"}, 200),
        ("/one", {"If-Match": OTHER}, 412),
        ("/one", {"If-Match": ""}, 412),
        ("/one", {"If-None-Match": "*"}, 412),
        ("/one", {"If-None-Match": MINE}, 412),
        ("/one", {"If-None-Match": OTHER}, 200),
        ("/one", {"If-Match": MINE, "If-None-Match": "*"}, 412),
        ("/careful", {}, 428),
        ("/careful", {"If-None-Match": OTHER}, 428),
        ("/careful", {"If-Match": MINE}, 200),
        ("/absent", {}, 200),
        ("/absent", {"If-None-Match": "*"}, 200),
        ("/absent", {"If-Match": "*"}, 412),
        ("/absent", {"If-Match": MINE}, 412),
    ],
)
def test_if_match_protects_a_change_to_an_outdated_version(
    make_client: MakeClient, path: str, headers: dict[str, str], status: int
) -> None:
    assert make_client(Stored()).put(path, headers=headers).status_code == status
