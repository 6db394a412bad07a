"""The files of docs/deploy are true: the unit's command serves the tutorial's blog, behind nginx with that page's file."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import httpx
import pytest
from waitress.adjustments import Adjustments  # type: ignore[import-untyped]

from tests.support.guard import guard_of
from tests.support.ports import free_port
from tests.support.redis_server import missing_program
from tests.support.waiting import PATIENCE, until

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs" / "deploy"

AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
{user}
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


def block(page: str, language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


class Site(NamedTuple):
    http: str
    https: str
    log: Path


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if nginx is None:
        missing_program("nginx")
    ports = free_port(), free_port()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # a short name, as that of a socket has to be
        shutil.copytree(ROOT / "examples" / "tutorial" / "step7", folder / "blog")
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[method-assign, assignment]
        unit.read_string(block("systemd.md", "ini"))
        service = unit["Service"]
        command = replaced(
            service["ExecStart"],
            ("/srv/blog/.venv/bin/uvicorn", f"{sys.executable} -m uvicorn"),
            ("/run/blog/server.sock", f"{folder}/server.sock"),
            ("--workers 2", "--workers 1"),
        )
        environment = replaced(service["Environment"], ("/var/lib/blog", str(folder)))
        log = stack.enter_context((folder / "log").open("wb"))
        variables = dict(pair.split("=") for pair in environment.split())
        stack.enter_context(running(shlex.split(command), folder / "blog", variables, log))
        configuration = replaced(
            block("nginx.md", "nginx"),
            ("/run/blog/server.sock", f"{folder}/server.sock"),
            ("listen 80;", f"listen 127.0.0.1:{ports[0]};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{ports[1]};"),
        )
        configuration = re.sub(r"^ *ssl_certificate.*\n", "", configuration, flags=re.MULTILINE)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, site=configuration, user=user))
        stack.enter_context(running([nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder, {}, log))
        site = Site(f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", folder / "log")
        until(lambda: is_ready(site.https))
        yield site


@contextmanager
def running(command: list[str], folder: Path, variables: dict[str, str], log: IO[bytes]) -> Iterator[None]:
    environment = {**os.environ, **variables}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=log, stdout=log, start_new_session=True)
    guard = guard_of(process)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)
        guard.kill()
        guard.communicate()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


HOST = {"Host": "blog.example.com"}


def test_the_blog_answers_behind_nginx(site: Site) -> None:
    answer = httpx.get(f"{site.https}/", headers=HOST)
    assert (answer.status_code, answer.headers["x-frame-options"]) == (200, "DENY")
    assert "My blog" in answer.text
    assert httpx.get(f"{site.https}/", headers={"Host": "evil.example"}).status_code == 400


def test_the_application_knows_the_client(site: Site) -> None:
    forged = {**HOST, "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    assert httpx.get(f"{site.https}/read/77", headers=forged).status_code == 404
    until(lambda: "/read/77" in site.log.read_text())
    (line,) = [line for line in site.log.read_text().splitlines() if "/read/77" in line]
    assert "client=127.0.0.1 " in line


def test_http_leads_to_https(site: Site) -> None:
    answer = httpx.get(f"{site.http}/read/1?a=b", headers=HOST)
    assert (answer.status_code, answer.headers["location"]) == (301, "https://blog.example.com/read/1?a=b")


def test_the_health_check_of_the_image_succeeds(site: Site) -> None:
    found = re.search(r"^HEALTHCHECK CMD (.*)$", block("containers.md", "dockerfile"), re.MULTILINE)
    assert found is not None
    _, *arguments = json.loads(found[1])
    arguments[-1] = replaced(arguments[-1], ("http://127.0.0.1:8000", site.https))
    assert subprocess.run([sys.executable, *arguments], check=False).returncode == 0


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian", "daphne", "gunicorn"])
def test_every_option_exists(server: str) -> None:
    """The options of the servers' commands on these pages, and of those in the tutorial."""
    options = {option for command in commands(server) for option in re.findall(r"(?<= )--?[a-z][a-z-]*", command)}
    shown = subprocess.run([sys.executable, "-m", server, "--help"], capture_output=True, text=True, check=True).stdout
    assert options
    assert not [option for option in options if not re.search(rf"(?<![\w-]){option}\b", shown)]


def test_every_option_of_waitress_exists() -> None:
    for command in commands("waitress-serve"):
        options, rest = Adjustments.parse_args(shlex.split(command)[1:])
        assert len(rest) == 1, options


def commands(server: str) -> list[str]:
    pages = [*DOCS.glob("*.md"), ROOT / "docs" / "tutorial" / "deployment.md", ROOT / "docs" / "servers.md"]
    text = "\n".join(page.read_text() for page in pages).replace('", "', " ")
    return re.findall(rf"(?:^ +|[`/ ])({server} (?:-|\w+:)[^`\n\]]*)", text, re.MULTILINE)


def test_the_unit_can_be_read_and_probes_ask_what_the_blog_answers() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        with tempfile.TemporaryDirectory() as folder:
            unit = Path(folder, "blog.service")
            unit.write_text(block("systemd.md", "ini").replace("/srv/blog/.venv/bin/uvicorn", sys.executable))
            checked = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
            assert not [line for line in checked.stderr.splitlines() if "blog.service:" in line and "Unknown" in line]
    for name in re.findall(r"^COPY (\S+) \./$", block("containers.md", "dockerfile"), re.MULTILINE):
        assert (ROOT / "examples" / "tutorial" / "step7" / name).exists()
    assert "readinessProbe: {httpGet: {path: /healthz" in block("containers.md", "yaml")
