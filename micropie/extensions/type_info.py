"""The properties of a type, as micropie interprets the annotation of a parameter, a result or a
setting.
"""

from __future__ import annotations

from inspect import Parameter
from typing import Any, get_origin

from micropie._core.binding import (
    Converter,
    answer_parts,
    converter_for,
    declared_source,
    is_adapted,
    is_structure,
    items_of,
    without_aliases,
    without_unset,
)
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

    Raises ``SetupError`` if the annotation has two sources.
    """

    def __init__(self, annotation: object) -> None:
        self.source, stated = declared_source(without_aliases(annotation))
        self.annotation: Any = without_unset(stated)

    @property
    def structure(self) -> type | None:
        """The annotation if it is a structure, that is, a type to which a whole body can be
        converted; otherwise None. Structures are dataclasses, attrs classes, ``TypedDict``,
        ``msgspec.Struct`` and pydantic models, also generic ones such as ``Page[User]``.
        """
        return self.annotation if is_structure(self.annotation) else None

    @property
    def is_pydantics(self) -> bool:
        """Whether pydantic creates and describes values of this type: ``HttpUrl``,
        ``Annotated[str, AfterValidator(...)]``, a model, or a dataclass that contains one of these.
        """
        if self.structure is None:
            return is_adapted(self.annotation)
        from micropie._core.binding import library_for  # imports what only structures need

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
        kind = get_origin(self.annotation) or self.annotation
        is_known = isinstance(kind, type) and kind not in (Any, Parameter.empty)
        return sent_as(kind) if is_known else ""

    def items(self, is_generator: bool) -> tuple[object, ...]:
        """Return the types of the items if results of this type are streamed as JSON lines:
        ``(Pie,)`` for ``Iterator[Pie]``. Return () for all other types, including streams of text
        or bytes.

        ``is_generator``: whether the handler is a generator function, for which ``Iterable`` means
        a stream too.
        """
        return items_of([self.annotation], is_generator)

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
