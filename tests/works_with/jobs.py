"""The job of every queue, and where their broker is."""

import os
from pathlib import Path

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


def write(path: str) -> None:
    with Path(path).open("a") as file:
        file.write("done\n")
