"""A form with checkboxes, choices, a time and repeated fields. If a value is invalid, the form is
shown again with the errors and the entered values.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from micropie import App, BindingErrors, Message, Redirect, flash, route, template
from micropie.middleware import SecurityDefaults

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>A table for tonight</title>
{% macro field(name, label, value, type="text") %}
<p><label>{{ label }} <input name="{{ name }}" type="{{ type }}" value="{{ value }}"
  {%- if errors[name] %} aria-invalid="true"{% endif %}></label>{{ wrong(name) }}
{% endmacro %}
{% macro wrong(name) %}{% if errors[name] %} <strong role="alert">{{ errors[name] }}</strong>{% endif %}{% endmacro %}
{% set given = errors.given %}
<main>
<h1>A table</h1>
{% for message in get_flashed_messages() %}<p role="status">{{ message }}</p>{% endfor %}
<form method="post">
{{ csrf_input }}
{{ field("name", "Name", given.name) }}
{{ field("at", "When", given.at, "datetime-local") }}
<fieldset><legend>Pies{{ wrong("pies") }}</legend>
{% for pie in ["apple", "plum"] %}
<label><input type="checkbox" name="pies" value="{{ pie }}"
  {%- if pie in given.pies %} checked{% endif %}> {{ pie }}</label>
{% endfor %}
</fieldset>
{% for guest in given.guests %}
<fieldset><legend>Guest {{ loop.index }}</legend>
{% set this = "guests[" ~ loop.index0 ~ "]" %}
{{ field(this ~ ".name", "Name", guest.name) }}
<p><label><input type="checkbox" name="{{ this }}.vegan"{% if guest.vegan %} checked{% endif %}> vegan</label>
</fieldset>
{% endfor %}
<p><label><input type="checkbox" name="news"{% if given.news %} checked{% endif %}> Send me news</label>
<p><button>Book</button>
</form>
</main>
"""  # noqa: E501


@dataclass
class Guest:
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    vegan: bool = False


@dataclass
class Table:
    name: Annotated[
        str, Meta(max_length=80, min_length=1), Message(min_length="Your name, please.")
    ]
    at: datetime
    pies: Annotated[list[Literal["apple", "plum"]], Meta(min_length=1)]
    guests: list[Guest]
    news: bool = True


class Booking(App):
    def __init__(self) -> None:
        super().__init__(security=SecurityDefaults("localhost", "127.0.0.1", "::1"))

    @route("/", methods=["GET", "POST"])
    def book(self, errors: BindingErrors, table: Table | None = None) -> object:
        if table is not None and table.at.weekday() == 0:
            errors.add("at", "We are closed on Mondays.")
        if table is None or errors:
            errors.fill({"news": True, "guests": [{"name": ""}, {"name": ""}]})
            return 422 if errors else 200, template(source=PAGE, errors=errors)
        names = ", ".join(
            f"{guest.name} (vegan)" if guest.vegan else guest.name for guest in table.guests
        )
        flash(
            f"{table.name}: {' and '.join(table.pies)} pie at "
            f"{table.at:%H:%M on %d %B %Y} with {names}."
        )
        return Redirect(self.url_for("book"))  # so that reloading the page does not book again


app = Booking()
