"""Run the blocks of the pages of docs/deploy, and write what came out into DEPLOY.md.

    sudo python -m tests.project.deploy --write [nginx.md ...]

With pages, the rows of all others stay as they are. It needs the packages of ``scripts/install-system-packages pages``, and the network once, for the
wheels. All else happens in a machine that is thrown away (``machine.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import traceback

from tests.project.deploy.blocks import ROOT, TABLE, blocks
from tests.project.deploy.engine import BASE_PACKAGES, BUILT, DEBIAN, ENGINE_PACKAGES
from tests.project.deploy.machine import machine
from tests.project.deploy.pages import BESIDE, NEEDED, decided

HEAD = """# The blocks of docs/deploy, run

`scripts/deploy-pages` runs each block of the pages of [docs/deploy](../../../docs/deploy/index.md) as it
stands there, on a machine that it throws away: a copy of this one in memory, with systemd, no
network, and Debian's own nginx, HAProxy, Redis, Apache and podman. The third column changes with the block,
and a test compares it with the page.

| page | block | digest | result |
|---|---|---|---|
"""


def prepare() -> None:
    """Build the wheel as docs/start/install.md does, and fetch what it needs, for Debian's Python."""
    shutil.rmtree(BUILT / "wheels", ignore_errors=True)
    subprocess.run(["/usr/bin/python3", "-m", "venv", BUILT / "venv"], check=True)
    pip = [f"{BUILT}/venv/bin/pip", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", BUILT / "wheels", ROOT], check=True)
    (wheel,) = (BUILT / "wheels").glob("*.whl")
    wanted = [
        f"{wheel}[standard,wsgi,trio,redis,itsdangerous]",
        *shlex.split(BESIDE),
        "mangum",
        "gevent",
    ]
    subprocess.run([*pip, "download", "--dest", BUILT / "house", *wanted], check=True)
    other = ["--python-version=3.13", "--only-binary=:all:"]
    subprocess.run([*pip, "download", *other, "--dest", BUILT / "house", *wanted], check=True)
    for name, packages in (("base", BASE_PACKAGES), ("engine", ENGINE_PACKAGES)):
        if not (BUILT / f"{name}-{DEBIAN}").exists():
            shutil.rmtree(BUILT / name, ignore_errors=True)
            debian = ["--variant=minbase", f"--include={packages}", DEBIAN]
            subprocess.run(["debootstrap", *debian, BUILT / name], check=True)
            (BUILT / f"{name}-{DEBIAN}").touch()


def run(pages: list[str]) -> None:
    """Inside the machine: write a line of JSON for each block of the pages, or of all.

    Blocks that others build on are run in any case.
    """
    for block, done in decided():
        if pages and block.page not in pages and done not in NEEDED:
            continue
        try:
            result = done if isinstance(done, str) else done(block)
        except Exception:
            traceback.print_exc()
            result = "FAILED"
        print(json.dumps([block.row, result]), flush=True)


def before() -> dict[str, str]:
    """Return the results of the table as it is."""
    rows = [line.split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    return {" | ".join(row[:3]) + " |": row[3].removesuffix(" |") for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.project.deploy", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write DEPLOY.md")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="such as nginx.md")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run(options.pages)
        return
    if os.geteuid():
        parser.error("only root can make the machine")
    # the machine ends with this command, however it ends
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    decided()
    prepare()
    results = before() if options.pages else {}
    with machine() as enter:
        command = [
            *enter,
            "env",
            f"PYTHONPATH={ROOT}",
            sys.executable,
            "-m",
            "tests.project.deploy",
        ]
        command += ["--inside", *options.pages]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                row, result = json.loads(line)
                results[row] = result
                print(row, result, "|", flush=True)
    rows = [f"{block.row} {results.get(block.row, 'FAILED')} |" for block in blocks()]
    if options.write:
        TABLE.write_text(HEAD + "\n".join(rows) + "\n")
    sys.exit(any("FAILED" in row for row in rows))


if __name__ == "__main__":
    main()
