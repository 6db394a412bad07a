"""Pages of a list and the links between them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from micropie import App, HTTPError, Page
from tests.support.clients import MakeClient

PIES = [f"pie {number}" for number in range(1, 46)]


@pytest.mark.parametrize(
    ("number", "first", "count", "before", "after"),
    [(1, "pie 1", 20, False, True), (2, "pie 21", 20, True, True), (3, "pie 41", 5, True, False)],
)
def test_page_of_takes_a_slice_of_a_list(
    number: int, first: str, count: int, before: bool, after: bool
) -> None:
    page = Page.of(PIES, number)
    assert (next(iter(page)), len(page), page.total, page.pages) == (first, count, 45, 3)
    assert (page.number > 1, page.number < page.pages) == (before, after)


@pytest.mark.parametrize("number", [0, -1, 4])
def test_a_page_that_does_not_exist_gets_a_404(number: int) -> None:
    with pytest.raises(HTTPError) as error:
        Page.of(PIES, number)
    assert (error.value.status, error.value.message) == (404, f"There is no page {number}.")


def test_the_first_page_of_an_empty_list_is_empty() -> None:
    page: Page[str] = Page.of([])
    assert (list(page), page.pages, list(page.numbers())) == ([], 0, [])


@pytest.mark.parametrize("size", [0, -1, -20])
def test_a_page_size_of_zero_gets_a_400(size: int) -> None:
    with pytest.raises(HTTPError):
        Page([], 1, size, 0)
    with pytest.raises(HTTPError) as error:
        Page.of(PIES, 2, size)
    seen = (error.value.status, error.value.message)
    assert seen == (400, f"The page size must be 1 or more, not {size}.")
    with pytest.raises(HTTPError) as error:
        Page.offset(2, size)
    found = (error.value.status, error.value.message)
    assert found == (400, f"The page size must be 1 or more, not {size}.")


@pytest.mark.parametrize("number", [0, -7, 2**59 + 1, 10**30])
def test_a_page_number_too_large_for_a_database_gets_a_404(number: int) -> None:
    with pytest.raises(HTTPError) as error:
        Page.offset(number, 16)
    assert (error.value.status, error.value.message) == (404, f"There is no page {number}.")


def test_page_offset_counts_the_items_before_a_page() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        assert [Page.offset(number, 16) for number in (1, 2, 2**59)] == [0, 16, 2**63 - 16]
        assert db.execute("select 1 limit 16 offset ?", [Page.offset(2**59, 16)]).fetchall() == []


@pytest.mark.parametrize(
    ("number", "pages", "numbers"),
    [
        (1, 1, [1]),
        (1, 3, [1, 2, 3]),
        (1, 9, [1, 2, 3, None, 9]),
        (5, 9, [1, None, 3, 4, 5, 6, 7, None, 9]),
        (4, 9, [1, 2, 3, 4, 5, 6, None, 9]),
        (9, 9, [1, None, 7, 8, 9]),
        (
            500_000_000,
            10**9,
            [1, None, 499_999_998, 499_999_999, 500_000_000, 500_000_001, 500_000_002, None, 10**9],
        ),
    ],
)
def test_page_numbers_lists_the_numbers_to_link_to(
    number: int, pages: int, numbers: list[int | None]
) -> None:
    assert list(Page([], number, 1, pages).numbers()) == numbers


class Shop(App):
    def pies(self, page: int = 1, kind: str = "", size: int = 20) -> str:
        shown = Page.of(PIES, page, size)
        self.response.headers["Link"] = shown.link_header()
        return f"{kind} {shown.previous_url} {shown.next_url}"


class Root(App):
    def __init__(self) -> None:
        super().__init__(text="plain")
        self.shop = Shop()


def test_page_links_keep_the_path_and_the_other_parameters(make_client: MakeClient) -> None:
    client = make_client(Root())
    first = client.get("/shop/pies?kind=a+%26b&kind=c")
    assert first.text == "a &b None /shop/pies?kind=a+%26b&kind=c&page=2"
    assert first.headers["Link"] == (
        '</shop/pies?kind=a+%26b&kind=c&page=1>; rel="first", </shop/pies?kind=a+%26b&kind=c&page=2>; rel="next", '
        '</shop/pies?kind=a+%26b&kind=c&page=3>; rel="last"'
    )
    second = client.get("/shop/pies?page=2")
    assert second.text == " /shop/pies?page=1 /shop/pies?page=3"
    assert 'page=1>; rel="prev"' in second.headers["Link"]
    assert client.get("/shop/pies?page=9").status_code == 404
    assert client.get("/shop/pies?size=0").status_code == 400


def test_R16_a_page_link_stays_on_this_host_whatever_the_path(make_client: MakeClient) -> None:
    """``//evil.com``, ``/\\evil.com`` and, as browsers drop tabs, ``/<tab>/evil.com`` mean another
    host.
    """

    class Anything(App):
        def default(self, *names: str) -> str:
            return str(Page.of(PIES, 1).next_url)

        def failed(self) -> str:
            return str(Page.of(PIES, 1).next_url)

    app = Anything(text="plain")
    app.error(404)(app.failed)
    client = make_client(app, validate=False)
    for path in (
        "/%2Fevil.com/x",
        "/%2F%2Fevil.com",
        "/%5Cevil.com",
        "/%09/evil.com",
        "/%5C%2Fevil.com",
    ):
        url = client.get("/", extensions={"target": path.encode()}).text
        assert url == f"{path}?page=2"
    for path in ("//evil.com", "///evil.com"):  # 404, with a page of the author's
        assert client.get("/", extensions={"target": path.encode()}).text == "/evil.com?page=2"
