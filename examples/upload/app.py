"""Uploads of any size, with their progress. The page shows how much the browser has sent, and the
handler counts the bytes that have arrived.

With ``@reads_body``, the handler gets the parts of the form as they arrive. Nothing is stored, so
the process needs little memory.
"""

from __future__ import annotations

import hashlib
from typing import Any

from micropie import App, max_body_size, post, reads_body, template
from micropie.middleware import SecurityDefaults

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Upload</title>
<main>
<h1>Upload</h1>
<form action="{{ url_for("upload") }}">
  <input type="file" name="file" aria-label="Files" multiple required> <button>Upload</button>
</form>
<p><progress max="1" value="0"></progress> <output></output>
</main>
<script nonce="{{ request.state.csp_nonce }}">
  const form = document.querySelector("form"), bar = document.querySelector("progress");
  const output = document.querySelector("output");
  form.onsubmit = (submit) => {
    submit.preventDefault();
    const request = new XMLHttpRequest();  // fetch has no events for what it sends
    request.upload.onprogress = ({ loaded, total }) => { bar.value = loaded / total; };
    request.onload = () => { output.textContent = request.response; };
    request.onerror = () => { output.textContent = "The connection was lost."; };
    request.open("POST", form.action);
    request.send(new FormData(form));
  };
</script>
"""


class Uploads(App):
    def __init__(self) -> None:
        policy = "default-src 'self'; script-src 'nonce-{nonce}'"
        super().__init__(security=SecurityDefaults("localhost", "127.0.0.1", "::1", csp=policy))

    def index(self) -> str:
        return template(source=PAGE)

    @post
    @max_body_size(10 * 1024**3)
    @reads_body
    async def upload(self) -> list[dict[str, Any]]:
        files = []
        async for part in self.request.parts():
            if part.filename is not None:
                size, digest = 0, hashlib.sha256()
                async for chunk in part:
                    size += len(chunk)
                    digest.update(chunk)
                files.append({"name": part.filename, "bytes": size, "sha256": digest.hexdigest()})
        return files


app = Uploads()
