"""Machines on one: network namespaces with addresses of their own, or addresses of the loopback
device.

``Namespaces`` needs the rights that ``unshare --net`` gives, with which
``tests/servers/cluster/__main__.py`` starts itself again. All of it is in a namespace of the experiment's
own, so nothing is left behind and two experiments at a time do not meet. ``Loopback`` is for
systems without these rights: a machine that is cut off is one whose processes are stopped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

NETWORK = "10.99.0"


class Network:
    """Where machines are.

    ``run`` runs a command in one; ``cut`` takes one off the network until ``join``.
    """

    name = ""
    reason = ""
    """Why it is not the other one."""

    def add(self, machine: str) -> str:
        """Make a machine and return its address."""
        raise NotImplementedError

    def command(self, machine: str, command: Sequence[str]) -> list[str]:
        """Return the command that runs ``command`` in a machine."""
        raise NotImplementedError

    def cut(self, machine: str) -> None:
        """Take a machine off the network: what is sent to it or by it is lost, and nobody is
        told.
        """
        raise NotImplementedError

    def join(self, machine: str) -> None:
        """Undo ``cut``."""
        raise NotImplementedError

    def delay(self, machine: str, milliseconds: float, loss: float = 0) -> bool:
        """Delay, and lose, a share of what a machine sends and gets.

        Return False if this can't be done here.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Remove all machines."""
        raise NotImplementedError


class Namespaces(Network):
    """Each machine is a network namespace; a bridge connects them."""

    name = "network namespaces"

    def __init__(self) -> None:
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "bridge", "type", "bridge")
        _ip("address", "add", f"{NETWORK}.254/24", "dev", "bridge")
        _ip("link", "set", "bridge", "up")

    def add(self, machine: str) -> str:
        """See ``Network``."""
        address = f"{NETWORK}.{len(self._holders) + 1}"
        self._holders[machine] = holder = subprocess.Popen(
            ["unshare", "--net", "sleep", "infinity"]
        )
        own = os.readlink("/proc/self/ns/net")  # noqa: PTH115 - not a path
        while os.readlink(f"/proc/{holder.pid}/ns/net") == own:  # noqa: PTH115
            time.sleep(0.002)
        link = f"to-{machine}"
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        _ip("link", "set", link, "master", "bridge", "up")
        for arguments in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            subprocess.run(self.command(machine, ["ip", *arguments]), check=True)
        return address

    def command(self, machine: str, command: Sequence[str]) -> list[str]:
        """See ``Network``."""
        return ["nsenter", f"--target={self._holders[machine].pid}", "--net", "--", *command]

    def cut(self, machine: str) -> None:
        """See ``Network``."""
        _ip("link", "set", f"to-{machine}", "nomaster")

    def join(self, machine: str) -> None:
        """See ``Network``."""
        _ip("link", "set", f"to-{machine}", "master", "bridge")

    def delay(self, machine: str, milliseconds: float, loss: float = 0) -> bool:
        """See ``Network``: by ``tc netem``, half of it in each direction."""
        netem = ["root", "netem", "delay", f"{milliseconds / 2}ms", "loss", f"{loss / 2:.2%}"]
        for command in (
            ["tc", "qdisc", "replace", "dev", f"to-{machine}", *netem],
            self.command(machine, ["tc", "qdisc", "replace", "dev", "eth0", *netem]),
        ):
            if subprocess.run(command, capture_output=True, check=False).returncode:
                return False
        return True

    def close(self) -> None:
        """See ``Network``."""
        for machine, holder in self._holders.items():
            _ip("link", "delete", f"to-{machine}")
            holder.kill()
            holder.wait()
        _ip("link", "delete", "bridge")


class Loopback(Network):
    """Each machine is an address of the loopback device, of which each process has 254 of its
    own.
    """

    name = "loopback addresses"

    def __init__(self, reason: str, processes_of: Callable[[str], list[int]]) -> None:
        self.reason = reason
        self._processes_of = processes_of
        self._count = 0

    def add(self, machine: str) -> str:
        """See ``Network``."""
        self._count += 1
        of_process, rest = divmod(os.getpid() % 65024, 256)
        return f"127.{of_process + 1}.{rest}.{self._count}"

    def command(self, machine: str, command: Sequence[str]) -> list[str]:
        """See ``Network``."""
        return list(command)

    def cut(self, machine: str) -> None:
        """See ``Network``: its processes are stopped, which looks the same to all others."""
        self._signal(machine, signal.SIGSTOP)

    def join(self, machine: str) -> None:
        """See ``Network``."""
        self._signal(machine, signal.SIGCONT)

    def _signal(self, machine: str, number: signal.Signals) -> None:
        for process in self._processes_of(machine):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def delay(self, machine: str, milliseconds: float, loss: float = 0) -> bool:
        """See ``Network``."""
        return False

    def close(self) -> None:
        """See ``Network``."""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def children_of(process: int) -> list[int]:
    """Return the numbers of a process's children."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def family_of(process: int) -> list[int]:
    """Return the numbers of a process and of all its descendants."""
    return [process, *(one for child in children_of(process) for one in family_of(child))]


def accepts(process: int) -> bool:
    """Return whether a process waits for connections: one of its epoll descriptors watches a socket
    that listens.

    To ask by requests is not enough: of two processes with one socket, the same one may answer
    each.
    """
    with suppress(OSError):  # it ends, or closes one meanwhile
        listening = {row[9] for row in _sockets(process) if row[3] == "0A"}
        for descriptor in Path(f"/proc/{process}/fdinfo").iterdir():
            for line in descriptor.read_text().splitlines():
                if line.startswith("tfd:") and _socket(process, line.split()[1]) in listening:
                    return True
    return False


def connections_to(process: int, port: int) -> int:
    """Return how many connections to a port a process has."""
    numbers = {row[9] for row in _sockets(process) if int(row[2].partition(":")[2], 16) == port}
    return sum(
        _socket(process, descriptor) in numbers for descriptor in os.listdir(f"/proc/{process}/fd")
    )


def processor_seconds(process: int) -> float:
    """Return how long a process has computed, its threads included, those that ended as well.

    By the process's own clock (``clock_getcpuclockid``): ``/proc`` counts in hundredths of a
    second, which is a fifth of what the balancer takes for some hundred requests.
    """
    return time.clock_gettime((~process << 3) | 2)


def _sockets(process: int) -> list[list[str]]:
    """Return the rows of the table of all sockets that are where the process is."""
    return [line.split() for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]]


def _socket(process: int, descriptor: str) -> str:
    """Return the number of a socket, "" if the descriptor is none, or is gone."""
    with suppress(OSError):
        return (
            str(Path(f"/proc/{process}/fd/{descriptor}").readlink())
            .removeprefix("socket:[")
            .removesuffix("]")
        )
    return ""
