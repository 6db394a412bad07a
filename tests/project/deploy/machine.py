"""A machine that is thrown away: this one's files under an overlay in memory, with namespaces of
its own, in which systemd is the first process. What happens in it stays in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.project.deploy.blocks import ROOT

NAMESPACES = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup"]
# Its parameters are folders that it has to see, wherever they are mounted: read only. Kernel
# variables are those of the real machine, so they are read only as well.
BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
for folder; do
    mkdir -p "./$folder"
    mount --bind "$folder" "./$folder"
    mount -o remount,bind,ro "./$folder"
done
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
tr -d - < /proc/sys/kernel/random/uuid > etc/machine-id
echo 127.0.0.1 localhost machine blog.example.com shop.example.com > etc/hosts
echo machine > etc/hostname
hostname machine
ip link set lo up
for unit in timers.target systemd-tmpfiles-setup-dev.service systemd-remount-fs.service; do
    ln -sf /dev/null etc/systemd/system/$unit
done
pivot_root . .
umount -l .
exec env -i container=pages PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no
"""


@contextmanager
def machine() -> Iterator[list[str]]:
    """Yield the beginning of a command that runs what follows inside the machine."""
    folders = {str(Path(folder).resolve()) for folder in (ROOT, sys.prefix, sys.base_prefix)}
    command = ["unshare", *NAMESPACES, "--fork", "--kill-child", "sh", "-c", BOOT, "sh"]
    with control_group() as group:
        joined = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        process = subprocess.Popen([*joined, *command, *sorted(folders)])
        try:
            yield booted(process)
        finally:
            process.kill()
            process.wait()


@contextmanager
def control_group() -> Iterator[Path]:
    """Make a control group, in which systemd makes its own, and remove all of them."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    (root,) = {mount[4] for mount in mounts if mount[mount.index("-") + 1] == "cgroup2"}
    own = Path("/proc/self/cgroup").read_text().partition("0::/")[2].splitlines()[0]
    group = Path(root, own, f"deploy-pages-{os.getpid()}")
    group.mkdir()
    try:
        yield group
    finally:
        while "populated 1" in (group / "cgroup.events").read_text():
            time.sleep(0.05)
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()


def booted(process: subprocess.Popen[bytes]) -> list[str]:
    """Wait until systemd has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    state, until = "", time.monotonic() + 60
    while state not in {"running", "degraded"}:
        assert process.poll() is None, "the machine could not be made"
        assert time.monotonic() < until, f"systemd has not started in 60 s: {state}"
        time.sleep(0.1)
        enter = ["nsenter", "--target", children.read_text().strip(), *NAMESPACES, "--root"]
        asked = [*enter, "systemctl", "is-system-running"]
        state = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return enter
