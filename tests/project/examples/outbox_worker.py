"""An outbox whose workers a test stops in the middle of a job, and whose clock it sets.

``OUTBOX_FOLDER`` has the files: ``clock``, ``hold`` if jobs have to wait, and ``log``, a line for
each begin and end of a job.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from examples.outbox.micropie_outbox import Outbox
from micropie import App
from tests.support.waiting import PATIENCE

FOLDER = Path(os.environ["OUTBOX_FOLDER"])
URL = os.environ["OUTBOX_URL"]


@contextmanager
def connect() -> Iterator[Any]:
    connection: Any
    if URL.startswith("postgresql"):
        connection = psycopg.connect(URL)
    else:
        connection = sqlite3.connect(URL, timeout=PATIENCE, check_same_thread=False)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


outbox = Outbox(connect, lease=600, clock=lambda: float((FOLDER / "clock").read_text()))


def note(*words: object) -> None:
    with (FOLDER / "log").open("a") as log:  # one write, which others can't interrupt
        log.write(" ".join(map(str, words)) + "\n")


@outbox.job
def deliver(number: int) -> None:
    note("begin", number, os.getpid())
    while (FOLDER / f"hold-{number}").exists():
        time.sleep(0.01)
    note("end", number, os.getpid())


app = App()
outbox.add_to(app)
