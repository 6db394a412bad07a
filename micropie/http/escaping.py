"""Escape text for HTML. Written here and not taken from markupsafe, whose text escapes what is joined to it: a page
must not depend on which packages are installed."""

from __future__ import annotations


class Escaped(str):
    """Text that is HTML already, so that neither ``escape`` nor a template escapes it again."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def escape(value: object) -> str:
    """Return ``str(value)`` with ``& < > " '`` escaped, for HTML's text and quoted attributes.

        return f"Hello, {escape(name)}!"

    A value that is HTML already (with a method ``__html__``, as markupsafe's ``Markup``) is returned unchanged.
    Templates escape by themselves.
    """
    as_html = getattr(value, "__html__", None)
    if as_html is not None:
        return Escaped(as_html())
    text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Escaped(text.replace('"', "&#34;").replace("'", "&#39;"))
