"""HTML with escaped values: ``escape``, ``html`` and template strings.

markupsafe is not used here, because its ``Markup`` escapes every string that is joined to it, and
because pages must not depend on which packages are installed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from inspect import isawaitable
from itertools import chain
from string import Formatter
from typing import Any, LiteralString, Protocol, TypeGuard

CHUNK = 64 * 1024  # characters


class Escaped(str):
    """Text that is HTML already, so neither ``escape`` nor a template escapes it again."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


class Template(Protocol):
    """The part of Python 3.14's template strings (PEP 750) used here: ``t"<p>{name}</p>"``."""

    @property
    def interpolations(self) -> Sequence[object]: ...

    def __iter__(self) -> Iterator[object]: ...


class _HasHtml(Protocol):
    def __html__(self) -> str: ...


def escape(value: object) -> str:
    """Return ``str(value)`` with ``& < > " '`` escaped, for use in the text and the quoted
    attributes of HTML.

        return f"Hello, {escape(name)}!"

    A value with a method ``__html__``, such as markupsafe's ``Markup``, is HTML already and is
    returned unchanged. You don't need this function in templates, or for the values of ``html``,
    because templates and ``html`` escape values themselves.
    """
    # Look ``__html__`` up on the class, because clients may have chosen the attributes of an
    # object.
    as_html = getattr(type(value), "__html__", None)
    if as_html is not None:
        return Escaped(as_html(value))
    text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Escaped(text.replace('"', "&#34;").replace("'", "&#39;"))


def html(pattern: LiteralString | Template | _HasHtml, *values: object, **named: object) -> str:
    """Format a pattern like ``str.format``, and return it as HTML. Each value is escaped, so it may
    be used in text and in quoted attributes.

        return html("<p>Hello, {}!</p>", name)

    ``pattern`` must be a string literal of the application, never an f-string. The items of a list,
    a tuple or an iterator are joined, and a value that is HTML already stays unchanged:
    ``html("<ul>{}</ul>", [html("<li>{}</li>", one) for one in names])``. A template string is a
    pattern with its values: ``html(t"<p>Hello, {name}!</p>")``. Raises ``TypeError`` for a pattern
    without values, because the values may have been inserted into it unescaped. Also raises it for
    a placeholder that gets no value, and for ``%s`` instead of ``{}``.
    """
    if is_html(pattern):
        return Escaped("".join(_pieces(pattern)))
    if not values and not named:
        raise TypeError(
            "html() escapes only values that are passed as arguments: write "
            'html("<p>{}</p>", name), not an f-string'
        )
    text = str(pattern)
    if "%s" in text and "{" not in text:
        raise TypeError("the text of html() has no {}: write {} instead of %s")
    return Escaped(_FORMATTER.vformat(text, values, named))


class _Formatter(Formatter):
    def get_value(
        self, key: int | str, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> object:
        try:
            return super().get_value(key, args, kwargs)
        except (IndexError, KeyError):
            raise TypeError(f"html() got no value for {{{key}}}") from None

    def format_field(self, value: object, format_spec: str) -> str:
        return "".join(_pieces(value, format_spec))


_FORMATTER = _Formatter()


def _is_template(kind: type) -> bool:
    """Return whether ``kind`` is the type of template strings.

    The type is recognised by name, because older Pythons don't have its module.
    """
    return kind.__name__ == "Template" and kind.__module__ == "string.templatelib"


@lru_cache(256)
def is_html_type(kind: type) -> bool:
    """Return whether objects of the type ``kind`` are sent as HTML, like template strings and
    objects with ``__html__``.
    """
    return hasattr(kind, "__html__") or _is_template(kind)


def is_html(value: object) -> TypeGuard[Template | _HasHtml]:
    """Return whether ``value`` is sent as HTML, because it is a template string or has
    ``__html__``.
    """
    kind: type = type(value)
    return is_html_type(kind)


def html_body(value: object) -> str | Iterator[str]:
    """Return the text of an object for which ``is_html`` is true.

    If the text is large, or made from iterators, which may block, return an iterator of chunks
    instead.
    """
    chunks = in_chunks(_pieces(value))
    if _has_iterators(value):
        return chunks
    first, second = next(chunks, ""), next(chunks, None)
    return Escaped(first) if second is None else chain((first, second), chunks)


def _pieces(value: Any, spec: str = "") -> Generator[str]:
    """Yield the HTML of a value, in pieces."""
    if spec:
        yield escape(format(value, spec))
    elif _is_template(type(value)):
        for part in value:
            if isinstance(part, str):
                yield part
            else:
                convert = _CONVERSIONS[part.conversion]
                yield from _pieces(convert(part.value) if convert else part.value, part.format_spec)
    elif isinstance(value, list | tuple | Iterator) and not is_html(value):
        for one in value:
            yield from _pieces(one)
    elif isawaitable(value):
        raise TypeError(
            f"html() got a {type(value).__name__}: write await in front of the call that returns it"
        )
    else:
        yield escape(value)


_CONVERSIONS: dict[str | None, Any] = {None: None, "s": str, "r": repr, "a": ascii}


def _has_iterators(value: Any) -> bool:
    if _is_template(type(value)):
        return any(_has_iterators(one.value) for one in value.interpolations)
    return isinstance(value, Iterator) or (
        isinstance(value, list | tuple) and any(map(_has_iterators, value))
    )


def in_chunks(pieces: Generator[str], first: int = CHUNK, others: int = CHUNK) -> Iterator[str]:
    """Join ``pieces`` into larger chunks and yield these. The first chunk has at least ``first``
    characters, and each other chunk, except the last one, at least ``others``.

    ``pieces`` is closed when its last piece was yielded, or when this generator is closed.
    """
    chunk: list[str] = []
    size, enough = 0, first
    with closing(pieces):
        for piece in pieces:
            chunk.append(piece)
            size += len(piece)
            if size >= enough:
                yield "".join(chunk)
                chunk, size, enough = [], 0, others
    if chunk:
        yield "".join(chunk)
