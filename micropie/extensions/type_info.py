"""What micropie reads from a type: that of a parameter, of a result or of a setting."""

from __future__ import annotations

from inspect import Parameter
from typing import Any, get_origin

from micropie._core.binding import (
    Converter,
    answer_parts,
    converter_for,
    is_adapted,
    is_structure,
    items_of,
    stated_source,
    without_aliases,
)
from micropie._core.http import sent_as


class TypeInfo:
    """What micropie reads from an annotation, such as that of a parameter in a ``Signature``.

        number = TypeInfo(int).converter().from_text("5")

    ``source`` is the ``Header``, ``Cookie``, ``Query``, ``Form`` or ``Body`` in the annotation, or
    None; its ``place`` is a word such as "header", and its ``name_for(parameter)`` returns the name
    to look up. ``annotation`` is the annotation without it. Raises ``SetupError`` for two of them.
    """

    def __init__(self, annotation: object) -> None:
        self.source, self.annotation = stated_source(annotation)

    @property
    def structure(self) -> type | None:
        """The annotation if a whole body can be converted to it, else None: a dataclass, an attrs
        class, a ``TypedDict``, a ``msgspec.Struct`` or a pydantic model, also a generic one such as
        ``Page[User]``.
        """
        return self.annotation if is_structure(self.annotation) else None

    @property
    def is_pydantics(self) -> bool:
        """Whether pydantic makes and describes its values, although it is not a structure:
        ``HttpUrl``, ``Annotated[str, AfterValidator(...)]``.
        """
        return is_adapted(self.annotation)

    @property
    def answer(self) -> tuple[tuple[int, ...] | None, tuple[object, ...]]:
        """For one of a handler's ``results``: its statuses, and the annotations of its body, such
        as ``(201,), (X, NoneType)`` for ``tuple[Literal[201], X | None]``. The statuses are () if
        the annotation has none, and None if it allows any, as ``tuple[int, X]``.
        """
        return answer_parts(self.annotation)

    @property
    def sent_as(self) -> str:
        """How results of this type are sent: as "json", "text", "html", a "stream", or a
        "response", which decides that itself; "" for a type that doesn't tell, such as ``Any``.
        """
        kind = get_origin(self.annotation) or self.annotation
        is_known = isinstance(kind, type) and kind not in (Any, Parameter.empty)
        return sent_as(kind) if is_known else ""

    def items(self, is_generator: bool) -> tuple[object, ...]:
        """Return the types of the items that a result of this type is streamed as, one JSON line
        each: ``(Pie,)`` for ``Iterator[Pie]``; () for any other type, and for chunks of text or
        bytes.

        ``is_generator``: the handler is a generator function, so ``Iterable`` means a stream, too.
        """
        return items_of([self.annotation], is_generator)

    def converter(self) -> Converter:
        """Return the converter from text to the type, as for a parameter of a handler.

        ``from_text(text)`` returns the value, and raises ``ValueError`` for anything but what is
        ``expected``, a text such as "a whole number". ``many`` is None, or a function that makes a
        list, a tuple or a set from converted values. ``schema`` is the JSON Schema of a simple
        type, such as ``{"type": "integer"}``, and None for a type that contains others. Raises
        ``SetupError`` for a type to which text can't be converted.
        """
        return converter_for(without_aliases(self.annotation))
