"""Webhooks: signed bodies, each once, work after the response, and deliveries to others."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections import OrderedDict
from typing import Annotated, Any

import httpx
from msgspec import Struct

from micropie import App, Header, HTTPError, Request, get, max_body_size, post
from micropie.middleware import Timeout

SECRET = os.environ.get("WEBHOOK_SECRET", "sesame").encode()


class Event(Struct):
    id: str
    kind: str
    data: dict[str, Any] = {}


class Seen:
    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, id: str) -> bool:
        if id in self._ids:
            return False
        self._ids[id] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
        return True


def deliver(url: str, event: Event) -> None:
    httpx.post(url, json={"id": event.id, "kind": event.kind}, timeout=5).raise_for_status()


class Webhooks(App):
    def __init__(self) -> None:
        super().__init__(methods=["GET", "HEAD", "POST"], errors="json")
        self._seen = Seen()
        self.subscribers: set[str] = set()
        self.counts: dict[str, int] = {}

    @Timeout(10)
    @post
    @max_body_size(64 * 1024)
    async def receive(self, signature: Annotated[str, Header("X-Signature")]) -> tuple[int, None]:
        body = await self.request.body()
        expected = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature.encode(), f"sha256={expected}".encode()):
            raise HTTPError(401, "The signature is wrong.")
        sent = json.loads(body)
        event = Event(sent["id"], sent["kind"], sent.get("data", {}))
        if self._seen.add(event.id):
            self.counts[event.kind] = self.counts.get(event.kind, 0) + 1
            for url in self.subscribers:
                self.request.after_response(deliver, url, event)
        return 202, None

    @post
    def subscribe(self, url: str) -> tuple[int, dict[str, str]]:
        if not url.startswith("https://"):
            raise HTTPError(400, "https only")
        self.subscribers.add(url)
        return 201, {"url": url}

    @get
    def stats(self) -> dict[str, int]:
        return self.counts


app = Webhooks()
app.health("/healthz")


@app.error(KeyError)
def incomplete(request: Request, error: KeyError) -> tuple[int, dict[str, str]]:
    return 400, {"detail": f"{error.args[0]} is missing"}
