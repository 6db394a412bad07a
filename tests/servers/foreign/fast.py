"""FastAPI: its documentation below a prefix, dependencies with yield, validation, background tasks,
WebSockets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Request,
    UploadFile,
    WebSocket,
)
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

PREFIX = "/fastapi"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    app.state.closed = []
    yield {"pool": "open", "done": []}


app = FastAPI(lifespan=lifespan)


class Pie(BaseModel):
    name: str
    slices: int = 8


async def connection(request: Request) -> AsyncIterator[str]:
    try:
        yield request.state.pool
    finally:
        request.app.state.closed.append("connection")


def cursor(opened: Annotated[str, Depends(connection)], request: Request) -> Iterator[str]:
    try:
        yield f"cursor of {opened}"
    finally:
        request.app.state.closed.append("cursor")


@app.get("/")
async def index(request: Request) -> dict[str, Any]:
    return {
        "pool": request.state.pool,
        "root_path": request.scope["root_path"],
        "url": str(request.url_for("index")),
    }


@app.post("/pies", status_code=201)
async def bake(pie: Pie) -> Pie:
    return pie


@app.get("/pies/{number}")
def pie(number: int, x_pie: Annotated[str | None, Header()] = None) -> dict[str, Any]:
    return {"number": number, "header": x_pie}


@app.get("/dependency")
async def dependency(opened: Annotated[str, Depends(cursor)], fail: bool = False) -> str:
    if fail:
        raise HTTPException(409, {"reason": "no more pie"}, {"X-Pie": "none"})
    return opened


@app.get("/closed")
async def closed() -> Any:
    return app.state.closed


@app.post("/upload")
async def upload(name: Annotated[str, Form()], file: Annotated[UploadFile, File()]) -> list[Any]:
    return [name, file.filename, file.content_type, len(await file.read())]


@app.get("/stream")
async def stream(opened: Annotated[str, Depends(cursor)]) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        for number in range(100):
            yield f"{number} {opened}\n"

    return StreamingResponse(chunks(), media_type="text/plain")


@app.get("/background")
async def background(name: str, tasks: BackgroundTasks, request: Request) -> str:
    tasks.add_task(request.state.done.append, name)
    return "to be done"


@app.get("/done")
async def done(request: Request) -> Any:
    return request.state.done


@app.get("/boom")
async def boom() -> None:
    raise ValueError("oh")


@app.websocket("/talk/{number}")
async def talk(websocket: WebSocket, number: int) -> None:
    await websocket.accept()
    await websocket.send_json([number, websocket.state.pool, str(websocket.url)])
    while (text := await websocket.receive_text()) != "leave":
        await websocket.send_text(f"heard {text}")
    await websocket.close(4001)
