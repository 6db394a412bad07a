"""Parse queries and urlencoded forms. The fields, limits and messages here are also used for
multipart forms.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from micropie._core.errors import BadRequest, HTTPError, too_many
from micropie._core.http.addresses import unescaped
from micropie._core.http.json import MOST_VALUES, check_client_values, exact, loads
from micropie._core.http.protocols import Json, Parameters
from micropie._core.on_demand import pattern

MULTIPART = "multipart/form-data"

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one query or form. All sizes are in bytes."""

    max_form_field_size: int = MEBIBYTE
    max_fields: int = 1000  # As in Django and PHP.
    max_files: int = 100  # As in Django.
    # The total size of all fields. A larger form gets a 413, as in Django.
    max_data_size: int = 5 * MEBIBYTE // 2
    max_json_values: int = MOST_VALUES  # The values in one JSON document.
    max_file_memory: int = 16 * MEBIBYTE  # The memory for all files. Further files go to disk.
    spool_size: int = MEBIBYTE  # A longer file goes to disk.


DEFAULT_LIMITS = Limits()


class JsonText(str):
    """The text of a form's part that its sender declares as JSON."""

    __slots__ = ()


def json_in(texts: Sequence[Any], is_list: bool, is_exact: bool) -> Json:
    """Return the JSON document in the parts of a form. With ``is_list``, each part may also be an
    element of the list, as OpenAPI has it. ``is_exact``: see ``exact``.

    Raises ``ValueError`` if a part is malformed, and 413 if they have too many values.
    """
    documents: list[Json] = []
    check_client_values(",".join(texts))
    for text in texts:
        found = exact(text.encode()) if is_exact else None
        documents.append(loads(text) if found is None else found)
    are_elements = len(texts) > 1 or (is_list and not isinstance(documents[0], list))
    return documents if are_elements else documents[0]


