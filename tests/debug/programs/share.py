"""Files to share: upload, a link with a token, expiry, a thumbnail, and the owner's page."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from micropie import (
    App,
    HTTPError,
    Redirect,
    Response,
    UploadFile,
    get,
    max_body_size,
    post,
    reads_body,
    request,
    static_file,
    template,
)
from micropie.middleware import RateLimit, SecurityDefaults

PAGE = """<form method="post" action="{{ url_for('upload') }}" enctype="multipart/form-data">
{{ csrf_input }}<input type="file" name="files" multiple><button>Share</button></form>
{% for file in files %}<a href="{{ url_for('download', token=file.token) }}">{{ file.name }}</a>
{% endfor %}"""
FOLDER = Path("shared")
KINDS = {"image/png": ".png", "image/jpeg": ".jpg", "application/pdf": ".pdf"}


@dataclass(frozen=True)
class Shared:
    token: str
    name: str
    path: str
    until: float


class Share(App):
    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(security=SecurityDefaults("share.example"), max_body_size=50 * 2**20)
        self._folder = folder
        self._shared: dict[str, Shared] = {}

    @get
    def index(self) -> str:
        mine = self.request.session.get("tokens", [])
        files = [self._shared[token] for token in mine if token in self._shared]
        return template(source=PAGE, files=files)

    @RateLimit(20, per=3600)
    @post
    def upload(
        self,
        files: Annotated[list[UploadFile], Meta(max_length=5)],
        hours: Annotated[int, Meta(ge=1, le=168)] = 24,
    ) -> Redirect:
        tokens = []
        for file in files:
            if file.content_type not in KINDS:
                raise HTTPError(415, f"{file.filename} is no picture and no PDF.")
            token = secrets.token_urlsafe(16)
            (self._folder / token).mkdir(parents=True)
            path = file.save_to(self._folder / token)
            until = time.time() + hours * 3600
            self._shared[token] = Shared(token, file.filename, f"{token}/{path.name}", until)
            tokens.append(token)
        session = request.session
        session["tokens"] = [*session.get("tokens", []), *tokens][-50:]
        return Redirect(self.url_for("index"))

    @get("/d/<token>")
    def download(self, token: str, inline: bool = False) -> object:
        found = self._shared.get(token)
        if found is None or found.until < time.time():
            raise HTTPError(404, "This link has expired.")
        return static_file(found.path, root=self._folder, download=not inline)

    @get("/d/<token>/preview")
    def preview(self, token: str) -> Response:
        data = (self._folder / self._shared[token].path).read_bytes()[:4096]
        return Response(data, content_type="application/octet-stream")

    @post
    @max_body_size(2**30)
    @reads_body
    async def raw(self) -> dict[str, int]:
        size = 0
        async for chunk in self.request.stream():
            size += len(chunk)
        return {"bytes": size}

    @post("/d/<token>/remove")
    def remove(self, token: str) -> Redirect:
        if token not in self.request.session.get("tokens", []):
            raise HTTPError(403)
        self._shared.pop(token, None)
        return Redirect(self.url_for("index"))


app = Share()
