import os
import secrets
from contextlib import asynccontextmanager
from datetime import timedelta
from tempfile import TemporaryDirectory
from urllib.parse import quote

import obstore
from obstore.store import LocalStore, from_url

from micropie import App, HTTPError, Redirect, UploadFile, get, max_body_size, post, static_file
from micropie.testing import TestClient

FIVE_MINUTES = 300


class Documents(App):
    def __init__(self, place, **settings):  # place: a folder, or "s3://bucket/prefix"
        super().__init__(**settings)
        self._place = place
        self._names = {}  # in your application, a table of the database

    @asynccontextmanager
    async def lifespan(self):
        is_folder = "://" not in self._place
        self._store = LocalStore(self._place, mkdir=True) if is_folder else from_url(self._place)
        yield

    @post
    @max_body_size(100 * 1024**2)
    def add(self, document: UploadFile):
        key = secrets.token_urlsafe(16)
        disposition = f"attachment; filename*=UTF-8''{quote(document.filename)}"
        is_local = isinstance(self._store, LocalStore)
        attributes = None if is_local else {"Content-Disposition": disposition}
        obstore.put(self._store, key, document.file, attributes=attributes)
        self._names[key] = document.filename
        return 201, {"key": key}

    @get
    def show(self, key: str):  # check here who may see it
        return Redirect(self._link(key), allow_external=True)

    def _link(self, key):
        """Return a URL that anybody can open for five minutes."""
        if key not in self._names:
            raise HTTPError(404)
        if isinstance(self._store, LocalStore):
            signed = self.request.sign(key, "document", expires=FIVE_MINUTES)
            return self.url_for("document", key=signed)
        return obstore.sign(self._store, "GET", key, timedelta(seconds=FIVE_MINUTES))

    @get
    def document(self, key: str):
        name = self.request.unsign(key, "document")
        return static_file(name, root=self._store.prefix, download=self._names[name])

    @post
    def remove(self, key: str):
        if self._names.pop(key, None):
            obstore.delete(self._store, key)
        return 204, None


app = Documents(
    os.environ.get("FILES", "files"),
    secret_key=os.environ.get("SECRET_KEY", "only for development: of 32 bytes or more").split(","),
)


def test_a_document_can_be_added_and_downloaded():
    with TemporaryDirectory() as folder:
        documents = Documents(folder, secret_key="k" * 32)
        with TestClient(documents, follow_redirects=True) as client:
            key = client.post("/add", files={"document": ("café.pdf", b"%PDF")}).json()["key"]
            answer = client.get(f"/show/{key}")
            assert answer.content == b"%PDF"
            assert "caf%C3%A9.pdf" in answer.headers["content-disposition"]
            assert client.get("/show/other").status_code == 404
            assert client.get("/document", params={"key": key}).status_code == 403
            client.post("/remove", data={"key": key})
            assert client.get(f"/show/{key}").status_code == 404
