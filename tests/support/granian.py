"""``python -m tests.support.granian``: granian's command, but as under ``micropie run``, another
thread handles its signals. Its workers are forks, which start faster than spawned ones.

Tests start no plain ``granian``, because it may not end if a signal comes just after its start.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from granian import Granian, cli

from micropie.cli.serving.signals import handled_in_a_thread


class Server(Granian):  # type: ignore[valid-type, misc]
    """A granian whose signals another thread handles."""

    def serve(self, *arguments: Any, **options: Any) -> None:
        with handled_in_a_thread(self):
            super().serve(*arguments, **options)


def as_at_start() -> None:
    """Let a signal end a forked worker that has not set its handlers yet, and not reach its
    server.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def main() -> None:
    os.register_at_fork(after_in_child=as_at_start)
    cli.Server = Server  # type: ignore[attr-defined]
    cli.cli(auto_envvar_prefix="GRANIAN")


if __name__ == "__main__":
    main()
