"""A workshop: visitors upload pictures and watch how processes make the thumbnails.

    uvicorn examples.workshop.app:app          gunicorn -k gthread --threads 20 examples.workshop.app:app          (both from the project's folder)

The directory WORKSHOP_DIRECTORY contains a folder for each upload, so any worker on this machine
can go on where another one was interrupted. Delete old folders now and then.
"""  # noqa: E501

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zipfile import ZipFile

from PIL import Image

from micropie import (
    App,
    EventStream,
    HTTPError,
    Redirect,
    Response,
    UploadFile,
    event,
    get,
    max_body_size,
    post,
    progress,
    run_in,
    static_file,
)
from micropie.middleware import SecurityDefaults

FOLDERS = Path(
    os.environ.get("WORKSHOP_DIRECTORY") or Path(tempfile.gettempdir()) / "micropie-workshop"
)
KINDS = ["PNG", "JPEG", "WEBP"]
SMALL, LARGE = 200, 1200  # pixels: thumbnails, and the pictures in the ZIP file
Image.MAX_IMAGE_PIXELS = 50_000_000  # a small file can be a huge picture


# -- in the pool


def scaled(picture: Path, size: int) -> bytes | None:
    """Return a picture as a JPEG that is at most ``size`` pixels wide and high. Return None if it
    is broken.
    """
    target = BytesIO()
    try:
        with Image.open(picture, formats=KINDS) as image:
            image.thumbnail((size, size))
            image.convert("RGB").save(target, "JPEG")
    except Exception:  # Pillow raises many types
        return None
    return target.getvalue()


def make_thumbnails(folder: Path) -> list[str]:
    """Make the missing thumbnails. Return the names of the pictures that are broken."""
    broken = []
    pictures = pictures_in(folder)
    for number, picture in enumerate(pictures, 1):
        thumbnail = folder / f"{number}.jpg"
        if not thumbnail.exists():
            if data := scaled(picture, SMALL):
                unfinished = folder / uuid4().hex  # this process may be ended at any time
                unfinished.write_bytes(data)
                unfinished.rename(thumbnail)
            else:
                broken.append(picture.name)
        progress(number, len(pictures))  # raises an exception if the page has been left
    return broken


class Chunks(RawIOBase):
    """A file for ``ZipFile`` that only keeps what has been written since the last ``take``."""

    def __init__(self) -> None:
        self._written = BytesIO()

    def write(self, data: Any) -> int:
        return self._written.write(data)

    def take(self) -> bytes:
        data = self._written.getvalue()
        self._written = BytesIO()
        return data


def zipped(pictures: list[Path]) -> Iterator[bytes]:
    """Yield a ZIP file that needs the memory of only one picture."""
    chunks = Chunks()
    with ZipFile(chunks, "w") as archive:
        for picture in pictures:
            if data := scaled(picture, LARGE):
                archive.writestr(f"{picture.stem}.jpg", data)
                yield chunks.take()
    yield chunks.take()


# -- in the server


def folder_of(upload: UUID) -> Path:
    folder = FOLDERS / str(upload)
    if not folder.is_dir():
        raise HTTPError(404, "There is no such upload.")
    return folder


def pictures_in(folder: Path) -> list[Path]:
    return sorted((folder / "pictures").iterdir())


class Workshop(App):
    def index(self) -> str:
        return self.render("page.html")

    @post
    @max_body_size(200 * 1024**2)
    def upload(self, pictures: list[UploadFile]) -> Redirect:
        for picture in pictures:
            try:
                Image.open(picture.file, formats=KINDS)  # only reads the beginning
            except (OSError, Image.DecompressionBombError):
                raise HTTPError(
                    415, f"{picture.filename} isn't a PNG, JPEG or WebP picture."
                ) from None
        upload = uuid4()
        folder = FOLDERS / str(upload) / "pictures"
        folder.mkdir(parents=True)
        for number, picture in enumerate(pictures, 1):
            picture.filename = f"{number:03} {picture.filename}"  # two may have the same name
            picture.save_to(folder)
        return Redirect(self.url_for("pictures", upload))

    @get
    def pictures(self, upload: UUID) -> str:
        folder_of(upload)
        return self.render("page.html", upload=upload)

    @get
    def events(self, upload: UUID) -> EventStream:
        """Make the thumbnails. If the page closes this stream, the work ends."""
        return EventStream(self._steps(folder_of(upload)))

    async def _steps(self, folder: Path) -> AsyncIterator[object]:
        async with self.pool.start(make_thumbnails, folder) as call:
            async for step in call:
                yield event(step, event="step")
            yield event(await call, event="done")

    @get
    def thumbnail(self, upload: UUID, number: int) -> Response:
        return static_file(f"{number}.jpg", root=folder_of(upload))

    @get
    @run_in("process")
    def zip(self, upload: UUID) -> Response:
        return Response(
            zipped(pictures_in(folder_of(upload))),
            content_type="application/zip",
            headers={"Content-Disposition": 'attachment; filename="pictures.zip"'},
        )


policy = "default-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
app = Workshop(
    templates=Path(__file__).parent,
    security=SecurityDefaults("localhost", "127.0.0.1", "::1", csp=policy),
    pool_timeout=600,  # for all thumbnails of an upload
)
