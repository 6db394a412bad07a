"""What handlers in the pool take and return besides single values: responses with streams, events,
uploads and raw bodies. Most of these tests run in the threads of an executor.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from micropie._core.http.forms import UploadFile
from tests.support.clients import MakeClient
from tests.support.crossing import Crossing
from tests.support.multipart_forms import PAIRS, form, section
from tests.support.waiting import until

MIB = 1024 * 1024
HEADERS = {name.decode(): value.decode() for name, value in PAIRS}


@pytest.fixture(params=["threads", pytest.param("processes", marks=pytest.mark.processes)])
def client(request: pytest.FixtureRequest, make_client: MakeClient) -> Iterator[Any]:
    if request.param == "processes":
        yield make_client(Crossing(processes=1, max_body_size=8 * MIB))
        return
    with ThreadPoolExecutor(1) as executor:
        yield make_client(Crossing(pool=executor, max_body_size=8 * MIB))


def test_a_response_may_have_a_stream(client: Any) -> None:
    answer = client.get("/csv/3")
    assert (answer.status_code, answer.text) == (201, "0\n1\n2\n")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["x-colour"] == "red"
    assert client.head("/csv/3").headers["x-colour"] == "red"
    assert client.get("/csv/100").text.count("\n") == 100


def test_a_status_and_headers_may_have_a_stream(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/accepted")
    assert (answer.status_code, answer.text) == (202, "one two")
    assert answer.headers["x-colour"] == "green"
    assert client.get("/accepted?fails=1").status_code == 404  # before the first chunk
    assert client.get("/unknown_status").status_code == 500
    assert "999" in caplog.text


def test_events_come_from_there(client: Any) -> None:
    answer = client.get("/ticks/2")
    assert answer.text == (
        ': \n\nevent: tick\ndata: {"number":0}\n\nevent: tick\ndata: {"number":1}\n\ndata: done\n\n'
    )
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-colour"] == "blue"
    assert answer.headers.get_list("cache-control") == ["no-cache, no-transform"]
    assert client.get("/mapped").text == ": \n\ndata: 10\n\ndata: 30\n\n"


def test_events_of_async_code_cant_come_from_there(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/async_events").status_code == 500
    assert "in the process pool, EventStream takes a generator that is written as" in caplog.text


@pytest.mark.processes
def test_a_silent_source_ends_with_its_client(
    make_client: MakeClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = make_client(Crossing(processes=1))
    with client.stream("GET", f"/silent?begun={tmp_path / 'begun'}") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) + next(pieces) == b": \n\ndata: first\n\n"
        until((tmp_path / "begun").exists)
    until((tmp_path / "begun.closed").exists)
    assert client.get("/csv/1").text == "0\n"  # its process is free again
    assert caplog.text == ""


@pytest.mark.parametrize("size", [10, 1000, 3 * MIB])
def test_an_upload_of_any_size_goes_there(client: Any, size: int) -> None:
    content = b"x" * (size - 5) + b"apple"
    body = form(section('name="thing"; filename="a.txt"', content))
    seen = client.post("/upload", content=body, headers=HEADERS).json()
    assert seen == ["a.txt", "application/octet-stream", size, size, "apple"]


@pytest.mark.parametrize("size", [10, 3 * MIB])
def test_the_request_s_files_go_there_once(client: Any, size: int) -> None:
    parts = [
        section(f'name="{name}"; filename="a.txt"', b"x" * size) for name in ("thing", "other")
    ]
    seen = client.post("/all_files", content=form(*parts), headers=HEADERS).json()
    assert seen == [{"thing": size, "other": size}, True]


@pytest.mark.parametrize("size", [5, 100_000, 3 * MIB])
def test_a_raw_body_goes_there(client: Any, size: int) -> None:
    body = b"x" * (size - 5) + b"apple"
    for media_type in "application/octet-stream", "application/json":
        answer = client.post("/raw", content=body, headers={"Content-Type": media_type})
        assert answer.json() == ["bytes", size, "apple"]
    assert client.post("/raw", content=b"x" * 9 * MIB).status_code == 413


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("spool_size", [100, 10])
def test_a_copy_of_an_upload(protocol: int, spool_size: int) -> None:
    upload = UploadFile("../a.txt", {"content-type": "text/plain", "x-colour": "red"}, spool_size)
    for data in b"", b"green apples":
        upload.write(data)
        upload.filename = "b.txt"
        upload.read(3)
        buffers: list[Any] = []
        keep = buffers.append if protocol == 5 else None
        made = pickle.dumps(upload, protocol, buffer_callback=keep)
        copy = pickle.loads(made, buffers=buffers)
        assert bool(buffers) == (protocol == 5 and spool_size == 10 and bool(data))
        assert upload.read() == copy.read() == data
        assert (copy.raw_filename, copy.filename, copy.size) == ("../a.txt", "b.txt", len(data))
        assert (copy.content_type, copy.headers) == (upload.content_type, upload.headers)
        for one in buffers:
            one.release()
    upload.close()
