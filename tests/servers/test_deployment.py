"""The files of docs/deploy are true: the unit's commands serve the tutorial's blog, behind nginx
with that page's file.

``test_several_machines.py`` has the pages about several of them.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import requires, version
from pathlib import Path
from typing import IO, NamedTuple

import httpx2 as httpx
import pytest
from waitress.adjustments import Adjustments  # type: ignore[import-untyped]

from micropie.middleware import ProxyHeaders
from tests.support.commands import ended
from tests.support.environment import unmeasured
from tests.support.guard import guard_of
from tests.support.ports import free_port
from tests.support.redis_server import missing_program
from tests.support.waiting import END_WITHIN, PATIENCE, until

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


def text_of(page: str) -> str:
    return (DOCS / page).read_text()


def block(page: str, language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def program(name: str) -> str:
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") or missing_program(name)


class Site(NamedTuple):
    http: str
    https: str
    behind_balancer: str
    log: Path


# by uvicorn and by gunicorn
STARTS = re.findall(r"^ *ExecStart=(.*)", text_of("systemd.md"), re.MULTILINE)
HYPERCORN = re.findall(r"^    (hypercorn .*)$", text_of("each-server.md"), re.MULTILINE)


@pytest.fixture(
    scope="module",
    params=[
        *STARTS,
        STARTS[0].replace("h11", "httptools"),  # which is as safe behind nginx
        f"/srv/blog/.venv/bin/{HYPERCORN[0]}",
    ],
    ids=["uvicorn", "gunicorn", "httptools", "hypercorn"],
)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with ExitStack() as stack:
        # a short name, as that of a socket has to be
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shutil.copytree(ROOT / "examples" / "tutorial" / "step7", folder / "blog")
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[method-assign, assignment]
        unit.read_string(block("systemd.md", "ini"))
        service = unit["Service"]
        command = replaced(
            request.param,
            ("/srv/blog/.venv/bin/", f"{sys.executable} -m "),
            ("/run/blog/server.sock", f"{folder}/server.sock"),
        ).replace("--workers 2", "--workers 1")
        environment = replaced(service["Environment"], ("/var/lib/blog", str(folder)))
        log = stack.enter_context((folder / "log").open("wb"))
        variables = dict(pair.split("=") for pair in environment.split())
        stack.enter_context(running(shlex.split(command), folder / "blog", variables, log))
        ports = stack.enter_context(nginx_in(folder, log))
        plain, https, balanced = (f"http://127.0.0.1:{port}" for port in ports)
        site = Site(plain, https, balanced, folder / "log")
        until(lambda: is_ready(site.https))
        yield site


@contextmanager
def nginx_in(folder: Path, log: IO[bytes]) -> Iterator[tuple[int, int, int]]:
    """Run the page's nginx before ``server.sock`` in the folder.

    Yields the ports for http, for https (without TLS), and for a proxy in front.
    """
    ports = free_port(), free_port(), free_port()
    configuration = replaced(
        block("nginx.md", "nginx"),
        ("/run/blog/server.sock", f"{folder}/server.sock"),
        ("listen 80;", f"listen 127.0.0.1:{ports[0]};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{ports[1]};"),
    )
    configuration = re.sub(r"^ *ssl_certificate.*\n", "", configuration, flags=re.MULTILINE)
    configuration += behind_balancer(configuration, ports[2])
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, site=configuration, user=user))
    command = [program("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    with running(command, folder, {}, log):
        yield ports


def behind_balancer(configuration: str, port: int) -> str:
    """Return the page's second ``server`` with its lines for another proxy in front, on this machine."""
    address, scheme = re.findall(
        r"^(?: {4}set_real_ip_from.*\n(?: {4}.*\n)*| {4}proxy_set_header.*\n)",
        text_of("nginx.md").partition("### Two proxies\n")[2],
        re.MULTILINE,
    )
    server = configuration[configuration.rindex("server {") :]
    server = re.sub(r"listen .*;", f"listen 127.0.0.1:{port};", server)
    return replaced(
        server,
        ("    client_max_body_size", f"{address}    client_max_body_size"),
        ("198.51.100.0/24", "127.0.0.0/8"),
        ("    proxy_set_header X-Forwarded-Proto $scheme;\n", scheme),
    )


