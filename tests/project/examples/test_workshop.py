"""``examples/workshop``: its page in a real Chromium, and its uploads, thumbnails and ZIP files over
HTTP. A picture that is a FIFO holds the process of the pool at that picture.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from uuid import uuid4
from zipfile import ZipFile

import httpx2 as httpx
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.project.examples.screenshots import wait, wait_over_pages
from tests.servers.harness import ANSWER_WITHIN, KINDS, Server, start
from tests.support.chromium import browsing, complaints
from tests.support.event_source import Received, parsed
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.processes


def picture(kind: str = "PNG", size: tuple[int, int] = (1600, 800)) -> bytes:
    target = BytesIO()
    Image.new("RGB", size, "brown").save(target, kind)
    return target.getvalue()


PICTURE = picture()


@pytest.fixture(scope="module", params=["uvicorn", "hypercorn-trio", "gunicorn-gthread"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path]]:
    """A server, and the folder of its uploads."""
    folders = tmp_path_factory.mktemp("workshop")
    with (folders / "log").open("w+b") as log:
        environ = {"WORKSHOP_DIRECTORY": str(folders)}
        server = start(KINDS[request.param], "examples.workshop.app:app", log, environ=environ)
        yield server, folders
        output = server.output()
        server.end()
        assert "Traceback" not in output, output


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def client(server: tuple[Server, Path]) -> Iterator[httpx.Client]:
    url = f"http://127.0.0.1:{server[0].port}"
    with httpx.Client(
        base_url=url, follow_redirects=True, timeout=ANSWER_WITHIN, headers={"Origin": url}
    ) as client:
        yield client


class Held:
    """An upload of two pictures. The second one is a FIFO, which nobody has written yet."""

    def __init__(self, folders: Path) -> None:
        self.id = str(uuid4())
        self.folder = folders / self.id
        (self.folder / "pictures").mkdir(parents=True)
        (self.folder / "pictures" / "001 plum.png").write_bytes(PICTURE)
        self.second = self.folder / "pictures" / "002 apple.png"
        os.mkfifo(self.second)
        self._writer: list[int] = []

    def write(self, data: bytes) -> int:
        """Wait until a process reads the second picture, and send it ``data``."""

        def has_opened() -> bool:
            with suppress(OSError):  # nobody reads it yet
                self._writer.append(os.open(self.second, os.O_WRONLY | os.O_NONBLOCK))
            return bool(self._writer)

        until(has_opened)
        assert os.write(self._writer[0], data) == len(data)
        return self._writer[0]

    def end(self) -> None:
        """Let the process read to the end."""
        os.close(self._writer.pop())


def test_pictures_get_thumbnails_and_a_broken_one_is_reported(
    client: httpx.Client, server: tuple[Server, Path]
) -> None:
    pictures = [
        ("plum.png", PICTURE),
        ("../plum.png", picture("JPEG", (800, 1600))),
        ("torn.png", PICTURE[: len(PICTURE) // 2]),
    ]
    page = client.post("/upload", files=[("pictures", one) for one in pictures])
    assert (page.status_code, page.url.path[:10]) == (200, "/pictures/")
    upload = page.url.path.rpartition("/")[2]
    events = parsed(client.get(f"/events/{upload}").content)
    assert events[-2:] == [
        Received('{"done":3,"total":3,"note":""}', "step", ""),
        Received('["003 torn.png"]', "done", ""),
    ]
    sizes = []
    for number in (1, 2):
        answer = client.get(f"/thumbnail/{upload}/{number}")
        assert answer.headers["content-type"] == "image/jpeg"
        sizes.append(Image.open(BytesIO(answer.content)).size)
    assert sizes == [(200, 100), (100, 200)]
    assert client.get(f"/thumbnail/{upload}/3").status_code == 404
    with ZipFile(BytesIO(client.get(f"/zip/{upload}").content)) as archive:
        assert archive.namelist() == ["001 plum.jpg", "002 plum.jpg"]
        assert archive.testzip() is None
        assert Image.open(archive.open("002 plum.jpg")).size == (600, 1200)
    assert not [*(server[1] / upload).glob("[0-9a-f]" * 32)]


def test_other_files_and_unknown_uploads_are_refused(
    client: httpx.Client, server: tuple[Server, Path]
) -> None:
    before = {*server[1].iterdir()}
    answer = client.post("/upload", files={"pictures": ("pie.png", b"<script>")})
    assert (answer.status_code, answer.text) == (
        415,
        "pie.png isn't a PNG, JPEG or WebP picture.",
    )
    for path in ("/pictures/{}", "/events/{}", "/thumbnail/{}/1", "/zip/{}"):
        assert client.get(path.format(uuid4())).status_code == 404
    assert {*server[1].iterdir()} == before


def test_a_zip_file_is_sent_while_it_is_made(
    client: httpx.Client, server: tuple[Server, Path]
) -> None:
    upload = Held(server[1])
    with client.stream("GET", f"/zip/{upload.id}") as answer:
        assert answer.headers["content-type"] == "application/zip"
        chunks = answer.iter_bytes()
        received = next(chunks)  # before the second picture can be read
        assert b"001 plum.jpg" in received
        upload.write(PICTURE)
        upload.end()
        received += b"".join(chunks)
    with ZipFile(BytesIO(received)) as archive:
        assert archive.namelist() == ["001 plum.jpg", "002 apple.jpg"]
        assert archive.testzip() is None


def test_the_page_shows_thumbnails_as_they_are_made(
    chromium: webdriver.Chrome, server: tuple[Server, Path], tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in ("plum.png", "apple.png")]
    for path in paths:
        path.write_bytes(PICTURE)
    chromium.get(f"http://127.0.0.1:{server[0].port}/")
    field = chromium.find_element(By.CSS_SELECTOR, "[type=file]")
    field.send_keys("\n".join(map(str, paths)))
    chromium.find_element(By.CSS_SELECTOR, "form button").click()
    wait_over_pages(chromium, "return document.querySelector('output')?.textContent === 'Ready'")
    widths = """
        const images = [...document.images];
        return images.every((one) => one.complete) && images.map((one) => one.naturalWidth)
    """
    assert wait(chromium, widths) == [200, 200]
    archive = wait(
        chromium,
        """
        window.archive ||= fetch(document.querySelector("a").href).then((answer) => answer.bytes())
            .then((bytes) => { window.bytes = [...bytes]; });
        return window.bytes
        """,
    )
    assert len(ZipFile(BytesIO(bytes(archive))).namelist()) == 2
    assert complaints(chromium) == []


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn-trio"], indirect=True)
def test_the_cancel_button_ends_the_work_and_a_reload_goes_on(
    chromium: webdriver.Chrome, server: tuple[Server, Path]
) -> None:
    upload = Held(server[1])
    chromium.get(f"http://127.0.0.1:{server[0].port}/pictures/{upload.id}")
    wait(chromium, "return document.querySelector('progress').value === 1")
    writer = upload.write(PICTURE[:100])
    chromium.find_element(By.ID, "cancel").click()
    left = select.poll()
    left.register(writer, 0)
    assert left.poll(PATIENCE * 1000)  # the process has ended, so nobody reads any more
    assert [path.name for path in upload.folder.glob("*.jpg")] == ["1.jpg"]
    text = chromium.find_element(By.TAG_NAME, "output").text
    assert text == "Cancelled. Reload the page to go on."

    upload.end()
    upload.second.unlink()
    upload.second.write_bytes(PICTURE)
    chromium.refresh()
    wait_over_pages(chromium, "return document.querySelector('output')?.textContent === 'Ready'")
    assert sorted(path.name for path in upload.folder.glob("*.jpg")) == ["1.jpg", "2.jpg"]
    assert complaints(chromium) == []
