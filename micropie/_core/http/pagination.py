"""``Page``: one page of a long list, and the links to the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast
from urllib.parse import urlencode

from micropie._core.errors import BadRequest, HTTPError, Sentence
from micropie._core.http.request import current_request

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list. ``items``: the items on this page. ``number``: the page's number, counted
    from 1. ``size``: the number of items on a full page. ``total``: the number of items on all
    pages.

    In a handler::

        rows = db.execute("SELECT * FROM pies LIMIT 20 OFFSET ?", [Page.offset(page, 20)]).fetchall()
        return self.render("pies.html", page=Page(rows, page, size=20, total=count))

    In the template, write ``for pie in page``, and link to ``page.next_url``.

    Raises ``HTTPError``: 404 for a page that does not exist (the first page always exists), and 400
    for a size below 1, because the size may come from the client.
    """  # noqa: E501

    items: Sequence[Item]
    number: int
    size: int
    total: int

    def __post_init__(self) -> None:
        _check_size(self.size)
        if not 1 <= self.number <= max(self.pages, 1):
            raise HTTPError(404, Sentence("There is no page {number}.", number=self.number))

    @classmethod
    def of(cls, items: Sequence[Found], number: int = 1, size: int = 20) -> Page[Found]:
        """Return page ``number`` of ``items``, a sequence of all items.

        Raises ``HTTPError`` as ``Page`` does, and ``TypeError`` if ``items`` is not a sequence.
        """
        if not isinstance(items, Sequence):
            raise TypeError(
                f"Page.of takes a list, not {type(items).__name__}: write Page.of([*items])"
            )
        start = (max(number, 1) - 1) * size
        return cast("type[Page[Found]]", cls)(items[start : start + size], number, size, len(items))

    @staticmethod
    def offset(number: int, size: int) -> int:
        """Return the number of items before page ``number``, for the OFFSET of a query.

        Raises ``HTTPError``: 404 for a page below 1 or beyond 2**63 items, which is the limit of
        databases; 400 for a size below 1.
        """
        _check_size(size)
        offset = (number - 1) * size
        if not 0 <= offset < 2**63:
            raise HTTPError(404, Sentence("There is no page {number}.", number=number))
        return offset

    @property
    def pages(self) -> int:
        """The number of pages; 0 for an empty list."""
        return -(-self.total // self.size)

    @property
    def previous_url(self) -> str | None:
        """The URL of the page before this one, or None."""
        return self.url(self.number - 1) if self.number > 1 else None

    @property
    def next_url(self) -> str | None:
        """The URL of the page after this one, or None."""
        return self.url(self.number + 1) if self.number < self.pages else None

    def url(self, number: int, name: str = "page") -> str:
        """Return the current request's path and query with ``name`` set to ``number``."""
        request = current_request()
        query = {**request._exchange.query, name: [str(number)]}
        return f"{request._exchange.url_path()}?{urlencode(query, doseq=True)}"

    def numbers(self, edge: int = 1, around: int = 2) -> Iterator[int | None]:
        """Yield the page numbers to link to: ``edge`` numbers at either end, ``around`` numbers on
        either side of this page, and None for a gap.
        """
        pages = self.pages
        spans = [
            range(max(first, 1), min(last, pages) + 1)
            for first, last in (
                (1, edge),
                (self.number - around, self.number + around),
                (pages - edge + 1, pages),
            )
        ]
        before = 0
        for number in sorted({number for span in spans for number in span}):
            if number > before + 1:
                yield None
            yield number
            before = number

    def link_header(self, name: str = "page") -> str:
        """Return the value of a Link header (RFC 8288) with the links first, prev, next and last,
        for API clients.
        """
        last = max(self.pages, 1)
        numbers = {"first": 1, "prev": self.number - 1, "next": self.number + 1, "last": last}
        return ", ".join(
            f'<{self.url(number, name)}>; rel="{relation}"'
            for relation, number in numbers.items()
            if 1 <= number <= last
        )

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def _check_size(size: int) -> None:
    if size < 1:
        raise BadRequest(f"The page size must be 1 or more, not {size}.")
