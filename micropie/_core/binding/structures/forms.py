"""Convert the fields of a form to a document: a dict like that of parsed JSON, from which msgspec
or pydantic creates a structure.

All values of a form are strings, and some fields are missing: browsers send nothing for an unticked
box or a list without a choice, and "" for an input left empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain, count, repeat, takewhile
from types import NoneType
from typing import Any, Never, cast

from micropie._core.binding.annotations import (
    MAPPINGS,
    Hint,
    metadata_of,
    owner_of,
    parts_of,
    united,
)
from micropie._core.binding.fields import (
    Field,
    chosen,
    elements_in,
    elements_of,
    fields_of,
    is_grid,
    is_structure,
    kinds_in,
    root_of,
    rooted,
    written_kinds,
)
from micropie._core.binding.values.constraints import INVALID, limits_length, with_short_line_ends
from micropie._core.binding.values.converters import (
    AN_ARRAY,
    AN_OBJECT,
    ANYTHING,
    NOTHING,
    Converter,
    OwnTypes,
    converter_for,
    first_that_fits,
    takes_any_text,
    with_message,
    with_metadata,
)
from micropie._core.binding.values.limits import PathError
from micropie._core.errors import SetupError
from micropie._core.http import CSRF_FIELD
from micropie._core.http.forms import ITSELF, JsonText, Nested, json_in, rows

_ABSENT = object()


def document_of(
    members: Sequence[type],
    tree: Mapping[str | int, Nested],
    own: OwnTypes,
    is_form: bool,
    path: Sequence[str | int] = (),
) -> dict[str, object]:
    """Return the document for the fields of a form or a query.

    - ``members``: the structure to create from the document, or the structures of a union.
    - ``tree``: the fields of the form or query.
    - ``path``: the names and numbers that lead to the structure.

    Names that are not fields of a structure stay in the document, because a structure may reject
    unknown names. Only the CSRF token is left out, because it is for ``CSRFMiddleware``. Raises
    ``FormError`` for rows without numbers and for malformed JSON in a part.
    """
    document = {
        str(name): values_of(node)
        for name, node in tree.items()
        if name not in (CSRF_FIELD, ITSELF)
    }
    tagged, _ = chosen(members, document)
    for field in chain.from_iterable(map(fields_of, [tagged] if tagged else members)):
        name, node = field.name, tree.get(field.name)
        if node is None and field.others:
            name = next((one for one in field.others if one in tree), name)
            node = tree.get(name)
        if node is not None or (tagged and (is_form or field.members)):
            value = _read(field, node, own, (*path, name), is_form)
            if value is _ABSENT:
                document.pop(name, None)
            else:
                document[name] = value
    return document


class FormError(PathError):
    """Raised for a value of a form that can't be read."""


def steps_of(path: Sequence[str | int]) -> str:
    """Return a path as msgspec writes it, such as ``.lines[0].pie``."""
    return "".join(
        f"[{step}]" if isinstance(step, int) or step == "..." else f".{step}" for step in path
    )


# The last steps of names that browsers add: an image button's coordinates, and the ``dirname`` of
# an input, as HTML's own example writes it.
_OF_CONTROLS = ("x", "y", "dir")


def _read(
    field: Field,
    node: Nested | None,
    own: OwnTypes,
    path: Sequence[str | int],
    is_form: bool,
) -> object:
    """Return a field's value for the document: a string, a list, or a dict of the fields inside it.
    Return ``_ABSENT`` if the document must not contain the field.
    """
    field = rooted(field)
    if isinstance(node, list):
        is_text = field.is_json_text
        if not is_text and {*map(type, node)} == {JsonText} and _takes_json(field, own):
            return _json_of(field, node, True, path)
        if is_text or field.elements is None:
            return _read_texts(field, node, own)
        if is_grid(field) and (found := _json_of(field, node, False, path)) is not _ABSENT:
            return found
        return _read_rows(*field.elements, node, own, path, is_form)
    if isinstance(node, dict):
        has_numbers = any(isinstance(one, int) for one in node)
        elements = elements_of(field) if has_numbers else field.elements
        if elements is not None:
            return _read_rows(*elements, node, own, path, is_form)
        if field.members:
            return document_of(field.members, node, own, is_form, path)
        inner = field.values
        if inner and ITSELF not in node:
            return {
                str(name): _read(inner, one, own, (*path, name), is_form)
                for name, one in node.items()
            }
        converter = described_as(field.hint, own)
        if converter is ANYTHING or not converter.takes_text:
            return values_of(node)
        node = node.get(ITSELF)  # the nested names belong to another control
    texts = cast("list[str] | None", node)
    return _unsent(field, own, path, is_form) if texts is None else _read_texts(field, texts, own)


def _json_of(field: Field, node: Sequence[str], is_part: bool, path: Sequence[str | int]) -> object:
    """Return the document in the texts of a field that are parts with JSON, or else of a list of
    lists, which clients can't send otherwise. Return ``_ABSENT`` if these contain no JSON.
    """
    try:
        found = json_in(node, field.elements is not None, Decimal in kinds_in(field.hint))
    except ValueError as error:
        if is_part:
            raise FormError(path, str(error).removesuffix(".")) from None
        return _ABSENT
    is_read = is_part or all(isinstance(one, list) for one in cast("list[object]", found))
    return found if is_read else _ABSENT


