"""The mail server of the workers of ``test_queued.py``, which import this module beside their tasks.

``MAIL`` is a folder. While it has a file "down", connections are refused, and while it has "hangs",
a mail is never answered. Mails are lines of "sent" and "begun".
"""

from __future__ import annotations

import os
import smtplib
import threading
from email.message import EmailMessage
from pathlib import Path
from typing import Self

FOLDER = Path(os.environ["MAIL"])


def note(name: str, mail: EmailMessage) -> None:
    with (FOLDER / name).open("a") as file:
        file.write(f"{mail['To']} {mail['Message-ID']}\n")


class Server:
    def __init__(self, host: str, timeout: float) -> None:
        if (FOLDER / "down").exists():
            raise ConnectionRefusedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None: ...

    def send_message(self, mail: EmailMessage) -> None:
        note("begun", mail)
        if (FOLDER / "hangs").exists():
            threading.Event().wait()
        note("sent", mail)


smtplib.SMTP = Server  # type: ignore[assignment, misc]