@contextmanager
def running(
    command: list[str], folder: Path, variables: dict[str, str], log: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command. What fails meanwhile tells what ``log`` has, too.

    The environment is that of the tests and ``variables``, or these alone if they have a PATH.
    """
    environment = variables if "PATH" in variables else unmeasured(**variables)
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stderr=log, stdout=log, start_new_session=True
    )
    guard = guard_of(process)
    try:
        yield process
    except BaseException as error:
        error.add_note(f"{command[0]} has written:\n{Path(log.name).read_text(errors='replace')}")
        raise
    finally:
        process.terminate()
        process.wait(END_WITHIN)
        guard.kill()
        guard.communicate()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=PATIENCE).status_code == 200
    except httpx.TransportError:
        return False


HOST = {"Host": "blog.example.com"}


def got(url: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=PATIENCE)


def test_the_blog_works_behind_nginx(site: Site) -> None:
    answer = got(f"{site.https}/", HOST)
    assert (answer.status_code, answer.headers["x-frame-options"]) == (200, "DENY")
    assert "My blog" in answer.text
    assert got(f"{site.https}/", {"Host": "evil.example"}).status_code == 400


def test_the_application_sees_the_client_s_address(site: Site) -> None:
    forged = {**HOST, "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    assert got(f"{site.https}/read/77", forged).status_code == 404
    until(lambda: "/read/77" in site.log.read_text())
    (line,) = [line for line in site.log.read_text().splitlines() if "/read/77" in line]
    assert "client=127.0.0.1 " in line


def test_the_application_sees_the_client_of_a_proxy_in_front_of_nginx(site: Site) -> None:
    sent = {**HOST, "X-Forwarded-For": "192.0.2.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    answer = got(f"{site.behind_balancer}/read/79", sent)
    assert "strict-transport-security" in answer.headers
    until(lambda: "/read/79" in site.log.read_text())
    (line,) = [line for line in site.log.read_text().splitlines() if "/read/79" in line]
    assert "client=203.0.113.9 " in line


class Received(NamedTuple):
    """nginx's address, and each request as nginx passed it on."""

    address: tuple[str, int]
    requests: list[bytes]

    def send(self, *headers: str, body: bytes = b"") -> bytes:
        """Send a request to nginx, and return what the server behind it gets."""
        head = ["GET / HTTP/1.1", "Host: blog.example.com", "Connection: close", *headers]
        with socket.create_connection(self.address, PATIENCE) as client:
            client.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 204 ")
        return self.requests.pop()


@pytest.fixture(scope="module")
def received() -> Iterator[Received]:
    """The page's nginx before a server that does nothing but to write down what it receives."""
    requests: list[bytes] = []

    class Recorder(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b"".join(iter(self.rfile.readline, b"\r\n"))
            length = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
            requests.append(head + self.rfile.read(int(length[1]) if length else 0))
            self.wfile.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        recorder = socketserver.ThreadingUnixStreamServer(f"{folder}/server.sock", Recorder)
        stack.enter_context(recorder)
        threading.Thread(target=recorder.serve_forever).start()
        stack.callback(recorder.shutdown)
        log = stack.enter_context((folder / "log").open("wb"))
        _, https, _ = stack.enter_context(nginx_in(folder, log))
        until(lambda: is_listening(("127.0.0.1", https)))
        yield Received(("127.0.0.1", https), requests)


def is_listening(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0


@pytest.mark.processes
def test_nginx_drops_trailers(received: Received) -> None:
    """So uvicorn with httptools is safe behind it."""
    body = b"1\r\na\r\n0\r\nX-Note: oat\r\n\r\n"
    got = received.send("X-Header: 1", "Transfer-Encoding: chunked", body=body)
    assert (b"\r\nX-Header: 1\r\n" in got, got.endswith(b"a")) == (True, True)
    assert b"X-Note" not in got


@pytest.mark.processes
def test_nginx_forwards_upgrade_for_websockets_only(received: Received) -> None:
    """A server that changed to another protocol would hide the client's requests from nginx."""
    for spelling in ("websocket", "WebSocket"):
        got = received.send(f"Upgrade: {spelling}")
        assert b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" in got
    for spelling in ("other", "Other/2", "websocket, other", "other, websocket", "websockets"):
        got = received.send(f"Upgrade: {spelling}")
        assert b"upgrade" not in got.lower(), spelling


def test_no_documented_nginx_forwards_every_upgrade() -> None:
    pages = [*ROOT.joinpath("docs").rglob("*.md"), *ROOT.joinpath("examples").rglob("nginx.conf")]
    lines = re.findall("proxy_set_header Upgrade .*", "".join(page.read_text() for page in pages))
    assert [line.split()[2] for line in lines] == ["$upgrade;"] * 2


def test_http_is_redirected_to_https(site: Site) -> None:
    answer = got(f"{site.http}/read/1?a=b", HOST)
    assert (answer.status_code, answer.headers["location"]) == (
        301,
        "https://blog.example.com/read/1?a=b",
    )


def test_the_container_image_starts_with_the_documented_commands() -> None:
    """The layers of the Dockerfile in a folder.

    Only the user is not made, and nothing is taken from an index.
    """
    blog, port = ROOT / "examples" / "tutorial" / "step7", free_port()
    lines = dict[str, list[str]]()
    for name, rest in re.findall(
        r"^([A-Z]+) (.*)$", block("containers.md", "dockerfile"), re.MULTILINE
    ):
        lines.setdefault(name, []).append(rest)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        variables = dict(
            pair.split("=") for pair in replaced(lines["ENV"][0], ("/var/lib/blog", place)).split()
        )
        variables |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"}
        assert lines["COPY"] == ["requirements.txt ./", "wheels wheels/", ". ."]
        shutil.copytree(blog, folder, dirs_exist_ok=True)
        # What pip would install beside the wheel, which docs/start/install.md makes.
        requirement = (folder / "requirements.txt").read_text().strip()
        assert (
            requirement
            == f"./wheels/micropie_dual-{version('micropie-dual')}-py3-none-any.whl[standard]"
        )
        assert any(
            re.match(r"uvicorn\b.*extra == .standard.", one)
            for one in requires("micropie-dual") or ()
        )
        assert lines["USER"][0].isdecimal()  # or Kubernetes can't know that it is not root
        assert f"useradd --uid {lines['USER'][0]} " in lines["RUN"][0]
        server, *options = json.loads(
            replaced(lines["CMD"][0], ("0.0.0.0", "127.0.0.1"), ("8000", str(port)))
        )
        python, *health_check = json.loads(
            replaced(lines["HEALTHCHECK"][0].removeprefix("CMD "), ("8000", str(port)))
        )
        assert python == "python"
        with (
            (folder / "log").open("wb") as log,
            running([sys.executable, "-m", server, *options], folder, variables, log),
        ):
            until(lambda: is_ready(f"http://127.0.0.1:{port}"))
            # not at once, because a health check fails after 2 s on a busy machine
            until(lambda: ended(sys.executable, *health_check, environ=variables).returncode == 0)


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian", "daphne", "gunicorn"])
def test_every_documented_option_exists(server: str) -> None:
    """The options of the servers' commands on these pages, and of those in the tutorial."""
    options = {
        option
        for command in commands(server)
        for option in re.findall(r"(?<= )--?[a-z][a-z-]*", command)
    }
    command = [sys.executable, "-m", server, "--help"]
    told = ended(*command)
    assert told.returncode == 0, told.stderr
    assert options
    assert not [
        option for option in options if not re.search(rf"(?<![\w-]){option}\b", told.stdout)
    ]


def test_every_documented_option_of_waitress_exists() -> None:
    for command in commands("waitress-serve"):
        options, rest = Adjustments.parse_args(shlex.split(command)[1:])
        assert len(rest) == 1, options


def commands(server: str) -> list[str]:
    pages = [
        *DOCS.glob("*.md"),
        ROOT / "docs" / "tutorial" / "deployment.md",
        ROOT / "docs" / "servers.md",
    ]
    text = "\n".join(page.read_text() for page in pages).replace('", "', " ")
    return re.findall(rf"(?:^ +|[`/ ])({server} (?:-|\w+:)[^`\n\]]*)", text, re.MULTILINE)


SAFE = {
    # A proxy may forward trailers, and FORWARDED_ALLOW_IPS may be in the environment.
    "uvicorn": ("--http h11", "--no-proxy-headers"),
    # A proxy may forward SCRIPT_NAME, as HAProxy does.
    "gunicorn.* -k gthread": ("--forwarder-headers none",),
    "waitress-serve": ("--no-clear-untrusted-proxy-headers",),
}


@pytest.mark.parametrize("server", SAFE)
def test_every_documented_command_has_the_safe_options(server: str) -> None:
    pages = [*DOCS.glob("*.md"), ROOT / "docs" / "tutorial" / "deployment.md"]
    pages += [ROOT / "examples" / name / "README.md" for name in ("cluster", "deploy")]
    pages.append(ROOT / "examples" / "cluster" / "app.py")
    text = "\n".join(page.read_text() for page in pages)
    text = re.sub(r'[\[\]",`]', "", text)  # some commands are lists
    commands = re.findall(rf"^(?=.*\bapp:app\b).*\b{server} .*", text, re.MULTILINE)
    assert commands
    for command in commands:
        assert all(f" {option} " in f"{command} " for option in SAFE[server]), command


def test_every_documented_ProxyHeaders_is_valid() -> None:
    texts = [page.read_text() for page in (ROOT / "docs").rglob("*.md")]
    written = set(re.findall(r"ProxyHeaders\(trusted=.*?\)", "\n".join(texts)))
    assert 'ProxyHeaders(trusted=["0.0.0.0/0", "::/0"], hops=1)' in written
    for text in written:
        eval(text, {"ProxyHeaders": ProxyHeaders})


UNITS = dict(
    re.findall(
        r"`/etc/systemd/system/(\S+)`:\n\n```ini\n(.*?)^```$",
        text_of("systemd.md"),
        re.MULTILINE | re.DOTALL,
    )
)


def test_systemd_finds_no_fault_with_the_units() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, unit in UNITS.items():
            Path(folder, name).write_text(
                unit.replace("/srv/blog/.venv/bin/uvicorn", sys.executable)
            )
        command = [
            program("systemd-analyze"),
            "verify",
            "--man=no",
            *(f"{folder}/{name}" for name in UNITS),
        ]
        checked = ended(*command)
    assert [line for line in checked.stderr.splitlines() if "blog." in line] == []
    assert (checked.returncode, [*UNITS]) == (0, ["blog.service", "blog.socket"])


def test_a_server_that_exits_with_0_is_restarted_each_time() -> None:
    """As hypercorn does when its trio worker has failed."""
    unit = UNITS["blog.service"].splitlines()
    assert "Restart=always" in unit
    assert unit.index("StartLimitIntervalSec=0") < unit.index("[Service]")
    assert "docker run --restart always" in text_of("containers.md")


def test_requests_wait_in_systemd_s_socket_until_gunicorn_has_started() -> None:
    with tempfile.TemporaryDirectory() as place:
        listen = re.findall(r"^ListenStream=(.*)$", UNITS["blog.socket"], re.MULTILINE)
        address = replaced(listen[0], ("/run/", f"{place}/"))
        activate = [
            program("systemd-socket-activate"),
            "--listen",
            address,
            f"--setenv=BLOG_DATA={place}",
            "--setenv=BLOG_PROXIES=unix",
        ]
        activate += [f"--setenv=PYTHONPATH={ROOT}", sys.executable, "-m"]
        line = replaced(
            STARTS[1],
            ("/srv/blog/.venv/bin/", ""),
            (" --bind unix:/run/blog/server.sock", ""),
            ("--workers 2", "--workers 1"),
        )
        with (
            Path(place, "log").open("wb") as log,
            running(
                [*activate, *shlex.split(line)], ROOT / "examples" / "tutorial" / "step7", {}, log
            ),
            httpx.Client(
                transport=httpx.HTTPTransport(uds=address, retries=3), timeout=PATIENCE
            ) as client,
        ):
            until(Path(address).exists)
            # a page, because a health check fails after 2 s on a busy machine
            assert "My blog" in client.get("http://localhost/").text
