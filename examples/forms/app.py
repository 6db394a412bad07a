"""A form that comes back with its errors, and with what was typed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

from micropie import App, BindingErrors, Redirect, flash, get, post, template
from micropie.middleware import SecurityDefaults

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>A table for tonight</title>
{% macro field(name, label, type="text") %}
<p><label>{{ label }} <input name="{{ name }}" type="{{ type }}" value="{{ values[name] }}"
  {%- if errors[name] %} aria-invalid="true"{% endif %}></label>
{% if errors[name] %}<strong role="alert">{{ errors[name] }}</strong>{% endif %}
{% endmacro %}
<h1>A table</h1>
{% for message in get_flashed_messages() %}<p role="status">{{ message }}</p>{% endfor %}
<form method="post" action="{{ url_for("book") }}">
{{ csrf_input }}
{{ field("name", "Name") }}
{{ field("guests", "Guests", "number") }}
{{ field("day", "Day", "date") }}
{{ field("pie", "Pie: apple or plum") }}
<p><button>Book</button>
</form>
"""


class Booking(App):
    def __init__(self) -> None:
        super().__init__(security=SecurityDefaults("localhost", "127.0.0.1", "::1"))

    @get
    def index(self) -> str:
        return template(source=PAGE, values={"guests": 2}, errors=BindingErrors())

    @post
    def book(
        self,
        errors: BindingErrors,
        name: Annotated[str, Meta(min_length=1, max_length=80)],
        guests: Annotated[int, Meta(ge=1, le=12)],
        day: date,
        pie: Literal["apple", "plum"],
    ) -> object:
        if errors:
            return 422, template(source=PAGE, values=self.request.form, errors=errors)
        flash(f"{name}: a table for {guests} on {day:%d %B %Y}, with {pie} pie.")
        return Redirect(self.url_for("index"))  # so that reloading the page does not book again


app = Booking()
