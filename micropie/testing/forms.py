"""The forms of a page, as far as a test needs them to send one."""

from __future__ import annotations

from collections.abc import Iterable
from html.parser import HTMLParser

from micropie.testing.errors import ClientError

# Inputs that send no value of their own unless they are ticked or clicked.
_WITHOUT_VALUE = ("submit", "button", "image", "reset", "file", "checkbox", "radio")


class PostForms(HTMLParser):
    """The forms of a page that are sent by POST: the action of each, and its fields with the values
    that it sends.

    A field sends no value by itself if the visitor enters it: a text area, a file, a box that is
    not ticked. It sends several values if several inputs have its name.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self._forms: list[tuple[str, dict[str, list[str]]]] = []
        self._fields: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form or a field."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._fields = {}
            if given.get("method", "").lower() == "post":
                self._forms.append((given.get("action", ""), self._fields))
        elif tag in ("input", "textarea", "select", "button") and given.get("name"):
            sends = tag == "input" and (
                given.get("type", "").lower() not in _WITHOUT_VALUE or "checked" in given
            )
            values = self._fields.setdefault(given["name"], [])
            if sends:
                values.append(given.get("value", "on" if "checked" in given else ""))

    def with_fields(self, names: Iterable[str]) -> tuple[str, dict[str, list[str]]]:
        """Return the action of the first form that has these fields, and the values that it sends
        by itself.

        Raises ``ClientError`` if there is none.
        """
        wanted = set(names)
        for action, fields in self._forms:
            if wanted <= fields.keys():
                return action, {name: values for name, values in fields.items() if values}
        known = "; ".join(", ".join(fields) for _, fields in self._forms)
        raise ClientError(
            f"no form of the page that is sent by POST has {', '.join(wanted)}; there are: {known}"
        )
