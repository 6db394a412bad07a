"""The pages of docs/deploy about more than one machine: the shop behind HAProxy, and as a container
of Kubernetes.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx2 as httpx
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from micropie import Request
from micropie.testing import TestClient
from tests.servers.harness import ROOT
from tests.servers.test_deployment import block, program, replaced, running, text_of
from tests.servers.test_restart import SETTINGS
from tests.support.commands import ended
from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.waiting import PATIENCE, until

PAGE = "several-machines.md"
HOST = {"Host": "shop.example.com"}
HANDSHAKE = {
    "Connection": "upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


# One more route of the page's program: the client as the application sees it.
WHO = """
from micropie import request

app.get("/who")(lambda: f"{request.client.host} {request.scheme} {request.headers.get('x-note')}"
    f" {request.headers.get('upgrade')}")
"""
TRAILERS = b"1\r\na\r\n0\r\nX-Note: oat\r\n\r\n"


class Shop(NamedTuple):
    """The page's program in a folder, and Redis."""

    folder: Path
    variables: dict[str, str]

    @contextmanager
    def served(self, command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
        """Run a server as a machine does, until it is ready. It is asked by its address."""
        with ExitStack() as stack:
            log = stack.enter_context((self.folder / "log").open("ab"))
            command = [sys.executable, "-m", *command]
            process = stack.enter_context(running(command, self.folder, self.variables, log))
            until(lambda: status_of(f"http://127.0.0.1:{port}/readyz") == 200)
            yield process


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with tempfile.TemporaryDirectory() as place, redis_server(Path(place)) as redis:
        (Path(place) / "app.py").write_text(block(PAGE, "python") + WHO)
        variables = {"REDIS_URL": redis, "SECRET_KEY": "s" * 32, "PROXIES": "127.0.0.1"}
        yield Shop(Path(place), {**variables, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": place})


def status_of(url: str) -> int | None:
    try:
        return httpx.get(url, timeout=PATIENCE).status_code
    except httpx.TransportError:
        return None


class Balancer(NamedTuple):
    """HAProxy, with the configuration of the page."""

    folder: Path
    ports: list[int]

    def tell(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.folder / "admin.sock"))
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def column(self, name: str) -> dict[str, str]:
        """Return one column of ``show stat`` for each "backend/machine"."""
        head, *lines = self.tell("show stat").lstrip("# ").splitlines()
        rows = [dict(zip(head.split(","), line.split(","), strict=True)) for line in lines if line]
        return {f"{row['pxname']}/{row['svname']}": row[name] for row in rows}

    def get(
        self,
        address: str = "127.0.0.1",
        headers: dict[str, str] | None = None,
        *,
        tls: bool = True,
        times: int = 1,
    ) -> Any:
        """Ask for the page of the shop, from an address of this machine, on one connection.

        HAProxy sends a client's second request on a connection that another client has left.
        """
        answers = self.answers(address, [headers or {}] * times, tls=tls)
        return max(answers, key=lambda answer: answer.status_code)

    def answers(
        self, address: str, headers: Iterable[dict[str, str]], *, tls: bool = True
    ) -> list[httpx.Response]:
        """Ask with each of these headers in turn, on one connection."""
        url = (
            f"https://127.0.0.1:{self.ports[1]}/"
            if tls
            else f"http://127.0.0.1:{self.ports[0]}/?a=b"
        )
        transport = httpx.HTTPTransport(local_address=address, verify=False)
        with httpx.Client(transport=transport, timeout=PATIENCE) as client:
            return [client.get(url, headers={**HOST, **one}) for one in headers]

    def post_of_length(self, length: int) -> bytes:
        """Post five bytes, with another length than theirs."""
        return self.send("POST /", f"Content-Length: {length}", body=b"hello")

    def send(self, line: str, *headers: str, body: bytes) -> bytes:
        """Send one request as bytes, and return the answer."""
        head = [f"{line} HTTP/1.1", f"Host: {HOST['Host']}", "Connection: close", *headers]
        data = "\r\n".join(head).encode() + b"\r\n\r\n" + body
        context = ssl.create_default_context(cafile=str(self.folder / "shop.pem"))
        context.check_hostname = False
        address = "127.0.0.1", self.ports[1]
        with (
            socket.create_connection(address, timeout=PATIENCE) as plain,
            context.wrap_socket(plain) as connection,
        ):
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def balancer(folder: Path, machines: dict[str, int]) -> Iterator[Balancer]:
    """Run HAProxy in front of the machines."""
    ports = [free_port(), free_port()]
    subprocess.run(
        shlex.split(
            f"{program('openssl')} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch"
        )
        + shlex.split("-subj /CN=shop.example.com -keyout shop.pem.key -out shop.pem"),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    configuration = folder / "haproxy.cfg"
    configuration.write_text(
        replaced(
            block(PAGE, "text"),
            ("/run/haproxy/admin.sock", f"{folder}/admin.sock"),
            ("bind :80\n", f"bind 127.0.0.1:{ports[0]}\n"),
            ("bind :443 ", f"bind 127.0.0.1:{ports[1]} "),
            ("/etc/haproxy/shop.pem", f"{folder}/shop.pem"),
            *((address, f"127.0.0.1:{port}") for address, port in machines.items()),
        )
    )
    command = [program("haproxy"), "-db", "-f", str(configuration)]
    checked = ended(*command, "-c", check=True)
    assert "WARNING" not in checked.stdout + checked.stderr
    with (folder / "haproxy.log").open("wb") as log, running(command, folder, {}, log):
        found = Balancer(folder, ports)

        def is_ready() -> bool:
            # the socket's file exists before HAProxy listens
            with suppress(FileNotFoundError, ConnectionRefusedError):
                statuses = found.column("check_status")
                return {statuses[f"machines/{name}"] for name in "ab"} == {"L7OK"}
            return False

        until(is_ready)
        yield found


def test_the_shop_runs_on_two_machines_behind_haproxy(shop: Shop) -> None:
    commands = re.findall(r"^    ((?:uvicorn|gunicorn) app:app .*)$", text_of(PAGE), re.MULTILINE)
    machines = {address: free_port() for address in ("10.0.0.11:8000", "10.0.0.12:8000")}
    ports = list(machines.values())
    places = [
        ("--host 10.0.0.11 --port 8000", f"--host 127.0.0.1 --port {ports[0]}"),
        ("10.0.0.12:8000", f"127.0.0.1:{ports[1]}"),
    ]
    served = [
        partial(
            shop.served, shlex.split(replaced(command, place, ("--workers 2", "--workers 1"))), port
        )
        for command, place, port in zip(commands, places, ports, strict=True)
    ]
    drain, disable, enable, ready = re.findall(
        r"`((?:set server|disable health|enable health) [^`]+)`", text_of(PAGE)
    )
    with served[1](), ExitStack() as first:
        first.enter_context(served[0]())
        with balancer(shop.folder, machines) as proxy:
            page = proxy.get("127.0.0.2", {"X-Forwarded-For": "192.0.2.1"})
            assert (page.status_code, page.text) == (200, "hello")
            # it knows that it was asked by https
            assert "strict-transport-security" in page.headers
            # each client has a limit of its own, whatever it says of itself
            forged = (f"192.0.2.{number}" for number in count(2))

            def left(client: str, requests: int) -> int:
                lies = [{"X-Forwarded-For": next(forged)} for _ in range(requests)]
                return int(proxy.answers(client, lies)[-1].headers["ratelimit-remaining"])

            # A request counts for 0.6 seconds. To connect may take longer on a busy machine.
            until(lambda: left("127.0.0.2", 5) < 99)
            assert left("127.0.0.3", 1) == 99
            assert proxy.get(headers={"Host": "evil.example"}).status_code == 400
            for _ in range(4):  # both machines: HAProxy forwards trailers, which are no headers
                said = proxy.send("GET /who", "Transfer-Encoding: chunked", body=TRAILERS)
                assert said.endswith(b"\r\n\r\n127.0.0.1 https None None"), said
                # a server that upgraded the connection would hide its requests from HAProxy
                said = proxy.send("GET /who", "Connection: upgrade", "Upgrade: other", body=b"")
                assert said.endswith(b"\r\n\r\n127.0.0.1 https None None"), said
            refused = proxy.post_of_length(10**18)
            assert refused.startswith(b"HTTP/1.1 400 ")
            assert b"Your browser sent an invalid request" in refused  # HAProxy's own words
            assert proxy.post_of_length(5).startswith(b"HTTP/1.1 200 ")
            assert proxy.get(times=3).status_code == 200
            moved = proxy.get(tls=False)
            assert (moved.status_code, moved.headers["location"]) == (
                301,
                "https://shop.example.com/?a=b",
            )
            assert proxy.get(headers=HANDSHAKE).status_code == 404  # the shop has no WebSocket
            assert proxy.column("stot")["websockets/a"] == "1"

            answers = []
            for command in (drain, disable):
                assert proxy.tell(command).strip() == ""
            assert (
                proxy.column("status")["machines/a"]
                == proxy.column("status")["websockets/a"]
                == "DRAIN"
            )
            answers += [proxy.get().status_code for _ in range(4)]
            first.close()
            answers += [proxy.get().status_code for _ in range(4)]
            first.enter_context(served[0]())
            for command in (enable, ready):
                assert proxy.tell(command).strip() == ""
            until(lambda: proxy.column("check_status")["machines/a"] == "L7OK")
            asked = int(proxy.column("stot")["machines/a"])
            answers += [proxy.get().status_code for _ in range(4)]
            assert int(proxy.column("stot")["machines/a"]) > asked
            assert answers == [200] * 12
    assert "Traceback" not in (shop.folder / "log").read_text()


# -- Kubernetes ------------------------------------------------------------------------------------

MANIFESTS = {
    manifest["kind"]: manifest for manifest in yaml.safe_load_all(block("kubernetes.md", "yaml"))
}
POD = MANIFESTS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


def keep(request: Request) -> None:
    request.set_signed_cookie("user", "Ann")


def look(request: Request) -> str:
    return str(request.signed_cookie("user", "nobody"))


def test_a_secret_key_can_be_replaced_in_three_steps(shop: Shop) -> None:
    """Machine by machine, by the environment alone; in one step users would be logged out."""
    old, new = "old" * 11, "new" * 11

    def machine(key: str) -> TestClient:
        space: dict[str, Any] = {}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**shop.variables, "SECRET_KEY": key}.items():
                patch.setenv(name, value)
            exec(block(PAGE, "python"), space)
        app = space["app"]
        app.get("/keep")(keep)
        app.get("/look")(look)
        return TestClient(app, base_url="https://shop.example.com")

    def users(keys: tuple[str, str]) -> set[str]:
        """Return as whom each of two machines knows whoever has logged in at one of them."""
        with ExitStack() as stack:
            machines = [stack.enter_context(machine(key)) for key in keys]
            cookies = [one.get("/keep").headers["set-cookie"] for one in machines]
            return {
                one.get("/look", headers={"Cookie": cookie.partition(";")[0]}).text
                for one in machines
                for cookie in cookies
            }

    steps = [old, f"{old},{new}", f"{new},{old}", new]
    for before, after in pairwise(steps):
        assert users((before, before)) == users((after, before)) == users((after, after)) == {"Ann"}
    assert users((f"{new},{old}", old)) == {"Ann", "nobody"}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_kubernetes_manifests_match_their_schemas(kind: str) -> None:
    kubernetes_validate.validate(MANIFESTS[kind], kubernetes_validate.latest_version(), strict=True)


def test_the_pod_satisfies_the_restricted_security_level() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, "Restricted"."""
    assert POD["spec"]["automountServiceAccountToken"] is False
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert all({*volume} == {"name", "emptyDir"} for volume in POD["spec"]["volumes"])


def test_kubernetes_manifests_refer_to_each_other() -> None:
    assert "restartPolicy" not in POD["spec"]  # always, after exit code 0 as well
    labels = POD["metadata"]["labels"]
    assert MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    (port,), (service_port,) = CONTAINER["ports"], MANIFESTS["Service"]["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == {
        volume["name"] for volume in POD["spec"]["volumes"]
    }
    assert f"\nUSER {POD['spec']['securityContext']['runAsUser']}\n" in block(
        "containers.md", "dockerfile"
    )


def test_a_container_responds_to_its_probes_and_ends_immediately(shop: Shop) -> None:
    (container_port,), port = CONTAINER["ports"], free_port()
    assert {one["name"] for one in CONTAINER["env"]} == {"PROXIES", "REDIS_URL", "SECRET_KEY"}
    assert all(f'"{one["name"]}"' in block(PAGE, "python") for one in CONTAINER["env"])
    words = json.dumps(CONTAINER["command"])
    words = replaced(
        words, ("0.0.0.0", "127.0.0.1"), (f'"{container_port["containerPort"]}"', f'"{port}"')
    )
    with shop.served(json.loads(words), port) as process:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = CONTAINER[probe]["httpGet"]
            assert asked["port"] == container_port["name"]
            assert status_of(f"http://127.0.0.1:{port}{asked['path']}") == 200
        process.send_signal(signal.SIGTERM)
        process.wait(POD["spec"]["terminationGracePeriodSeconds"])
    assert "Application shutdown complete" in (shop.folder / "log").read_text()


GRACES = [
    "uvicorn",
    "granian-asgi",
    "gunicorn-asgi",
    "gunicorn-gthread",
    "hypercorn-trio",
    "waitress",
]


def test_kubernetes_waits_longer_than_each_server() -> None:
    grace = CONTAINER["command"][CONTAINER["command"].index("--timeout-graceful-shutdown") + 1]
    waits = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    rows = re.findall(
        r"^\|`(.*?)`.*\|(\d+) s.*\|([\d +]+)\|(\d+)\|$",
        text_of("kubernetes.md"),
        re.MULTILINE,
    )
    for name, (command, seconds, parts, total) in zip(GRACES, rows, strict=True):
        # with which test_restart.py ends it
        assert command.endswith(" ".join(SETTINGS[name][1].split()[-2:]))
        assert parts == f"{waits} + {seconds} + 10"
        assert int(total) == waits + int(seconds) + 10
    assert (rows[0][1], int(rows[0][3])) == (grace, POD["spec"]["terminationGracePeriodSeconds"])
