"""Each threat in tests/project/risks/threat-model.md has tests, and these exist. What docs/security.md
says of where its promises end is so.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from micropie import App, Response
from micropie.middleware import SecurityDefaults
from micropie.sessions import InMemorySessionBackend, SignedCookieSessionBackend
from tests.support.clients import MakeClient

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
MODEL = (TESTS / "project" / "risks" / "threat-model.md").read_text()
KINDS = (
    "Spoofing",
    "Tampering",
    "Repudiation",
    "Information disclosure",
    "Denial of service",
    "Elevation of privilege",
)

_ROWS = re.findall(r"^\|[^|]+\|[^|]+\|(?P<tests>[^|]+)\|$", MODEL, re.MULTILINE)
THREATS = [
    row.strip()
    for row in _ROWS
    if row.strip() not in ("tests", "---", "it leaves") and "`" in row and "::" in row
]


def test_every_kind_of_threat_is_covered() -> None:
    for kind, following in zip(KINDS, [*KINDS[1:], None], strict=True):
        section = MODEL[
            MODEL.index(f"## {kind}") : MODEL.index(f"## {following}") if following else None
        ]
        rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
        assert len(rows) >= 3, f"{kind} has fewer threats than it had: restore their rows"
        for row in rows:
            assert "::test_" in row, row


def test_the_page_lists_each_dependency_s_trust() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = [one for ones in (project["dependencies"], *extras.values()) for one in ones]
    names = {re.split(r"[\[<>=;]", one)[0].lower() for one in named} - {"micropie-dual"}
    page = (ROOT / "docs" / "security.md").read_text()
    section = page.partition("## What dependencies are trusted with")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|([^|]+)\|[^|]+\|$", section, re.MULTILINE)
    listed = {name.lower() for row in rows for name in row.split(", ")}
    assert names - listed == set()


def test_tests_named_on_the_page_exist() -> None:
    named = {name for row in THREATS for name in re.findall(r"`([^`]+)`", row)}
    assert len(named) > 60, "the search finds too few tests in the table: correct it"
    missing = set()
    for name in named:
        file, _, test = name.partition("::")
        path = (ROOT if file.startswith("compat/") else TESTS) / file
        if (
            not path.is_file()
            or re.search(rf"^(?:async )?def {test}\(", path.read_text(), re.MULTILINE) is None
        ):
            missing.add(name)
    assert missing == set()


# -- where promises end: a failure may be a promise that has become wider ---------------------------


class Site(App):
    def index(self) -> str:
        return str(self.request.session.get("user"))

    def log_in(self) -> str:
        self.request.session["user"] = "ann"
        self.request.session.regenerate()
        return "in"

    def log_out(self) -> str:
        self.request.session.clear()
        return "out"

    def away(self) -> Response:
        return Response("", 303, {"Location": "https://other.example/"})


def test_only_trusted_hosts_of_the_defaults_apply_to_an_isolated_application(
    make_client: MakeClient,
) -> None:
    app = Site(security=SecurityDefaults("example.com"))
    app.mount("/alone", Site(), isolated=True)
    client = make_client(app, base_url="https://example.com")
    foreign = {"Origin": "https://other.example"}
    for path, status, frame in (("/", 403, "DENY"), ("/alone", 200, None)):
        assert client.get(path, headers={"Host": "other.example"}).status_code == 400
        assert client.post(path, headers=foreign).status_code == status
        assert client.get(path).headers.get("x-frame-options") == frame


def test_behind_an_unlisted_proxy_requests_count_as_http(
    make_client: MakeClient,
) -> None:
    app = Site(security=SecurityDefaults("example.com"), session_backend=InMemorySessionBackend())
    client = make_client(app, base_url="http://example.com")
    told = {"X-Forwarded-Proto": "https", "Origin": "https://example.com"}
    answer = client.get("/log_in", headers=told)
    assert "strict-transport-security" not in answer.headers
    assert answer.headers["set-cookie"].startswith("session_id=")
    assert "Secure" not in answer.headers["set-cookie"]
    assert client.post("/log_in", headers=told).status_code == 403


def test_a_location_set_as_a_header_may_be_any_url(make_client: MakeClient) -> None:
    answer = make_client(Site()).get("/away", follow_redirects=False)
    assert answer.headers["location"] == "https://other.example/"


def test_a_copy_of_a_cookie_session_is_valid_after_logout(
    make_client: MakeClient,
) -> None:
    app = Site(session_backend=SignedCookieSessionBackend("secret" * 8))
    client = make_client(app, base_url="https://example.com")
    client.get("/log_in")
    [(name, value)] = client.cookies.items()
    client.get("/log_in")
    client.get("/log_out")
    assert client.get("/").text == "None"
    client.cookies.clear()
    assert client.get("/", headers={"Cookie": f"{name}={value}"}).text == "ann"
