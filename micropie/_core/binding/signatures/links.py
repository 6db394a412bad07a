"""Write the values of a link as binding reads them: with the names and the texts of the handler's
parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from micropie._core.binding.annotations import Hint
from micropie._core.binding.fields import fields_of, structure_name, structures_of
from micropie._core.binding.signatures.plan import Plan
from micropie._core.binding.signatures.sources import declared_source
from micropie._core.binding.values.converters import OwnTypes
from micropie._core.http.json import dumps, link_text, members_of


def query_of(plan: Plan, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the (name, text) pairs of a link's query. For a collection, yield a pair for each item.
    Names that are no parameters are yielded as well.

    - ``plan``: the plan of the handler to which the link leads.
    - ``values``: the values by the names of the parameters or, for a parameter that is read by
      another name, by that name. None is left out unless the parameter has another default.

    Raises ``ValueError`` for a value that no link can have.
    """
    for name, value in values.items():
        bound = plan.bound.get(name)
        if bound is None:
            if name in _OF_FLASK:
                raise ValueError(f"{name}=... is Flask's: write {_OF_FLASK[name]}")
            yield from _pairs(name, value, plan.own)
        elif value is None:
            # a parameter with another default, which becomes None only if its text is empty
            if bound.default is not None and bound.converter.many is None:
                with suppress(ValueError):
                    if bound.converter.from_text("") is None:
                        yield bound.key, ""
        elif not (bound.is_in_path or "query" in bound.places) or not bound.converter.takes_text:
            raise ValueError(f"no link can fill the parameter {name!r}")
        elif bound.is_whole:
            hint = next(one.annotation for one in plan.parameters if one.name == name)
            yield from _fields(name, value, declared_source(hint)[1], plan.own)
        elif bound.converter.many is None and isinstance(value, list | dict):  # pydantic's Json
            yield bound.key, dumps(value).decode()
        else:
            yield from _pairs(bound.key, value, plan.own)


_SINGLE = (str, bytes, bytearray, Mapping)  # collections that are one value

_OF_FLASK = {
    **dict.fromkeys(("_external", "_scheme"), "absolute_url_for(...), with App(base_url=...)"),
    "_anchor": 'url_for(...) + "#..."',
}


def _fields(name: str, value: object, hint: Hint, own: OwnTypes) -> Iterator[tuple[str, str]]:
    """Yield the pairs for a structure that is read from the whole query. ``hint``: the annotation
    of its parameter.
    """
    fields = {field.name: field for kind in structures_of(hint) for field in fields_of(kind)}
    kind: Any = type(value)
    try:
        members = members_of(value, own.encoders)
    except ValueError:  # it has no members
        if name not in fields:
            raise ValueError(
                f"the parameter {name!r} takes a {structure_name(hint)}, not a {kind.__name__}"
            ) from None
        yield from _pairs(name, value, own)  # a field may have the parameter's name
        return
    infos = getattr(kind, "model_fields", {})
    read = zip(infos.values(), fields_of(kind) if infos else (), strict=True)
    names = {info.serialization_alias: field.name for info, field in read}
    for written, member in members.items():
        key = names.get(written, written)
        field = fields.get(key) if member is None else None
        # no text is an empty collection
        if field and field.optional and field.elements is None and field.default is not None:
            yield key, ""
        else:
            yield from _pairs(key, member, own)


def _pairs(name: str, value: object, own: OwnTypes) -> Iterator[tuple[str, str]]:
    linked = own.linked(value)
    several: Collection[object] = (value,)
    if isinstance(linked, Collection) and not isinstance(linked, _SINGLE):
        several = linked
    elif isinstance(linked, Mapping) and not linked:  # the default of a field that no link has
        several = ()
    for one in several:
        if one is not None:
            yield name, link_text(own.linked(one))
