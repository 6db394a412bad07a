"""Machines with a network of their own on this one: their packets can be dropped silently.

A machine is a network namespace that a sleeping process holds. So all of it is gone when that
process ends, also if the tests are killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.guard import guard_of
from tests.support.redis_server import missing_program


class Machine:
    """A machine that this one reaches by a link: ``address`` is the machine's.

    ``here`` are two addresses of this one. ``virtual`` is one that each machine has, and that leads
    to the machine that was the last to ``take`` it. Machines reach each other by ``peer``.
    """

    def __init__(self, process: int, number: int) -> None:
        self.process = process
        tests = os.getpid()
        network = f"10.{100 + tests // 256 % 100}.{tests % 256}"
        self.address, *self.here = (f"{network}.{16 * number + one}" for one in (1, 2, 3))
        self.virtual = f"{network}.250"
        self.peer = f"{network}.{240 + number}"
        self._link = f"m{number}-{tests}"

    def connect(self) -> None:
        """Make the link."""
        link = f"ip link add {self._link} type veth peer name eth0 netns {self.process}"
        _run(*link.split())
        for address in self.here:
            _run("ip", "address", "add", f"{address}/28", "dev", self._link)
        _run("ip", "link", "set", self._link, "up")
        for device, address in (("lo", f"{self.virtual}/32"), ("eth0", f"{self.address}/28")):
            self.run("ip", "address", "add", address, "dev", device)
            self.run("ip", "link", "set", device, "up")
        # what comes from where no answer goes to is dropped
        self.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter")

    def disconnect(self) -> None:
        """Remove the link. It would outlive the machine for a moment."""
        _run("ip", "link", "delete", self._link)

    def join(self, other: Machine) -> None:
        """Connect two machines."""
        link = f"ip link add peer type veth peer name peer netns {other.process}"
        self.run(*link.split())
        for machine in (self, other):
            machine.run("ip", "address", "add", f"{machine.peer}/29", "dev", "peer")
            machine.run("ip", "link", "set", "peer", "up")

    def take(self, by: int = 0) -> None:
        """Have the virtual address lead to this machine, from one of the addresses here."""
        _run("ip", "route", "replace", self.virtual, "dev", self._link, "src", self.here[by])

    def forget(self) -> None:
        """Drop what the open connections to the virtual address send and get. New ones work."""
        self.run("ip", "route", "add", "blackhole", self.here[0])
        self.take(by=1)

    def vanish(self) -> None:
        """Take the machine off the network."""
        self.run("ip", "link", "set", "eth0", "down")

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs ``command`` in the machine."""
        return ["nsenter", f"--target={self.process}", "--net", "--", *command]

    def run(self, *command: str) -> None:
        _run(*self.command(command))


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """Make so many machines.

    The test is skipped without the rights to do so. Without ``ip`` it fails if ``CI`` is "true".
    """
    if shutil.which("ip") is None:
        missing_program("ip")
    with ExitStack() as stack:
        made = []
        for number in range(count):
            holder = subprocess.Popen(
                ["unshare", "--net", "sleep", "infinity"], start_new_session=True
            )
            guard = guard_of(holder)
            stack.callback(guard.communicate)
            stack.callback(guard.kill)
            stack.callback(holder.wait)
            stack.callback(holder.kill)
            while _network(holder.pid) == _network(os.getpid()):
                if holder.poll() is not None:
                    pytest.skip("network namespaces need the rights of root")
                time.sleep(0.002)
            machine = Machine(holder.pid, number)
            machine.connect()
            stack.callback(machine.disconnect)
            made.append(machine)
        yield made


def _network(process: int) -> str:
    try:
        return str(Path(f"/proc/{process}/ns/net").readlink())
    except FileNotFoundError:
        return ""


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
