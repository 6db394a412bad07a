"""The cluster: machines with two workers each, a Redis, a balancer without sticky sessions, and a
Dask cluster.

balancer (HAProxy) -> a (uvicorn), b (gunicorn -k gthread), c (uvicorn), ... -> redis, dask
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.servers.cluster.network import (
    Loopback,
    Network,
    accepts,
    children_of,
    connections_to,
    family_of,
    processor_seconds,
)
from tests.support.environment import unmeasured
from tests.support.guard import guard_of
from tests.support.redis_server import REDIS_SERVER

ROOT = Path(__file__).parents[3]
HOST = "cluster.test"
WORKERS = 2  # of each machine
PATIENCE = 60.0  # seconds for anything to start on a busy machine
GRACE = 10  # seconds that a server has to end

# Idle connections of the balancer are closed by the balancer, after 5 seconds: a server that closes
# them first may do so in the moment in which the next request is sent.
SERVERS = {
    "uvicorn": "uvicorn --host {address} --port 8000 --workers {workers} --http h11 --no-proxy-headers --no-access-log "
    f"--timeout-keep-alive 75 --timeout-graceful-shutdown {GRACE} --log-level warning",
    "gunicorn": "gunicorn -c python:micropie.wsgi.gunicorn --bind {address}:8000 --workers {workers} -k gthread --threads 64 --keep-alive 75 --backlog 2048 "
    f"--graceful-timeout {GRACE} --no-control-socket --forwarder-headers=none --log-level warning",
}
IS_ASGI = {"uvicorn"}

BALANCER = """
global
    stats socket {directory}/haproxy.sock mode 600 level admin expose-fd listeners
    maxconn 8000
    hard-stop-after 60s
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    option dontlog-normal
    timeout connect 1s
    timeout client 60s
    timeout server 30s
    timeout queue 5s
    timeout check 2s
    timeout tunnel 1h
    timeout http-keep-alive 60s
    # Another machine is tried if a connection could not be made: the request has not been sent then.
    option redispatch 1
    retries 3
    retry-on conn-failure
    # A reload leaves idle connections to the client, who may be about to use them.
    option idle-close-on-response
    option forwardfor
frontend web
    bind {address}:80
    acl websocket req.hdr(Upgrade) -i websocket
    http-request set-header Upgrade websocket if websocket
    http-request del-header Upgrade unless websocket
    use_backend websockets if websocket
    default_backend machines
backend machines
    balance roundrobin
    option httpchk
    http-check send meth GET uri /livez ver HTTP/1.1 hdr Host {host}
    # Who waits for a machine that is gone is told so at once.
    default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{machines}
