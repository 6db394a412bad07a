"""Write the values of a link as binding reads them: with the names and the texts of the handler's
parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

from micropie._core.binding.fields import (
    Field,
    fields_of,
    is_structure,
    root_of,
    structure_name,
    structures_of,
)
from micropie._core.binding.signatures.parameters import BoundParameter
from micropie._core.binding.values.converters import OwnTypes
from micropie._core.http.json import dumps, link_text, members_of

if TYPE_CHECKING:
    from micropie._core.binding.structures.makers import Maker


def query_of(
    bounds: Mapping[str, BoundParameter], own: OwnTypes, values: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    """Yield the (name, text) pairs of a link's query. For a collection, yield a pair for each item.
    Names that are no parameters are yielded as well.

    - ``bounds``: the parameters of the handler to which the link leads, and of its providers.
    - ``own``: the encoders and decoders of the handler's application.
    - ``values``: the values by the names of the parameters or of a query's fields or, for one that
      is read by another name, by that name. None is left out unless the parameter has another
      default.

    Raises ``ValueError`` for a value that no link can have.
    """
    for name, value in values.items():
        bound = bounds.get(name)
        if bound is None:
            if name in _OF_FLASK:
                raise ValueError(f"{name}=... is Flask's: write {_OF_FLASK[name]}")
            makers = (one.maker for one in bounds.values() if "query" in one.places)
            field = _fields_in(filter(None, makers)).get(name)
            yield from _of_field(name, field, value, own)
        else:
            yield from _of_parameter(name, bound, value, own)


def _of_parameter(
    name: str, bound: BoundParameter, value: object, own: OwnTypes
) -> Iterator[tuple[str, str]]:
    """Yield the pairs for the value of a parameter."""
    if value is None:
        # a parameter with another default, which becomes None only if its text is empty
        if bound.default is not None and bound.converter.many is None:
            with suppress(ValueError):
                if bound.converter.from_text("") is None:
                    yield bound.key, ""
    elif not (bound.is_in_path or "query" in bound.places) or not bound.converter.takes_text:
        raise ValueError(f"no link can fill the parameter {name!r}")
    elif bound.maker is not None:
        yield from _fields(name, value, bound.maker)
    elif bound.converter.many is None and isinstance(value, list | dict):  # pydantic's Json
        text = dumps(value).decode()
        try:
            bound.converter.from_text(text)
        except ValueError:
            raise ValueError(f"no link can fill the parameter {name!r}") from None
        yield bound.key, text
    else:
        yield from _pairs(bound.key, value, own, bool(bound.default))


_SINGLE = (str, bytes, bytearray, Mapping)  # collections that are one value

_OF_FLASK = {
    **dict.fromkeys(("_external", "_scheme"), "absolute_url_for(...), with App(base_url=...)"),
    "_anchor": 'url_for(...) + "#..."',
}


def _fields_in(makers: Iterable[Maker]) -> dict[str, Field]:
    """Return the fields that are read from the whole query, by their names in Python and by those
    in the query, which take precedence.
    """
    kinds = chain.from_iterable(structures_of(root_of(one.hint)) for one in makers)
    fields = [*chain.from_iterable(map(fields_of, kinds))]
    return {one.attribute: one for one in fields} | {one.name: one for one in fields}


def _fields(name: str, value: object, maker: Maker) -> Iterator[tuple[str, str]]:
    """Yield the pairs for a structure that is read from the whole query. ``name``: that of its
    parameter.
    """
    fields, own = _fields_in([maker]), maker.own
    kind: Any = type(value)
    try:
        members = {**members_of(value, own.encoders)}
    except ValueError:
        if is_structure(kind):  # which can't be written
            raise
        if name not in fields:
            expected = structure_name(maker.hint)
            raise ValueError(
                f"the parameter {name!r} takes a {expected}, not a {kind.__name__}"
            ) from None
        yield from _pairs(name, value, own)  # a field may have the parameter's name
        return
    infos = getattr(kind, "model_fields", {})
    for field in fields_of(kind) if infos else ():
        info, one = infos[field.attribute], getattr(value, field.attribute)
        written = info.serialization_alias or field.attribute
        fields[written] = field
        if info.exclude or hasattr(one, "get_secret_value"):
            members.pop(written, None)
            if one != info.get_default(call_default_factory=True):
                raise ValueError(f"no link can contain {field.attribute!r} of a {kind.__name__}")
    for written, member in members.items():
        known = fields.get(written)
        # no text is an empty collection
        if (
            known
            and known.optional
            and known.elements is None
            and member is None
            and known.default is not None
        ):
            yield known.name, ""
        else:
            yield from _of_field(written, known, member, own)


def _of_field(
    name: str, field: Field | None, value: object, own: OwnTypes
) -> Iterator[tuple[str, str]]:
    """Yield the pairs for a field, or for a name that is no parameter."""
    return _pairs(field.name, value, own, field.required) if field else _pairs(name, value, own)


def _pairs(
    name: str, value: object, own: OwnTypes, is_needed: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield the pairs for one value. ``is_needed``: whether an empty collection, which no link has,
    would be read as another value.
    """
    linked = own.linked(value)
    several: Collection[object] = (value,)
    if isinstance(linked, Collection) and not isinstance(linked, _SINGLE):
        several = linked
    elif isinstance(linked, Mapping) and not linked:  # the default of a field that no link has
        several = ()
    if is_needed and not several:
        raise ValueError(f"no link can contain the empty {type(value).__name__} of {name!r}")
    for one in several:
        if one is not None:
            yield name, link_text(own.linked(one))
