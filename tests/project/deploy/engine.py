"""A container engine inside of the machine of ``machine.py``: Debian 13's podman, in a root of its own.

The images have Debian 13's Python instead of their base, which nobody can fetch there.
"""

from __future__ import annotations

import functools
import json
import resource
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.project.deploy.blocks import ROOT, blocks

BUILT = ROOT / "build" / "deploy"
DEBIAN = "trixie"
# What debootstrap installs beside Debian's smallest set.
BASE_PACKAGES = "python3,python3-pip"
ENGINE_PACKAGES = "podman,crun,netavark,aardvark-dns,nftables,catatonit,ca-certificates"
ENGINE = Path("/srv/engine")
# Control groups have no controllers in the machine: the real one has them. Its kernel variables are
# read only, but those of the network are the machine's own.
MOUNT = f"""
mkdir -p {ENGINE} /run/layers
mount -t tmpfs tmpfs /run/layers
mkdir /run/layers/upper /run/layers/work
mount -t overlay -o lowerdir={BUILT}/engine,upperdir=/run/layers/upper,workdir=/run/layers/work overlay {ENGINE}
cd {ENGINE}
for folder in sys dev run; do mount --rbind /$folder $folder; done
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind /proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
mkdir -p var/lib/containers
mount -t tmpfs tmpfs var/lib/containers
mount -t tmpfs tmpfs tmp
mount --bind {BUILT} mnt
cat > etc/containers/containers.conf <<'END'
[containers]
cgroups = "disabled"
pids_limit = 0
default_sysctls = []
[engine]
cgroup_manager = "cgroupfs"
END
"""
# It is the root of a mount namespace: in a mere chroot, `podman exec` doesn't find the container's.
HOLD = f"cd {ENGINE}; pivot_root . .; umount -l .; echo; exec sleep infinity"
BASE = """
FROM scratch
ADD base /
ADD house /house
RUN ln -s python3 /usr/bin/python && rm /usr/lib/python3*/EXTERNALLY-MANAGED
RUN printf '[global]\\nno-index = true\\nfind-links = /house\\n' > /etc/pip.conf
"""


def podman(*arguments: str, given: str = "") -> str:
    """Run it as root, and return what it writes."""
    command = [*engine(), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@functools.cache
def engine() -> list[str]:
    """Make the engine's root, and return the beginning of its commands."""
    subprocess.run(["sh", "-e", "-c", MOUNT], check=True)
    hold = ["unshare", "--mount", "--propagation=private", "sh", "-e", "-c", HOLD]
    holder = subprocess.Popen(hold, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"\n"
    return ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "podman"]


@functools.cache
def base() -> None:
    """Build the image that stands for the base of the page's."""
    engine()
    (ENGINE / "srv" / "base.dockerfile").write_text(BASE)
    build("docker.io/library/python:3.13-slim", "--file", "/srv/base.dockerfile", "/mnt")


def build(name: str, *arguments: str) -> None:
    options = ["--isolation=chroot", "--format=docker", "--pull=never", "--quiet"]
    # its own defaults are more than root may have in a container
    for limit in ("nofile", "nproc"):
        _, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.upper()}"))
        options.append(f"--ulimit={limit}={hard}:{hard}")
    podman("build", *options, "--tag", name, *arguments)


def build_page(name: str, application: Path, requirements: str, last: str = "") -> None:
    """Build the image of containers.md for an application, with another last line if there is one."""
    base()
    dockerfile, ignored = [block.text for block in blocks() if block.page == "containers.md"]
    folder = ENGINE / "srv" / name.replace("/", "_")
    shutil.copytree(application, folder, ignore=shutil.ignore_patterns(".venv"))
    shutil.copytree(BUILT / "wheels", folder / "wheels", dirs_exist_ok=True)
    if requirements:
        (wheel,) = (BUILT / "wheels").glob("*.whl")
        (folder / "requirements.txt").write_text(f"./wheels/{wheel.name}{requirements}\n")
    for unwanted in (".git/config", ".venv/pyvenv.cfg", ".env", "blog.db"):
        (folder / unwanted).parent.mkdir(exist_ok=True)
        (folder / unwanted).write_text("not for the image")
    if last:
        dockerfile = "\n".join([*dockerfile.splitlines()[:-1], last, ""])
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / ".dockerignore").write_text(ignored)
    build(name, f"/{folder.relative_to(ENGINE)}")


class Container:
    """A container that runs; ``ended`` says how it has ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended = ""

    @property
    def address(self) -> str:
        networks = json.loads(podman("inspect", self.name))[0]["NetworkSettings"]["Networks"]
        (network,) = networks.values()
        return str(network["IPAddress"])

    def process(self) -> dict[str, str]:
        """Return the fields of its first process's state."""
        number = podman("inspect", "--format={{.State.Pid}}", self.name)
        lines = Path(f"/proc/{number}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def end(self, seconds: int) -> None:
        began = time.monotonic()
        podman("stop", f"--time={seconds}", self.name)
        took = time.monotonic() - began
        assert took < seconds, f"{self.name} was killed after {took} s: {podman('logs', self.name)}"
        self.ended = "ends with " + podman("inspect", "--format={{.State.ExitCode}}", self.name)


@contextmanager
def running(name: str, *arguments: str, seconds: int = 30) -> Iterator[Container]:
    """Run a container in the background, and end it by its signal within the seconds."""
    container = Container(name)
    podman("run", "--detach", "--replace", "--name", name, *arguments)
    try:
        yield container
        container.end(seconds)
    except BaseException as error:
        error.add_note(podman("logs", name)[-3000:])
        raise
    finally:
        podman("rm", "--force", "--time=0", name)
