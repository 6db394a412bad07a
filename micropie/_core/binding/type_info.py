"""The properties of a type, as micropie interprets the annotation of a parameter, a result or a
setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import Any, Literal, LiteralString, get_args

from micropie._core.binding.annotations import (
    owner_of,
    parts_of,
    type_name,
    united,
    without_aliases,
    without_metadata,
    without_unset,
    wrapped_type,
)
from micropie._core.binding.fields import (
    Field,
    elements_in,
    fields_of,
    has_fields,
    hints_of_class,
    is_pydantic,
    is_structure,
    tag_of,
)
from micropie._core.binding.signatures.results import answer_parts, items_of
from micropie._core.binding.signatures.sources import declared_source
from micropie._core.binding.values.constraints import is_adapted
from micropie._core.binding.values.converters import Converter, converter_for
from micropie._core.http import sent_as


class TypeInfo:
    """Describes how micropie interprets an annotation, such as that of a parameter in a
    ``Signature``.

        number = TypeInfo(int).converter().from_text("5")

    - ``source``: the ``Header``, ``Cookie``, ``Query``, ``Form`` or ``Body`` in the annotation, or
      None. Its ``place`` is a word such as "header", and its ``name_for(parameter)`` returns the
      name to look up there.
    - ``annotation``: the annotation without the source and the type of ``UNSET``, and with each
      alias replaced by its type.
    - ``wrapped``, ``metadata``: X and the metadata for ``Annotated[X, ...]``, X and () for a
      ``NewType`` of X, otherwise the annotation and ().
    - ``bare``: the annotation without any ``Annotated`` and ``NewType`` around it.
    - ``kind``, ``arguments``: the class or the form behind it, and what is in its brackets:
      ``dict`` and ``(str, int)`` for ``dict[str, int]``.

    Raises ``SetupError`` if the annotation has two sources.
    """

    def __init__(self, annotation: object) -> None:
        self.source, stated = declared_source(without_aliases(annotation))
        self.annotation: Any = without_unset(stated)
        self.wrapped, self.metadata = parts_of(self.annotation)
        self.bare = wrapped_type(self.annotation)
        self.kind: Any = owner_of(self.bare)
        self.arguments = get_args(self.bare)

    @property
    def structure(self) -> type | None:
        """The annotation if it is a structure, that is, a type to which a whole body can be
        converted; otherwise None. Structures are dataclasses, attrs classes, ``TypedDict``,
        ``msgspec.Struct`` and pydantic models, also generic ones such as ``Page[User]``.
        """
        return self.annotation if is_structure(self.annotation) else None

    @property
    def members(self) -> Sequence[Any]:
        """The members of a union, or only the bare annotation."""
        return united(self.bare)

    @property
    def plain(self) -> Any:
        """The annotation without any metadata: ``list[int]`` for ``list[Annotated[int, ...]]``."""
        return without_metadata(self.annotation)

    @property
    def name(self) -> str:
        """The name of a class, with its arguments: "Page[User]"."""
        inner = ", ".join(map(type_name, self.arguments))
        return f"{self.kind.__name__}[{inner}]" if inner else str(self.kind.__name__)

    @property
    def has_fields(self) -> bool:
        """Whether the annotation is a structure or a named tuple."""
        return has_fields(self.annotation)

    @property
    def fields(self) -> Sequence[Field]:
        """The fields of a structure or a named tuple, or (). Each has these attributes:

        - ``name``, ``attribute``: its names in JSON and in Python.
        - ``hint``: its annotation, without the type of ``UNSET``.
        - ``required``: whether clients must send it.
        - ``default``: its value if it isn't sent, unless a function creates it.
        """
        return fields_of(self.annotation) if self.has_fields else ()

    @property
    def hints(self) -> Mapping[str, Any]:
        """The annotations of a class by attribute, inherited ones included. That of an ``InitVar``
        is its type.
        """
        return hints_of_class(self.annotation)

    @property
    def tag(self) -> Mapping[str, object]:
        """The tag of a ``msgspec.Struct`` by the name of its field, or {}."""
        return tag_of(self.annotation)

    @property
    def is_array(self) -> bool:
        """Whether values are arrays in JSON: those of collections, named tuples and ``Struct``
        classes with ``array_like``.
        """
        return elements_in(self.annotation) is not None

    @property
    def is_closed(self) -> bool:
        """Whether a ``Struct`` has ``forbid_unknown_fields``."""
        config = getattr(self.kind, "__struct_config__", None)
        return config is not None and config.forbid_unknown_fields

    @property
    def is_model(self) -> bool:
        """Whether the annotation is a pydantic model or one of pydantic's dataclasses."""
        return is_pydantic(self.annotation)

    @property
    def is_pydantics(self) -> bool:
        """Whether pydantic creates and describes values of this type: ``HttpUrl``,
        ``Annotated[str, AfterValidator(...)]``, a model, or a dataclass that contains one of these.
        """
        if self.structure is None:
            return is_adapted(self.annotation)
        # imports what only structures need
        from micropie._core.binding.structures.makers import library_for

        return library_for(self.annotation, is_for_results=False).is_pydantic

    @property
    def answer(self) -> tuple[tuple[int, ...] | None, tuple[object, ...]]:
        """For the annotation of a handler's result: the statuses that it declares, and the types of
        the body. For ``tuple[Literal[201], X | None]``, this is ``(201,), (X, NoneType)``. The
        statuses are () if the annotation declares none, and None if it allows any, as in
        ``tuple[int, X]``.
        """
        return answer_parts(self.annotation)

    @property
    def sent_as(self) -> str:
        """How results of this type are sent: as "json", "text", "html" or "stream". It is
        "response" for a response object, and "" for a type that leaves this open, such as ``Any``.
        """
        kinds = map(type, self.arguments) if self.kind is Literal else [self.kind]
        found = {
            sent_as(kind)
            for kind in (str if one is LiteralString else one for one in kinds)
            if isinstance(kind, type) and kind not in (Any, Parameter.empty)
        }
        return found.pop() if len(found) == 1 else ""

    def items(self, is_generator: bool) -> tuple[object, ...]:
        """Return the types of the items if results of this type are streamed as JSON lines:
        ``(Pie,)`` for ``Iterator[Pie]``. Return () for all other types, including streams of text
        or bytes.

        ``is_generator``: whether the handler is a generator function, for which ``Iterable`` means
        a stream too.
        """
        return items_of([self.bare], is_generator)

    def converter(self) -> Converter:
        """Return the converter from text to the type, which handlers' parameters use too.

        The converter has these attributes:

        - ``from_text(text)``: returns the value, or raises ``ValueError`` for invalid text.
        - ``expected``: a description of valid text, such as "a whole number".
        - ``many``: a function that creates a list, a tuple or a set from converted values, or None.
        - ``takes_text``: whether any text is valid. It is False for a dict.
        - ``schema``: the JSON Schema of a simple type, such as ``{"type": "integer"}``, or None for
          a type that contains others.

        Raises ``SetupError`` for a type to which text can't be converted.
        """
        return converter_for(self.annotation)
