"""Parse the forms of a page, so that a test can send one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

from micropie.testing.errors import ClientError

# Types of inputs that send no value unless they are ticked or clicked.
_WITHOUT_VALUE = ("submit", "button", "image", "reset", "file", "checkbox", "radio")

_CONTROLS = ("input", "textarea", "select", "button")


class PostForm:
    """A form with ``method="post"``: its URL, its fields with their initial values, and its file
    inputs.
    """

    action = ""
    is_multipart = False

    def __init__(self) -> None:
        self.fields: dict[str, list[str]] = {}
        self.file_inputs: list[str] = []

    def sent_with(
        self, data: Mapping[str, object], files: Sequence[tuple[str, object]]
    ) -> dict[str, Any]:
        """Return httpx2's options for a request: the one that a browser sends after a visitor has
        entered ``data`` and chosen ``files``.

        A form without ``enctype="multipart/form-data"`` sends only the names of files. With this
        ``enctype``, a file input left empty sends a file without a name.
        """
        as_files = self.file_inputs if self.is_multipart else ()
        fields: dict[str, object] = {
            name: values for name, values in self.fields.items() if values and name not in as_files
        }
        fields |= data
        if not self.is_multipart:
            names = {
                name: [_filename(one) for key, one in files if key == name] for name, _ in files
            }
            return {"data": fields | names}
        chosen = {name for name, _ in files}
        parts = [*files, *((name, ("", b"")) for name in self.file_inputs if name not in chosen)]
        # httpx2 sends a form as multipart only if it has files, so send the texts as files, too.
        texts = [
            (name, (None, _text(text)))
            for name, value in fields.items()
            for text in (value if isinstance(value, list | tuple) else [value])
        ]
        return {"files": [*texts, *parts]}


def _filename(file: object) -> str:
    given = file[0] if isinstance(file, Sequence) and not isinstance(file, str | bytes) else None
    return str(given or getattr(file, "name", "upload"))


def _text(value: object) -> str | bytes:
    """Return a value as httpx2 would write it in a form."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, bytes) else "" if value is None else str(value)


class PostForms(HTMLParser):
    """A parser that finds a page's forms with ``method="post"``.

    Some fields have no initial value: text areas, files, unticked boxes. A field sends several
    values if several inputs have its name. Disabled controls don't count, nor do those in a
    disabled ``fieldset``, except in its first ``legend``. A control may be outside its form; its
    attribute ``form`` then has the form's id.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self._forms: list[PostForm] = []
        # The forms by id. A control may come before its form: then the form is added when the
        # control is read.
        self._by_id: dict[str, PostForm] = {}
        # Collects the controls that belong to no form.
        self._form = PostForm()
        # For each fieldset around the current tag: whether it is disabled, and whether its first
        # legend has begun.
        self._fieldsets: list[list[bool]] = []
        self._legends: list[list[bool]] = []  # the fieldsets whose first legend is still open
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a form or a field."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = self._named(given["id"]) if given.get("id") else PostForm()
            self._form.action = given.get("action", "")
            enctype = given.get("enctype", "").strip().lower()
            self._form.is_multipart = enctype == "multipart/form-data"
            if given.get("method", "").lower() == "post":
                self._forms.append(self._form)
        elif tag == "fieldset":
            self._fieldsets.append(["disabled" in given, False])
        elif tag == "legend" and self._fieldsets and not self._fieldsets[-1][1]:
            self._fieldsets[-1][1] = True
            self._legends.append(self._fieldsets[-1])
        elif tag in _CONTROLS and given.get("name") and not self._is_disabled(given):
            self._add(tag, given)

    def handle_endtag(self, tag: str) -> None:
        """Record the end of a form, a fieldset or a legend."""
        if tag == "form":
            self._form = PostForm()
        elif tag == "fieldset" and self._fieldsets:
            self._fieldsets.pop()
        elif tag == "legend" and self._legends:
            self._legends.pop()

    def _is_disabled(self, given: Mapping[str, str]) -> bool:
        return "disabled" in given or any(
            fieldset[0] and all(fieldset is not legend for legend in self._legends)
            for fieldset in self._fieldsets
        )

    def _named(self, name: str) -> PostForm:
        return self._by_id.setdefault(name, PostForm())

    def _add(self, tag: str, given: Mapping[str, str]) -> None:
        form = self._named(given["form"]) if "form" in given else self._form
        name, kind = given["name"], given.get("type", "").lower() if tag == "input" else tag
        values = form.fields.setdefault(name, [])
        if kind == "file":
            form.file_inputs.append(name)
            values.append("")
        if tag == "input" and (kind not in _WITHOUT_VALUE or "checked" in given):
            values.append(given.get("value", "on" if "checked" in given else ""))

    def with_fields(self, names: Iterable[str]) -> PostForm:
        """Return the first form with these fields.

        Raises ``ClientError`` if there is none.
        """
        wanted = set(names)
        for form in self._forms:
            if wanted <= form.fields.keys():
                return form
        known = "; ".join(", ".join(form.fields) for form in self._forms)
        raise ClientError(
            f"no POST form of the page has the fields {', '.join(wanted)}; the page's forms have: "
            f"{known}"
        )