def _unsent(field: Field, own: OwnTypes, path: Sequence[str | int], is_form: bool) -> object:
    """Return the value of a field for which a form has no value. Browsers send nothing for an
    unticked box, a list without a choice, or a group of such inputs. A query without values for a
    structure has an empty one.
    """
    if field.omissible or field.is_json_text:
        return _ABSENT
    elements = elements_of(field)
    if elements is not None:  # no tuple of a fixed length is empty
        return _ABSENT if elements[0] or not is_form else []
    if field.kind is bool and is_form:
        return False
    # The name is in the path if a class always contains itself, so that no document creates it.
    if field.required and len(field.members) == 1 and field.name not in path[:-1]:
        return document_of(field.members, {}, own, is_form, path)
    is_dict = field.required and owner_of(field.kind) in MAPPINGS
    return {} if is_dict and is_form else _ABSENT


def _read_rows(
    first: Sequence[Field],
    rest: Field,
    node: Nested,
    own: OwnTypes,
    path: Sequence[str | int],
    is_form: bool,
) -> list[object]:
    fields = chain(first, repeat(rest))
    if isinstance(node, dict):
        if any(isinstance(one, str) and one not in _OF_CONTROLS for one in node):
            # their order would be unknown
            inner = [f".{one.name}" for kind in next(fields).members for one in fields_of(kind)]
            row = f"{steps_of(path)[1:]}[0]{''.join(inner[:1])}"
            raise FormError(path, f"Expected numbers in the names of rows, such as {row}")
        parts: list[Nested | None] = [*rows(node)]
        if first and {*node} <= {*range(len(first))}:  # the numbers are positions
            parts = [*map(node.get, range(len(first)))]
    else:
        parts = [[text] for text in node]
    read = [
        _ABSENT if part is None and not is_form else _read(one, part, own, (*path, number), is_form)
        for number, (one, part) in enumerate(zip(fields, parts, strict=False))
    ]
    if not first:
        return read
    # The last elements may have defaults. Among others, null takes the place of an absent one.
    sent = zip(count(1), parts, read, strict=False)
    end = max((n for n, part, one in sent if part is not None and one is not _ABSENT), default=0)
    others = takewhile(lambda one: one is not _ABSENT, read[end:])
    return [None if one is _ABSENT else one for one in chain(read[:end], others)]


def _takes_json(field: Field, own: OwnTypes) -> bool:
    """Return whether a part of a form that contains JSON fills a field with its document, and not
    with its text.
    """
    if field.elements is not None:
        return not field.elements[1].is_json_text
    return bool(field.members) or not takes_any_text(described_as(field.hint, own))


def _read_texts(field: Field, node: Sequence[Any], own: OwnTypes) -> object:
    kind = field.kind
    # A tick box may send two values, because a page may contain a hidden input "false" before the
    # box.
    if len(node) > 1 and kind is not bool:
        return node
    text = node[-1]
    if text == "" and field.optional:
        return None
    if text == "" and not field.required:
        try:
            described_as(field.hint, own).from_text(text)
        except ValueError:
            return _ABSENT
    has_limit = "\r\n" in text and any(
        limits_length(metadata_of(kind)) for kind in written_kinds(field.hint)
    )
    return with_short_line_ends(text) if has_limit else text


def values_of(node: Nested, has_lists: bool = False) -> object:
    """Return the value that was sent for a form field: a str, a list if several strings were sent,
    or a dict if the field has inner fields.

    ``has_lists``: whether to return a list instead of a dict if the names of all inner fields are
    numbers.
    """
    if isinstance(node, dict):
        node = node.get(ITSELF, node)
    if not isinstance(node, dict):
        return node[0] if len(node) == 1 else node
    if has_lists and all(isinstance(name, int) for name in node):
        return [values_of(one, has_lists) for one in rows(node)]
    return {str(name): values_of(one, has_lists) for name, one in node.items()}


def described_as(hint: Hint, own: OwnTypes) -> Converter:
    """Return the converter for a parameter with the annotation ``hint`` of a field. If no parameter
    can have this annotation, return one that only checks whether the value is an object or array.
    ``Never`` is the annotation of a name that is no field.
    """
    try:
        return converter_for(hint, own)
    except SetupError:
        # No parameter can have this type. It may be a structure, or have a constraint that only
        # msgspec or pydantic enforces.
        kind, metadata = parts_of(hint)
        if kind is not hint:
            inner = described_as(kind, own)
            try:
                return with_metadata(inner, kind, metadata)
            except SetupError:
                return with_message(inner, metadata)
    root = root_of(hint)
    members = [one for one in united(root) if one is not NoneType]
    if members == [hint]:
        if elements_in(hint) is not None:
            return AN_ARRAY
        if is_structure(hint) or owner_of(hint) in MAPPINGS:
            return AN_OBJECT
        return NOTHING if hint is Never else ANYTHING
    several = [described_as(one, own) for one in members]
    expected = dict.fromkeys(one.expected for one in several)
    if len(expected) == 1:
        return several[0]
    return Converter(
        " or ".join(expected),
        partial(first_that_fits, [one.from_text for one in several]),
        partial(first_that_fits, [one.from_json for one in several]),
        invalid=INVALID,
    )
