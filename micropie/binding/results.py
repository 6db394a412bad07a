"""What a handler's annotation says of its results: the types of its answers, and the fields that are sent of them."""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Sequence
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, Optional, Union

from micropie.binding.converters import hints_of
from micropie.binding.structures import has_structures_inside, is_pydantic, members_of, with_fields_of
from micropie.errors import HTTPError, Redirect, ResponseError, SetupError
from micropie.execution import layers
from micropie.http import Response, dumps, loads

# An object that has one of these may be more than its fields.
_OTHERWISE_SENT = ("__html__", "__await__", "__aiter__", "__iter__", "read")

# Beside a structure in a union, these are answers of their own.
_OTHER_ANSWERS = (NoneType, Response, HTTPError, Redirect)


def answers_of(function: Callable[..., object], stated: object = None) -> tuple[object, ...]:
    """Return the types that a handler returns: of its annotation, or of the one that is ``stated`` in its place.

    They are "empty" for an annotation that can't be read: it may name imports that only type checkers see.
    """
    *_, inner = layers(function)
    annotation = getattr(inner, "__annotations__", {}).get("return", Parameter.empty) if stated is None else stated
    try:
        hints = hints_of({"return": annotation}, inner)
    except (NameError, AttributeError, SyntaxError, TypeError):
        return (Parameter.empty,)
    found = hints["return"]
    return typing.get_args(found) if typing.get_origin(found) in (Union, UnionType) else (found,)


def result_filter(function: Callable[..., object], stated: object = None) -> ResultFilter | None:
    """Return what makes of a handler's result what its annotation names, with no other fields.

    That is a structure or a list of structures; None is returned where it names another type. Raises ``SetupError`` for
    a ``stated`` type that names no structure.
    """
    answers = answers_of(function, stated)
    kinds = [one for one in answers if not (isinstance(one, type) and issubclass(one, _OTHER_ANSWERS))]
    body: Any = Union[tuple(kinds)] if kinds else None  # noqa: UP007 - of as many as there are
    is_list = typing.get_origin(body) in (list, Sequence)
    members = members_of((*typing.get_args(body), None)[0] if is_list else body)
    if members:
        kind: Any = Optional[body] if NoneType in answers else body  # noqa: UP045
        adapter = sys.modules["pydantic"].TypeAdapter(kind) if all(map(is_pydantic, members)) else None
        name = getattr(function, "__qualname__", "a handler")
        # pydantic dumps what is inside an object by its annotations.
        exact = {one for one in members if adapter is not None or not has_structures_inside(one)}
        return ResultFilter(name, kind, adapter, {typing.get_origin(one) or one for one in members}, exact, is_list)
    if stated is not None:
        raise SetupError(
            f"response_model={stated!r} names no fields: write a dataclass, TypedDict, Struct or pydantic model, or a "
            "list of one"
        )
    return None


class ResultFilter:
    """Makes of a result what ``kind`` names, or a list of it. ``adapter``: pydantic's. Objects of the classes ``exact``
    are that already.
    """

    def __init__(self, name: str, kind: Any, adapter: Any, classes: set[type], exact: set[type], is_list: bool) -> None:
        self._name, self._kind, self._adapter = name, kind, adapter
        self._classes, self._exact, self._is_list = classes, exact, is_list

    @property
    def bodies(self) -> Sequence[type]:
        """The classes of results that are nothing but a value for JSON: no HTML, no stream, nothing to be awaited."""
        return [one for one in self._exact if not any(hasattr(one, name) for name in _OTHERWISE_SENT)]

    def passes(self, result: Any) -> bool:
        """Return whether a result is sent as it is: objects of exactly the classes, and not of derived ones."""
        return self._has_only(self._exact, result)

    def _has_only(self, classes: set[type], result: Any) -> bool:
        if isinstance(result, list) is not self._is_list:
            return False
        return classes.issuperset(map(type, result if self._is_list else (result,)))

    def make(self, result: Any) -> object:
        """Return a result with the fields of ``kind``. Raises ``ResponseError``, which names the key."""
        try:
            if self._adapter is None:
                is_flat = len(self._exact) == len(self._classes)
                return with_fields_of(self._kind, result, self._has_only(self._classes, result), is_flat)
            made = self._adapter.validate_python(result, from_attributes=True)
            # It is dumped by the annotation: what was made of a derived class may still be an object of that.
            write: Any = self._adapter.dump_python
            return write(made, mode="json", by_alias=True, fallback=lambda value: loads(dumps(value)))
        except (ValueError, TypeError, ImportError) as error:
            from micropie.binding.misfits import described

            given = type(result).__name__
            raise ResponseError(
                f"{self._name} returned a {given}, which does not fit its annotation: {described(error)}"
            ) from None
