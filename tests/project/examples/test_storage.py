"""``how_to/storage``: documents in a bucket of a real S3 server, and links to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from moto.server import ThreadedMotoServer

from examples.how_to.storage.app import Documents
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a server of S3 with an empty bucket "pies"."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "pies",
            "AWS_SECRET_ACCESS_KEY": "apple",
        }.items():
            patch.setenv(name, value)
        httpx2.put(f"{url}/pies", timeout=PATIENCE).raise_for_status()
        yield url
    server.stop()


def test_a_document_is_stored_in_a_bucket(s3: str, make_client: MakeClient) -> None:
    make: Any = Documents
    client = make_client(make("s3://pies/documents"))
    content = bytes(range(256)) * 24 * 1024  # 6 MiB, which obstore sends in two parts
    key = client.post("/add", files={"document": ("café.pdf", content)}).json()["key"]
    link = client.get(f"/show/{key}").headers["location"]
    assert link.startswith(f"{s3}/pies/documents/{key}?X-Amz-")
    assert "X-Amz-Expires=300" in link
    assert "X-Amz-Signature=" in link
    answer = httpx2.get(link, timeout=PATIENCE)
    assert answer.content == content
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''caf%C3%A9.pdf"
    assert client.post("/remove", data={"key": key}).status_code == 204
    assert client.get(f"/show/{key}").status_code == 404
    assert httpx2.get(link, timeout=PATIENCE).status_code == 404