class Budget:
    """Counts the fields of a form and their bytes, and enforces the limits that all kinds of forms
    share.

    Its methods raise 413 above a limit.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0
        self._memory = 0

    def begin(self) -> int:
        """Count one more field. Return the maximum number of bytes for its name or value."""
        self._count += 1
        limits = self._limits
        if self._count > limits.max_fields:
            raise too_many(limits.max_fields, "A form or query may have {most} fields at most.")
        return min(limits.max_form_field_size, limits.max_data_size - self._memory)

    def measure(self, size: int) -> None:
        """Raise 413 if a name or value of ``size`` bytes is above a limit, on its own or added to
        the fields counted so far.
        """
        limits = self._limits
        left = limits.max_data_size - self._memory
        if size > limits.max_form_field_size <= left:  # report whichever limit is lower
            raise too_many(limits.max_form_field_size, "A field may have {most} bytes at most.")
        if size > left:
            raise too_many(
                limits.max_data_size, "A form's fields may have {most} bytes together at most."
            )

    def spend(self, size: int) -> None:
        """Count a complete field. ``size``: the bytes of its name and value."""
        self._memory += size


_NUL = "A field's name or value has a NUL character."


def text_of(data: bytes, codec: str = "utf-8") -> str:
    """Return a name or a value as text. Raises ``BadRequest`` if it is not in the charset of
    ``codec``, or has a NUL.
    """
    text = _text_of(data, codec)
    if "\0" in text:
        raise BadRequest(_NUL)
    return text


def _text_of(data: bytes, codec: str = "utf-8") -> str:
    try:
        return data.decode(codec)
    except (UnicodeError, LookupError):  # a codec such as zlib's makes no text
        charset = "UTF-8" if codec == "utf-8" else f"text in the charset {codec}"
        raise BadRequest(f"A field's name or value is not valid {charset}.") from None


UTF_8_OR_LESS = ("", "utf-8", "utf8", "us-ascii", "ascii")


def require_utf8(charset: str) -> None:
    """Raise 415 for a charset other than UTF-8, because guessing the charset would store wrong
    text.
    """
    if charset.lower() not in UTF_8_OR_LESS:
        raise HTTPError(415, "Forms are read as UTF-8 only.")


# -- queries and urlencoded forms ------------------------------------------------------------------


def parse_query(query: bytes | str, limits: Limits = DEFAULT_LIMITS) -> Parameters:
    """Parse a query or a urlencoded form into name -> values. ``query`` may be a str, as in WSGI:
    bytes decoded as latin-1.

    Raises 400 for malformed text, and 413 above a limit. The limit is checked before each field is
    decoded.
    """
    text = query if isinstance(query, str) else query.decode("latin-1")
    # Nearly all queries are so short that they can't reach a limit, so nothing needs to be counted.
    size = len(text)
    is_short = (
        (size <= limits.max_fields or text.count("&") < limits.max_fields)
        and size <= limits.max_form_field_size
        and size <= limits.max_data_size
    )
    if "+" in text:
        text = text.replace("+", " ")
    is_decoded = "%" not in text and text.isascii() and text.isprintable()
    encoded: list[str] = []  # names and values alternate
    fields: Parameters = {}
    for pair in text.split("&") if is_short else ():
        if pair:  # an empty pair (``a=1&&b=2``) isn't a field
            name, _, value = pair.partition("=")
            if is_decoded:
                fields.setdefault(name, []).append(value)
            else:
                encoded += name, value
    pairs: Iterable[tuple[str, str]] = () if is_short else _counted(text, limits)
    if encoded:
        # Decode all names and values at once, separated by NUL, which none of them may contain.
        # Decoding a thousand short strings one by one takes three times as long.
        decoded = _text_of(unescaped(_encoded("\0".join(encoded)))).split("\0")
        if len(decoded) > len(encoded):
            raise BadRequest(_NUL)
        texts = iter(decoded)
        pairs = zip(texts, texts, strict=True)
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _counted(text: str, limits: Limits) -> Iterable[tuple[str, str]]:
    """Yield the names and values of a query that may exceed a limit, decoded one by one."""
    budget = Budget(limits)
    # Stop splitting at the limit. If there are more pairs, the last string contains all the
    # remaining pairs.
    for pair in text.removesuffix("&").split("&", limits.max_fields) if text != "&" else ():
        # An empty pair isn't a field, but it counts toward the limit, because a million empty pairs
        # take as long as a million fields.
        budget.begin()
        if pair:
            name, _, value = pair.partition("=")
            yield _decoded(name, budget), _decoded(value, budget)


def _decoded(raw: str, budget: Budget) -> str:
    """Decode a name or a value, and count its bytes in ``budget``."""
    # First check the least possible length, because decoding 6 MiB of %41 takes a second.
    budget.measure(len(raw) - 2 * raw.count("%"))
    data = unescaped(_encoded(raw))
    budget.measure(len(data))
    budget.spend(len(data))
    return text_of(data)


def _encoded(raw: str) -> bytes:
    try:
        return raw.encode("latin-1")
    except UnicodeEncodeError:
        raise BadRequest("The query is not percent-encoded UTF-8.") from None


# -- nested fields: ``lines[0].price`` is the field ``price`` of the first item of ``lines`` -------

_NAME = pattern(r"[^.\[\]]+(?:\.[^.\[\]]+|\[[^\[\]]*\])+")
_STEP = pattern(r"\[([0-9]{1,40})\]|\[([^\[\]]*)\]|([^.\[\]]+)")
DEEPEST = 16  # the maximum number of levels; a name with more is not treated as nested
ITSELF = -1  # the key of a field's own values, beside those of its nested fields


Nested: TypeAlias = "list[Json] | dict[str | int, Nested]"
"""A field: a list of its values, which are strings in a form. A field with nested fields is a dict
instead, which maps the name or number of each nested field to that field, and ``ITSELF`` to the
field's own values, if there are any.
"""


def nested(fields: Mapping[str, list[Json]], whole: Container[str] = ()) -> dict[str | int, Nested]:
    """Return the fields of a form as a tree. A field with nested fields is a dict, whose keys are
    names or numbers. The leaves are lists of values.

    ``a[b][0]`` is the same as ``a.b[0]``, and ``a[]`` the same as ``a``. ``whole``: names that are
    not split.
    """
    tree: dict[str | int, Nested] = {}
    for name, texts in fields.items():
        *outer, last = [name] if name in whole else _steps_of(name)
        at = tree
        for step in outer:
            inner = at.setdefault(step, {})
            if not isinstance(inner, dict):
                inner = at[step] = {ITSELF: inner}
            at = inner
        known = at.get(last)
        if isinstance(known, dict):
            at, last, known = known, ITSELF, known.get(ITSELF)
        at[last] = texts if known is None else [*known, *texts]
    return tree


def _steps_of(name: str) -> list[str | int]:
    if not _NAME.fullmatch(name):
        return [name]
    steps: list[str | int] = [
        int(number) if number else key or step for number, key, step in _STEP.findall(name)
    ]
    if steps[-1] == "":
        steps.pop()
    return steps if len(steps) <= DEEPEST else [name]


def outer_name(name: str) -> str:
    """Return ``lines`` for a name such as ``lines[0].pie``."""
    return name.partition("[")[0].partition(".")[0]


def rows(node: Mapping[str | int, Nested]) -> list[Nested]:
    """Return the items of a list in a form: its own values, and then the items in the order of
    their numbers. Numbers may be missing, because a script in the page may have removed items.
    """
    own = node.get(ITSELF, ())
    numbers = sorted(one for one in node if isinstance(one, int) and one != ITSELF)
    return [*([text] for text in own if text != ""), *(node[number] for number in numbers)]
