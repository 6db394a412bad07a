"""Check the ETag and the date of a file that is replaced with each release."""

from __future__ import annotations

import os
from email.utils import formatdate
from pathlib import Path
from typing import Any


def check_releases(client: Any, file: Path, seconds: float) -> None:
    """Replace the file that ``client`` gets at "/", and check conditional requests.

    ``seconds``: the modification time of each release. It is a date if no build has set it.
    """
    tag, date = '"none"', formatdate(seconds, usegmt=True)

    def status(**conditions: str) -> int:
        headers = {name.replace("_", "-"): value for name, value in conditions.items()}
        return int(client.get("/", headers=headers).status_code)

    for content in ("old", "new"):
        file.write_text(content)
        os.utime(file, (seconds, seconds))
        for condition in (tag, date):
            answer = client.get("/", headers={"Range": "bytes=1-", "If-Range": condition})
            assert (answer.status_code, answer.text) == (200, content)
        if "last-modified" not in answer.headers:
            assert status(If_Modified_Since=date) == 200
        assert status(If_None_Match=tag) == 200
        tag = answer.headers["etag"]
        assert status(Range="bytes=1-", If_Range=tag) == 206
    assert ("last-modified" in answer.headers) == (seconds % 86400 > 1)
    file.write_text("by a clock")
    date = client.get("/").headers["last-modified"]
    assert status(If_Modified_Since=date) == 304
    assert status(Range="bytes=1-", If_Range=date) == 200
