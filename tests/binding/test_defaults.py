"""A handler's default belongs to no request, so what one request does to it is its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel

from micropie import App, BindingErrors, Query, WebSocket, post
from micropie.testing import TestClient
from tests.support.clients import MakeClient


class Model(BaseModel):
    tags: list[str] = []


@dataclass
class Search:
    words: list[str]


SEEN = object()


class Root(App):
    @post
    def texts(self, *, tags: list[str] = []) -> Any:  # noqa: B006 - what is tested
        tags.append("x")
        return tags

    async def query(self, tags: Annotated[list[str], Query()] = ["a"]) -> Any:  # noqa: B006
        tags.append("x")
        return tags

    @post
    def nested(self, data: dict[str, list[int]] = {"a": []}) -> Any:  # noqa: B006
        data["a"].append(1)
        return data

    @post
    def model(self, model: Model = Model()) -> Any:  # noqa: B008
        model.tags.append("x")
        return model

    def structure(self, search: Annotated[Search, Query()] = Search([])) -> Any:  # noqa: B008
        search.words.append("x")
        return search.words

    @post
    def invalid(self, errors: BindingErrors, numbers: list[int] = []) -> Any:  # noqa: B006
        numbers.append(1)
        return [numbers, len(errors)]

    def same(self, marker: Any = SEEN, _cache: list[int] = []) -> Any:  # noqa: B006
        _cache.append(1)
        return [marker is SEEN, len(_cache)]

    async def ws_names(self, ws: WebSocket, names: list[str] = []) -> None:  # noqa: B006
        names.append("x")
        await ws.accept()
        await ws.send_json(names)


class Words(list[str]):
    pass


def test_no_request_gets_a_default_that_another_has_changed(make_client: MakeClient) -> None:
    app = Root()

    @app.provides(Words)
    def words(start: Annotated[list[str], Query()] = []) -> Words:  # noqa: B006
        start.append("x")
        return Words(start)

    @app.get("/provided")
    def provided(words: Words) -> Any:
        return words

    client = make_client(app)
    for _ in range(2):
        assert client.post("/texts").json() == ["x"]
        assert client.post("/texts", json={}).json() == ["x"]
        assert client.get("/query").json() == ["a", "x"]
        assert client.post("/nested").json() == {"a": [1]}
        assert client.post("/model").json() == {"tags": ["x"]}
        assert client.get("/structure").json() == ["x"]
        assert client.post("/invalid", json={"numbers": ["a"]}).json() == [[1], 1]
        assert client.get("/provided").json() == ["x"]


def test_a_websocket_s_default_is_its_own() -> None:
    with TestClient(Root()) as client:
        for _ in range(2):
            with client.websocket("/names") as ws:
                assert ws.receive_json() == ["x"]


def test_a_marker_and_a_private_parameter_keep_their_object(make_client: MakeClient) -> None:
    client = make_client(Root())
    found = [client.get("/same").json() for _ in range(2)]
    assert [is_same for is_same, _ in found] == [True, True]
    assert found[1][1] == found[0][1] + 1


class Locked(list[str]):
    def __deepcopy__(self, memo: object) -> Any:
        raise TypeError("cannot pickle '_thread.lock' object")


def test_a_default_that_cannot_be_copied_is_passed_itself(make_client: MakeClient) -> None:
    kept, app = Locked(["a"]), App()

    @app.get("/kept")
    def keeps(words: Annotated[list[str], Query()] = kept) -> Any:
        return [words is kept, words]

    assert make_client(app).get("/kept").json() == [True, ["a"]]
