"""``python -m tests.support.granian``: granian's command, but as under ``micropie run``, another
thread handles its signals.

Tests start no plain ``granian``, because it may not end if a signal comes just after its start.
"""

from __future__ import annotations

from typing import Any

from granian import Granian, cli

from micropie.cli.serving.signals import handled_in_a_thread


class Server(Granian):  # type: ignore[valid-type, misc]
    """A granian whose signals another thread handles."""

    def serve(self, *arguments: Any, **options: Any) -> None:
        with handled_in_a_thread(self):
            super().serve(*arguments, **options)


def main() -> None:
    cli.Server = Server  # type: ignore[attr-defined]
    cli.cli(auto_envvar_prefix="GRANIAN")


if __name__ == "__main__":
    main()