backend websockets
    balance leastconn
    default-server on-marked-down shutdown-sessions
{asgi}
"""


class Footprint(NamedTuple):
    """What the workers of all machines take."""

    megabytes: float
    descriptors: int
    """Those beside ``redis``."""
    redis: int
    """Connections to Redis, which each worker keeps: as many as it has used at the same time."""


NOTHING = Footprint(0, 0, 0)


class Cluster:
    """All parts of it.

    ``start`` starts those that ``SERVERS`` and ``dask`` ask for, ``close`` ends them. Each machine
    has so many ``workers``.
    """

    def __init__(
        self,
        network: Network,
        directory: Path,
        servers: Sequence[str],
        dask_workers: int = 0,
        workers: int = WORKERS,
    ) -> None:
        self.workers = workers
        self.network = network
        self.directory = directory
        self._dask_workers = dask_workers
        addresses = {name: network.add(name) for name in ("balancer", "redis", "dask")}
        self.redis = Redis(self, addresses["redis"])
        self.balancer = Balancer(self, addresses["balancer"])
        self.dask = Dask(self, addresses["dask"])
        names = [chr(ord("a") + number) for number in range(len(servers))]
        self.machines = [
            Machine(self, name, server) for name, server in zip(names, servers, strict=True)
        ]

    def start(self) -> None:
        """Start everything, and wait until it answers."""
        self.redis.start()
        if self._dask_workers:
            self.dask.start(self._dask_workers)
        for machine in self.machines:
            machine.start()
        for machine in self.machines:
            machine.wait_until_ready()
        self.balancer.start()

    def processor_seconds(self) -> dict[str, float]:
        """Return what each kind of process has computed so far."""
        processes = {
            "workers": [worker for machine in self.machines for worker in machine.workers()],
            "balancer": [
                one for process in self.balancer.processes for one in family_of(process.pid)
            ],
            "redis": [process.pid for process in self.redis.processes],
        }
        return {name: sum(map(processor_seconds, numbers)) for name, numbers in processes.items()}

    def footprint(self) -> Footprint:
        """Return what the workers take now."""
        workers = [worker for machine in self.machines for worker in machine.workers()]
        pages = descriptors = connections = 0
        for worker in workers:
            with suppress(FileNotFoundError, ProcessLookupError):
                pages += int(Path(f"/proc/{worker}/statm").read_text().split()[1])
                descriptors += len(os.listdir(f"/proc/{worker}/fd"))
                connections += connections_to(worker, self.redis.port)
        return Footprint(
            pages * os.sysconf("SC_PAGE_SIZE") / 2**20, descriptors - connections, connections
        )

    def close(self) -> None:
        """End everything at once, without manners."""
        for part in (self.balancer, *self.machines, self.dask, self.redis):
            part.kill()
        self.network.close()

    def family(self, name: str) -> list[int]:
        """Return the processes of the machine ``name``."""
        parts: list[Part] = [
            part for part in (self.redis, self.dask, *self.machines) if part.name == name
        ]
        return [
            one for part in parts for process in part.processes for one in family_of(process.pid)
        ]


class Part:
    """Processes on one machine. Their output is in ``directory/NAME.log``."""

    def __init__(self, cluster: Cluster, name: str, address: str) -> None:
        self.cluster = cluster
        self.name = name
        self.address = address
        self.processes: list[subprocess.Popen[bytes]] = []
        self._guards: list[subprocess.Popen[bytes]] = []
        self._log: IO[bytes] | None = None

    def run(
        self, command: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process on this machine."""
        if self._log is None:
            self._log = (self.cluster.directory / f"{self.name}.log").open("ab")
        process = subprocess.Popen(
            self.cluster.network.command(self.name, command),
            cwd=ROOT,
            env={**unmeasured(PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1"), **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self.processes.append(process)
        # namespaces end with the process that made them
        if isinstance(self.cluster.network, Loopback):
            self._guards.append(guard_of(process))
        return process

    def log(self) -> str:
        """Return what its processes have written."""
        return (self.cluster.directory / f"{self.name}.log").read_text(errors="replace")

    def kill(self) -> None:
        """End its processes with SIGKILL."""
        for process in self.processes:
            for one in reversed(family_of(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            process.wait()
        self.processes.clear()
        for guard in self._guards:
            guard.kill()
            guard.communicate()
        if self._log is not None:
            self._log.close()
            self._log = None

    def await_true(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for ``condition``.

        Raises ``TimeoutError`` with the log if it takes too long, or a process ends.
        """
        deadline = time.monotonic() + PATIENCE
        while not condition():
            ended = [process for process in self.processes if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.name} {'has ended' if ended else 'is too slow'}: {what}\n{self.log()[-3000:]}"
                )
            time.sleep(0.05)


class Machine(Part):
    """A machine with two workers of the application."""

    def __init__(self, cluster: Cluster, name: str, server: str) -> None:
        super().__init__(cluster, name, cluster.network.add(name))
        self.server = server
        self.temporary = cluster.directory / f"tmp-{name}"
        self.temporary.mkdir()
        self.environ: dict[str, str] = {}

    def start(self) -> None:
        """Start its server; ``wait_until_ready`` waits for the workers."""
        words = SERVERS[self.server].format(address=self.address, workers=self.cluster.workers)
        command = [sys.executable, "-m", *words.split()]
        environ = {
            "MACHINE": self.name,
            "REDIS_URL": self.cluster.redis.url,
            "HOSTS": HOST,
            "PROXIES": self.cluster.balancer.address,
            "TMPDIR": str(self.temporary),
            **({"SCHEDULER": self.cluster.dask.url} if self.cluster.dask.processes else {}),
            **self.environ,
        }
        self.run([*command, "examples.cluster.app:app"], environ)

    def wait_until_ready(self) -> None:
        """Wait until each of the workers accepts connections, and one has answered."""
        self.await_true(
            lambda: (
                len(self.workers()) == self.cluster.workers and all(map(accepts, self.workers()))
            ),
            "workers are missing",
        )
        self.await_true(self._answers, "it does not answer")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self.address, 8000, timeout=2)
        try:
            connection.request("GET", "/who", headers={"Host": HOST})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Return its worker processes, which serve requests."""
        if self.server == "uvicorn" and self.cluster.workers == 1:
            return [process.pid for process in self.processes]
        found = []
        for process in self.processes:
            for child in children_of(process.pid):
                with suppress(FileNotFoundError, ProcessLookupError):
                    if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(child)
        return sorted(found)

    def stop(self) -> None:
        """End its server as a service manager does: SIGTERM, and wait."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(GRACE + PATIENCE)
        self.processes.clear()

    def restart(self) -> None:
        """Restart the server without a lost request: no new ones, stop, start, wait, new ones
        again.
        """
        self.cluster.balancer.drain(self.name)
        self.stop()
        self.start()
        self.wait_until_ready()
        self.cluster.balancer.resume(self.name)


class Redis(Part):
    """A redis-server that writes what it has to a file, as one with sessions must."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        super().__init__(cluster, "redis", address)
        self.url = f"redis://{address}:6379/0"
        self.port = 6379

    def start(self) -> None:
        """Start it, with what it has written before."""
        options = f"--bind {self.address} --port 6379 --protected-mode no --save '' --appendonly yes --appendfsync everysec"
        arguments = options.replace("''", "|").split()
        command = [
            REDIS_SERVER,
            *(word.replace("|", "") for word in arguments),
            "--dir",
            str(self.cluster.directory),
        ]
        self.run(command)
        self.await_true(lambda: self.ask("PING") == "+PONG", "it does not listen")

    def ask(self, *words: str) -> str:
        """Send a command by a connection of its own, and return the first line of the answer; ""
        without one.
        """
        with suppress(OSError), socket.create_connection((self.address, 6379), 2) as connection:
            connection.sendall(f"{' '.join(words)}\r\n".encode())
            return connection.recv(4096).decode().partition("\r\n")[0]
        return ""

    def commands(self) -> int:
        """Return how many commands it has performed."""
        with socket.create_connection((self.address, 6379), 5) as connection:
            connection.sendall(b"INFO stats\r\nQUIT\r\n")
            lines = b"".join(iter(lambda: connection.recv(4096), b"")).decode().splitlines()
        return int(
            next(line for line in lines if line.startswith("total_commands_processed")).partition(
                ":"
            )[2]
        )

    def relay(self, seconds: float) -> subprocess.Popen[bytes]:
        """Start a way to it by port 6380 that takes so many seconds, there as well as back."""
        process = self.run(
            [
                sys.executable,
                "-m",
                "tests.servers.cluster.relay",
                self.address,
                "6380",
                str(self.port),
                str(seconds),
            ]
        )
        self.await_true(lambda: accepts(process.pid), "the relay does not listen")
        return process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        for process in self.processes:
            process.send_signal(number)
            process.wait(PATIENCE)
        self.processes.clear()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        for process in self.processes:
            process.send_signal(number)


class Balancer(Part):
    """HAProxy. It looks at each machine twice a second, and prefers none."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        super().__init__(cluster, "balancer", address)

    @property
    def url(self) -> str:
        """Where clients find the application."""
        return f"http://{self.address}"

    def start(self) -> None:
        """Start it."""
        machines = self.cluster.machines
        lines = {
            machine.name: f"    server {machine.name} {machine.address}:8000"
            for machine in machines
        }
        configuration = self.cluster.directory / "haproxy.cfg"
        configuration.write_text(
            BALANCER.format(
                directory=self.cluster.directory,
                address=self.address,
                host=HOST,
                machines="\n".join(lines.values()),
                asgi="\n".join(
                    f"{lines[machine.name]} track machines/{machine.name}"
                    for machine in machines
                    if machine.server in IS_ASGI
                ),
            )
        )
        haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
        self.run([haproxy, "-W", "-db", "-f", str(configuration)])
        self.await_true(
            lambda: self.up() == {machine.name for machine in machines}, "not all machines are up"
        )

    def reload(self) -> None:
        """Read the configuration again: new processes take the listening socket over, old ones
        finish their work.
        """
        before = set(children_of(self.processes[0].pid))
        self.processes[0].send_signal(signal.SIGUSR2)
        self.await_true(
            lambda: bool(set(children_of(self.processes[0].pid)) - before), "it did not reload"
        )
        self.await_true(
            lambda: self.up() == {machine.name for machine in self.cluster.machines},
            "machines are missing",
        )

    def tell(self, command: str) -> str:
        """Give it a command by its socket, and return the answer."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.cluster.directory / "haproxy.sock"))
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return ""

    def statistics(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return the columns of ``show stat`` for each (backend, machine)."""
        lines = self.tell("show stat").lstrip("# ").splitlines()
        names = lines[0].split(",") if lines else []
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:] if line]
        return {(row["pxname"], row["svname"]): row for row in rows}

    def up(self) -> set[str]:
        """Return the names of the machines that get requests."""
        names = {machine.name for machine in self.cluster.machines}
        rows = self.statistics()
        return {
            name
            for name in names
            if rows.get(("machines", name), {}).get("status", "").startswith("UP")
        }

    def drain(self, machine: str) -> None:
        """Send a machine no new requests, and wait until it has answered those that it has.

        Streams and WebSockets stay: they end when the server is shutting down. It is not looked at
        any longer: to be found down would cut off what it still answers.
        """
        for backend in self._backends(machine):
            self.tell(f"set server {backend}/{machine} state drain")
        self.tell(f"disable health machines/{machine}")
        deadline = time.monotonic() + 1
        while int(self.statistics()["machines", machine]["scur"]) and time.monotonic() < deadline:
            time.sleep(0.05)

    def resume(self, machine: str) -> None:
        """Undo ``drain``, and wait until the machine gets requests."""
        for backend in self._backends(machine):
            self.tell(f"set server {backend}/{machine} state ready")
        self.tell(f"enable health machines/{machine}")
        self.await_true(lambda: machine in self.up(), f"{machine} is not up")

    def _backends(self, machine: str) -> list[str]:
        return [backend for backend, name in self.statistics() if name == machine]


class Dask(Part):
    """A scheduler and workers with one thread each."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        super().__init__(cluster, "dask", address)
        self.url = f"tcp://{address}:8786"
        self._count = 0

    def start(self, workers: int) -> None:
        """Start the scheduler and so many workers."""
        self._dask("scheduler", "--host", self.address, "--port", "8786", "--no-dashboard")
        for _ in range(workers):
            self.start_worker()
        self.await_true(
            lambda: self.log().count("Registered to:") >= self._count, "its workers are missing"
        )

    def start_worker(self) -> None:
        """Start one more worker."""
        self._count += 1
        options = [
            "--host",
            self.address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--memory-limit",
            "0",
        ]
        self._dask("worker", self.url, *options, "--local-directory", str(self.cluster.directory))

    def workers(self) -> list[subprocess.Popen[bytes]]:
        """Return the processes of the workers."""
        return self.processes[1:]

    def kill_worker(self) -> None:
        """Kill the worker that was started first."""
        process = self.processes.pop(1)
        process.kill()
        process.wait()

    def _dask(self, *words: str) -> Any:
        self.run([sys.executable, "-m", "dask", *words])
