"""Starlette: lifespan with a state, WebSockets, background tasks, streams, files, redirects."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

PREFIX = "/deep/starlette"
FILES = Path(__file__).parent / "files"


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": "open", "done": []}


async def index(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.state.pool} {request.url_for('where', path='there')}")


async def where(request: Request) -> JSONResponse:
    scope = request.scope
    return JSONResponse(
        {
            "type": scope["type"],
            "method": scope["method"],
            "scheme": scope["scheme"],
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode("latin-1"),
            "root_path": scope["root_path"],
            "query": scope["query_string"].decode(),
            "client": scope["client"][0],
            "http_version": scope["http_version"],
            "headers": sorted(
                (name.decode(), value.decode("latin-1"))
                for name, value in scope["headers"]
                if name != b"connection"
            ),
            "url": str(request.url),
            "base": str(request.base_url),
        }
    )


async def body(request: Request) -> JSONResponse:
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return JSONResponse([size, digest.hexdigest()])


async def echo(request: Request) -> StreamingResponse:
    # not request.stream(): a StreamingResponse listens for the client's leaving meanwhile
    body = await request.body()
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    return StreamingResponse(pieces, status_code=201, media_type="application/octet-stream")


async def form(request: Request) -> JSONResponse:
    async with request.form() as data:
        upload: Any = data["file"]
        digest = hashlib.sha256(await upload.read()).hexdigest()
        return JSONResponse(
            [data["name"], upload.filename, upload.content_type, upload.size, digest]
        )


def blocking(request: Request) -> PlainTextResponse:
    return PlainTextResponse("in a thread")


async def stream(request: Request) -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"{number} slices of pie\n"

    return StreamingResponse(numbers(), media_type="text/plain")


async def sync_stream(request: Request) -> StreamingResponse:
    def numbers() -> Iterator[str]:
        yield from map(str, range(50))

    return StreamingResponse(numbers(), media_type="text/plain")


async def background(request: Request) -> PlainTextResponse:
    async def work(name: str) -> None:
        request.state.done.append(name)

    return PlainTextResponse(
        "to be done", background=BackgroundTask(work, request.query_params["name"])
    )


async def done(request: Request) -> JSONResponse:
    return JSONResponse(request.state.done)


async def count(request: Request) -> PlainTextResponse:
    request.session["n"] = request.session.get("n", 0) + 1
    return PlainTextResponse(str(request.session["n"]))


async def cookies(request: Request) -> Response:
    response = RedirectResponse(request.url_for("index"), 303)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", path="/deep")
    return response


async def file(request: Request) -> FileResponse:
    return FileResponse(FILES / "pie.txt", filename="pié.txt")


async def status(request: Request) -> Response:
    code = request.path_params["code"]
    return Response(status_code=code, headers={"X-Pie": "apple"})


async def denied(request: Request) -> None:
    raise HTTPException(403, "No pie for you.")


async def boom(request: Request) -> None:
    raise ValueError("oh")


async def talk(websocket: WebSocket) -> None:
    await websocket.accept(
        websocket.scope["subprotocols"][0] if websocket.scope["subprotocols"] else None,
        [(b"x-pie", b"apple")],
    )
    await websocket.send_json(
        [websocket.scope["path"], websocket.scope["root_path"], websocket.state.pool]
    )
    async for text in websocket.iter_text():
        if text == "leave":
            await websocket.close(4001, "left")
            return
        await websocket.send_text(f"heard {text}")
        await websocket.send_bytes(text.encode())


async def refuse(websocket: WebSocket) -> None:
    await websocket.close()


app = Starlette(
    routes=[
        Route("/", index, name="index"),
        Route("/where/{path:path}", where, name="where", methods=["GET", "PUT"]),
        Route("/slash/", where),
        Route("/body", body, methods=["POST"]),
        Route("/echo", echo, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/blocking", blocking),
        Route("/stream", stream),
        Route("/sync_stream", sync_stream),
        Route("/background", background),
        Route("/done", done),
        Route("/count", count),
        Route("/cookies", cookies),
        Route("/file", file),
        Route("/status/{code:int}", status),
        Route("/denied", denied),
        Route("/boom", boom),
        Mount("/static", StaticFiles(directory=FILES, html=True)),
        WebSocketRoute("/talk", talk),
        WebSocketRoute("/refuse", refuse),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key="oven")],
    lifespan=lifespan,
)
