"""What is read of a type: of a parameter, of a result, of a setting."""

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
    """What micropie reads of an annotation, such as that of a parameter of ``Signature``.

        number = TypeInfo(int).converter().from_text("5")

    ``source`` is the ``Header``, ``Cookie``, ``Query``, ``Form`` or ``Body`` that it states, or
    None; ``place`` of that is a word such as "header", and ``name_for(parameter)`` the name to look
    for. ``annotation`` is the annotation without it. Raises ``SetupError`` for two of them.
    """

    def __init__(self, annotation: object) -> None:
        self.source, self.annotation = stated_source(annotation)

    @property
    def structure(self) -> type | None:
        """The annotation if a whole body can become it, else None: a dataclass, an attrs class, a
        ``TypedDict``, a ``msgspec.Struct`` or a pydantic model, also one such as ``Page[User]``."""
        return self.annotation if is_structure(self.annotation) else None

    @property
    def is_pydantics(self) -> bool:
        """Whether pydantic makes and describes its values, and it is no structure: ``HttpUrl``,
        ``Annotated[str, AfterValidator(...)]``."""
        return is_adapted(self.annotation)

    @property
    def answer(self) -> tuple[tuple[int, ...] | None, tuple[object, ...]]:
        """Of one of a handler's ``results``: the statuses that it states, and the annotations of
        the body, such as ``(201,), (X, NoneType)`` for ``tuple[Literal[201], X | None]``. The
        statuses are () if it states none, and None if it may state any, as ``tuple[int, X]``."""
        return answer_parts(self.annotation)

    @property
    def sent_as(self) -> str:
        """How results of this type are sent: as "json", "text", "html", a "stream", or a
        "response", which states itself how. "" for a type that doesn't say it, such as ``Any``."""
        kind = get_origin(self.annotation) or self.annotation
        is_known = isinstance(kind, type) and kind not in (Any, Parameter.empty)
        return sent_as(kind) if is_known else ""

    def items(self, is_generator: bool) -> tuple[object, ...]:
        """Return the types of the items that a result of this type is sent of, one JSON line each:
        ``(Pie,)`` for ``Iterator[Pie]``; () for another type, and for chunks of text or bytes.

        ``is_generator``: the handler is a generator function, so ``Iterable`` is a stream, too.
        """
        return items_of([self.annotation], is_generator)

    def converter(self) -> Converter:
        """Return what converts text to it, as for a parameter of a handler.

        ``from_text(text)`` returns the value, and raises ``ValueError`` for anything but what is
        ``expected``, which is a text such as "a whole number". ``many`` is None, or a function that
        makes a list, a tuple or a set of converted values. ``schema`` is the JSON Schema of a type
        alone, such as ``{"type": "integer"}``, and None for a type that is made of others. Raises
        ``SetupError`` for a type that text can't be converted to.
        """
        return converter_for(without_aliases(self.annotation))
