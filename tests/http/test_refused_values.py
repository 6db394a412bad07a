"""What the client reads about a value that is refused, a time or a file, helps to send a valid one."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated

import msgspec

from micropie import App, UploadFile, post
from tests.support.clients import MakeClient

Aware = Annotated[datetime, msgspec.Meta(tz=True)]


Naive = Annotated[time, msgspec.Meta(tz=False)]


class Moment(msgspec.Struct):
    at: Aware


class Times(App):
    def at(self, at: Aware) -> str:
        return at.isoformat()

    def clock(self, at: Naive) -> str:
        return at.isoformat()

    @post
    def book(self, moment: Moment) -> str:
        return moment.at.isoformat()


def test_the_example_in_the_error_for_a_time_is_accepted(make_client: MakeClient) -> None:
    client = make_client(Times())
    refused = [
        client.get("/at?at=2026-01-01T10:00:00"),
        client.post("/book", json={"at": "2026-01-01T10:00:00"}),
    ]
    for response in refused:
        assert response.status_code == 400
        assert "as in 2026-01-31T13:45:00Z." in response.text
    assert client.get("/at?at=2026-01-31T13:45:00Z").text == "2026-01-31T13:45:00+00:00"
    assert client.post("/book", json={"at": "2026-01-31T13:45:00Z"}).status_code == 200
    assert client.get("/clock?at=13:45:00").text == "13:45:00"
    assert "leave out the offset" in client.get("/clock?at=13:45:00Z").text


class Uploads(App):
    @post
    def perhaps(self, pie: UploadFile | None = None) -> str:
        return str(pie)


def test_a_file_name_without_a_file_is_refused(make_client: MakeClient) -> None:
    client = make_client(Uploads())
    refused = client.post("/perhaps", data={"pie": "pie.png"})
    assert (refused.status_code, refused.text) == (400, "pie: Please choose a file.")
    for data in ({}, {"pie": ""}, {"other": "pie.png"}):
        assert client.post("/perhaps", data=data).text == "None"
    # a hidden field may say which file there is
    kept = client.post("/perhaps", data={"pie": "old.png"}, files={"other": ("a.png", b"a")})
    assert kept.text == "None"
