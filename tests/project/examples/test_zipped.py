"""``how_to/zipped``: an archive that is sent while it is made."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from examples.how_to.zipped import app as zipped_app
from tests.support.clients import MakeClient

MIB = 1024 * 1024


def test_an_archive_is_sent_in_small_pieces(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipped_app, "FOLDER", tmp_path)
    files = {"apple.bin": os.urandom(4 * MIB), "empty": b"", "plum.txt": b"plum\n" * MIB}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    os.utime(tmp_path / "empty", (0, 0))  # before 1980, where the years of an archive begin
    client = make_client(zipped_app.app)
    with client.stream("GET", "/all") as answer:
        assert answer.headers["content-type"] == "application/zip"
        assert "content-length" not in answer.headers
        pieces = [*answer.iter_raw()]
    assert len(pieces) > 16
    assert max(map(len, pieces)) < 256 * 1024
    with ZipFile(BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files
